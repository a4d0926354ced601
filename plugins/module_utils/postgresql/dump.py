# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kind `dump` of backups: each database by itself, as SQL that any later version reads. The second line behind kind `postgresql`.

One database, or one table, can be restored of it while the others go on, and a fault in pages or WAL does not come along.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..common.backup import FAILED, UNVERIFIED, BackupError, require_room, sha256
from ..common.command import CommandError, Result, run
from . import rows
from .access import PRIMARY, STANDBY, Access, cluster
from .scratch import MEMORY_BYTES, Instance, instance

ACCOUNT = "postgres"
RUN_LIMIT = 6 * 3600
GLOBALS = "globals.sql"
# A standby ends queries that keep it from replaying; the primary has no such reason.
_CONFLICT = "conflict with recovery"
# What roles of the cluster may meet in a new one, which has its first user already.
_PRESENT = re.compile(r'^psql:.*ERROR:\s+role "postgres" already exists$')
MARGIN_BYTES = 2**30


def file_name(database: str) -> str:
    """The file of a database's dump, whatever characters its name has."""
    return quote(database, safe=" .-_").lstrip(".") + ".dump"


def take(settings: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Dump all databases, and the roles without their passwords, into a directory; returns what a record has of it.

    settings: members, port, user, password, ca (see access.cluster), account; limit_s. Raises BackupError.
    """
    directory = Path(directory)
    limit = float(settings.get("limit_s", RUN_LIMIT))
    account = settings.get("account", ACCOUNT)
    manifest: dict[str, Any] = {}
    sources = set()
    with cluster(settings, account) as access:
        census = rows.Census(access)
        version = access.ask("SELECT to_json(current_setting('server_version'))", which=PRIMARY)
        _run(
            access,
            ["pg_dumpall", "--globals-only", "--no-role-passwords", "--no-tablespaces", "--no-password"]
            + [f"--file={directory / GLOBALS}"],
            limit,
            which=STANDBY,
        )
        point = int(time.time())
        for database in census.before:
            path = directory / file_name(database)
            sources.add(_dump(access, database, path, limit))
            manifest[database] = {**census.end(database)[database], "file": path.name}
    files = {path.name: sha256(path) for path in sorted(directory.iterdir())}
    return {
        "source": "primary" if "primary" in sources else "standby",
        # Each database is of the moment at which its dump began; all of them have everything that was there before the first.
        "point": {"time": point},
        "bytes": sum((directory / name).stat().st_size for name in files),
        "files": files,
        "needs": [],
        "manifest": {"databases": manifest},
        "software": {"postgresql": version},
    }


def _dump(access: Access, database: str, path: Path, limit: float) -> str:
    """Dump one database, from a standby where one is there and does not break it off; returns from which."""
    words = ["pg_dump", "--format=custom", "--no-password", "--lock-wait-timeout=60s", f"--file={path}"]
    try:
        _run(access, words, limit, database, STANDBY)
    except BackupError as error:
        if _CONFLICT not in error.reason:
            raise
        path.unlink(missing_ok=True)
        _run(access, words, limit, database, PRIMARY)
        return "primary"
    return "standby"


def _run(access: Access, words: list[str], limit: float, database: str = "postgres", which: str = STANDBY) -> None:
    done = access.run(words, limit, database, which)
    if done.rc:
        raise BackupError(f"{words[0]} of database {database} ended with {done.rc}: {reason(done)}")


def reason(done: Result) -> str:
    """Why a client program failed: what the server said, else the program, else its last line, which may be its command."""
    lines = done.stderr.splitlines()
    return next((line for word in ("ERROR:", "FATAL:", "error:") for line in lines if word in line), done.said)


def verify(settings: Mapping[str, Any], directory: Path, scratch: Path) -> dict[str, Any]:
    """Read each dump's list, then restore it into a scratch server and count its rows.

    settings: as of take(), with the records of this kind; the one of this backup has the numbers of rows. Raises BackupError: FAILED where
    something is damaged, UNVERIFIED where nothing is known, NO_ROOM.
    """
    directory = Path(directory)
    found = inspect(directory)
    record = record_of(settings.get("records", ()), found["files"])
    account, limit = settings.get("account", ACCOUNT), float(settings.get("limit_s", RUN_LIMIT))
    databases = record["manifest"]["databases"]
    # One database at a time is there. Restored it is a few times as large as compressed.
    largest = max((directory / known["file"]).stat().st_size for known in databases.values())
    require_room(scratch, largest * 8 + MARGIN_BYTES, f"A trial of dumps in {scratch}")
    version = str(found["software"].get("postgresql", "")).partition(".")[0]
    tables, rest = 0, 0
    with instance(scratch, version, account, memory_bytes=int(settings.get("memory_bytes") or MEMORY_BYTES)) as server:
        server.initialise()
        server.start(wal_level="minimal", max_wal_senders="0")
        _globals(server, directory / GLOBALS, limit)
        for name, known in databases.items():
            restored = _restore(server, name, directory / known["file"], limit)
            counted = rows.counts(server.access, restored, known["tables"], table_limit=limit)
            wrong = rows.differences(known["tables"], counted, name)
            if wrong:
                raise BackupError("; ".join(wrong[:20]))
            tables, rest = tables + len(counted), rest + known.get("uncounted", 0)
            if restored != "postgres":
                server.program("dropdb", "--no-password", "--", restored, limit_s=limit)
    return {
        "checks": {
            "list": f"pg_restore reads {len(databases)} dumps",
            "rows": f"{tables} tables have the rows that they had" + (f", {rest} were not counted" if rest else ""),
        },
        "point": record["point"],
        "bytes": record["bytes"],
        "files": found["files"],
        "needs": [],
        "software": {"postgresql": version},
    }


def inspect(directory: Path) -> dict[str, Any]:
    """What a directory of dumps has: {files: name to checksum, databases: name to file, bytes, software}. Raises BackupError where it is damaged."""
    directory = Path(directory)
    databases, versions = {}, set()
    for path in sorted(directory.glob("*.dump")):
        listed = _list(path)
        databases[listed["database"]] = path.name
        versions.add(listed["version"])
    if not databases or not (directory / GLOBALS).is_file():
        raise BackupError(f"{directory} has no dumps of databases, or no {GLOBALS}")
    if len(versions) > 1:
        raise BackupError(f"{directory} has dumps of several versions: {', '.join(sorted(versions))}")
    files = {path.name: sha256(path) for path in sorted(directory.iterdir())}
    return {
        "files": files,
        "databases": databases,
        "bytes": sum((directory / name).stat().st_size for name in files),
        "software": {"postgresql": versions.pop()},
    }


def _list(path: Path) -> dict[str, str]:
    try:
        done = run(["pg_restore", "--list", str(path)], 600)
    except CommandError as error:
        raise BackupError(error.reason, UNVERIFIED) from error
    if done.rc:
        raise BackupError(f"{path.name} is damaged: pg_restore --list ended with {done.rc}: {done.said}")
    return parse_list(done.stdout, path.name)


def parse_list(text: str, name: str) -> dict[str, str]:
    """The database and the version of the server that a dump is of, from what `pg_restore --list` printed; pure."""
    database = re.search(r"^;     dbname: (.*)$", text, re.MULTILINE)
    version = re.search(r"^;     Dumped from database version: (\d+)", text, re.MULTILINE)
    if not database or not version:
        raise BackupError(f"{name} is no dump of a database: pg_restore --list does not say of which", FAILED)
    return {"database": database[1], "version": version[1]}


def record_of(records: Iterable[Mapping[str, Any]], files: Mapping[str, str]) -> Mapping[str, Any]:
    """The record of the backup whose files these are; pure. Raises BackupError."""
    taken = [one for one in records if one["act"] == "take" and one["verdict"] == "ok"]
    for one in reversed(taken):
        if one["files"].keys() == files.keys():
            changed = [name for name, checksum in one["files"].items() if files[name] != checksum]
            if not changed:
                return one
    same = [one for one in taken if set(one["files"].values()) & set(files.values())]
    if same:
        known = same[-1]["files"]
        changed = sorted(name for name in known.keys() | files.keys() if known.get(name) != files.get(name))
        raise BackupError(f"files are not as they were written: {', '.join(changed)}")
    raise BackupError("there is no record of this backup, so there are no numbers of rows to compare with", UNVERIFIED)


def _globals(server: Instance, path: Path, limit: float) -> None:
    """Make the roles; whatever else than the first user can't be made is a fault."""
    try:
        done = run(
            ["psql", "--no-psqlrc", "--no-password", "--quiet", f"--file={path}"],
            limit,
            environment=server.access.to(),
            user=server.account,
        )
    except CommandError as error:
        raise BackupError(error.reason, UNVERIFIED) from error
    wrong = [line for line in done.stderr.splitlines() if "ERROR:" in line and not _PRESENT.match(line)]
    if done.rc or wrong:
        raise BackupError(f"{path.name} can't be restored: {(wrong or [done.said])[0]}")


def _restore(server: Instance, database: str, path: Path, limit: float) -> str:
    """Restore one database into the scratch server, which has that of this name only if every new cluster has it; returns its name."""
    words = ["pg_restore", "--exit-on-error", "--no-tablespaces", "--no-password"]
    words += ["--dbname=postgres"] if database == "postgres" else ["--create", "--dbname=template1"]
    try:
        done = run(
            [server.bin / words[0], *words[1:], path], limit, environment=server.access.environment, user=server.account
        )
    except CommandError as error:
        raise BackupError(error.reason, UNVERIFIED) from error
    if done.rc:
        raise BackupError(f"{path.name} can't be restored: {reason(done)}")
    return database
