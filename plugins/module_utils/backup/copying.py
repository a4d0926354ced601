# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What of a repository is copied to a remote, when a source is refused, how the copies stand, and which of them may be removed there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..common.backup import BackupError
from ..common.text import shorten, span
from . import record as records
from . import retention
from .record import COPY, EXPIRE, OK, TAKE, UNKNOWN, Record
from .remote import ENCRYPTED, SEALED
from .repository import MARKER, Repository

KIND = "copy"
CONFIGURATION = "configuration"
PGBACKREST, PGBACKREST_KIND = "pgbackrest", "postgresql"
# pgBackRest's lists of what it has are written anew with each backup, everything else once.
LISTS = ("backup.info", "backup.info.copy", "archive.info", "archive.info.copy")
UNFINISHED = ".pgbackrest.tmp"
# What of a kind's copies one run removes at most.
REMOVED_PART = 10


@dataclass
class Source:
    """The files of a repository, sizes by path in it: of the two trees at the remote, and the lists of pgBackRest."""

    encrypted: dict[str, int] = field(default_factory=dict)
    sealed: dict[str, int] = field(default_factory=dict)
    lists: dict[str, int] = field(default_factory=dict)

    def trees(self) -> dict[str, dict[str, int]]:
        """What is written once, by tree."""
        return {ENCRYPTED: self.encrypted, SEALED: self.sealed}

    def count(self) -> int:
        """How many files there are."""
        return len(self.encrypted) + len(self.sealed) + len(self.lists)

    def bytes(self) -> int:
        """How large they are."""
        return sum(sum(files.values()) for files in (self.encrypted, self.sealed, self.lists))


def at(kind: str, label: str, stanza: str = "") -> tuple[str, str]:
    """The tree at the remote and the directory in it where a backup lies. stanza: of pgBackRest."""
    if kind == CONFIGURATION:
        return SEALED, label
    return ENCRYPTED, f"{PGBACKREST}/backup/{stanza}/{label}" if kind == PGBACKREST_KIND else f"files/{kind}/{label}"


def sealed_path(path: str) -> str:
    """Where a file of the sealed configuration lies in its tree: below the time of the archive."""
    return path.removeprefix(f"files/{CONFIGURATION}/")


def source(directory: Path) -> Source:
    """What is to be copied. Left out is what is unfinished: hidden directories, and backups without a manifest. Raises OSError."""
    found = Source()
    found.encrypted[MARKER] = (directory / MARKER).stat().st_size
    for top in ("records", "files", PGBACKREST):
        for place, folders, names in os.walk(directory / top):
            here = Path(place)
            folders[:] = sorted(one for one in folders if one[0] != "." and not _unfinished(here, one, directory))
            for name in sorted(names):
                path = here / name
                if name[0] == "." or name.endswith(UNFINISHED) or path.is_symlink():
                    continue
                inside, size = str(path.relative_to(directory)), path.stat().st_size
                if top == PGBACKREST and name in LISTS:
                    found.lists[inside] = size
                elif inside.startswith(f"files/{CONFIGURATION}/"):
                    found.sealed[sealed_path(inside)] = size
                else:
                    found.encrypted[inside] = size
    return found


def _unfinished(here: Path, name: str, directory: Path) -> bool:
    """Whether a directory is a backup of pgBackRest's that never was completed."""
    inside = here.relative_to(directory).parts
    backups = len(inside) == 3 and inside[:2] == (PGBACKREST, "backup")
    return backups and name[:1].isdigit() and not (here / name / "backup.manifest").is_file()


def require_source(
    repository: Repository,
    kinds: Mapping[str, Mapping[str, Any]],
    found: Source,
    there: Iterable[str],
    pruned: float,
) -> None:
    """Raise BackupError where the source has lost something that nothing has removed.

    Each record that was copied must be here, but those from before `pruned`, which may be too old; and each backup that the records keep.
    there: the paths at the remote. pruned: in seconds since 1970.
    """
    oldest = records.stamp(pruned)
    copied = [path for path in there if path.startswith("records/") and path.rsplit("/", 1)[1] >= oldest]
    missing = sorted(set(copied) - set(found.encrypted))
    if missing:
        raise BackupError(
            f"{len(missing)} of the {len(copied)} records at the remote, such as {missing[0]}, are not in {repository.directory}: it was emptied, or"
            " another one was copied there. Nothing was copied. Mount what belongs there; where this host is new, run"
            " playbooks/restore_copy.yml, or set another place at the remote"
        )
    gone = [f"{kind} {label}" for kind, spec in kinds.items() for label in lost(repository, kind, spec)]
    if gone:
        raise BackupError(
            f"{repository.directory} lacks backups that nothing has removed: {', '.join(gone[:5])}. Nothing was copied. Bring them back from the remote,"
            " or give them up on this host: backup.py KIND forget"
        )


