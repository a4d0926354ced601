# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The work of a restore of PostgreSQL on a host, outside of Patroni: Patroni would take away what says where the recovery ends.

DIRECTORY.restore has `request.json`, what is asked for, and `data`, until these are whole: recovered to the target, checked, promoted, their new
timeline archived, and cleanly stopped. Then they get the name DIRECTORY by one rename. What was there before is DIRECTORY.before-restore-TIME
by then. Each step looks at the data first, so it can be done again after a run that died anywhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common import lock
from ..common.backup import directory_bytes
from ..common.command import CommandError, Result, run
from . import data as pgdata
from . import wal
from .restore_plan import LATEST, NONE, PARTIAL, PROMOTED, RECOVERING, WHOLE

CONFIG = "/etc/pgbackrest/pgbackrest.conf"
SOCKETS = "/var/run/postgresql"
COPY = ".before-restore-"
# pg_control's values that a server in recovery must not be below, and their settings.
RECOVERY_SETTINGS = {
    "max_connections setting": "max_connections",
    "max_worker_processes setting": "max_worker_processes",
    "max_wal_senders setting": "max_wal_senders",
    "max_prepared_xacts setting": "max_prepared_transactions",
    "max_locks_per_xact setting": "max_locks_per_transaction",
}
# What pgBackRest writes into postgresql.auto.conf; nothing of it may stay, since each copy of the data would ask the archive first.
_RECOVERY = re.compile(r"^\s*(restore_command|recovery_\w+|archive_cleanup_command|recovery_end_command)\s*=")
_PATTERN = re.compile(r"^repo(\d+)-host\s*=\s*(\S+)\s*$", re.MULTILINE)
STATE = """SELECT json_build_object('recovery', pg_is_in_recovery(), 'paused',
  CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() = 'paused' ELSE false END,
  'lsn', CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
  'commit', extract(epoch FROM pg_last_xact_replay_timestamp()))"""
TABLES = """SELECT coalesce(json_agg(name), '[]') FROM (SELECT format('%I.%I', n.nspname, c.relname) AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
ORDER BY pg_table_size(c.oid) DESC LIMIT 50) AS largest"""
DATABASES = "SELECT json_agg(datname ORDER BY datname) FROM pg_database WHERE datallowconn AND NOT datistemplate"


class RestoreError(Exception):
    """What the operator has to know."""


@dataclass(frozen=True)
class Places:
    """Where a restore into a directory works."""

    directory: str

    @property
    def work(self) -> Path:
        return Path(f"{self.directory}.restore")

    @property
    def request(self) -> Path:
        return self.work / "request.json"

    @property
    def data(self) -> Path:
        return self.work / "data"

    def copies(self) -> list[str]:
        """The times of the safety copies that are there, oldest first."""
        own = Path(self.directory)
        return sorted(path.name.removeprefix(own.name + COPY) for path in own.parent.glob(own.name + COPY + "*"))

    def copy(self, begin: str) -> Path:
        return Path(f"{self.directory}{COPY}{begin}")


def sockets(work: Path) -> str:
    """Where the server of a restore in place has its socket: where nobody looks for PostgreSQL, unless that path is too long for one."""
    return str(work) if len(str(work)) < 90 else SOCKETS


def requested(places: Places) -> dict[str, Any]:
    """What was asked for and is not finished; empty where nothing was."""
    try:
        return dict(json.loads(pgdata.read(places.request)))
    except ValueError:
        return {}


def stage(run_command: Callable, data: str | Path, version: str) -> str:
    """What restored data are: none, partial, recovering, promoted (perhaps running), or promoted and cleanly stopped."""
    place = Path(data)
    if not place.is_dir() or not any(place.iterdir()):
        return NONE
    # pgBackRest writes pg_control last, and removes its manifest after that.
    if (place / "backup.manifest").exists() or pgdata.control(str(place)) != "present":
        return PARTIAL
    if (place / "recovery.signal").exists() or (place / "standby.signal").exists():
        return RECOVERING
    found = pgdata.controldata(run_command, str(place), version)
    if not found["state"]:
        return PARTIAL
    return WHOLE if found["state"] == "shut down" and not pgdata.running(str(place)) and not _left(place) else PROMOTED


