# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Copies the repository of a backup host to a remote and has the copy compared, and brings it back into an empty repository."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..common.backup import UNVERIFIED, BackupError, require_files, require_room
from ..common.directories import make
from ..services.registry import backups
from . import copying, retention, worker
from . import record as records
from .lock import alone
from .record import COPY, OK, Record
from .remote import ENCRYPTED, SEALED, Remote
from .repository import Repository

LOCK_REMEDY = ". See `systemctl list-units 'utmstack-backup*'`"
# How often what the remote has is read back, at least what is newest.
DOWNLOAD_S = 30 * 86400


class Copier:
    """The acts of a remote. settings: those of the program. now: the clock."""

    def __init__(self, settings: Mapping[str, Any], repository: Repository, remote: Remote, now: Callable[[], float]):
        self.settings, self.repository, self.remote, self.now = settings, repository, remote, now

    def copy(self, _kind: str, record: Record) -> None:
        """Copy what is new, have all copies compared, and remove at the remote what its own retention no longer keeps. Raises BackupError."""
        remote = self.remote
        directory, kinds = self.repository.directory, self.settings["kinds"]
        remote.reach(self.settings["cluster"])
        there = {tree: remote.files(tree) for tree in (ENCRYPTED, SEALED)}
        stage = Path(self.settings["scratch_directory"]) / copying.KIND
        if stage.exists():
            shutil.rmtree(stage)
        try:
            with alone(Path(self.settings["lock_file"]), self.settings["lock_wait_s"], LOCK_REMEDY):
                self.repository.check()
                now, found = self.now(), copying.source(directory)
                pruned = now - retention.record_s(self.settings["record_days"])
                copying.require_source(self.repository, kinds, found, there[ENCRYPTED], pruned)
                self._require_new(there)
                make(stage, 0o700)
                for path in found.lists:
                    make((stage / path).parent, 0o700)
                    shutil.copyfile(directory / path, stage / path)
            places = {ENCRYPTED: directory, SEALED: self.repository.files(copying.CONFIGURATION)}
            other = [path for tree, files in found.trees().items() for path in copying.changed(files, there[tree])]
            if other:
                raise BackupError(
                    f"{len(other)} files have another size at the remote, such as {other[0]}. Nothing was copied. Have the repository verified"
                    " (playbooks/verify_backup.yml), and remove at the remote by hand what is damaged there"
                )
            new = {tree: [path for path in files if path not in there[tree]] for tree, files in found.trees().items()}
            for tree, paths in new.items():
                remote.copy(places[tree], tree, paths)
            # Last, so that they never tell of a backup that is not there.
            remote.copy(stage, ENCRYPTED, found.lists, replace=True)
            self._compare(record, found, new, places, stage)
        finally:
            if stage.exists():
                shutil.rmtree(stage)
        record["source"], record["point"], record["bytes"] = remote.title, {"time": int(now)}, found.bytes()
        trees = {tree: {*there[tree], *files} for tree, files in found.trees().items()}
        record["manifest"] = {"files": found.count(), "new": sum(map(len, new.values()))}
        self._expire(record, trees)

    def _require_new(self, there: Mapping[str, Mapping[str, int]]) -> None:
        """Nothing damaged is copied as good: what is new must be as its record says."""
        for kind in self.settings["kinds"]:
            for one in retention.kept(self.repository.records(kind)):
                label = records.label(one)
                tree, path = copying.at(kind, label)
                if any(f"{path}/{name}" not in there[tree] for name in one.get("files") or ()):
                    require_files(self.repository.files(kind, label), one["files"])

    def _compare(self, record, found, new, places, stage) -> None:
        """Have all copies compared by their checksums; from time to time, and where there are none, also what is newest by reading it back."""
        remote, wrong, unknown, compared = self.remote, [], 0, 0
        for tree, files in found.trees().items():
            # What retention has removed here meanwhile is no longer compared.
            paths = [path for path in files if (places[tree] / path).exists()]
            differing, without = remote.differing(places[tree], tree, paths)
            wrong, unknown, compared = wrong + differing, unknown + without, compared + len(paths)
        differing, without = remote.differing(stage, ENCRYPTED, found.lists)
        wrong, unknown, compared = wrong + differing, unknown + without, compared + len(found.lists)
        record["checks"]["compared"] = f"{compared} files are at the remote as they are here" + (
            f", {unknown} of them by their sizes alone" if unknown else ""
        )
        read = self._to_read(found, new)
        if not wrong and any(read.values()):
            for tree, paths in read.items():
                wrong += remote.differing(places[tree], tree, paths, download=True)[0]
            wrong += remote.differing(stage, ENCRYPTED, found.lists, download=True)[0]
            record["checks"]["read back"] = f"{sum(map(len, read.values())) + len(found.lists)} files"
        if wrong:
            raise BackupError(f"{len(wrong)} files are not at the remote as they are here: {', '.join(wrong[:5])}")

    def _to_read(self, found, new) -> dict[str, list[str]]:
        """What is read back: where the remote knows no checksums what is new, and from time to time the newest backup of each kind."""
        newest: dict[str, tuple[str, ...]] = {ENCRYPTED: (), SEALED: ()}
        done = records.of(self.repository.records(copying.KIND), COPY, OK)
        if not any("read back" in one["checks"] and one["started"] > self.now() - DOWNLOAD_S for one in done):
            for kind in self.settings["kinds"]:
                good = retention.kept(self.repository.records(kind))
                if good:
                    tree, path = copying.at(kind, records.label(good[-1]), self.settings["cluster"])
                    newest[tree] += (f"{path}/",)
        fresh = {tree: set() if self.remote.hashes() else set(paths) for tree, paths in new.items()}
        return {
            tree: [path for path in files if path.startswith(newest[tree]) or path in fresh[tree]]
            for tree, files in found.trees().items()
        }

    def _expire(self, record: Record, trees: Mapping[str, set[str]]) -> None:
        """Remove at the remote what is older than its own retention keeps, of the kinds that are files. That it can't be is told, and no failure."""
        days, record["removed"] = self.settings["remote"]["days"], {}
        if not days:
            return
        clock = self.repository.runs()
        for kind in self.settings["kinds"]:
            backup = backups()[kind]
            if not backup.files:
                continue
            there = copying.labels_at(kind, trees)
            decision = copying.expire(
                self.repository.records(kind),
                there,
                self.now(),
                days,
                backup.depends,
                clock,
                self.settings["kinds"][kind]["stale_s"],
            )
            for label in decision.remove:
                tree, path = copying.at(kind, label)
                try:
                    self.remote.remove(tree, path)
                except BackupError as error:
                    record["reason"] = (
                        f"{kind} {label} could not be removed at the remote: {error.reason}. Where its credentials are not to remove anything, set"
                        " backup_remote_days to 0"
                    )
                    return
                record["removed"].setdefault(kind, []).append(label)

    def fetch(self, _kind: str, record: Record) -> None:
        """Bring a copy back into a repository that has nothing else. What was fetched before is not fetched again. Raises BackupError."""
        remote = self.remote
        there = {tree: remote.files(tree) for tree in (ENCRYPTED, SEALED)}
        copied = [path for path in there[ENCRYPTED] if path.startswith("records/")]
        if not copied:
            raise BackupError(
                f"the remote {remote.title} has no copy of this host in {remote.base}. Correct backup_remote_path",
                UNVERIFIED,
            )
        directory = self.repository.directory
        own = [path for path in copying.source(directory).encrypted if path.startswith("records/")]
        foreign = [
            path for path in own if path not in there[ENCRYPTED] and not path.startswith(f"records/{copying.KIND}/")
        ]
        if foreign:
            raise BackupError(
                f"{directory} has records of its own that the remote has not, such as {foreign[0]}. Nothing was fetched. Have an empty directory first"
            )
        here = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
        needed = sum(sum(files.values()) for files in there.values())
        require_room(directory, max(0, needed - here), "The copy at the remote")
        sealed = self.repository.files(copying.CONFIGURATION)
        remote.fetch(ENCRYPTED, directory)
        remote.fetch(SEALED, sealed)
        for tree, place in ((ENCRYPTED, directory), (SEALED, sealed)):
            wrong = [
                path
                for path, length in there[tree].items()
                if not (place / path).is_file() or (place / path).stat().st_size != length
            ]
            if wrong:
                raise BackupError(f"{len(wrong)} files did not come whole, such as {wrong[0]}. Start it again")
        self._own()
        for kind in self.settings["kinds"]:
            for one in retention.kept(self.repository.records(kind)):
                label = records.label(one)
                if one.get("files") and copying.labels_at(kind, there) >= {label}:
                    require_files(self.repository.files(kind, label), one["files"])
        record |= {"source": remote.title, "bytes": needed, "manifest": {"files": sum(map(len, there.values()))}}

    def _own(self) -> None:
        """Give what was fetched to the accounts that verify it: rclone keeps neither owners nor modes."""
        tops = [(self.repository.files(kind), spec["account"], 0o711) for kind, spec in self.settings["kinds"].items()]
        postgresql = self.settings["kinds"].get(copying.PGBACKREST_KIND)
        if postgresql:
            tops.append((self.repository.directory / copying.PGBACKREST, postgresql["account"], 0o750))
        for top, account, mode in tops:
            if not top.is_dir():
                continue
            entry = worker.account(account) if os.geteuid() == 0 else None
            for place, folders, names in os.walk(top):
                for name in [*folders, *names]:
                    path = Path(place) / name
                    path.chmod(
                        (0o750 if mode == 0o750 else 0o700) if path.is_dir() else (0o640 if mode == 0o750 else 0o600)
                    )
                    if entry:
                        os.chown(path, entry.pw_uid, entry.pw_gid)
            top.chmod(mode)
            if entry and mode == 0o750:
                os.chown(top, entry.pw_uid, entry.pw_gid)
