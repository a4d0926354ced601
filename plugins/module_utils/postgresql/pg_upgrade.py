# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The work of a major upgrade of PostgreSQL on the primary's host: empty data like the old ones, pg_upgrade's judgement, pg_upgrade.

It works in a directory beside the new one: DIRECTORY.upgrade/initdb has empty data, which are copied to DIRECTORY.upgrade/data for
pg_upgrade, and become DIRECTORY by one rename when it has finished. So what has that name is whole, and a copy that pg_upgrade died
on is thrown away and made anew. The old pg_control comes back for that: as long as no server has run on the new data,
PostgreSQL's documentation of pg_upgrade says, the old ones are as they were.

`run` is how commands are run, as AnsibleModule.run_command: command -> (code, output, errors). All runs as the user of the data.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..common import lock
from .data import CONTROL, DISABLED_CONTROL, parse_controldata, running
from .upgrade_plan import CLEAN, position

# Settings of the new server that must be there already while the old content is loaded into it.
CARRIED = ("max_locks_per_transaction", "max_prepared_transactions", "shared_preload_libraries")
# The certificates are readable for Patroni's unit only, and nobody may have to confirm what pg_upgrade reads.
OLD_OPTIONS = "-c ssl=off -c synchronous_standby_names="
FACTS = """
SELECT json_build_object(
  'standby', pg_is_in_recovery(),
  'superuser', (SELECT rolname FROM pg_roles WHERE oid = 10),
  'checksums', current_setting('data_checksums') = 'on',
  'segment_mb', (SELECT setting::bigint / 1048576 FROM pg_settings WHERE name = 'wal_segment_size'),
  'encoding', (SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'template0'),
  'template', (SELECT to_jsonb(d) FROM pg_database AS d WHERE datname = 'template0'),
  'tablespaces', ARRAY(SELECT spcname FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY 1),
  'slots', ARRAY(SELECT slot_name FROM pg_replication_slots WHERE slot_type = 'logical' ORDER BY 1),
  'prepared', ARRAY(SELECT format('%s in database %s', gid, database) FROM pg_prepared_xacts ORDER BY 1),
  'long', ARRAY(SELECT format('process %s, user %s, database %s', pid, usename, datname) FROM pg_stat_activity
                WHERE backend_type = 'client backend' AND xact_start < now() - interval 'LONG s' ORDER BY 1))
"""


class UpgradeError(Exception):
    """What the operator has to know. `facts` go into the module's result beside the message."""

    def __init__(self, message, **facts):
        super().__init__(message)
        self.facts = facts


@dataclass(frozen=True)
class Places:
    """Where an upgrade to a directory works."""

    target: str

    @property
    def work(self) -> Path:
        return Path(f"{self.target}.upgrade")

    @property
    def empty(self) -> Path:
        """Empty data of the new version, complete where it has this name."""
        return self.work / "initdb"

    @property
    def data(self) -> Path:
        return self.work / "data"

    def prepared(self) -> bool:
        return self.empty.is_dir()


@dataclass(frozen=True)
class Side:
    """The data of a version."""

    version: str
    directory: str

    def program(self, name: str) -> str:
        return f"/usr/lib/postgresql/{self.version}/bin/{name}"


def initdb_options(facts: Mapping, version: int) -> list[str]:
    """The options that make data of `version` like those that FACTS were asked of: encoding, locale and its provider, checksums."""
    template = facts["template"]
    provider = {"i": "icu", "b": "builtin"}.get(template.get("datlocprovider"), "libc")
    named = template.get("datlocale") or template.get("daticulocale")
    options = [
        f"--username={facts['superuser']}",
        f"--encoding={facts['encoding']}",
        f"--lc-collate={template['datcollate']}",
        f"--lc-ctype={template['datctype']}",
        f"--wal-segsize={facts['segment_mb']}",
        "--auth-local=peer",
        "--auth-host=reject",
    ]
    if version >= 15:
        options.append(f"--locale-provider={provider}")
    if provider != "libc":
        options.append(f"--{'icu' if provider == 'icu' else 'builtin'}-locale={named}")
    if facts["checksums"]:
        options.append("--data-checksums")
    elif version >= 18:
        options.append("--no-data-checksums")
    return options


