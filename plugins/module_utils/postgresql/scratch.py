# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A PostgreSQL server for a trial: in a directory of its own, on a socket of its own, without network, with little memory, always removed.

It can reach neither the running cluster nor the repository: it listens on no address, follows nobody, archives nothing, and where the host
allows it, has a network of its own with nothing in it. What it wants of WAL is fetched for it by a thread of this process.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..common.backup import FAILED, UNVERIFIED, BackupError
from ..common.command import CommandError, run
from . import data
from .access import Access

PORT = 5432
MEMORY_BYTES = 2 * 2**30
# Seconds.
START_LIMIT, STOP_LIMIT = 120, 120
# pg_control's values that a server in recovery must not be below, or it stops: "recovery aborted because of insufficient parameter settings".
RECOVERY_SETTINGS = {
    "max_connections setting": "max_connections",
    "max_worker_processes setting": "max_worker_processes",
    "max_wal_senders setting": "max_wal_senders",
    "max_prepared_xacts setting": "max_prepared_transactions",
    "max_locks_per_xact setting": "max_locks_per_transaction",
}
_FEED = """#!/bin/sh
# Asks for a file of WAL, and waits until it is there or known to be missing.
: > {want}/"$1"
while :; do
  [ -e {there}/"$1" ] && exec mv {there}/"$1" "$2"
  [ -e {missing}/"$1" ] && exit 1
  sleep 0.05
done
"""


def binaries(version: str) -> Path:
    """Where the programs of a major version are. Raises BackupError (could not verify) where they are not."""
    place = Path("/usr/lib/postgresql", str(version), "bin")
    if not (place / "postgres").exists():
        raise BackupError(f"PostgreSQL {version} is not installed here: {place} has no postgres", UNVERIFIED)
    return place


def recovery_settings(controldata: str) -> dict[str, str]:
    """The settings that a server which recovers these data needs, of what pg_controldata printed."""
    found = {}
    for line in controldata.splitlines():
        name, _colon, value = line.partition(":")
        if name in RECOVERY_SETTINGS:
            found[RECOVERY_SETTINGS[name]] = value.strip()
    if len(found) != len(RECOVERY_SETTINGS):
        raise BackupError("pg_control can't be read", FAILED)
    return found


def checksums(controldata: str) -> bool:
    """Whether the data have checksums of their pages, of what pg_controldata printed."""
    return any(
        line.startswith("Data page checksum version:") and line.partition(":")[2].strip() != "0"
        for line in controldata.splitlines()
    )


