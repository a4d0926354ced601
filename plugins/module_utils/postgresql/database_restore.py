# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One database from its logical dump: loaded beside the present one, then both are renamed in one transaction with all clients out.

What is there shows how far it is: a loaded database has a comment that says of which dump, and the former one has its own name then.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

# PostgreSQL cuts longer names.
LONGEST = 63
FACTS = """SELECT json_build_object(
  'names', (SELECT json_object_agg(datname, coalesce(shobj_description(oid, 'pg_database'), '')) FROM pg_database),
  'bytes', (SELECT pg_database_size(oid) FROM pg_database WHERE datname = NAME),
  'owner', (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = NAME),
  'encoding', (SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = NAME),
  'collate', (SELECT datcollate FROM pg_database WHERE datname = NAME),
  'ctype', (SELECT datctype FROM pg_database WHERE datname = NAME),
  'settings', (SELECT coalesce(json_agg(json_build_object('role', CASE WHEN setrole = 0 THEN NULL ELSE pg_get_userbyid(setrole) END, 'setting', one)), '[]')
     FROM pg_db_role_setting AS s, unnest(setconfig) AS one WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = NAME)),
  'grants', (SELECT coalesce(json_agg(json_build_object('to', CASE WHEN grantee = 0 THEN NULL ELSE pg_get_userbyid(grantee) END,
       'right', privilege_type)), '[]') FROM pg_database AS d, aclexplode(d.datacl) WHERE datname = NAME),
  'acl', (SELECT datacl IS NOT NULL FROM pg_database WHERE datname = NAME),
  'directory', current_setting('data_directory'), 'recovery', pg_is_in_recovery())"""
TABLES = """SELECT coalesce(json_agg(format('%I.%I', n.nspname, c.relname)), '[]') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"""


class DatabaseError(Exception):
    """What the operator has to know."""


def literal(text: str) -> str:
    """A text as SQL writes it, whatever it holds."""
    return "'" + text.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def names(database: str, label: str) -> tuple[str, str]:
    """What a restored database is called until it takes its place, and what the former one is called then."""
    return tuple(f"{database[: LONGEST - len(tail)]}{tail}" for tail in (f"_restored_{label}", f"_before_{label}"))  # type: ignore[return-value]


class Database:
    """One database of the leader. run: a command and its standard input to (code, output, errors), as the user of the data."""

    def __init__(self, run: Callable, database: str, label: str, port: int, version: str) -> None:
        self._run, self.database, self.label, self.port = run, database, label, port
        self.restored, self.former = names(database, label)
        self.bin = f"/usr/lib/postgresql/{version}/bin"

    def sql(self, text: str, database: str = "postgres") -> str:
        """What statements select. Raises DatabaseError."""
        words = [
            "psql",
            "--no-psqlrc",
            "--tuples-only",
            "--no-align",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            "--host=/var/run/postgresql",
        ]
        code, out, errors = self._run(
            [*words, f"--port={self.port}", f"--dbname={database}", "--username=postgres"], text
        )
        if code:
            raise DatabaseError(f"PostgreSQL refuses: {' '.join((errors or out).split())}")
        return out

    def facts(self) -> dict[str, Any]:
        """What is there."""
        return json.loads(self.sql(FACTS.replace("NAME", literal(self.database))))

    def state(self, facts: dict[str, Any]) -> str:
        """absent, partial (a load that was broken off), loaded, or swapped."""
        known = facts["names"]
        if known.get(self.database) == self._mark and self.restored not in known:
            return "swapped"
        if self.restored not in known:
            return "absent"
        return "loaded" if known[self.restored] == self._mark else "partial"

    @property
    def _mark(self) -> str:
        return f"restored from the dump {self.label}"

    def load(self, dump: str, owner: str, limit_s: int = 86400) -> bool:
        """Have the dump as a database of its own; returns whether that was to be done. Raises DatabaseError."""
        facts = self.facts()
        if facts["recovery"]:
            raise DatabaseError("This server is a standby.")
        if self.state(facts) in ("loaded", "swapped"):
            return False
        self.sql(f"DROP DATABASE IF EXISTS {quoted(self.restored)}")
        form = ""
        if facts["encoding"]:
            form = f" ENCODING {literal(facts['encoding'])} LC_COLLATE {literal(facts['collate'])} LC_CTYPE {literal(facts['ctype'])}"
        self.sql(
            f"CREATE DATABASE {quoted(self.restored)} OWNER {quoted(facts['owner'] or owner or 'postgres')} TEMPLATE template0{form}"
        )
        words = [
            f"{self.bin}/pg_restore",
            "--exit-on-error",
            "--no-password",
            "--host=/var/run/postgresql",
            f"--port={self.port}",
            "--username=postgres",
        ]
        code, out, errors = self._run([*words, f"--dbname={self.restored}", dump], None)
        if code:
            raise DatabaseError(
                f"pg_restore ended with {code}, and {self.restored} is not complete: {' '.join((errors or out).split())[:600]}"
            )
        self.sql("".join(f"{line};\n" for line in self._like(facts)))
        self.sql(f"COMMENT ON DATABASE {quoted(self.restored)} IS {literal(self._mark)}")
        self.sql("ANALYZE", self.restored)
        return True

    def _like(self, facts):
        """What a database has outside of its dump: settings and rights, of the present one."""
        name = quoted(self.restored)
        for one in facts["settings"]:
            key, _equals, value = one["setting"].partition("=")
            whose = f"ALTER ROLE {quoted(one['role'])} IN DATABASE {name}" if one["role"] else f"ALTER DATABASE {name}"
            yield f"{whose} SET {quoted(key)} TO {literal(value)}"
        if facts["acl"]:
            yield f"REVOKE ALL ON DATABASE {name} FROM PUBLIC"
        for one in facts["grants"]:
            yield f"GRANT {one['right']} ON DATABASE {name} TO {quoted(one['to']) if one['to'] else 'PUBLIC'}"

    def counts(self) -> dict[str, int]:
        """Rows of each table of the loaded database, or of the one that has taken its place."""
        name = self.restored if self.restored in self.facts()["names"] else self.database
        tables = json.loads(self.sql(TABLES, name))
        sql = "".join(
            f"SELECT json_build_object({literal(table)}, (SELECT count(*) FROM ONLY {table}));\n" for table in tables
        )
        found: dict[str, int] = {}
        for line in self.sql(sql, name).splitlines() if tables else []:
            found |= json.loads(line)
        return found

    def swap(self) -> bool:
        """Let it take the place of the present one, whose clients are ended, and which is kept under another name. Raises DatabaseError."""
        facts = self.facts()
        state = self.state(facts)
        if state == "swapped":
            return False
        if state != "loaded":
            raise DatabaseError(f"{self.restored} is {state}, and can't take the place of {self.database}.")
        renames = f"ALTER DATABASE {quoted(self.restored)} RENAME TO {quoted(self.database)};"
        if self.database in facts["names"]:
            self.sql(f"ALTER DATABASE {quoted(self.database)} ALLOW_CONNECTIONS false")
            renames = f"ALTER DATABASE {quoted(self.database)} RENAME TO {quoted(self.former)};\n{renames}"
        out = ", ".join(literal(name) for name in (self.database, self.restored))
        self.sql(
            f"SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE datname IN ({out});\nBEGIN;\n{renames}\nCOMMIT;"
        )
        return True
