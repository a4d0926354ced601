# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The program of backup hosts: backup.py KIND take|verify|expire|forget, backup.py all guard|copy|fetch|reach.

Whatever happens, a run that has begun leaves a record; one that is killed leaves nothing that looks like a backup. Exit codes: common/backup.py.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..common.backup import (
    FAILED,
    NO_ROOM,
    SETTINGS,
    UNVERIFIED,
    BackupError,
    directory_bytes,
    require_files,
    require_room,
)
from ..common.directories import make
from ..common.text import size
from ..services.registry import backups
from . import copying, estimate, metrics, retention, verdict, worker
from . import record as records
from .copier import LOCK_REMEDY, Copier
from .kinds import KINDS
from .lock import alone
from .record import COPY, EXPIRE, FETCH, OK, TAKE, UNKNOWN, VERIFY, Record
from .remote import Remote
from .repository import Repository

SETTINGS_FILE = "/etc/utmstack-ha/backup.json"
STATE_FILE = "/run/utmstack-ha/backup-guard.json"
GUARD, REACH, FORGET = "guard", "reach", "forget"
# What is of the whole repository, not of one kind.
ALL = (GUARD, COPY, FETCH, REACH)
USAGE = f"Usage: backup.py {'|'.join(KINDS)} take|verify|expire|forget, or backup.py all {'|'.join(ALL)}"