def own(path: Path, account: str | None) -> Path:
    """Make a directory for an account, entered by nobody else."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if account and os.geteuid() == 0:
        entry = pwd.getpwnam(account)
        os.chown(path, entry.pw_uid, entry.pw_gid)
    return path


def apart(account: str | None) -> list[str]:
    """The words before a command by which it has no network, where this host allows that, and ends with this process."""
    if os.geteuid() == 0:
        change = [f"--reuid={account}", f"--regid={pwd.getpwnam(account).pw_gid}", "--init-groups"] if account else []
        network, change = ["unshare", "--net", "--"], ["setpriv", *change, "--pdeathsig", "SIGQUIT", "--"]
    else:
        network, change = (
            ["unshare", "--user", "--map-current-user", "--net", "--"],
            ["setpriv", "--pdeathsig", "SIGQUIT", "--"],
        )
    try:
        if run([*network, "true"], 10).rc == 0:
            return [*network, *change]
    except CommandError:
        pass
    return change


class Feeder(threading.Thread):
    """Fetches what a recovering server wants of WAL, one file after the other.

    fetch: (name, path to write) -> whether it was there; raises BackupError where it is damaged, which ends the recovery.
    """

    def __init__(self, place: Path, fetch: Callable[[str, Path], bool], account: str | None) -> None:
        super().__init__(name="feeder", daemon=True)
        self.want, self.there, self.missing = (own(place / name, account) for name in ("want", "there", "missing"))
        self.fetch = fetch
        self.fault: BackupError | None = None
        self.fetched: list[str] = []
        self._end = threading.Event()
        self.script = place / "feed"
        self.script.write_text(
            _FEED.format(
                want=shlex.quote(str(self.want)),
                there=shlex.quote(str(self.there)),
                missing=shlex.quote(str(self.missing)),
            ),
            encoding="utf-8",
        )
        self.script.chmod(0o755)

    def run(self) -> None:
        while not self._end.wait(0.05):
            for wanted in sorted(self.want.iterdir(), key=lambda path: path.name):
                self._serve(wanted)

    def _serve(self, wanted: Path) -> None:
        name = wanted.name
        unfinished = self.there / f".{name}"
        found = False
        try:
            if self.fault is None:
                found = self.fetch(name, unfinished)
        except BackupError as error:
            self.fault = error
        except OSError as error:
            self.fault = BackupError(f"{name} could not be fetched: {error}", UNVERIFIED)
        wanted.unlink()
        if found:
            self.fetched.append(name)
            unfinished.rename(self.there / name)
        else:
            # Asked for once more, as at the end of a recovery, it is missing still.
            unfinished.unlink(missing_ok=True)
            (self.missing / name).touch()

    def end(self) -> None:
        """Fetch nothing more; who waits is told that it is missing."""
        self.fault = self.fault or BackupError("the trial was ended", UNVERIFIED)
        self._end.set()
        if self.ident is not None:
            self.join(10)


class Instance:
    """A server in `place`/data, with the programs of `version`. Its account is the one that runs PostgreSQL, never root."""

    def __init__(
        self, place: Path, version: str, account: str | None = "postgres", memory_bytes: int = MEMORY_BYTES
    ) -> None:
        self.place, self.version, self.account, self.memory_bytes = place, str(version), account, memory_bytes
        self.bin = binaries(version)
        self.data = place / "data"
        own(place, account)
        own(self.data, account)
        # A path of a socket must not be longer than 107 bytes.
        self.socket = own(place / "s", account)
        self.log = place / "log"
        self.apart: list[str] = []
        self.access = Access(
            {"PGHOST": str(self.socket), "PGPORT": str(PORT), "PGUSER": "postgres", "PGSSLMODE": "disable"}, account
        )
        self._process: subprocess.Popen | None = None
        self._feeder: Feeder | None = None

    def program(self, name: str, *arguments: str, limit_s: float, code: int = FAILED) -> str:
        """Run a program of this version; returns what it printed. Raises BackupError with `code` where it does not end with 0."""
        try:
            done = run([self.bin / name, *arguments], limit_s, environment=self.access.environment, user=self.account)
        except CommandError as error:
            raise BackupError(error.reason, UNVERIFIED) from error
        if done.rc:
            raise BackupError(f"{name} ended with {done.rc}: {done.said}", code)
        return done.stdout

    def initialise(self) -> None:
        """Make an empty cluster."""
        self.program(
            "initdb",
            f"--pgdata={self.data}",
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--data-checksums",
            "--no-sync",
            limit_s=300,
            code=UNVERIFIED,
        )

    def controldata(self) -> str:
        """What pg_controldata prints of the data."""
        return self.program("pg_controldata", f"--pgdata={self.data}", limit_s=60)

    def fed(self, fetch: Callable[[str, Path], bool]) -> Feeder:
        """Have WAL fetched for the server: to be called before start()."""
        self._feeder = Feeder(self.place, fetch, self.account)
        self._feeder.start()
        return self._feeder

    def settings(self, further: Mapping[str, str]) -> dict[str, str]:
        """What the server is told on its command line, which counts before all that its files say."""
        hba = self.place / "hba.conf"
        if not hba.exists():
            hba.write_text("local all all trust\n", encoding="utf-8")
            hba.chmod(0o644)
        config = self.place / "postgresql.conf"
        config.touch(mode=0o644)
        return {
            "config_file": str(config),
            "hba_file": str(hba),
            "ident_file": str(config),
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket),
            "unix_socket_permissions": "0700",
            "port": str(PORT),
            "ssl": "off",
            "logging_collector": "off",
            "log_destination": "stderr",
            "archive_mode": "off",
            "archive_command": "/bin/false",
            "primary_conninfo": "",
            "primary_slot_name": "",
            "max_replication_slots": "0",
            "synchronous_standby_names": "",
            "shared_preload_libraries": "",
            "session_preload_libraries": "",
            "local_preload_libraries": "",
            "shared_buffers": "64MB",
            "maintenance_work_mem": "64MB",
            "max_parallel_workers": "0",
            "max_parallel_maintenance_workers": "0",
            "max_parallel_workers_per_gather": "0",
            "autovacuum": "off",
            "jit": "off",
            "huge_pages": "off",
            "fsync": "off",
            "full_page_writes": "off",
            "restore_command": f"{shlex.quote(str(self._feeder.script))} %f %p" if self._feeder else "",
            **further,
        }

    def command(self, further: Mapping[str, str]) -> list[str]:
        """The server with its limit of memory, in the foreground."""
        return [
            "prlimit",
            f"--as={self.memory_bytes}",
            "--core=0",
            "--",
            str(self.bin / "postgres"),
            "-D",
            str(self.data),
            *(word for name, value in self.settings(further).items() for word in ("-c", f"{name}={value}")),
        ]

    def start(self, limit_s: float = START_LIMIT, **further: str) -> None:
        """Start the server and wait until it answers, also while it recovers. Raises BackupError with what it last said."""
        self.apart = apart(self.account)
        words = [*self.apart, *self.command(further)]
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=str(self.place),
                env={**os.environ, "LC_ALL": "C.UTF-8"},
                start_new_session=True,
            )
        # A server that recovers answers only when its data are consistent, which takes as long as its WAL.
        self.wait(lambda: bool(self.access.psql("SELECT 1", limit_s=30).rc == 0), limit_s, "did not answer")

    def wait(self, condition: Callable[[], bool], limit_s: float, what: str) -> None:
        """Wait for a condition; a server that ends, or WAL that is damaged, ends the wait."""
        until = time.monotonic() + limit_s
        while not condition():
            if self._feeder and self._feeder.fault:
                raise self._feeder.fault
            if self._process is None or self._process.poll() is not None:
                raise BackupError(f"the scratch server has ended: {self.said()}")
            if time.monotonic() > until:
                raise BackupError(f"the scratch server {what} within {limit_s:g} s: {self.said()}", UNVERIFIED)
            time.sleep(0.5)

    def recovered(self, limit_s: float) -> None:
        """Wait until the recovery is at its end and the server takes writes."""
        self.wait(lambda: self.access.ask("SELECT to_json(NOT pg_is_in_recovery())"), limit_s, "did not recover")

    def said(self) -> str:
        """Why the server ended: the last message of its log that is at least an error, else its last line."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return "it said nothing"
        grave = [line for line in lines if any(word in line for word in ("PANIC:", "FATAL:", "ERROR:"))]
        # That of clients which came too early tells nothing.
        grave = [line for line in grave if "the database system is" not in line]
        return (grave or lines or ["it said nothing"])[-1]

    def stop(self) -> None:
        """Stop it cleanly. Raises BackupError where it does not end, or its data are not as after a clean stop."""
        self._signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self._process is not None:
                self._process.wait(STOP_LIMIT)
        if self._process is None or self._process.poll() is None:
            raise BackupError(f"the scratch server could not be stopped: {self.said()}", UNVERIFIED)
        state = data.parse_controldata(self.controldata())["state"]
        if state != "shut down":
            raise BackupError(f"after its stop the scratch server's data are {state!r}, not 'shut down': {self.said()}")
        self._process = None

    def remove(self) -> None:
        """End it, however it is, with all that it has started."""
        if self._feeder is not None:
            self._feeder.end()
        for number, seconds in ((signal.SIGQUIT, 15), (signal.SIGKILL, 15)):
            if self._process is None or self._process.poll() is not None:
                break
            self._signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        self._process = None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)


@contextmanager
def instance(place: Path, version: str, account: str | None = "postgres", **options: Any) -> Iterator[Instance]:
    """A scratch server for as long as the context lasts; whatever happens, none is left running. The caller empties the directory."""
    one = Instance(place, version, account, **options)
    try:
        yield one
    finally:
        one.remove()
