# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Events in PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import asynccontextmanager

import psycopg
from standin.app.settings import Settings
from standin.app.store import TRY, Event, Store, Unavailable

CONNECTIONS = 10

TABLE = """
CREATE TABLE IF NOT EXISTS standin_events (
    id text PRIMARY KEY,
    message text NOT NULL,
    replica text NOT NULL,
    received timestamptz NOT NULL
)
"""
WRITE = """
INSERT INTO standin_events (id, message, replica, received) VALUES (%s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET message = excluded.message, replica = excluded.replica, received = excluded.received
RETURNING host(inet_server_addr())
"""


class PostgreSQL(Store):
    """Connects to one address, behind which the primary is, whoever that may be."""

    name = "postgresql"
    component = "database"
    faults = (psycopg.Error, TimeoutError, OSError)

    def __init__(self, settings: Settings):
        super().__init__()
        server = settings.database
        self._conninfo = psycopg.conninfo.make_conninfo(
            host=server.host,
            port=server.port,
            user=server.user,
            password=server.password,
            dbname=settings.database_name,
            sslmode=settings.database_sslmode,
            sslrootcert=settings.ca,
            gssencmode="disable",
            application_name=f"standin {settings.replica}",
            # The primary only; and a peer that fell silent is given up as soon as it can be.
            target_session_attrs="read-write",
            connect_timeout=2,
            tcp_user_timeout=2000,
            keepalives_idle=1,
            keepalives_interval=1,
            keepalives_count=2,
        )
        self._idle: list[Connection] = []
        self._free = asyncio.Semaphore(CONNECTIONS)

    @asynccontextmanager
    async def _connection(self, fresh: bool):
        """A connection that was kept, or a new one. It is kept again unless something went wrong on it."""
        async with asyncio.timeout(TRY):
            await self._free.acquire()
        try:
            if self._idle and not fresh:
                connection = self._idle.pop()
            else:
                connection = await Connection.connect(self._conninfo, autocommit=True)
                connection.add_notice_handler(connection.remember)
            try:
                # Cancelling would ask a server that does not answer, and wait for it.
                limit = asyncio.get_running_loop().call_later(TRY, hang_up, connection)
                try:
                    yield connection
                finally:
                    limit.cancel()
            except BaseException:
                await connection.close()
                raise
            self._idle.append(connection)
        finally:
            self._free.release()

    async def _rows(self, statement: str, *values) -> list[tuple]:
        async def work(fresh: bool) -> list[tuple]:
            async with self._connection(fresh) as connection:
                cursor = await connection.execute(statement, values)
                rows = await cursor.fetchall() if cursor.description else []
                if connection.warning:
                    raise Unavailable(connection.warning)
                return rows

        return await self.twice(work)

    async def prepare(self) -> None:
        await self._rows(TABLE)

    async def write(self, event: Event) -> dict:
        rows = await self._rows(WRITE, event.id, event.message, event.replica, event.received)
        return {"node": rows[0][0]}

    async def present(self, ids: list[str]) -> set[str]:
        return {row[0] for row in await self._rows("SELECT id FROM standin_events WHERE id = ANY(%s)", ids)}

    async def count(self) -> int:
        return (await self._rows("SELECT count(*) FROM standin_events"))[0][0]

    async def look(self) -> dict:
        rows = await self._rows("SELECT host(inet_server_addr()), current_setting('server_version')")
        return {"node": rows[0][0], "version": rows[0][1]}

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().close()


class Connection(psycopg.AsyncConnection):
    """A connection that remembers a warning.

    A commit that a cancelled statement released from waiting for the synchronous standby succeeds, with a warning: such
    a row can get lost.
    """

    warning = ""

    def remember(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            self.warning = diagnostic.message_primary


def hang_up(connection: psycopg.AsyncConnection) -> None:
    """Cut the line under a connection that is in use: whoever waits for the server learns that it is gone."""
    if not connection.closed:
        with socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