def _left(place: Path) -> list[str]:
    """What PostgreSQL has not archived."""
    status = place / "pg_wal" / "archive_status"
    return sorted(path.stem for path in status.glob("*.ready")) if status.is_dir() else []


def look(run_command: Callable, directory: str, version: str) -> dict[str, Any]:
    """All that a plan has to know of a member, whose data directory and version of PostgreSQL are given."""
    places, own = Places(directory), Path(directory)
    found = (
        pgdata.look(run_command, directory)
        if own.is_dir()
        else {"version": "", "state": "", "running": False, "timeline": ""}
    )
    there = next(parent for parent in (own, *own.parents) if parent.exists())
    status = os.statvfs(there)
    spaces = own / "pg_tblspc"
    return {
        "directory": directory,
        "version": version,
        "state": found["state"] if found["version"] else "",
        "running": found["running"],
        "system_identifier": found.get("system_identifier", ""),
        "mount": os.path.ismount(directory),
        "tablespaces": sorted(path.name for path in spaces.iterdir()) if spaces.is_dir() else [],
        "ready": len(_left(own)),
        "free_bytes": status.f_bavail * status.f_frsize,
        "work": str(places.work),
        "work_bytes": directory_bytes(places.data) if places.data.is_dir() else 0,
        "request": requested(places),
        "stage": stage(run_command, places.data, version),
        "copies": places.copies(),
        "births": _births([own, places.data, *(places.copy(one) for one in places.copies())]),
    }


def _births(directories: list[Path]) -> dict[str, float]:
    """When timelines began, as far as this host knows: it has written their history, or received it soon after."""
    found: dict[str, float] = {}
    for place in directories:
        for path in (place / "pg_wal").glob("*.history") if (place / "pg_wal").is_dir() else ():
            if re.fullmatch(r"[0-9A-F]{8}", path.stem):
                number = str(int(path.stem, 16))
                found[number] = min(path.stat().st_mtime, found.get(number, float("inf")))
    return found


def beside_look(directory: str, port: int) -> dict[str, Any]:
    """The same of a place beside: {empty, free_bytes, port_taken}."""
    taken = any(int(line.split()[1].rpartition(":")[2], 16) == port for line in _listening())
    found = pgdata.place(directory)
    return {"empty": found["empty"], "free_bytes": found["free_bytes"], "port_taken": taken}


def _listening() -> list[str]:
    lines: list[str] = []
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            lines += [line for line in pgdata.read(name).splitlines()[1:] if line.split()[3] == "0A"]
    return lines


# -- as root ----------------------------------------------------------------------------------------------------------


def begin(places: Places, request: Mapping[str, Any], owner: tuple[int, int]) -> bool:
    """Note what is asked for; returns whether that is new. Raises RestoreError for another request than the one that is not finished."""
    known = requested(places)
    if known:
        if known["to"] != request["to"]:
            raise RestoreError(f"A restore to {known['to']} was begun here, in {places.work}, and is not finished.")
        return False
    places.work.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chown(places.work, *owner)
    unfinished = places.request.with_suffix(".part")
    unfinished.write_text(json.dumps(request, sort_keys=True), encoding="utf-8")
    unfinished.chmod(0o644)
    os.rename(unfinished, places.request)
    _sync(places.work)
    return True


def set_aside(places: Places, begin_time: str, owner: tuple[int, int]) -> bool:
    """Keep what is there under the name of this restore; returns whether that was to be done. Nothing is written over.

    Where there was nothing, an empty directory says so. Raises RestoreError where a server runs.
    """
    copy, own = places.copy(begin_time), Path(places.directory)
    if copy.exists() and own.exists():
        return False
    if pgdata.running(places.directory):
        raise RestoreError(f"A server runs in {places.directory}.")
    if not copy.exists() and own.exists():
        os.rename(own, copy)
    for missing in (copy, own):
        # Patroni can't make its directory where the one above is root's.
        if not missing.exists():
            missing.mkdir(mode=0o700, parents=True)
            os.chown(missing, *owner)
    _sync(own.parent)
    return True


