# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Doubles of the stores and of the network to them, for the drill's ledger: stores that keep, lose, repeat and invent."""

from __future__ import annotations

import re
from types import SimpleNamespace

from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger import http_client as drill_http
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger.api import Api
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger.bank import ACCOUNTS, BALANCE, Bank
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger.postgresql import PostgreSQL
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger.records import Failed, Unknown
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger.redis import Redis
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger.search import Search
from ansible_collections.utmstack.ha.plugins.module_utils.redis import client as redis_client

MEMBERS = {"node1": "10.0.1.11", "node2": "10.0.1.12", "node3": "10.0.1.13"}
RUN = "test-1"
WARNING = "canceling wait for synchronous replication due to user request"


class Store:
    """What one cluster keeps. `meets`: number -> "", or one of
    down (nobody answers), refused, broken (before it was kept), answer lost (after), warned (PostgreSQL's warning).

    drop, twice, late: numbers that are acknowledged and then lost, kept twice, or kept three writes later. invent: numbers
    that nobody sent. lacks: member -> numbers that it alone has not. stale: whether reads find nothing. unreadable: members.
    """

    def __init__(self, meets=None, drop=(), twice=(), late=(), invent=(), lacks=None, stale=False, unreadable=()):
        self.meets = meets or (lambda number: "")
        self.drop, self.twice, self.late, self.stale = set(drop), set(twice), set(late), stale
        self.lacks, self.unreadable = lacks or {}, set(unreadable)
        self.kept, self.waiting, self.next = list(invent), [], 1
        self.leader, self.cleaned, self.reads = "node1", False, 0
        # The bank's: the balances of members whose journal says something else, and how a transaction that was cut off is.
        self.balances, self.left = {}, lambda: "aborted"

    def reach(self) -> None:
        """Connect. Raises ConnectionRefusedError."""
        if self.meets(self.next) == "down":
            self.next += 1
            raise ConnectionRefusedError("connection refused")

    def write(self, number: int) -> str:
        """Keep a number; returns what it met, where that is an answer. Raises ConnectionError where there is none."""
        self.next = number + 1
        met = self.meets(number)
        if met in ("broken", "down"):
            raise ConnectionResetError("reset by peer")
        if met == "refused":
            return met
        self.kept += [due for due, when in self.waiting if when <= number]
        self.waiting = [(due, when) for due, when in self.waiting if when > number]
        if number in self.late:
            self.waiting.append((number, number + 3))
        elif number not in self.drop:
            self.kept += [number] * (2 if number in self.twice else 1)
        if met == "answer lost":
            raise ConnectionResetError("reset by peer")
        return met

    def has(self, number: int) -> bool:
        return not self.stale and number in self.kept

    def copy(self, member: str) -> list[int]:
        """What a member has, in the order of arrival. Raises ConnectionError."""
        self.reads += 1
        if member in self.unreadable:
            raise ConnectionRefusedError("connection refused")
        return [number for number in self.kept if number not in self.lacks.get(member, ())]

    def counted(self, member: str, after: int, limit: int) -> list[tuple[int, int]]:
        numbers = self.copy(member)
        return [(number, numbers.count(number)) for number in sorted(set(numbers)) if number > after][:limit]


# -- PostgreSQL ----------------------------------------------------------------------------------------------------------


class PostgresError(Exception):
    """As psycopg raises: with what the server said, or without where it said nothing."""

    def __init__(self, message, severity=None):
        super().__init__(message)
        self.diag = SimpleNamespace(severity_nonlocalized=severity)


class PostgresConnection:
    def __init__(self, store, host):
        self.store, self.member = store, {v: k for k, v in MEMBERS.items()}.get(host)
        self.closed, self.told = False, None

    def add_notice_handler(self, handler):
        self.told = handler

    def execute(self, statement, values=()):
        rows = []
        if statement.startswith("INSERT"):
            try:
                met = self.store.write(values[0])
            except ConnectionError as error:
                raise PostgresError("server closed the connection unexpectedly") from error
            if met == "refused":
                raise PostgresError("cannot execute INSERT in a read-only transaction", "ERROR")
            if met == "warned":
                self.told(SimpleNamespace(message_primary=WARNING))
            rows = [(MEMBERS[self.store.leader],)]
        elif statement.startswith("SELECT number, count"):
            rows = self.store.counted(self.member, values[0], int(re.search(r"LIMIT (\d+)", statement)[1]))
        elif statement.startswith("SELECT FROM"):
            rows = [()] if self.store.has(values[0]) else []
        elif statement.startswith("DROP"):
            self.store.cleaned = True
        return SimpleNamespace(fetchall=lambda: rows)

    def close(self):
        self.closed = True

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


