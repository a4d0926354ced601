# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rows by which a restored cluster is compared with what it was: how many each table had, and a chain of witnesses.

A backup is of a moment between its begin and its end that nobody can ask the cluster about. So each table gets a smallest and a largest number
of rows: what it had before and after, wider by what PostgreSQL's own statistics say was inserted and deleted meanwhile. Where nothing was, both
are the same.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from ..common.backup import BackupError
from .access import ANY, PRIMARY, STANDBY, Access

MOST_TABLES = 200
# Seconds: of one table, and of all together.
TABLE_LIMIT, COUNT_LIMIT = 60, 900
_CHUNK = 20
WITNESS = "utmstack_backup.witness"
# A witness is kept for longer than any backup.
WITNESS_DAYS = 60
pause = time.sleep

DATABASES = """SELECT coalesce(json_agg(datname ORDER BY datname), '[]') FROM pg_catalog.pg_database
WHERE datallowconn AND NOT datistemplate"""
# Whole tables and partitions; unlogged and temporary ones are in no backup. The largest of them, and of these the smallest first.
TABLES = f"""SELECT coalesce(json_agg(json_build_object('name', name, 'file', file, 'in', ins, 'out', del) ORDER BY bytes), '[]') FROM (
SELECT format('%I.%I', n.nspname, c.relname) AS name, pg_relation_filenode(c.oid) AS file, pg_table_size(c.oid) AS bytes,
  coalesce(pg_stat_get_tuples_inserted(c.oid), 0) AS ins, coalesce(pg_stat_get_tuples_deleted(c.oid), 0) AS del
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
ORDER BY bytes DESC LIMIT {MOST_TABLES}) AS largest"""
# The hash of a witness covers the one before it, so none can be left out, put in or changed.
_HASH = "encode(sha256(convert_to(concat_ws(' ', {before}, {number}, to_char({time} AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISSUS')), 'UTF8')), 'hex')"
WITNESS_TABLE = f"""CREATE TABLE IF NOT EXISTS {WITNESS} (number bigint PRIMARY KEY, time timestamptz NOT NULL, hash text NOT NULL)"""
WITNESS_ROW = f"""INSERT INTO {WITNESS} (number, time, hash)
SELECT number, time, {_HASH.format(before="before", number="number", time="time")} FROM (
SELECT coalesce(max(number), 0) + 1 AS number, clock_timestamp() AS time,
  coalesce((SELECT hash FROM {WITNESS} ORDER BY number DESC LIMIT 1), '') AS before FROM {WITNESS}) AS next"""
WITNESS_CHAIN = f"""SELECT json_build_object('rows', count(*), 'last', max(number), 'time', extract(epoch FROM max(time)),
'broken', min(number) FILTER (WHERE before IS NOT NULL AND (number <> before_number + 1 OR time < before_time
  OR hash <> {_HASH.format(before="before", number="number", time="time")})))
FROM (SELECT number, time, hash, lag(hash) OVER w AS before, lag(number) OVER w AS before_number, lag(time) OVER w AS before_time
FROM {WITNESS} WINDOW w AS (ORDER BY number)) AS chain"""


def databases(access: Access, which: str = ANY) -> list[str]:
    """The databases of a cluster that hold something of their own."""
    return access.ask(DATABASES, which=which)


def counts(
    access: Access,
    database: str,
    tables: Iterable[str],
    which: str = ANY,
    until: float | None = None,
    table_limit: float = TABLE_LIMIT,
) -> dict[str, int]:
    """How many rows tables have, by their quoted names; those that can't be counted in time, or are gone, are left out.

    until: the moment (time.monotonic) after which no further table is begun.
    """
    found: dict[str, int] = {}
    names = list(tables)
    for start in range(0, len(names), _CHUNK):
        if until is not None and time.monotonic() > until:
            break
        some = names[start : start + _CHUNK]
        sql = "".join(
            f"SELECT json_build_object({literal(name)}, (SELECT count(*) FROM ONLY {name}));\n" for name in some
        )
        done = access.psql(
            sql,
            len(some) * table_limit + 30,
            database,
            which,
            statement_timeout=f"{int(table_limit)}s",
            row_security="off",
        )
        if done.rc:
            raise BackupError(f"rows of database {database} can't be counted: {done.said}")
        for line in done.stdout.splitlines():
            found.update(json.loads(line))
    return found


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