def lost(repository: Repository, kind: str, spec: Mapping[str, Any]) -> list[str]:
    """The good backups of a kind that are not there, though nothing has removed them. spec: its part of the program's settings."""
    settings = spec.get("settings", {})
    if kind != PGBACKREST_KIND or not settings.get("repository"):
        return repository.gone(kind)
    backups = Path(settings["repository"]) / "backup" / settings["stanza"]
    labels = [records.label(one) for one in retention.kept(repository.records(kind))]
    return [label for label in labels if not (backups / label / "backup.manifest").is_file()]


def changed(files: Mapping[str, int], there: Mapping[str, int]) -> list[str]:
    """Which files the remote has in another size, though each is written once."""
    return sorted(path for path, size in files.items() if path in there and there[path] != size)


def labels_at(kind: str, trees: Mapping[str, Iterable[str]]) -> set[str]:
    """The backups of a kind that the remote has, by its paths in both trees."""
    if kind == CONFIGURATION:
        return {path.split("/")[0] for path in trees[SEALED] if "/" in path}
    start = f"files/{kind}/"
    return {path.removeprefix(start).split("/")[0] for path in trees[ENCRYPTED] if path.startswith(start)}


def expire(
    known: Sequence[Record],
    at_remote: set[str],
    now: float,
    days: int,
    depends: Any,
    clock: Iterable[float],
    pause_s: float,
) -> retention.Decision:
    """Decide which backups may be removed at the remote, by the rule of retention, as if the remote were a repository with retention of its own.

    known: records of the kind. What is kept here stays there, and a run removes a tenth of what is there at most.
    """
    here = {records.label(one) for one in retention.kept(known)}
    view = [one for one in known if one["act"] != EXPIRE and (one["act"] != TAKE or records.label(one) in at_remote)]
    decision = retention.expire(view, now, days, depends, clock, pause_s)
    doomed = [label for label in decision.remove if label not in here]
    return retention.Decision(doomed[: max(1, len(at_remote) // REMOVED_PART)], decision.refusal)


def judge(known: Sequence[Record], remote: Mapping[str, Any], now: float, host: str) -> dict[str, Any]:
    """Return how the copies stand, as verdict.judge does of a kind. known: the records of copies, newest last."""
    runs = records.of(known, COPY)
    good = records.of(known, COPY, OK)
    last, newest = (runs[-1] if runs else None), (good[-1] if good else None)
    row: dict[str, Any] = {
        "title": remote["title"],
        "point": records.moment(newest) if newest else None,
        "age_s": max(0, int(now - records.moment(newest))) if newest else None,
        "bytes": newest["bytes"] if newest else None,
        "files": newest["manifest"].get("files") if newest else None,
        "seconds": newest["seconds"] if newest else None,
        "copy": last["verdict"] if last else UNKNOWN,
    }
    again = "playbooks/backup.yml -e kind=copy"
    faults = []
    if last is None:
        faults.append(f"nothing was copied to {remote['title']} yet. Run {again}")
    elif last["verdict"] != OK:
        faults.append(
            f"the last copy is {last['verdict']} ({shorten(last['reason'], 400)}). See `journalctl -u utmstack-backup-copy` on {host}, and run {again}"
        )
    elif last["reason"]:
        faults.append(last["reason"])
    if last and newest is None:
        faults.append("no copy was ever good")
    elif newest and row["age_s"] > remote["stale_s"]:
        faults.append(
            f"the last good copy is {span(row['age_s'])} old, more than {span(remote['stale_s'])}. See `systemctl list-timers"
            f" utmstack-backup-copy.timer` on {host}, and run {again}"
        )
    verdict = row["copy"] if row["copy"] != OK else UNKNOWN if faults else OK
    return {**row, "verdict": verdict, "problems": [f"remote copy: {fault}" for fault in faults]}
