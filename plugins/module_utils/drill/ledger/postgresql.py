# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The drill's way to PostgreSQL: one connection as an application has it, and a table of numbers.

Numbers have no unique constraint, so that a write which happened twice is there twice.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .path import Path
from .records import Failed, Unknown

# A dead host does not answer, it stays silent: given up after 2 s (docs/failover.md, "The client's side").
PATIENCE = {
    "connect_timeout": 2,
    "tcp_user_timeout": 2000,
    "keepalives_idle": 1,
    "keepalives_interval": 1,
    "keepalives_count": 2,
}
ANSWER_S = 4.0
READ_BACK_S = 60.0
PAGE = 1000


def psycopg_connect(**parameters):
    """A connection. What tests replace."""
    import psycopg  # only where there is such a path

    # Without prepared statements: a pooler may give each transaction another server session.
    return psycopg.connect(autocommit=True, prepare_threshold=None, **parameters)


class PostgreSQL(Path):
    """settings: host, port, dbname, user, password, and members as name -> [address, port]."""

    def __init__(self, settings: dict, run: str, ca: str, connect=psycopg_connect):
        self.members = settings.get("members") or {settings["host"]: [settings["host"], settings["port"]]}
        self._address = settings["host"], settings["port"]
        self._login = {name: settings[name] for name in ("dbname", "user", "password")} | {
            "sslmode": "verify-full",
            "sslrootcert": ca,
            "application_name": f"drill {run}",
        }
        self._names = {address: name for name, (address, _port) in self.members.items()}
        self._table = f'"drill_{run}"'
        # Where the numbers are read from.
        self._rows = self._table
        self._limit = settings.get("timeout_s", ANSWER_S)
        self._connect, self._said = connect, []

    def prepare(self) -> None:
        """Make the table. Raises psycopg's errors."""
        with self._open(*self._address) as connection:
            connection.execute(
                f"CREATE TABLE {self._table} (number bigint NOT NULL, written timestamptz DEFAULT now())"
            )
            connection.execute(f"CREATE INDEX ON {self._table} (number)")

    def write(self, number: int) -> str:
        """Insert a row; returns the primary. Raises Failed or Unknown."""
        try:
            connection = self._kept()
        except Exception as error:
            raise Failed(str(error)) from error
        self._said.clear()
        statement = f"INSERT INTO {self._table} (number) VALUES (%s) RETURNING host(inet_server_addr())"
        try:
            with hanging_up(connection, self._limit):
                ((address,),) = connection.execute(statement, (number,)).fetchall()
        except Exception as error:
            self.close()
            raise (Failed if refused(error) else Unknown)(str(error)) from error
        if self._said:
            # Above all "canceling wait for synchronous replication": committed, but on this host alone.
            raise Unknown(self._said[0])
        return self._names.get(address, address or "")

    def read(self, number: int) -> bool:
        """Whether the same connection's server has the row."""
        connection = self._kept()
        try:
            with hanging_up(connection, self._limit):
                return bool(
                    connection.execute(f"SELECT FROM {self._rows} WHERE number = %s LIMIT 1", (number,)).fetchall()
                )
        except Exception:
            self.close()
            raise

    def present(self, member: str, numbers: Iterator[int]) -> Iterator[tuple[int, int]]:
        """(number, how often it is there) in ascending order, from one member's own copy. Raises psycopg's errors."""
        last = -1
        with self._open(*self.members[member]) as connection:
            while True:
                with hanging_up(connection, READ_BACK_S):
                    rows = connection.execute(
                        f"SELECT number, count(*) FROM {self._rows} WHERE number > %s"
                        f" GROUP BY number ORDER BY number LIMIT {PAGE}",
                        (last,),
                    ).fetchall()
                yield from rows
                if len(rows) < PAGE:
                    return
                last = rows[-1][0]

    def clean(self) -> None:
        """Remove the table."""
        with self._open(*self._address) as connection:
            connection.execute(f"DROP TABLE IF EXISTS {self._table}")

    def _open(self, host: str, port: int):
        return self._connect(host=host, port=port, **self._login, **PATIENCE)

    def _kept(self):
        if self._connection is None:
            self._connection = self._open(*self._address)
            self._connection.add_notice_handler(lambda notice: self._said.append(notice.message_primary))
        return self._connection


CLIENT = PostgreSQL


def refused(error: Exception) -> bool:
    """Whether the server itself undid the statement: an ERROR is one, while FATAL may also be a pooler that lost its server."""
    return getattr(getattr(error, "diag", None), "severity_nonlocalized", None) == "ERROR"


@contextmanager
def hanging_up(connection, seconds: float):
    """Cut the line under a connection that is in use for longer: libpq itself waits for an answer without end."""
    timer = threading.Timer(seconds, _shut, [connection])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _shut(connection) -> None:
    if not connection.closed:
        with socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