class Census:
    """The numbers of rows around a backup. Made before it; `end` is called when it is there."""

    def __init__(self, access: Access, limit_s: float = COUNT_LIMIT) -> None:
        self.access = access
        self.limit_s = limit_s
        # What was written is asked of the primary; rows are counted where it costs it nothing, once that one has all that was asked about.
        self.before = {name: self._tables(name) for name in databases(access, PRIMARY)}
        self.reach = self._position()
        self.rows = self._count(self.before)

    def end(self, database: str = "") -> dict[str, dict[str, Any]]:
        """Database to {tables: name to its smallest and largest number of rows, uncounted: how many tables have none of these}."""
        names = [database] if database else list(self.before)
        self.reach = self._position()
        rows = self._count({name: self.before[name] for name in names})
        after = {name: self._tables(name) for name in names}
        return {
            name: {
                "tables": bounds(self.before[name], self.rows[name], after[name], rows[name]),
                "uncounted": len(self.before[name].keys() - (self.rows[name].keys() & rows[name].keys())),
            }
            for name in names
        }

    def _tables(self, database):
        return {one["name"]: one for one in self.access.ask(TABLES, database=database, which=PRIMARY)}

    def _position(self) -> str:
        return self.access.ask("SELECT to_json(pg_current_wal_lsn()::text)", which=PRIMARY)

    def _count(self, tables):
        until = time.monotonic() + self.limit_s
        which = self._reader()
        return {name: counts(self.access, name, known, which, until) for name, known in tables.items()}

    def _reader(self) -> str:
        """Which kind of server has all up to the position that was asked for: a standby within half a minute, else the primary."""
        sql = (
            f"""SELECT to_json(NOT pg_is_in_recovery() OR pg_last_wal_replay_lsn() >= {literal(self.reach)}::pg_lsn)"""
        )
        for _attempt in range(15):
            if self.access.ask(sql, which=STANDBY):
                return STANDBY
            pause(2)
        return PRIMARY


def bounds(
    before: Mapping[str, Mapping[str, Any]],
    rows_before: Mapping[str, int],
    after: Mapping[str, Mapping[str, Any]],
    rows_after: Mapping[str, int],
) -> dict[str, list[int]]:
    """The smallest and the largest number of rows that a table may have had in between; pure.

    before, after: name to {file, in, out}: the file that has its rows, and how many were inserted and deleted since statistics began. A table
    that got another file meanwhile, as by TRUNCATE, may have had any number up to the largest.
    """
    found = {}
    for name in before:
        if name not in rows_before or name not in rows_after or name not in after:
            continue
        first, last = rows_before[name], rows_after[name]
        came = after[name]["in"] - before[name]["in"]
        went = after[name]["out"] - before[name]["out"]
        rewritten = after[name]["file"] != before[name]["file"] or came < 0 or went < 0
        low = 0 if rewritten else min(first, last) - max(went, 0)
        high = max(first, last) + max(came, 0)
        found[name] = [max(low, 0), high]
    return found


def differences(wanted: Mapping[str, Iterable[int]], found: Mapping[str, int], database: str) -> list[str]:
    """Which tables of a restored database have another number of rows than they may, as sentences; pure."""
    wrong = []
    for name, (low, high) in wanted.items():
        if name not in found:
            wrong.append(f"table {name} of database {database} is not there, or can't be read")
        elif not low <= found[name] <= high:
            expected = str(low) if low == high else f"{low} to {high}"
            wrong.append(f"table {name} of database {database} has {found[name]} rows, not {expected}")
    return wrong


def witness(access: Access) -> None:
    """Add a witness. Raises BackupError where the primary does not take it."""
    sql = f"""BEGIN; SELECT pg_advisory_xact_lock(20418407); {WITNESS_ROW};
DELETE FROM {WITNESS} WHERE time < now() - interval '{WITNESS_DAYS} days'; COMMIT;"""
    make = f"""SELECT to_json(to_regclass('{WITNESS}') IS NOT NULL)"""
    if not access.ask(make, which=PRIMARY):
        _do(access, f"{WITNESS_TABLE};")
    _do(access, sql)


def _do(access, sql):
    done = access.psql(f"\\set ON_ERROR_STOP on\n{sql}\n", which=PRIMARY)
    if done.rc:
        raise BackupError(f"no witness could be written: {done.said}")


def chain(access: Access, which: str = ANY) -> dict[str, Any]:
    """The chain of witnesses: {rows, last: its number, time, broken: the first number that does not follow}; empty where there is none."""
    if not access.ask(f"SELECT to_json(to_regclass('{WITNESS}') IS NOT NULL)", which=which):
        return {}
    return access.ask(WITNESS_CHAIN, which=which)


def chain_faults(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What is wrong with the witnesses of a restored cluster; pure. wanted: {before, after}: the last numbers around the backup."""
    if not wanted:
        return []
    if not found:
        return ["the witnesses are not there"]
    wrong = []
    if found.get("broken"):
        wrong.append(f"the chain of witnesses is broken at number {found['broken']}")
    last, low, high = found.get("last") or 0, wanted["before"], wanted["after"]
    if not low <= last <= high:
        wrong.append(f"the last witness is number {last}, not {low} to {high}")
    return wrong
