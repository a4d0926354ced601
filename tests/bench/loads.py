# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Work for each service, the same through the virtual IP and directly at the host that serves it, certificates verified.

Each function gives a Target for as long as it is needed, and takes away what it wrote.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import clients
import figures
import load
from cluster import ROOT, Cluster
from figures import BenchError
from opensearchpy import OpenSearch

PGBENCH = ROOT / ".lab" / "cache" / "pgbench"
# As many branches as pgbench's documentation asks for: not less than users.
SCALE = 10
USERS, REDIS_USERS, BULK_USERS = 8, 20, 2
REDIS_REQUESTS = 20_000
DRILL = "utmstack-drill"
INDEX = f"{DRILL}-bench"
DOCUMENTS = 500
# How much longer than it was meant to a program may take before it is ended: redis-benchmark tries a dead address for ever.
PATIENCE_S = 60


@dataclass(frozen=True)
class Target:
    """host: who serves directly. run: does the work at an address for some seconds, and returns a figure of each kind of work."""

    host: str
    vip: tuple[str, int]
    direct: tuple[str, int]
    run: Callable[[str, int, float], list[dict]]


def program(*command: object, seconds: float = 0, **environment: str) -> str:
    """What a program printed; a BenchError with what it complained of where it failed."""
    name = Path(str(command[0])).name
    try:
        done = subprocess.run(
            [str(part) for part in command], env=os.environ | environment, timeout=seconds + PATIENCE_S,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise BenchError(f"{name} is not there; molecule/shared/setup.sh bench installs it.") from error
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{name} did not end within {seconds + PATIENCE_S:.0f} s.") from error
    if done.returncode:
        raise BenchError(f"{name} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout


@contextmanager
def postgresql(cluster: Cluster) -> Iterator[Target]:
    """Transactions of pgbench: by HAProxy and pgbouncer, and at the primary. The drill's user may log in to both."""
    host = cluster.primary()
    login = {
        "PGUSER": "utmstack_drill", "PGPASSWORD": cluster.passwords["postgresql_drill_password"], "PGDATABASE": "utmstack",
        "PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(cluster.ca), "PGCONNECT_TIMEOUT": "5",
    }  # fmt: skip

    def pgbench(address: str, port: int, *arguments: object, seconds: float = 0) -> str:
        return program(PGBENCH, *arguments, seconds=seconds, PGHOST=address, PGPORT=str(port), **login)

    def run(address: str, port: int, seconds: float) -> list[dict]:
        with tempfile.TemporaryDirectory() as directory:
            output = pgbench(
                address, port, "--no-vacuum", f"--client={USERS}", "--jobs=2", f"--time={seconds:.0f}",
                "--log", f"--log-prefix={directory}/log", seconds=seconds,
            )  # fmt: skip
            lines = [line for file in Path(directory).iterdir() for line in file.read_text().splitlines()]
        work = {"work": f"pgbench, TPC-B, scale {SCALE}", "unit": "transactions", "users": USERS}
        return [work | figures.pgbench(output, lines)]

    direct = (cluster.hosts[host], 5432)
    pgbench(*direct, "--initialize", "--quiet", f"--scale={SCALE}", seconds=120)
    try:
        yield Target(host, (cluster.vip, 5432), direct, run)
    finally:
        pgbench(*direct, "--initialize", "--init-steps=d")


@contextmanager
def redis(cluster: Cluster) -> Iterator[Target]:
    """Single SETs and GETs of redis-benchmark, which verifies the certificate's issuer but no names."""
    host = cluster.redis_master()
    # It takes a password by its command line only.
    login = (
        "--tls",
        "--cacert",
        cluster.ca,
        "--user",
        clients.USER,
        "-a",
        cluster.passwords["redis_application_password"],
    )

    def run(address: str, port: int, _seconds: float) -> list[dict]:
        output = program(
            "redis-benchmark", "-h", address, "-p", port, *login, "-c", REDIS_USERS, "-n", REDIS_REQUESTS,
            "-t", "set,get", "-d", 100, "-r", 1000, "--csv",
        )  # fmt: skip
        return [
            {"work": f"redis-benchmark, {test}", "unit": "requests", "users": REDIS_USERS} | found
            for test, found in figures.redis_benchmark(output).items()
        ]

    try:
        yield Target(host, (cluster.vip, 6379), (cluster.hosts[host], 6379), run)
    finally:
        clients.redis_by_address(cluster).unlink(*(f"key:{number:012}" for number in range(1000)))


@contextmanager
def elasticsearch(cluster: Cluster) -> Iterator[Target]:
    """Bulks into an index with one shard and a replica: by any node, and at the one that has the primary shard."""

    def client(address: str, port: int) -> OpenSearch:
        return OpenSearch(
            f"https://{address}:{port}", http_auth=(DRILL, cluster.passwords["elasticsearch_drill_password"]),
            ca_certs=str(cluster.ca), timeout=30, max_retries=0,
        )  # fmt: skip

    def user(address: str, port: int) -> Callable[[], None]:
        own = client(address, port)

        def index() -> None:
            lines = [{"index": {}}, {"message": "x" * 200, "number": 1}] * DOCUMENTS
            if own.bulk(body=lines, index=INDEX)["errors"]:
                raise BenchError("a document was refused")

        return index

    def run(address: str, port: int, seconds: float) -> list[dict]:
        work = {"work": f"bulks of {DOCUMENTS}", "unit": "documents", "users": BULK_USERS}
        return [work | hammer(lambda: user(address, port), BULK_USERS, seconds, each=DOCUMENTS)]

    search = client(cluster.vip, 9200)
    search.indices.delete(index=INDEX, ignore_unavailable=True)
    search.indices.create(
        index=INDEX,
        body={"settings": {"number_of_shards": 1, "number_of_replicas": 1}},
        params={"wait_for_active_shards": "all"},
    )
    try:
        routing = search.search_shards(index=INDEX)
        [node] = [shard["node"] for shard in routing["shards"][0] if shard["primary"]]
        host = routing["nodes"][node]["name"]
        yield Target(host, (cluster.vip, 9200), (cluster.hosts[host], 9200), run)
    finally:
        search.indices.delete(index=INDEX)


@contextmanager
def api(cluster: Cluster) -> Iterator[Target]:
    """The application: a request that asks no store, and one that writes all three; direct is the replica beside the virtual IP."""
    host = cluster.vip_holder()
    if host is None:
        raise BenchError("not exactly one host has the virtual IP.")
    works = {
        "GET /api/ping": ("GET", "/api/ping", None),
        "POST /api/events": ("POST", "/api/events", {"message": "bench"}),
    }

    def user(address: str, port: int, request: tuple) -> Callable[[], None]:
        connection = load.Http(address, clients.tls(cluster), port)

        def ask() -> None:
            status, _answer = connection.ask(*request)
            if status != 200:
                raise BenchError(f"status {status}")

        return ask

    def run(address: str, port: int, seconds: float) -> list[dict]:
        return [
            {"work": work, "unit": "requests", "users": USERS}
            | hammer(lambda request=request: user(address, port, request), USERS, seconds)
            for work, request in works.items()
        ]

    yield Target(host, (cluster.vip, 443), (cluster.hosts[host], 8080), run)


def hammer(open_user: Callable[[], Callable[[], None]], users: int, seconds: float, each: int = 1) -> dict:
    """A figure of users that ask again as soon as they were answered, for some seconds.

    open_user returns what one user does again and again; it raises where that fails. It is done once before the time begins, for
    the connection. each: of what is counted, how many one doing is. Raises BenchError where that first one fails, or all do.
    """
    ready = threading.Barrier(users)
    errors: Counter[str] = Counter()

    def work() -> tuple[list[float], float, float]:
        try:
            ask = open_user()
            ask()
        except Exception as error:
            ready.abort()
            raise BenchError(f"the first request failed: {_reason(error)}") from error
        ready.wait()
        took, began = [], time.monotonic()
        now = began
        while now < began + seconds:
            asked = now
            try:
                ask()
                took.append(time.monotonic() - asked)
            except Exception as error:
                errors[_reason(error)] += 1
            now = time.monotonic()
        return took, began, now

    with ThreadPoolExecutor(users) as pool:
        futures = [pool.submit(work) for _user in range(users)]
    failed = [error for future in futures if isinstance(error := future.exception(), BenchError)]
    if failed:
        raise failed[0]
    done = [future.result() for future in futures]
    if errors:
        print(f"    {errors.total()} failed, most of them: {errors.most_common(1)[0][0]}", flush=True)
    times = [1000 * took for own, _began, _ended in done for took in own]
    elapsed = max(ended for _own, _began, ended in done) - min(began for _own, began, _ended in done)
    return {"rate_per_s": round(each * len(times) / elapsed, 1), **figures.latencies(times), "errors": errors.total()}


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]
