# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The repository of a backup host: its marker, its records, and the directories of what is kept in files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ..common.backup import SETTINGS, BackupError
from . import record as records
from . import retention
from .record import FAILED, OK, Record

MARKER = ".utmstack-backup"
PARTIAL = ".part"


class Repository:
    """What is below the directory of backups. cluster: whose it must be; anybody's where it is empty."""

    def __init__(self, directory: str | Path, cluster: str):
        self.directory = Path(directory)
        self.cluster = cluster

    def check(self) -> None:
        """Raise BackupError unless the marker says that this is the repository of this cluster. Nobody but role backup writes the marker."""
        marker = self.directory / MARKER
        try:
            said = marker.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise BackupError(
                f"{marker} can't be read ({error.strerror}), so this is not the repository, and nothing was written or deleted. Mount what belongs"
                " there, or run site.yml where the directory is new",
            ) from error
        if self.cluster and said != self.cluster:
            raise BackupError(f"{self.directory} is the repository of cluster {said}, not of {self.cluster}", SETTINGS)

    def records(self, kind: str) -> list[Record]:
        """The records of a kind, newest last. What can't be read is left out."""
        return records.read(self.directory, kind)[0]

    def kinds(self) -> list[str]:
        """The kinds that there are records of."""
        place = self.directory / "records"
        return sorted(path.name for path in place.iterdir() if path.is_dir()) if place.is_dir() else []

    def runs(self) -> list[int]:
        """When each run of any kind began."""
        return sorted(record["started"] for kind in self.kinds() for record in self.records(kind))

    def files(self, kind: str, label: str = "") -> Path:
        """Where backups of a kind are that are kept in files, or one of them."""
        return self.directory / "files" / kind / label

    def partial(self, kind: str, label: str) -> Path:
        """Where a backup is until it is whole."""
        return self.files(kind) / f".{label}{PARTIAL}"

    def clean(self, kind: str) -> list[str]:
        """Remove what killed runs have left unfinished, and return the names. Only while no other run goes on."""
        place = self.files(kind)
        left = sorted(place.glob(f".*{PARTIAL}")) if place.is_dir() else []
        for path in left:
            shutil.rmtree(path)
        return [path.name for path in left]

    def strays(self, kind: str) -> list[str]:
        """Directories of whole backups that no record tells of: a run was killed between both, or records were lost."""
        place = self.files(kind)
        known = {records.label(one) for one in self.records(kind)}
        return (
            sorted(path.name for path in place.iterdir() if path.name[0] != "." and path.name not in known)
            if place.is_dir()
            else []
        )

    def gone(self, kind: str) -> list[str]:
        """The good backups that are not there, though nothing has removed them."""
        good = retention.kept(self.records(kind))
        return [
            records.label(one) for one in good if one.get("files") and not self.files(kind, records.label(one)).is_dir()
        ]


def kept(repository: Repository, kind: str) -> list[dict[str, Any]]:
    """Return the usable backups of a kind, newest last: good ones that are there and that no verification found damaged.

    Each has kind, label, path (empty where it is not kept in files), record, verified and point.
    """
    known = repository.records(kind)
    found = retention.verified(known)
    usable = []
    for one in retention.kept(known):
        name = records.label(one)
        verdict = found.get(name, {}).get("verdict")
        path = repository.files(kind, name) if one.get("files") else None
        if verdict == FAILED or (path and not path.is_dir()):
            continue
        usable.append(
            {
                "kind": kind,
                "label": name,
                "path": str(path) if path else "",
                "record": one,
                "verified": verdict == OK,
                "point": one["point"],
            }
        )
    return usable