class BankConnection(PostgresConnection):
    """A transfer is kept when it is committed."""

    number = 0

    def execute(self, statement, values=()):
        if statement.startswith("INSERT") and values:
            self.number = values[1]
        elif statement == "COMMIT":
            return super().execute("INSERT", (self.number,))
        elif statement.startswith("SELECT pg_current_xact_id"):
            return SimpleNamespace(fetchall=lambda: [("4711", MEMBERS[self.store.leader])])
        elif "pg_xact_status" in statement:
            state = self.store.left()
            return SimpleNamespace(fetchall=lambda: [(MEMBERS[self.store.leader], state)])
        elif "FOR UPDATE" not in statement and not statement.startswith(("INSERT", "UPDATE")):
            if statement.startswith("SELECT id, balance"):
                self.store.copy(self.member)
                own = self.store.balances.get(self.member, {})
                lines = [(id, own.get(id, BALANCE), BALANCE) for id in range(1, ACCOUNTS + 1)]
                return SimpleNamespace(fetchall=lambda: lines)
            return super().execute(statement, values)
        return SimpleNamespace(fetchall=list)


def bank(store: Store, **how) -> Bank:
    return Bank(SETTINGS, RUN, "/ca.crt", connecting(store, BankConnection), **{"sleep": lambda seconds: None} | how)


def postgresql(store: Store) -> PostgreSQL:
    return PostgreSQL(SETTINGS, RUN, "/ca.crt", connecting(store, PostgresConnection))


SETTINGS = {
    "host": "10.0.1.100", "port": 5432, "dbname": "utmstack", "user": "utmstack", "password": "secret",
    "members": {name: [address, 5432] for name, address in MEMBERS.items()},
}  # fmt: skip


def connecting(store: Store, kind):
    def connect(**parameters):
        assert parameters["sslmode"] == "verify-full"
        if parameters["host"] == "10.0.1.100":
            try:
                store.reach()
            except ConnectionError as error:
                raise PostgresError(str(error)) from error
        return kind(store, parameters["host"])

    return connect


# -- Redis ---------------------------------------------------------------------------------------------------------------


class RedisConnection:
    def __init__(self, store, address, port):
        self.store, self.sentinel = store, port == 26379
        self.member = {v: k for k, v in MEMBERS.items()}[address]

    def call(self, *words):
        if words[0] == "SENTINEL":
            return [MEMBERS[self.store.leader], "6379"]
        if words[0] == "RPUSH":
            try:
                met = self.store.write(words[2])
            except ConnectionError as error:
                raise redis_client.RedisError("the connection was closed") from error
            if met == "refused":
                raise redis_client.RedisError("NOREPLICAS Not enough good replicas to write.", answered=True)
            return len(self.store.kept)
        if words[0] == "LPOS":
            return 0 if self.store.has(words[2]) else None
        if words[0] == "LRANGE":
            return [str(number) for number in self.store.copy(self.member)[words[2] : words[3] + 1]]
        assert words[0] == "UNLINK"
        self.store.cleaned = True
        return 1

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        pass


def redis(store: Store) -> Redis:
    def connect(address, port):
        if port == 26379:
            try:
                store.reach()
            except ConnectionError as error:
                raise redis_client.RedisError(str(error)) from error
        return RedisConnection(store, address, port)

    settings = {
        "sentinels": [[address, 26379] for address in MEMBERS.values()], "master_name": "utmstack-redis",
        "members": {name: [address, 6379] for name, address in MEMBERS.items()},
    }  # fmt: skip
    return Redis(settings, RUN, "/ca.crt", lambda *login: SimpleNamespace(connect=connect))


# -- HTTP ----------------------------------------------------------------------------------------------------------------