def adopted(places: Places) -> bool:
    """Whether the data that are asked for have their name already: what was there before is kept, and nothing waits to take its place."""
    begin_time = requested(places).get("begin", "")
    return (
        bool(begin_time)
        and places.copy(begin_time).exists()
        and not places.data.exists()
        and pgdata.control(places.directory) == "present"
    )


def adopt(run_command: Callable, places: Places, version: str) -> bool:
    """Give the restored data their name; returns whether that was to be done. Raises RestoreError where they are not whole."""
    if adopted(places):
        return False
    own = Path(places.directory)
    found = stage(run_command, places.data, version)
    if found != WHOLE:
        raise RestoreError(f"The data in {places.data} are not finished: {found}.")
    if own.exists():
        # Patroni, or a run of site.yml, makes it.
        if any(own.iterdir()):
            raise RestoreError(f"{own} is not empty, and what is there was not set aside.")
        own.rmdir()
    clean(places.data / "postgresql.auto.conf")
    os.rename(places.data, own)
    _sync(own.parent)
    return True


def clean(config: Path) -> None:
    """Take out of postgresql.auto.conf what belongs to the recovery."""
    if not config.exists():
        return
    lines = config.read_text(encoding="utf-8").splitlines(keepends=True)
    left = [
        line
        for line in lines
        if not _RECOVERY.match(line) and not line.startswith("# Recovery settings generated by pgBackRest")
    ]
    if left != lines:
        # Written in its place: the owner stays.
        config.write_text("".join(left), encoding="utf-8")


def finish(places: Places) -> bool:
    """Forget what was asked for."""
    if not places.work.exists():
        return False
    places.request.unlink(missing_ok=True)
    shutil.rmtree(places.work)
    return True


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# -- as the user of the data ------------------------------------------------------------------------------------------


def repository_number(config: str, host: str) -> int:
    """By which number pgBackRest's configuration on this host calls a backup host. Raises RestoreError."""
    for number, name in _PATTERN.findall(pgdata.read(config)):
        if name == host:
            return int(number)
    raise RestoreError(f"{config} has no repository of {host}. Run site.yml, which writes it.")


def recovery_settings(controldata: str, current: Mapping[str, str]) -> dict[str, str]:
    """The settings that a recovery needs at least; the present ones where they are larger."""
    found = {}
    for line in controldata.splitlines():
        name, _colon, value = line.partition(":")
        setting = RECOVERY_SETTINGS.get(name)
        if setting:
            found[setting] = str(max(int(value), int(current.get(setting) or 0)))
    return found


