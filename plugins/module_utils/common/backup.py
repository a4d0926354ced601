# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What all kinds of backups need: how they fail, checksums, room, and how long a restore takes."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .text import size

FAILED, SETTINGS, UNVERIFIED, NO_ROOM = 1, 2, 3, 4
"""Exit codes of the program: what was to be done failed, settings are unusable, could not verify, refused for lack of room."""


class BackupError(Exception):
    """Why a backup, a verification or a restore did not succeed.

    code: FAILED also says of a verification that the backup is damaged; UNVERIFIED that nothing is known of it.
    """

    def __init__(self, reason: str, code: int = FAILED) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


def sha256(path: str | Path) -> str:
    """Return the checksum of a file in hexadecimal digits. Raises OSError."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def checksums(directory: str | Path) -> dict[str, str]:
    """Return the checksums of all files below a directory, by their paths in it. Raises OSError."""
    root = Path(directory)
    return {str(path.relative_to(root)): sha256(path) for path in sorted(root.rglob("*")) if path.is_file()}


def directory_bytes(path: str | Path) -> int:
    """Return the size of all files below a directory, without what they point to. Files that vanish meanwhile do not count."""
    total = 0
    for place, _folders, files in os.walk(path):
        for name in files:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except FileNotFoundError:
                continue
    return total


def require_room(path: str | Path, needed: int, what: str) -> None:
    """Raise BackupError (NO_ROOM) where the file system of a path has less than `needed` bytes free, and OSError where there is no such path."""
    free = shutil.disk_usage(path).free
    if free < needed:
        raise BackupError(
            f"{what} needs {size(needed)}, but {path} has {size(free)} free. Make room there, or give it a larger volume",
            NO_ROOM,
        )


def require_files(directory: Path, files: Mapping[str, str]) -> None:
    """Raise BackupError unless the directory has these files, with these checksums, and no other."""
    present = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    if present != set(files):
        missing, strange = sorted(set(files) - present), sorted(present - set(files))
        raise BackupError(
            f"{directory} lacks {', '.join(missing) or 'nothing'}, and has {', '.join(strange) or 'nothing'} that is no part of it"
        )
    for name, digest in files.items():
        if sha256(directory / name) != digest:
            raise BackupError(f"{directory / name} is not as it was written: its checksum is another one")


def seconds_per_byte(records: Iterable[Mapping[str, Any]]) -> float | None:
    """How long a restore takes, of the newest that were measured: restores first, else verifications, which restore as well."""
    known = list(records)
    for act in ("restore", "verify"):
        done = [
            one
            for one in known
            if one["act"] == act and one["verdict"] == "ok" and one.get("bytes") and one.get("seconds")
        ]
        if done:
            return max(float(one["seconds"]) / float(one["bytes"]) for one in done[-3:])
    return None