class HttpConnection:
    """Asks a function (member, method, path, body) -> (status, body)."""

    def __init__(self, store, url, answer):
        self.store, self.answer = store, answer
        self.member = next((name for name, address in MEMBERS.items() if address in url), None)

    def ask(self, method, path, body=None):
        try:
            if self.member is None:
                self.store.reach()
            status, reply = self.answer(self.store, self.member, method, path, body)
        except ConnectionError as error:
            raise (Failed if isinstance(error, ConnectionRefusedError) else Unknown)(str(error)) from error
        return drill_http.Reply(status, reply, str(reply))

    def close(self):
        pass


def network(store, answer):
    return lambda ca: SimpleNamespace(connect=lambda url, headers, timeout: HttpConnection(store, url, answer))


def answer_search(store, member, method, path, body):
    if method == "DELETE":
        store.cleaned = True
    if method in ("PUT", "DELETE"):
        return 200, {"acknowledged": True}
    if path.endswith("/_doc"):
        if store.write(body["number"]) == "refused":
            return 429, {"error": {"type": "es_rejected_execution_exception", "reason": "queue is full"}}
        return 201, {"_id": f"id{body['number']}", "result": "created", "_primary_term": int(store.leader[-1])}
    if "/_doc/" in path:
        number = int(path.rpartition("/id")[2])
        return (200, {"_source": {"number": number}}) if store.has(number) else (404, {"found": False})
    if path.endswith("/_search_shards"):
        return 200, {"shards": [[{"primary": True, "node": "x"}]], "nodes": {"x": {"name": store.leader}}}
    if path.endswith("/_refresh"):
        return 200, {"_shards": {"total": 2, "successful": 2, "failed": 0}}
    terms = body["aggs"]["numbers"]["terms"]
    found = store.counted(member, body["query"]["range"]["number"]["gt"], terms["size"])
    buckets = [{"key": number, "doc_count": count} for number, count in found]
    return 200, {"aggregations": {"numbers": {"buckets": buckets}}}


def elasticsearch(store: Store) -> Search:
    settings = {
        "url": "https://10.0.1.100:9200", "username": "utmstack", "password": "secret", "index": "log-drill",
        "members": {name: f"https://{address}:9200" for name, address in MEMBERS.items()},
    }  # fmt: skip
    return Search(settings, RUN, "/ca.crt", network(store, answer_search))


API = {
    "write": {"method": "POST", "path": "/api/events", "body": {"id": "{id}"}, "node": "replica"},
    "read": {"method": "GET", "path": "/api/events/{id}", "found": "stores.*.found"},
    "verify": {"method": "POST", "path": "/api/events/verify", "body": {"ids": "{ids}"}, "missing": "stores.*.missing"},
}


def answer_api(store, member, method, path, body):
    if path == "/api/events":
        if store.write(int(body["id"].rpartition("-")[2])) == "refused":
            return 400, {"error": "not so"}
        return 200, {"id": body["id"], "replica": store.leader}
    if path == "/api/events/verify":
        numbers = set(store.copy(member))
        missing = [name for name in body["ids"] if int(name.rpartition("-")[2]) not in numbers]
        return 200, {"stores": {"postgresql": {"missing": missing}, "redis": {"missing": []}}}
    return 200, {"stores": {"postgresql": {"found": store.has(int(path.rpartition("-")[2]))}, "redis": {"found": True}}}


def api(store: Store) -> Api:
    members = {name: f"https://{address}:8443" for name, address in MEMBERS.items()}
    settings = {"url": "https://10.0.1.100", "members": members, **API}
    return Api(settings, RUN, "/ca.crt", network(store, answer_api))


KINDS = {"postgresql": postgresql, "elasticsearch": elasticsearch, "redis": redis, "api": api, "bank": bank}


# -- time ----------------------------------------------------------------------------------------------------------------


class Time:
    """A clock and a halt that need no time; halted after so many seconds."""

    def __init__(self, until: float):
        self.now, self.until = 0.0, until

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        # A little more, as a real one takes, so that the moment is not a rounding error before its slot.
        self.now += max(0.0, seconds) + 1e-6

    def is_set(self) -> bool:
        return self.now >= self.until