@dataclass
class Server:
    """A restored server of this host, on a socket alone.

    place: where its files lie beside its data: hba.conf, log. archiving: archive_command, empty for a server that archives nothing.
    """

    place: Path
    version: str
    port: int
    data: Path
    archiving: str = ""
    max_connections: int = 0
    limit_s: float = 86400
    sockets: str = SOCKETS

    @property
    def log(self) -> Path:
        return self.place / "log"

    def program(self, name: str) -> str:
        return f"/usr/lib/postgresql/{self.version}/bin/{name}"

    def call(self, words: list[str], limit_s: float, **how: Any) -> Result:
        try:
            return run(words, limit_s, environment={"PGOPTIONS": "-c statement_timeout=0"}, **how)
        except CommandError as error:
            raise RestoreError(f"{error.reason}.") from error

    def settings(self) -> dict[str, str]:
        """What it is told on its command line, which counts before all that its files say."""
        hba, ident = self.place / "hba.conf", self.place / "ident.conf"
        hba.write_text("local all all peer\n", encoding="utf-8")
        ident.touch()
        control = self.call([self.program("pg_controldata"), f"--pgdata={self.data}"], 60).stdout
        current = {
            name: self.call([self.program("postgres"), "-D", str(self.data), "-C", name], 60).stdout.strip()
            for name in RECOVERY_SETTINGS.values()
        }
        current["max_connections"] = str(max(self.max_connections, int(current["max_connections"] or 0)))
        # One beside has little memory, and leaves what other servers have.
        archive = (
            {"archive_mode": "on", "archive_command": self.archiving}
            if self.archiving
            else {"archive_mode": "off", "shared_buffers": "128MB"}
        )
        return {
            **recovery_settings(control, {name: value for name, value in current.items() if value.isdigit()}),
            "listen_addresses": "",
            "port": str(self.port),
            "unix_socket_directories": self.sockets,
            "hba_file": str(hba),
            "ident_file": str(ident),
            "ssl": "off",
            "hot_standby": "on",
            "logging_collector": "off",
            "log_destination": "stderr",
            "lc_messages": "C",
            "primary_conninfo": "",
            "primary_slot_name": "",
            "synchronous_standby_names": "",
            "wal_retrieve_retry_interval": "1s",
            "external_pid_file": "",
            **archive,
        }

    def start(self) -> None:
        """Start it where it does not run, and wait until it answers. Raises RestoreError with what it said."""
        if pgdata.running(str(self.data)):
            return
        self.log.unlink(missing_ok=True)
        options = " ".join(f"-c {name}={shlex.quote(value)}" for name, value in self.settings().items())
        words = [
            self.program("pg_ctl"),
            "start",
            f"--pgdata={self.data}",
            f"--log={self.log}",
            f"--options={options}",
            "--no-wait",
        ]
        done = self.call(words, 120)
        if done.rc:
            raise RestoreError(f"PostgreSQL did not start in {self.data}: {done.said}")
        end = time.monotonic() + self.limit_s
        time.sleep(0.5)
        while self.psql("SELECT 1").rc:
            self.require_running()
            if time.monotonic() > end:
                raise RestoreError(f"PostgreSQL in {self.data} did not answer within {self.limit_s:g} s: {self.said()}")
            time.sleep(1)

    def require_running(self) -> None:
        if not pgdata.running(str(self.data)):
            time.sleep(1)
            if not pgdata.running(str(self.data)):
                raise RestoreError(f"PostgreSQL in {self.data} has ended: {self.said()}{remedy(self.said())}")

    def said(self) -> str:
        """The last grave line of its log, else the last one."""
        lines = [line.strip() for line in _text(self.log).splitlines() if line.strip()]
        grave = [
            line
            for line in lines
            if re.search(r"\b(?:PANIC|FATAL|ERROR):", line) and "the database system is" not in line
        ]
        return (grave or lines or ["it said nothing"])[-1]

    def psql(self, sql: str, database: str = "postgres", limit_s: float = 60) -> Result:
        words = ["psql", "--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--set=ON_ERROR_STOP=1"]
        words += [f"--host={self.sockets}", f"--port={self.port}", f"--dbname={database}", "--username=postgres"]
        return self.call([*words, "--file=-"], limit_s, stdin=sql)

    def ask(self, sql: str, database: str = "postgres", limit_s: float = 60) -> Any:
        """The JSON that a statement selects. Raises RestoreError."""
        done = self.psql(sql, database, limit_s)
        if done.rc:
            raise RestoreError(f"PostgreSQL in {self.data} does not answer: {done.said}")
        return json.loads(done.stdout)

    def stop(self) -> None:
        """Stop it cleanly; what is left to be archived is sent before that. Raises RestoreError."""
        if not pgdata.running(str(self.data)):
            return
        done = self.call([self.program("pg_ctl"), "stop", f"--pgdata={self.data}", "--mode=fast", "--timeout=600"], 660)
        if done.rc:
            raise RestoreError(f"PostgreSQL in {self.data} does not stop: {done.said}")


def remedy(said: str) -> str:
    """What to do about the reason for which a recovery has ended."""
    if "before configured recovery target was reached" in said:
        return (
            ". The target is not in the WAL from this backup on: take an older one with -e set=, where it is a name or a transaction; an earlier "
            "time; or -e to=latest with -e timeline="
        )
    if "insufficient parameter settings" in said:
        return ". The primary had larger settings later on than the backup knows"
    return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


