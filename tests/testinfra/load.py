# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Users of the application: they send numbered events at a fixed rate and remember which were acknowledged."""

from __future__ import annotations

import http.client
import itertools
import json
import ssl
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import clients
import ledger
import psycopg

STORES = ("postgresql", "elasticsearch", "redis")
CHUNK = 1000
# Longer than the application takes at most, so that its own answer is waited for.
TIMEOUT = 8.0
PAUSE = 0.2


@dataclass
class Outcome(ledger.Outcome):
    """What became of the events, by number. Failed: refused by the application, or never sent. Unknown: no answer."""

    # Who answered and why it was refused: replicas, and reasons with how often.
    replicas: Counter = field(default_factory=Counter)
    reasons: Counter = field(default_factory=Counter)
    slowest: float = 0.0

    def __str__(self) -> str:
        reasons = "".join(f"\n  {times} x {reason}" for reason, times in self.reasons.most_common(10))
        return (
            f"{len(self.acknowledged)} acknowledged, {len(self.failed)} failed, {len(self.unknown)} unknown, slowest"
            f" {self.slowest:.2f} s, answered by {dict(self.replicas)}{reasons}"
        )


def chunks(ids) -> Iterator[list[str]]:
    """The ids, as many at a time as one question may hold."""
    ids = iter(ids)
    while chunk := list(itertools.islice(ids, CHUNK)):
        yield chunk


class Http:
    """One user's connection to the application, kept between requests and made anew when it broke."""

    def __init__(self, host: str, tls: ssl.SSLContext, port: int = 443):
        self.host, self.port, self.tls = host, port, tls
        self._connection: http.client.HTTPSConnection | None = None

    def ask(self, method: str, path: str, body: dict | None = None) -> tuple[int, dict]:
        """Status and answer. Raises OSError or HTTPException, with `sent` telling whether the request was on its way."""
        sent = False
        try:
            if self._connection is None:
                self._connection = http.client.HTTPSConnection(self.host, self.port, context=self.tls, timeout=TIMEOUT)
                self._connection.connect()
            sent = True
            self._connection.request(
                method, path, body and json.dumps(body), {"Content-Type": "application/json"} if body else {}
            )
            answer = self._connection.getresponse()
            text = answer.read()
            # A load balancer's own answer is no JSON.
            is_json = answer.headers.get_content_type() == "application/json"
            return answer.status, json.loads(text) if is_json else {}
        except (OSError, http.client.HTTPException) as error:
            self.close()
            error.sent = sent
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Load:
    """Sends `rate` events a second, from several users at once, each with one more try when something went wrong."""

    def __init__(self, cluster, rate: float = 10, users: int = 4, port: int = 443):
        self.run = uuid.uuid4().hex[:12]
        self.outcome = Outcome()
        self._open = lambda: Http(cluster.vip, clients.tls(cluster), port)
        self._interval = users / rate
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._halt = threading.Event()
        self._threads = [threading.Thread(target=self._user, name=f"user {user}", daemon=True) for user in range(users)]

    def start(self) -> Load:
        for thread in self._threads:
            thread.start()
            time.sleep(self._interval / len(self._threads))
        return self

    def stop(self) -> Outcome:
        """Stop sending, wait for the last answers and return the outcome."""
        self._halt.set()
        for thread in self._threads:
            thread.join(timeout=3 * TIMEOUT)
        return self.outcome

    def identity(self, number: int) -> str:
        """The id that an event has in the stores."""
        return f"{self.run}-{number}"

    def _user(self) -> None:
        connection = self._open()
        while not self._halt.is_set():
            with self._lock:
                number = next(self._numbers)
            started = time.monotonic()
            self._send(connection, number)
            took = time.monotonic() - started
            self.outcome.slowest = max(self.outcome.slowest, took)
            self._halt.wait(self._interval - took if took < self._interval else 0)
        connection.close()

    def _send(self, connection: Http, number: int) -> None:
        lost = False
        for pause in (PAUSE, None):
            try:
                status, answer = connection.ask("POST", "/api/events", {"id": self.identity(number)})
            except (OSError, http.client.HTTPException) as error:
                lost = lost or error.sent
                reason = f"{type(error).__name__}: {error}"
            else:
                if status == 200:
                    with self._lock:
                        self.outcome.acknowledged.add(number)
                        self.outcome.times.append(time.monotonic())
                        self.outcome.replicas[answer["replica"]] += 1
                    return
                failed = answer.get("failed", [])
                reason = f"{status} " + "; ".join(f"{store}: {answer['stores'][store]['error']}" for store in failed)
            with self._lock:
                self.outcome.reasons[reason[:200]] += 1
                self.outcome.errors.append(f"{time.time():.3f} {number} {reason[:200]}")
            if pause:
                self._halt.wait(pause)
        with self._lock:
            (self.outcome.unknown if lost else self.outcome.failed).add(number)

    # -- afterwards ---------------------------------------------------------------------------------------------------

    def missing(self) -> dict[str, set[int]]:
        """Store to the acknowledged events that it does not have, as the application finds them."""
        connection, missing = self._open(), {store: set() for store in STORES}
        numbers = {self.identity(number): number for number in self.outcome.acknowledged}
        for ids in chunks(numbers):
            status, answer = connection.ask("POST", "/api/events/verify", {"ids": ids})
            assert status == 200, (status, answer)
            for store in STORES:
                missing[store] |= {numbers[identity] for identity in answer["stores"][store]["missing"]}
        connection.close()
        return missing

    def missing_directly(self, cluster) -> dict[str, set[int]]:
        """The same, asked of the stores themselves, without the application."""
        numbers = {self.identity(number): number for number in self.outcome.acknowledged}
        with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
            rows = connection.execute("SELECT id FROM standin_events WHERE id LIKE %s", (f"{self.run}-%",))
            found = {"postgresql": {row[0] for row in rows}, "elasticsearch": set(), "redis": set()}
        search, redis = clients.search(cluster), clients.redis_by_sentinel(cluster)
        for ids in chunks(numbers):
            documents = search.mget(index=clients.INDEX, body={"ids": ids}, _source=False)["docs"]
            found["elasticsearch"] |= {document["_id"] for document in documents if document.get("found")}
            values = redis.hmget(clients.KEY, ids)
            found["redis"] |= {identity for identity, value in zip(ids, values) if value is not None}
        return {store: {numbers[name] for name in numbers.keys() - names} for store, names in found.items()}
