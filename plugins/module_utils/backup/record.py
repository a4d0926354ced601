# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Records: one JSON file for each run of a backup, a verification, a copy or a restore, written once and never changed; one that nobody
needs any more is removed (retention.superfluous).

They are all that status, metrics, retention and the history of restore times go by. A record's time is what its content says; the time of the
file means nothing.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..common.directories import make

VERSION = 1
OK, FAILED, UNKNOWN = "ok", "failed", "unknown"
TAKE, VERIFY, EXPIRE, COPY, FETCH, RESTORE, GUARD = "take", "verify", "expire", "copy", "fetch", "restore", "guard"

Record = dict[str, Any]


def stamp(moment: float) -> str:
    """Return a time as names of records and backups have it: UTC, to the second."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(moment))


def new(cluster: str, kind: str, act: str, host: str, started: float) -> Record:
    """Return a record of a run that has begun; until it has ended well, nothing is known of it."""
    return {
        "version": VERSION,
        "cluster": cluster,
        "kind": kind,
        "act": act,
        "verdict": UNKNOWN,
        "reason": "",
        "host": host,
        "source": "",
        "started": int(started),
        "seconds": 0.0,
        "label": "",
        "point": {},
        "bytes": 0,
        "files": {},
        "needs": [],
        "manifest": {},
        "checks": {},
        "software": {},
    }


def directory(repository: str | Path, kind: str) -> Path:
    """Return where the records of a kind are."""
    return Path(repository) / "records" / kind


def seal(repository: str | Path, record: Mapping[str, Any]) -> Path:
    """Write a record, whole or not at all, and return its path. One that is there is never written over. Raises OSError."""
    place = directory(repository, record["kind"])
    make(place, 0o750)
    moment = record["started"]
    while True:
        path = place / f"{stamp(moment)}-{record['act']}.json"
        unfinished = place / f".{path.name}.{os.getpid()}"
        with open(unfinished, "w", encoding="utf-8") as file:
            json.dump(record, file, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(unfinished, path)
        except FileExistsError:
            # Two runs within one second.
            moment += 1
            continue
        except OSError:
            # A file system without hard links. One run at a time writes here, so nobody has made it meanwhile.
            if path.exists():
                moment += 1
                continue
            os.rename(unfinished, path)
            return path
        finally:
            unfinished.unlink(missing_ok=True)
        return path


def read(repository: str | Path, kind: str) -> tuple[list[Record], list[str]]:
    """Return the records of a kind, newest last, and what could not be read as one, as sentences."""
    found, faults = [], []
    place = directory(repository, kind)
    for path in sorted(place.glob("[!.]*.json")) if place.is_dir() else []:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if (
                not isinstance(record, dict)
                or record.get("kind") != kind
                or record["verdict"] not in (OK, FAILED, UNKNOWN)
            ):
                raise ValueError("it is no record of this kind")
            found.append({**record, "started": int(record["started"]), "name": path.name})
        except (OSError, ValueError, KeyError, TypeError) as error:
            faults.append(f"the record {path} can't be read: {error}")
    return sorted(found, key=lambda record: (record["started"], record["name"])), faults


def remove(repository: str | Path, kind: str, names: Iterable[str]) -> None:
    """Remove records of a kind, in this order. Raises OSError."""
    for name in names:
        (directory(repository, kind) / name).unlink(missing_ok=True)


def of(records: Iterable[Record], act: str, verdict: str = "") -> list[Record]:
    """Return the records of an act, and of a verdict where one is given, in their order."""
    return [one for one in records if one["act"] == act and verdict in ("", one["verdict"])]


def moment(record: Mapping[str, Any]) -> int:
    """Return up to when a backup has everything; where its content does not say, when it began."""
    return int(record.get("point", {}).get("time") or record["started"])


def label(record: Mapping[str, Any]) -> str:
    """Return what a backup is called: its label, or the time at which it began."""
    return record.get("label") or stamp(record["started"])
