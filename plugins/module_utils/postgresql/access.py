# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Questions to PostgreSQL by psql, which is there wherever PostgreSQL's packages are; programs on hosts need no further library."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..common.backup import BackupError
from ..common.command import CommandError, Result, run

ANY, PRIMARY, STANDBY = "any", "primary", "prefer-standby"


class Access:
    """A way to a cluster or to one server: the environment of libpq, of which no password is a part but a file with it."""

    def __init__(self, environment: Mapping[str, str], account: str | None = None) -> None:
        self.environment = dict(environment)
        self.account = account

    def to(self, database: str = "postgres", which: str = ANY, **options: str) -> dict[str, str]:
        """libpq's environment for a database and the kind of server. options: of the session, as SET has them."""
        settings = " ".join(f"-c {name}={value}" for name, value in options.items())
        return {
            **self.environment,
            "PGDATABASE": database,
            "PGTARGETSESSIONATTRS": which,
            **({"PGOPTIONS": settings} if settings else {}),
        }

    def run(self, arguments: Sequence[str], limit_s: float, database: str = "postgres", which: str = ANY, **options):
        """Run one of PostgreSQL's client programs. Raises BackupError where it can't be started or does not end in time."""
        try:
            return run(arguments, limit_s, environment=self.to(database, which, **options), user=self.account)
        except CommandError as error:
            raise BackupError(error.reason) from error

    def psql(
        self, sql: str, limit_s: float = 60, database: str = "postgres", which: str = ANY, **options: str
    ) -> Result:
        """Have psql execute statements, each by itself and the next also after one that failed; one value a line is printed."""
        words = ["psql", "--no-psqlrc", "--no-password", "--quiet", "--no-align", "--tuples-only"]
        try:
            return run(words, limit_s, environment=self.to(database, which, **options), stdin=sql, user=self.account)
        except CommandError as error:
            raise BackupError(error.reason) from error

    def ask(self, sql: str, limit_s: float = 60, database: str = "postgres", which: str = ANY, **options: str) -> Any:
        """The value of one statement that returns JSON, None for NULL. Raises BackupError where there is none."""
        done = self.psql(sql, limit_s, database, which, **options)
        if done.rc or done.stderr.strip():
            raise BackupError(f"database {database} can't be asked: {done.said or f'psql ended with {done.rc}'}")
        try:
            return json.loads(done.stdout.strip() or "null")
        except ValueError as error:
            raise BackupError(f"database {database} did not answer with JSON: {done.stdout[:200]!r}") from error


@contextmanager
def cluster(settings: Mapping[str, Any], account: str | None = None) -> Iterator[Access]:
    """The way to the cluster, over TLS with certificate and name verified, for as long as the context lasts.

    settings: members, each {name, address}, in the order in which they are tried; port, user, password, ca, the file of the authority.
    """
    if account and os.geteuid() == 0:
        import pwd

        owner = pwd.getpwnam(account).pw_uid
    else:
        owner = os.geteuid()
    with tempfile.TemporaryDirectory(prefix="utmstack-ha-") as place:
        path = Path(place, "pgpass")
        password = str(settings["password"]).replace("\\", "\\\\").replace(":", "\\:")
        path.touch(mode=0o600)
        path.write_text(f"*:*:*:{settings['user']}:{password}\n", encoding="utf-8")
        for one in (place, path):
            os.chown(one, owner, -1)
        addresses = [str(one["address"]) for one in settings["members"]]
        yield Access(
            {
                "PGHOST": ",".join(addresses),
                "PGPORT": str(settings["port"]),
                "PGUSER": str(settings["user"]),
                "PGPASSFILE": str(path),
                "PGSSLMODE": str(settings.get("sslmode", "verify-full")),
                "PGSSLROOTCERT": str(settings["ca"]),
                "PGCONNECT_TIMEOUT": "5",
                "PGAPPNAME": "utmstack_backup",
            },
            account,
        )