def faults(facts: Mapping, old: int, long_s: int) -> list[str]:
    """Why the content of a server can't be upgraded, or not now; sentences with their remedy."""
    found = []
    if facts["standby"]:
        found.append("The server is a standby.")
    if facts["tablespaces"]:
        found.append(
            f"There are tablespaces ({', '.join(facts['tablespaces'])}), whose directories standbys can't copy beside the present ones. Move "
            "their tables to pg_default and drop them."
        )
    if facts["slots"] and old < 17:
        found.append(
            f"There are logical replication slots ({', '.join(facts['slots'])}), which data of version {old} can't take along. Let their "
            "readers catch up, drop them, and begin anew afterwards."
        )
    found += [
        f"There is a prepared transaction: {one}. Commit it or roll it back (COMMIT PREPARED, ROLLBACK PREPARED)."
        for one in facts["prepared"]
    ]
    found += [
        f"A transaction has been open for more than {long_s} s: {one}. Wait, or end it: SELECT pg_terminate_backend(PROCESS)."
        for one in facts["long"]
    ]
    return found


def command(old: Side, new: Side, data: Path, parameters: Mapping, *options: str) -> list[str]:
    """pg_upgrade's command line; `data` is where the new data are for now."""
    carried = {name: str(parameters[name]) for name in CARRIED if parameters.get(name) not in (None, "")}
    # Both go through a shell of pg_ctl's.
    wanted = " ".join(f"-c {name}={value.replace(' ', '')}" for name, value in carried.items() if _plain(value))
    return [
        new.program("pg_upgrade"),
        f"--old-bindir={Path(old.program('x')).parent}",
        f"--new-bindir={Path(new.program('x')).parent}",
        f"--old-datadir={old.directory}",
        f"--new-datadir={data}",
        f"--old-options={OLD_OPTIONS}",
        *([f"--new-options={wanted}"] if wanted else []),
        f"--jobs={min(os.cpu_count() or 1, 4)}",
        "--link",
        *options,
    ]


def _plain(value):
    return re.fullmatch(r"[A-Za-z0-9_$/., -]*", value) is not None


