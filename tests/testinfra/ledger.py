# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Clients that write numbered records at a fixed rate and remember what the server acknowledged."""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass, field

import psycopg
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, TimeoutError

# The table, and the hash.
TABLE = "ledger"


@dataclass
class Outcome:
    """What became of the writes: row numbers, and the times in monotonic seconds at which writes were acknowledged.

    refused: how often a connection was not to be had. errors: what was said instead of an acknowledgement, with the time of day.
    """

    acknowledged: set[int] = field(default_factory=set)
    unknown: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    times: list[float] = field(default_factory=list)
    refused: int = 0
    errors: list[str] = field(default_factory=list)

    def note(self, error: object) -> None:
        """Keep what went wrong, for a person who asks why."""
        self.errors.append(f"{time.strftime('%H:%M:%S')} {type(error).__name__} {' '.join(str(error).split())}")

    def longest_gap(self, since: float) -> float:
        """The longest time between two acknowledged writes, in seconds, counting from the last one before `since`."""
        before = [moment for moment in self.times if moment <= since]
        after = [moment for moment in self.times if moment > since]
        moments = before[-1:] + after
        return max((later - sooner for sooner, later in zip(moments, moments[1:])), default=float("inf"))


class Writer(threading.Thread):
    """Inserts one row every `interval` seconds through one address, connecting again whenever the connection is lost.

    A row is acknowledged when its commit returned without a warning. It is unknown when the connection broke after the
    statement was sent, or when the commit came back with PostgreSQL's warning about synchronous replication.
    """

    def __init__(self, conninfo: str, interval: float = 0.02):
        super().__init__(daemon=True)
        self.conninfo = conninfo
        self.interval = interval
        self.outcome = Outcome()
        self._halt = threading.Event()
        self._warned = False

    def prepare(self) -> None:
        """Make an empty table."""
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute(f"DROP TABLE IF EXISTS {TABLE}")
            connection.execute(f"CREATE TABLE {TABLE} (number bigint PRIMARY KEY, written timestamptz DEFAULT now())")

    def _connect(self) -> psycopg.Connection:
        connection = psycopg.connect(self.conninfo, autocommit=True)
        connection.add_notice_handler(self._notice)
        return connection

    def _notice(self, diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            self._warned = True
            self.outcome.note(diagnostic.message_primary)

    def run(self) -> None:
        connection, number = None, 0
        while not self._halt.is_set():
            started = time.monotonic()
            try:
                if connection is None:
                    connection = self._connect()
            except psycopg.Error as error:
                self.outcome.refused += 1
                self.outcome.note(error)
                self._halt.wait(self.interval)
                continue
            number += 1
            self._warned = False
            try:
                connection.execute(f"INSERT INTO {TABLE} (number) VALUES (%s)", (number,))
            except psycopg.OperationalError as error:
                self.outcome.unknown.add(number)
                self.outcome.note(error)
                connection.close()
                connection = None
            except psycopg.Error as error:
                self.outcome.failed.add(number)
                self.outcome.note(error)
                connection.close()
                connection = None
            else:
                if self._warned:
                    self.outcome.unknown.add(number)
                else:
                    self.outcome.acknowledged.add(number)
                    self.outcome.times.append(time.monotonic())
            self._halt.wait(max(0.0, self.interval - (time.monotonic() - started)))
        if connection is not None:
            connection.close()

    def stop(self) -> Outcome:
        """Stop writing and return the outcome."""
        self._halt.set()
        self.join(timeout=60)
        return self.outcome


def present(conninfo: str) -> set[int]:
    """The numbers of all rows that are there, read from the primary."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        return {row[0] for row in connection.execute(f"SELECT number FROM {TABLE}")}


class RedisWriter(threading.Thread):
    """Sets one numbered field every `interval` seconds, with one more try, at once, when the connection broke.

    It is unknown what became of a write whose connection broke twice; one that the server refused has failed.
    """

    def __init__(self, client: Redis, interval: float = 0.02):
        super().__init__(daemon=True)
        self.client, self.interval = client, interval
        self.outcome = Outcome()
        self._hash = f"{TABLE}:{uuid.uuid4().hex[:8]}"
        self._halt = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._halt.is_set():
            started = time.monotonic()
            number += 1
            try:
                try:
                    self.client.hset(self._hash, number, 1)
                except (RedisConnectionError, TimeoutError):
                    self.client.hset(self._hash, number, 1)
            except (RedisConnectionError, TimeoutError) as error:
                self.outcome.unknown.add(number)
                self.outcome.note(error)
            except RedisError as error:
                self.outcome.failed.add(number)
                self.outcome.note(error)
            else:
                self.outcome.acknowledged.add(number)
                self.outcome.times.append(time.monotonic())
            self._halt.wait(max(0.0, self.interval - (time.monotonic() - started)))

    def stop(self) -> Outcome:
        """Stop writing and return the outcome."""
        self._halt.set()
        self.join(timeout=60)
        return self.outcome

    def missing(self) -> set[int]:
        """The acknowledged numbers that the master does not have. What was written is deleted."""
        found = {int(number) for number in self.client.hkeys(self._hash)}
        self.client.delete(self._hash)
        return self.outcome.acknowledged - found