@dataclass(frozen=True)
class Source:
    """What is restored. repository: the backup host. archive_id: such as 17-1, the archive of the cluster."""

    stanza: str
    repository: str
    set: str
    timeline: int
    type: str
    target: str = ""
    segment: str = ""
    config: str = CONFIG

    def words(self, *options: str) -> list[str]:
        """pgBackRest's command line for the one repository."""
        number = repository_number(self.config, self.repository)
        return [
            "pgbackrest", f"--config={self.config}", f"--stanza={self.stanza}", f"--repo={number}", "--log-level-file=off",
            "--log-level-console=warn", *options,
        ]  # fmt: skip

    def restore(self, data: Path, lock: Path) -> list[str]:
        """The command that restores the files and says how far the recovery goes."""
        aim = {LATEST: ["--type=standby"]}.get(self.type) or [
            f"--type={self.type}",
            f"--target={self.target}",
            "--target-action=pause",
        ]
        where = [f"--pg1-path={data}", f"--lock-path={lock}"]
        return self.words(*where, f"--set={self.set}", *aim, f"--target-timeline={self.timeline}", "restore")

    def archive_words(self, place: Path) -> list[str]:
        """The command that sends WAL of a data directory to all repositories, as from any primary."""
        return [
            "pgbackrest", f"--config={self.config}", f"--stanza={self.stanza}", f"--pg1-path={place}", "--no-archive-async", "--io-timeout=5",
            "--log-level-file=off", "archive-push",
        ]  # fmt: skip


def archive_command(words: list[str]) -> str:
    """The same as a setting of PostgreSQL's."""
    return " ".join(map(shlex.quote, words)) + " %p"