class Upgrade:
    """One upgrade. port: that of the running old server."""

    def __init__(self, run, old: Side, new: Side, port: int = 5432, parameters: Mapping | None = None):
        self._run, self.old, self.new, self.port = run, old, new, port
        self.parameters = {name: value for name, value in (parameters or {}).items() if value is not None}
        self.places = Places(new.directory)

    @contextlib.contextmanager
    def alone(self):
        """One at a time: where the connection of a run breaks, what it had begun here goes on, and the next run waits for its end."""
        self.places.work.mkdir(mode=0o700, parents=True, exist_ok=True)
        with lock.alone(self.places.work):
            for data in (self.places.empty, self.places.data):
                if running(str(data)):
                    self._checked([self.new.program("pg_ctl"), "stop", f"--pgdata={data}", "--mode=immediate"])
            yield

    def check(self, long_s: int = 60) -> dict:
        """Have pg_upgrade judge the running old server against empty data of the new version. Raises UpgradeError with all faults."""
        facts = self.ask(long_s)
        found = faults(facts, int(self.old.version), long_s)
        made = self._make_empty(facts)
        found += self._strange_parameters()
        shutil.rmtree(self.places.empty / "pg_upgrade_output.d", ignore_errors=True)
        code, out, errors = self._pg_upgrade(self.places.empty, "--check")
        if code != 0:
            found.append(f"pg_upgrade --check refuses: {_said(out, errors)}{self._reports()}")
        if found:
            raise UpgradeError(
                f"PostgreSQL {self.old.version} can't be upgraded as it is, and it was not touched: {' '.join(found)}",
                faults=found,
            )
        return {"changed": made}

    def upgrade(self) -> dict:
        """Upgrade the old data, whose server is stopped. Raises UpgradeError."""
        if Path(self.new.directory, CONTROL).exists():
            return {"changed": False, "extensions": self._extensions()}
        if not self.places.prepared():
            raise UpgradeError(f"There are no empty data in {self.places.empty}: the check has to come first.")
        shutil.rmtree(self.places.data, ignore_errors=True)
        restore(self.old.directory)
        self._checked(["cp", "--archive", str(self.places.empty), str(self.places.data)])
        code, out, errors = self._pg_upgrade(self.places.data)
        if code != 0:
            raise UpgradeError(
                f"pg_upgrade failed, and no data are lost. Start again, or go back with -e way=back. {_said(out, errors)}{self._reports()}"
            )
        os.rename(self.places.data, self.new.directory)
        sync(Path(self.new.directory).parent)
        return {"changed": True, "extensions": self._extensions()}

    def ask(self, long_s: int) -> dict:
        """What is to be known of the running old server."""
        return json.loads(self._checked(query(FACTS.replace("LONG", str(int(long_s))), self.port)))

    def _make_empty(self, facts) -> bool:
        # A judgement that was interrupted leaves data that pg_upgrade does not take any more.
        if self.places.prepared() and self._state(self.places.empty) == CLEAN:
            return False
        shutil.rmtree(self.places.empty, ignore_errors=True)
        part = self.places.work / "part"
        shutil.rmtree(part, ignore_errors=True)
        options = initdb_options(facts, int(self.new.version))
        self._checked([self.new.program("initdb"), f"--pgdata={part}", *options])
        os.rename(part, self.places.empty)
        return True

    def _state(self, data) -> str:
        return parse_controldata(self._checked([self.new.program("pg_controldata"), str(data)]))["state"]

    def _strange_parameters(self) -> list[str]:
        """What the new program says to parameters that it does not know, or to values."""
        found = []
        for name, value in self.parameters.items():
            text = {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value
            ask = [
                self.new.program("postgres"),
                "-D",
                str(self.places.empty),
                "-C",
                "server_version",
                "-c",
                f"{name}={text}",
            ]
            code, out, errors = self._run(ask, environ_update={"LC_ALL": "C"})
            if code != 0:
                found.append(
                    f"PostgreSQL {self.new.version} does not take {name} = {text} ({_said(out, errors)}). Change it in postgresql_parameters, or "
                    "set it to null there, and run site.yml before."
                )
        return found

    def _pg_upgrade(self, data, *options):
        ask = command(self.old, self.new, data, self.parameters, *options)
        return self._run(ask, cwd=str(self.places.work), environ_update={"LC_ALL": "C"})

    def _reports(self) -> str:
        """The files with details that pg_upgrade has left, as text: which tables, which extensions."""
        found = []
        for data in (self.places.empty, self.places.data):
            for path in sorted((data / "pg_upgrade_output.d").glob("*/*.txt")):
                found.append(f" {path.name}: {' '.join(path.read_text(errors='replace').split())[:1000]}")
        return "".join(found)

    def _extensions(self) -> str:
        """Statements that update the extensions of which the new version has newer ones."""
        try:
            return (self.places.work / "update_extensions.sql").read_text()
        except FileNotFoundError:
            return ""

    def _checked(self, command):
        code, out, errors = self._run(command, environ_update={"LC_ALL": "C"})
        if code != 0:
            raise UpgradeError(f"{_said(out, errors)} (rc {code} of `{' '.join(command)[:300]}`)")
        return out


def query(statement: str, port: int) -> list[str]:
    """The command that asks the server of this host, as its superuser."""
    psql = [
        "psql",
        "--no-psqlrc",
        "--tuples-only",
        "--no-align",
        "--quiet",
        "--host=/var/run/postgresql",
        f"--port={port}",
    ]
    return [*psql, "--dbname=postgres", f"--command={statement}"]


def stop(run, side: Side, after: str, port: int, seconds: int, now, sleep) -> None:
    """Stop a running server, a standby only when it has replayed the WAL record at `after`. Raises UpgradeError."""
    end, said = now() + seconds, ""
    while after:
        code, out, errors = run(query("SELECT pg_last_wal_replay_lsn()", port), environ_update={"LC_ALL": "C"})
        said = out.strip() if code == 0 else _said(out, errors)
        if code == 0 and position(said) > position(after):
            break
        if now() >= end:
            raise UpgradeError(
                f"The standby in {side.directory} has not replayed {after}, the primary's last record, in {seconds} s, but: {said}. Nothing is "
                "lost; start again when it has caught up, or go back with -e way=back."
            )
        sleep(0.2)
    command = [
        side.program("pg_ctl"),
        "stop",
        f"--pgdata={side.directory}",
        "--mode=fast",
        "--wait",
        f"--timeout={seconds}",
    ]
    code, out, errors = run(command, environ_update={"LC_ALL": "C"})
    # One of pg_upgrade's own ends by itself.
    if code != 0 and running(side.directory):
        raise UpgradeError(f"The server in {side.directory} does not stop: {_said(out, errors)}")


def restore(directory: str) -> bool:
    """Give old data their pg_control back that pg_upgrade has put away. Only where no server has run on the new data."""
    if Path(directory, CONTROL).exists() or not Path(directory, DISABLED_CONTROL).exists():
        return False
    os.rename(Path(directory, DISABLED_CONTROL), Path(directory, CONTROL))
    sync(Path(directory, CONTROL).parent)
    return True


def sync(directory) -> None:
    """Have a directory's entries on the disk."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _said(out, errors):
    """What a program said, without the steps that went well, as one line."""
    lines = [line for line in (errors + "\n" + out).splitlines() if not re.search(r"\sok$|^-+$", line.strip())]
    return " ".join(" ".join(lines).split())[-1500:]