class Program:
    """One run, with the settings that role backup has written. now: the clock; say: where sentences go."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        now: Callable[[], float] = time.time,
        say: Callable[[str], None] | None = None,
    ):
        self.settings = settings
        self.now, self.say = now, say or _say
        self.host = settings["host"]
        self.repository = Repository(settings["directory"], settings["cluster"])

    def run(self, kind: str, act: str) -> int:
        """Do one act of one kind, and return the exit code."""
        if act == GUARD:
            return self.guard()
        if act in ALL:
            return self._with_remote(act)
        if kind not in self.settings["kinds"] or kind not in KINDS:
            self.say(f"There is no kind {kind}, or backup_kinds leaves it out. {USAGE}")
            return SETTINGS
        acts = {TAKE: self._take, VERIFY: self._verify, EXPIRE: self._expire, FORGET: self._forget}
        try:
            with alone(Path(self.settings["lock_file"]), self.settings["lock_wait_s"], LOCK_REMEDY):
                self.repository.check()
                for name in self.repository.clean(kind):
                    self.say(f"{kind}: removed {name}, which a killed run has left")
                code = self._recorded(kind, EXPIRE if act == FORGET else act, acts[act])
                if act == TAKE and code == 0:
                    # What is too old goes where it may. Whether it went is no part of whether there is a backup.
                    self._recorded(kind, EXPIRE, self._expire)
                self._prune(kind)
        except BackupError as error:
            self.say(f"{kind}: {error.reason}")
            code = error.code
        except OSError as error:
            self.say(f"{kind}: {error}")
            code = FAILED
        self._measure()
        return code

    # -- one act ------------------------------------------------------------------------------------------------------

    def _recorded(self, kind: str, act: str, do: Callable[[str, Record], None]) -> int:
        """Do an act and write its record, also where this process is told to end. Returns the exit code."""
        begin, clock = self.now(), time.monotonic()
        record = records.new(self.settings["cluster"], kind, act, self.host, begin)
        code = 0
        try:
            do(kind, record)
            record["verdict"] = OK
        except BackupError as error:
            code = error.code
            record |= {"verdict": _verdict(act, code), "reason": error.reason}
        except OSError as error:
            code = FAILED
            record |= {"verdict": _verdict(act, UNVERIFIED), "reason": str(error)}
        except SystemExit:
            record |= {"verdict": _verdict(act, UNVERIFIED), "reason": "it was told to end before it was done"}
            code = FAILED
        record["seconds"] = round(time.monotonic() - clock, 3)
        if act == EXPIRE and record["verdict"] == OK and not record["removed"] and not self._refused(kind):
            return code
        records.seal(self.repository.directory, record)
        what = f"{kind}: {act} {record['verdict']}"
        facts = [record["label"], size(record["bytes"]), f"{record['seconds']:g} s"]
        self.say(f"{what}: {record['reason']}" if record["reason"] else ", ".join([what, *filter(None, facts)]))
        return code

    def _take(self, kind: str, record: Record) -> None:
        backup, known = backups()[kind], self.repository.records(kind)
        newest = 0 if backup.elsewhere else (retention.kept(known) or [{"bytes": 0}])[-1]["bytes"]
        self._reserve(int(newest * 1.2), kind)
        label = records.stamp(record["started"])
        place = self.repository.partial(kind, label) if backup.files else self._scratch(kind, TAKE)
        self._make(place, kind)
        try:
            given = {**self._given(kind), "records": known}
            facts = self._worker(kind, lambda: KINDS[kind].take(given, place))
            record |= facts
            if backup.files:
                require_files(place, record["files"])
                record["label"] = label
                _sync(place)
                whole = self.repository.files(kind, label)
                if whole.exists():
                    raise BackupError(f"{whole} is there already. Is the clock right?")
                os.rename(place, whole)
        finally:
            if place.exists():
                shutil.rmtree(place)

    def _verify(self, kind: str, record: Record) -> None:
        backup = backups()[kind]
        good = retention.kept(self.repository.records(kind))
        if not good:
            raise BackupError(f"there is no good backup. Run playbooks/backup.yml -e kind={kind}", UNVERIFIED)
        newest = good[-1]
        label = records.label(newest)
        record |= {"label": label, "source": newest["source"], "point": newest["point"], "bytes": newest["bytes"]}
        directory = self.repository.files(kind, label)
        if backup.files:
            if not directory.is_dir():
                raise BackupError(f"{directory} is gone")
            require_files(directory, newest["files"])
        disk, memory = backup.scratch(newest["bytes"])
        scratch = self._scratch(kind, VERIFY)
        self._make(scratch, kind)
        try:
            require_room(scratch, disk, f"The verification of {kind}")
            _require_memory(memory, f"The verification of {kind}")
            given = {**self._given(kind), "records": self.repository.records(kind), "record": newest, "label": label}
            fetch = getattr(KINDS[kind], "fetch", None)
            if fetch:
                self._worker(kind, lambda: fetch(given, directory, scratch))
            found = self._worker(kind, lambda: KINDS[kind].verify(given, directory, scratch), backup.isolated)
            record |= found
        finally:
            shutil.rmtree(scratch)

    def _expire(self, kind: str, record: Record) -> None:
        backup, record["removed"] = backups()[kind], []
        known = self.repository.records(kind)
        days = self.settings["kinds"][kind]["retention_days"]
        decision = retention.expire(
            known, self.now(), days, backup.depends, self.repository.runs(), self.settings["kinds"][kind]["stale_s"]
        )
        if decision.refusal:
            raise BackupError(decision.refusal, UNVERIFIED)
        if not decision.remove:
            return
        if backup.files:
            for label in decision.remove:
                place = self.repository.files(kind, label)
                if place.exists():
                    # From then on it is no backup, even where its removal is interrupted.
                    gone = self.repository.partial(kind, label)
                    os.rename(place, gone)
                    shutil.rmtree(gone)
                record["removed"].append(label)
        else:
            given = {**self._given(kind), "records": known}
            self._worker(kind, lambda: KINDS[kind].expire(given, decision.remove))
            record["removed"] = decision.remove

    def _refused(self, kind: str) -> bool:
        """Whether the last record of what is too old says that it could not go, which would be told for ever."""
        expires = records.of(self.repository.records(kind), EXPIRE)
        return bool(expires) and expires[-1]["verdict"] != OK

    def _prune(self, kind: str) -> None:
        """Remove the records that nobody needs any more."""
        old = retention.superfluous(
            self.repository.records(kind),
            self.now(),
            self.settings["record_days"],
            self.repository.runs(),
            self.settings["kinds"][kind]["stale_s"],
        )
        records.remove(self.repository.directory, kind, old)
        if old:
            self.say(f"{kind}: removed {len(old)} old records")

    def _forget(self, kind: str, record: Record) -> None:
        """Record that backups which are gone are given up."""
        record["removed"] = copying.lost(self.repository, kind, self.settings["kinds"][kind])
        record["checks"] = {"forgotten": "they were gone, and were given up by hand"}
        if not record["removed"]:
            self.say(f"{kind}: no backup is gone, so none was given up")

    # -- the remote -----------------------------------------------------------------------------------------------------

    def _with_remote(self, act: str) -> int:
        """Copy the repository to the remote, bring it back from there, or look whether the remote can be used. Returns the exit code."""
        if not self.settings.get("remote"):
            self.say("This host has no remote. Set backup_remote, and run site.yml")
            return SETTINGS
        remote = Remote(self.settings["remote"])
        lock = Path(self.settings["lock_file"])
        try:
            self.repository.check()
            if act == REACH:
                remote.reach(self.settings["cluster"])
                return 0
            copier = Copier(self.settings, self.repository, remote, self.now)
            if act == FETCH:
                with alone(lock, self.settings["lock_wait_s"], LOCK_REMEDY):
                    code = self._recorded(copying.KIND, FETCH, copier.fetch)
            else:
                # Of its own, so that a copy over a slow line keeps no backup waiting.
                with alone(lock.with_name(f"{lock.name}.copy"), 0, LOCK_REMEDY):
                    code = self._recorded(copying.KIND, COPY, copier.copy)
        except BackupError as error:
            self.say(f"remote copy: {error.reason}")
            code = error.code
        except OSError as error:
            self.say(f"remote copy: {error}")
            code = FAILED
        self._measure()
        return code

    # -- watching -----------------------------------------------------------------------------------------------------

    def guard(self) -> int:
        """Look at everything without changing anything in the repository, and write the metrics."""
        state, code = _state(self.settings.get("state_file", STATE_FILE)), 0
        for kind, module in KINDS.items():
            if kind not in self.settings["kinds"] or not hasattr(module, "guard"):
                continue
            previous, given = state.get(kind, {}), self._given(kind)
            try:
                state[kind] = self._worker(kind, lambda: module.guard(given, previous))  # noqa: B023 (called at once)
            except BackupError as error:
                state[kind] = {**previous, "problems": [error.reason]}
            state[kind]["time"] = self.now()
            if state[kind].get("problems"):
                code = FAILED
        _replace(Path(self.settings.get("state_file", STATE_FILE)), json.dumps(state))
        self._measure(state)
        return code

    def look(self) -> dict[str, Any]:
        """Return how all kinds stand, each with its own problems, and what is wrong beside. For status and metrics.

        Raises BackupError where the repository can't be looked at.
        """
        self.repository.check()
        now, rows, problems, copies = self.now(), [], [], []
        for kind, spec in self.settings["kinds"].items():
            known, faults = records.read(self.repository.directory, kind)
            row = verdict.judge(kind, spec, known, now, self.host)
            strays = self.repository.strays(kind)
            if strays:
                faults.append(
                    f"no record tells of {', '.join(strays)} in {self.repository.files(kind)}. Remove it, where it is not wanted"
                )
            faults += [
                f"the backup {label} is gone from {self.repository.files(kind)}" for label in self.repository.gone(kind)
            ]
            row["problems"] += [f"{kind}: {fault}" for fault in faults]
            rows.append(row)
            left, forgotten = verdict.safety(known, now)
            copies += left
            problems += forgotten
        usage = shutil.disk_usage(self.repository.directory)
        here = [row for row in rows if not backups()[row["kind"]].elsewhere]
        problems += verdict.room(
            usage.free, usage.total, self.settings["reserve_percent"], here, str(self.repository.directory)
        )
        remote = self.settings.get("remote")
        copy = copying.judge(self.repository.records(copying.KIND), remote, now, self.host) if remote else {}
        guarded = _state(self.settings.get("state_file", STATE_FILE))
        problems += copy.pop("problems", [])
        problems += [f"{kind}: {text}" for kind, one in guarded.items() for text in one.get("problems", [])]
        return {
            "kinds": rows,
            "remote_copy": copy,
            "safety": copies,
            "free": usage.free,
            "total": usage.total,
            "guard": guarded,
            "problems": problems,
        }

    def estimate(self) -> dict[str, Any]:
        """Return what each kind will need, as estimate() has it, and how much all that is kept here takes now.

        Raises BackupError where the repository can't be looked at, and OSError.
        """
        self.repository.check()
        rows, now = [], self.now()
        for kind, spec in self.settings["kinds"].items():
            grows = KINDS[kind].grows(self._given(kind), now) if hasattr(KINDS[kind], "grows") else None
            known = self.repository.records(kind)
            rows.append(estimate.estimate(kind, spec, known, now, grows, backups()[kind].elsewhere))
        return {"estimate": rows, "used": directory_bytes(self.repository.directory)}

    def _measure(self, state: Mapping[str, Any] | None = None) -> None:
        state = _state(self.settings.get("state_file", STATE_FILE)) if state is None else state
        more: dict[str, dict[str, float]] = {}
        for one in state.values():
            for name, values in one.get("metrics", {}).items():
                more.setdefault(name, {}).update(values)
        try:
            seen = self.look()
            content = metrics.text(seen["kinds"], seen["free"], more, seen["remote_copy"])
        except BackupError:
            content = metrics.text([], None, more)
        try:
            metrics.write(self.settings["metrics_directory"], content)
        except OSError as error:
            self.say(f"The metrics could not be written: {error}")

    # -- what all acts need ---------------------------------------------------------------------------------------------

    def _given(self, kind: str) -> dict[str, Any]:
        own = self.settings["kinds"][kind]["settings"]
        return {**own, "cluster": self.settings["cluster"], "host": self.host, "directory": self.settings["directory"]}

    def _worker(self, kind: str, work: Callable[[], Any], isolated: bool = False) -> Any:
        own = self.settings["kinds"][kind]
        return worker.do(work, own["account"], own["limit_s"], isolated)

    def _scratch(self, kind: str, act: str) -> Path:
        """A directory that is empty, also after a run that was killed."""
        place = Path(self.settings["scratch_directory"]) / f"{kind}-{act}"
        if place.exists():
            shutil.rmtree(place)
        return place

    def _make(self, place: Path, kind: str) -> None:
        make(place.parent, 0o711)
        make(place, 0o700)
        if os.geteuid() == 0:
            entry = worker.account(self.settings["kinds"][kind]["account"])
            os.chown(place, entry.pw_uid, entry.pw_gid)

    def _reserve(self, needed: int, kind: str) -> None:
        usage = shutil.disk_usage(self.repository.directory)
        reserve = int(usage.total * self.settings["reserve_percent"] / 100)
        require_room(
            self.repository.directory,
            needed + reserve,
            f"One more backup of {kind}, with the reserve of {size(reserve)},",
        )


def _verdict(act: str, code: int) -> str:
    """No backup is a failure, whatever the reason. A verification that could not be is not one that found damage."""
    if act == TAKE or code == FAILED:
        return records.FAILED
    return UNKNOWN


def _sync(directory: Path) -> None:
    """Have everything on the disk before it counts."""
    for path in [*directory.rglob("*"), directory]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _require_memory(needed: int, what: str) -> None:
    with open("/proc/meminfo", encoding="ascii") as file:
        said = dict(line.split(":", 1) for line in file)
    free = int(said["MemAvailable"].split()[0]) * 1024
    if free < needed:
        raise BackupError(f"{what} needs {size(needed)} of memory, but this host has {size(free)} available", NO_ROOM)


def _state(path: str) -> dict[str, Any]:
    """What guards have found out last; nothing where there is nothing, or nothing that can be read."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _replace(path: Path, content: str) -> None:
    make(path.parent)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(content, encoding="utf-8")
    os.replace(fresh, path)


def load(path: str) -> dict[str, Any]:
    """Return the settings. Raises BackupError where they can't be used."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        missing = {
            "cluster",
            "host",
            "directory",
            "scratch_directory",
            "kinds",
            "lock_file",
            "lock_wait_s",
            "record_days",
            "reserve_percent",
        } - set(found)
    except (OSError, ValueError, TypeError) as error:
        raise BackupError(f"The settings {path} can't be read: {error}", SETTINGS) from error
    if missing:
        raise BackupError(f"The settings {path} lack {', '.join(sorted(missing))}. Run site.yml", SETTINGS)
    return found


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _terminated(*_unused: Any) -> None:
    raise SystemExit(FAILED)


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says, and return the exit code."""
    if len(arguments) != 2 or arguments[1] not in (TAKE, VERIFY, EXPIRE, FORGET, *ALL):
        sys.stderr.write(f"{USAGE}\n")
        return SETTINGS
    signal.signal(signal.SIGTERM, _terminated)
    os.umask(0o022)
    try:
        program = Program(load(os.environ.get("UTMSTACK_BACKUP_SETTINGS", SETTINGS_FILE)))
    except BackupError as error:
        sys.stderr.write(f"{error.reason}\n")
        return error.code
    return program.run(*arguments)
