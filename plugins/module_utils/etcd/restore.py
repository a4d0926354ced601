# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Puts data made of a snapshot into the place of a member's, whole or not at all; what was there stays beside it.

What was restored carries the label of its backup in a file, until the restore is done on all members. It is written before the data come to
their place, so a second run sees what the first one did.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from ..common import directories
from ..common.backup import BackupError, sha256
from . import backup

MARK, PARTIAL, COPY = "restore.json", ".restoring", ".before-restore-"


def look(data: str) -> dict[str, Any]:
    """Return what there is: label of an unfinished restore, data, free bytes, safety copies, whether revisions can be bumped."""
    place = Path(data)
    there = next(parent for parent in (place, *place.parents) if parent.exists())
    usage = os.statvfs(there)
    return {
        "label": label(place),
        "data": (place / "member").is_dir(),
        "free": usage.f_bavail * usage.f_frsize,
        "safety": sorted(str(path) for path in place.parent.glob(f"{place.name}{COPY}*"))
        if place.parent.is_dir()
        else [],
    }


def label(place: Path) -> str:
    """Return the label of the backup that the data were made of by a restore that is not done; empty where there is none."""
    try:
        return str(json.loads((place / MARK).read_text(encoding="utf-8"))["label"])
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{place / MARK} can't be read: {error}") from error


def put(
    data: str, snapshot: str, digest: str, of: str, stamp: str, member: dict[str, str], owner: tuple[int, int]
) -> dict:
    """Restore a member, and return the path of the safety copy (empty where there was nothing) and whether revisions were bumped.

    digest: the snapshot's checksum in the backup's record. of: the backup's label. stamp: part of the safety copy's name.
    member: name, peer_url, token and initial_cluster. owner: user and group of the data. etcd must not run. Raises BackupError, OSError.
    """
    place = Path(data)
    fresh, copy = Path(data + PARTIAL), Path(data + COPY + stamp)
    if sha256(snapshot) != digest:
        raise BackupError(f"{snapshot} is not what was backed up: its checksum is another one")
    if fresh.exists():
        # Of a run that was killed.
        shutil.rmtree(fresh)
    directories.make(place.parent)
    bumped = backup.restore(
        Path(snapshot), fresh, member["name"], member["peer_url"], member["token"], member["initial_cluster"], bump=True
    )
    (fresh / MARK).write_text(json.dumps({"label": of}), encoding="utf-8")
    fresh.chmod(0o700)
    for path in [fresh, *fresh.rglob("*")]:
        os.chown(path, *owner)
    for path in [*fresh.rglob("*"), fresh]:
        _sync(path)
    kept = ""
    if place.exists() and any(place.iterdir()):
        if copy.exists():
            raise BackupError(f"{copy} is there already, and a safety copy is never written over. Start again")
        os.rename(place, copy)
        kept = str(copy)
    elif place.exists():
        place.rmdir()
    os.rename(fresh, place)
    _sync(place.parent)
    return {"safety_copy": kept, "bumped": bumped}


def finish(data: str) -> None:
    """Have the data count as any other's."""
    (Path(data) / MARK).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
