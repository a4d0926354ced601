# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run of Ansible, and not the program of a backup host, has done: its record, and files that it brings, put into a repository."""

from __future__ import annotations

import calendar
import os
import pwd
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..common import directories
from ..common.backup import BackupError, checksums, require_room
from ..services.registry import backups
from . import record as records
from .lock import alone
from .repository import Repository

LOCK_S = 60.0


def keep(repository: Repository, lock: Path, record: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """Write a record, and the files of a backup before it, each whole or not at all. Returns the record as it was written.

    record: what it has besides what each has; `started` is a time as names of backups have it. files: name to text.
    Raises BackupError, OSError.
    """
    repository.check()
    began = moment(record["started"])
    fresh = records.new(repository.cluster, record["kind"], record["act"], record["host"], began)
    fresh |= {**record, "started": began, "seconds": round(max(0.0, time.time() - began), 3)}
    with alone(lock, LOCK_S, "; start again when it has"):
        if files:
            label = records.stamp(began)
            needed = sum(len(text.encode()) for text in files.values())
            require_room(repository.directory, 2 * needed, f"The backup of {record['kind']}")
            fresh |= _store(repository, record["kind"], label, files)
        records.seal(repository.directory, fresh)
    return fresh


def moment(stamp: str) -> int:
    """Return a time as names of records have it, in seconds since 1970. Raises BackupError.

    >>> moment("19700101T000102Z")
    62
    """
    try:
        return calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))
    except ValueError as error:
        raise BackupError(f"{stamp!r} is no time like 20261130T101500Z") from error


def _store(repository: Repository, kind: str, label: str, files: Mapping[str, str]) -> dict[str, Any]:
    whole, partial = repository.files(kind, label), repository.partial(kind, label)
    if whole.exists():
        raise BackupError(f"{whole} is there already. Is the clock of the controller right?")
    if partial.exists():
        shutil.rmtree(partial)
    directories.make(partial.parent, 0o711)
    directories.make(partial, 0o700)
    owner = _owner(kind)
    for name, text in files.items():
        path = partial / name
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        path.chmod(0o600)
        os.chown(path, *owner)
    os.chown(partial, *owner)
    sums = checksums(partial)
    size = sum((partial / name).stat().st_size for name in sums)
    os.rename(partial, whole)
    return {"label": label, "files": sums, "bytes": size}


def _owner(kind: str) -> tuple[int, int]:
    """The account that verifies it, which is to read it. Without root's rights nothing can be given away."""
    if os.geteuid() != 0:
        return os.getuid(), os.getgid()
    account = backups()[kind].account
    try:
        entry = pwd.getpwnam(account)
    except KeyError:
        raise BackupError(f"there is no account {account} on this host. Run site.yml") from None
    return entry.pw_uid, entry.pw_gid