class Restore:
    """One restore into the data directory of a server."""

    def __init__(self, source: Source, server: Server) -> None:
        self.source, self.server = source, server
        self.place, self.data = server.place, server.data

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """One at a time: where the connection of a run breaks, what it had begun here goes on, and the next run waits for its end."""
        self.place.mkdir(mode=0o700, parents=True, exist_ok=True)
        with lock.alone(self.place):
            yield

    def recover(self, run_command: Callable) -> dict[str, Any]:
        """Restore the files and recover to the target; the server stands there, for reading. Returns what was found. Raises RestoreError."""
        changed = False
        before = stage(run_command, self.data, self.server.version)
        if before in (NONE, PARTIAL):
            changed = True
            # What a run that died has left is not continued: it may be of another backup.
            self.data.mkdir(mode=0o700, exist_ok=True)
            for left in self.data.iterdir():
                shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
            done = self.server.call(self.source.restore(self.data, self.place / "lock"), self.server.limit_s)
            if done.rc:
                raise RestoreError(f"pgbackrest restore of {self.source.set} ended with {done.rc}: {_error(done)}")
        if before in (PROMOTED, WHOLE):
            return {"changed": False, "promoted": True}
        self.server.start()
        state = self.wait_for_target()
        return {"changed": changed, "promoted": False, **state}

    def beside(self, run_command: Callable) -> dict[str, Any]:
        """Restore and recover into a directory of its own, and let the server take writes; it goes on until somebody stops it."""
        found = self.recover(run_command)
        if not found["promoted"] and self.server.ask(STATE)["recovery"]:
            self._promote(300)
        self.server.start()
        return {**found, "changed": True, "databases": self.counts()}

    def wait_for_target(self) -> dict[str, Any]:
        """Wait until the recovery is where it is to end. Raises RestoreError where it ends before."""
        end, still, last = time.monotonic() + self.server.limit_s, 0, ""
        while True:
            self.server.require_running()
            state = self.server.ask(STATE)
            if not state["recovery"]:
                return state
            if state["paused"]:
                if "recovery stopping" in _text(self.server.log):
                    return state
                raise RestoreError(
                    f"The recovery has paused before its target: {self.server.said()}{remedy(self.server.said())}"
                )
            # As a standby it goes on asking for WAL: it is at the end when it has the last segment, and nothing more comes.
            still = still + 1 if state["lsn"] == last else 0
            last = state["lsn"]
            if self.source.type == LATEST and still >= 4 and self._has_last(state["lsn"]):
                return state
            if time.monotonic() > end:
                raise RestoreError(
                    f"The recovery did not end within {self.server.limit_s:g} s; it is at {state['lsn']}."
                )
            time.sleep(1)

    def _has_last(self, lsn: str | None) -> bool:
        last = wal.segment(self.source.segment)
        return bool(lsn) and (last is None or wal.position(str(lsn)) >= last.number * wal.SEGMENT_BYTES)

    def counts(self, limit_s: float = 60) -> dict[str, dict[str, Any]]:
        """Database to the rows of its tables; those that can't be counted in time are left out."""
        found: dict[str, dict[str, Any]] = {}
        for name in self.server.ask(DATABASES) or []:
            tables: dict[str, list[int]] = {}
            for table in self.server.ask(TABLES, name):
                done = self.server.psql(
                    f"SET statement_timeout = {int(limit_s * 1000)}; SELECT count(*) FROM ONLY {table}",
                    name,
                    limit_s + 30,
                )
                if done.rc == 0 and done.stdout.strip().isdigit():
                    tables[table] = [int(done.stdout)] * 2
            found[name] = {"tables": tables}
        return found

    def promote(self, run_command: Callable, archive: str, limit_s: float = 300) -> dict[str, Any]:
        """Let the data begin a timeline of their own, archive its history, and stop. Raises RestoreError.

        archive: the path of the cluster's archive in the repository, without which a later restore could not cross this one.
        """
        before = stage(run_command, self.data, self.server.version)
        if before == WHOLE and self._archived(archive, self._timeline(run_command)):
            return {"changed": False, "timeline": self._timeline(run_command)}
        if before not in (RECOVERING, PROMOTED, WHOLE):
            raise RestoreError(f"The data in {self.data} are not restored: {before}.")
        self.server.start()
        if self.server.ask(STATE)["recovery"]:
            self.wait_for_target()
            self._promote(limit_s)
        timeline = int(self.server.ask("SELECT to_json(substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))"), 16)
        end = time.monotonic() + limit_s
        while not self._archived(archive, timeline):
            self.server.require_running()
            if time.monotonic() > end:
                raise RestoreError(
                    f"The history of timeline {timeline} did not reach the repository of {self.source.repository} within {limit_s:g} s, and without it no "
                    f"later restore can cross this one: {self.server.said()}. All repositories have to take it; start again when they do."
                )
            time.sleep(1)
        # Not before: a paused recovery holds the locks of transactions that were at work, such as the one that dropped a table.
        databases = self.counts()
        done = self.server.psql("CHECKPOINT", limit_s=600)
        if done.rc:
            raise RestoreError(f"PostgreSQL in {self.data} makes no checkpoint: {done.said}")
        self.server.stop()
        return {"changed": True, "timeline": timeline, "databases": databases}

    def _promote(self, limit_s: float) -> None:
        if self.server.psql(f"SELECT pg_promote(true, {int(limit_s)})", limit_s=limit_s + 30).stdout.strip() != "t":
            raise RestoreError(f"PostgreSQL in {self.data} was not promoted: {self.server.said()}")

    def _timeline(self, run_command: Callable) -> int:
        return int(pgdata.controldata(run_command, str(self.data), self.server.version)["timeline"] or 0)

    def _archived(self, archive: str, timeline: int) -> bool:
        words = self.source.words("repo-get", f"{archive}/{timeline:08X}.history")
        return self.server.call(words, 120).rc == 0


def _error(done: Result) -> str:
    lines = [line for line in (done.stderr + "\n" + done.stdout).splitlines() if "ERROR:" in line]
    return lines[0].partition("ERROR:")[2].strip() if lines else done.said


def push(source: Source, directory: str, limit_s: float = 60) -> dict[str, Any]:
    """Send what a stopped server has not archived; returns {sent, left: names}. The repositories then have all that it has written."""
    own = Path(directory)
    end, sent = time.monotonic() + limit_s, []
    for name in sorted(_left(own), key=lambda one: (not one.endswith("history"), one)):
        while True:
            try:
                rc = run([*source.archive_words(own), str(own / "pg_wal" / name)], 60).rc
            except CommandError:
                rc = 1
            if rc == 0 or time.monotonic() > end:
                break
            time.sleep(2)
        if rc:
            break
        status = own / "pg_wal" / "archive_status" / name
        os.rename(f"{status}.ready", f"{status}.done")
        sent.append(name)
    return {"sent": sent, "left": _left(own)}
