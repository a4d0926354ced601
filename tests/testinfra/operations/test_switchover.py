# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Leadership handed over by plan under load, measured: no statement fails, none that was acknowledged is missing.

SWITCHOVERS says how often each, 2 by default. Times are printed, never asserted.
"""

from __future__ import annotations

import os
import re
import shlex
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from bank import Bank
from clients import redis_by_address, redis_by_sentinel
from cluster import assert_unchanged, kill, until
from ledger import RedisWriter, Writer, present
from load import STORES, Load

REPEATS = int(os.environ.get("SWITCHOVERS", "2"))
# What a switchover with its preparations, and the way back to three that stream, may take.
WHOLE_S = 180


@pytest.fixture(autouse=True)
def _whole(cluster):
    until(lambda: cluster.whole() and cluster.vip_holder(), 120, "a whole cluster")


@pytest.fixture
def writer(cluster):
    running = Writer(cluster.conninfo())
    running.prepare()
    running.start()
    until(lambda: len(running.outcome.acknowledged) > 50, 30, "the writer to get going")
    yield running
    running.stop()


def successor(cluster) -> str:
    return next(name for name, member in cluster.patroni().items() if member["role"] == "sync_standby")


def arguments(*options, service="postgresql") -> list[str]:
    return ["playbooks/switchover.yml", "-e", f"service={service}", *options]


def hand_over(cluster, leader, service: str, settle_s: float) -> float:
    """Have another host lead; `leader` tells who does. Returns when it began, in monotonic seconds."""
    old, began = leader(), time.monotonic()
    output = cluster.playbook(*arguments(service=service)).stdout
    time.sleep(settle_s)
    assert leader() not in (None, old), output
    return began


def measured(title: str, gaps: list[float], outcome, missing: set) -> dict:
    """A row of the table."""
    return {
        "fault": f"{title} ({len(gaps)} times, median {statistics.median(gaps):.2f} s)",
        "outage_s": max(gaps),
        "acknowledged": len(outcome.acknowledged),
        "missing": len(missing),
        "unknown": len(outcome.unknown),
        "failed": len(outcome.failed),
        "gaps_s": [round(gap, 2) for gap in gaps],
        "errors": outcome.errors[:10],
    }


def longest(outcome, since: float) -> float:
    """The longest time that the client was without an answer, in seconds."""
    return outcome.longest_gap(since)


@pytest.mark.parametrize("fast", [False, True], ids=["default", "fast"])
def test_no_statement_fails_while_the_primary_is_handed_over(cluster, writer, figures, fast):
    options = ["-e", "postgresql_fast_switchover=true"] if fast else []
    if fast:
        cluster.playbook("playbooks/postgresql.yml", *options)
    gaps = []
    for _turn in range(REPEATS):
        old, new = cluster.primary(), successor(cluster)
        began = time.monotonic()
        output = cluster.playbook(*arguments("-e", f"to={new}", *options)).stdout
        gaps.append(longest(writer.outcome, began))
        assert cluster.primary() == new != old, output
        assert "replicatefrom" not in cluster.ssh(old, "cat /etc/patroni/config.yml").stdout
        until(cluster.whole, WHOLE_S, "three that stream")
    outcome = writer.stop()
    missing = outcome.acknowledged - present(cluster.conninfo())
    name = "planned switchover of PostgreSQL" + (", fast stop" if fast else "")
    figures.append(measured(name, gaps, outcome, missing))
    if fast:
        cluster.playbook("playbooks/postgresql.yml")
    assert (outcome.failed, outcome.unknown, outcome.refused) == (set(), set(), 0), outcome.errors
    assert not missing, f"acknowledged but not there: {sorted(missing)[:20]}"


def test_no_write_fails_while_the_redis_master_is_handed_over(cluster, figures):
    ways = {"Sentinel": redis_by_sentinel, "the virtual IP": redis_by_address}
    writers = {way: RedisWriter(client(cluster, patience=10)) for way, client in ways.items()}
    gaps = {way: [] for way in ways}
    for writer in writers.values():
        writer.start()
    time.sleep(2)
    try:
        for _turn in range(REPEATS):
            began = hand_over(cluster, cluster.redis_master, "redis", 2)
            for way, writer in writers.items():
                gaps[way].append(longest(writer.outcome, began))
    finally:
        outcomes = {way: writer.stop() for way, writer in writers.items()}
    missing = {way: writer.missing() for way, writer in writers.items()}
    figures += [
        measured(f"planned hand-over of Redis, clients by {way}", gaps[way], outcomes[way], missing[way])
        for way in ways
    ]
    assert missing == {way: set() for way in ways}
    for outcome in outcomes.values():
        assert (outcome.failed, outcome.unknown) == (set(), set()), outcome.errors


def test_no_request_fails_while_the_virtual_ip_is_handed_over(cluster, figures):
    load, gaps = Load(cluster, rate=50, users=2).start(), []
    until(lambda: len(load.outcome.acknowledged) > 100, 30, "the load to get going")
    try:
        with Bank(cluster) as bank:
            for _turn in range(REPEATS):
                gaps.append(longest(load.outcome, hand_over(cluster, cluster.vip_holder, "vip", 1)))
    finally:
        outcome = load.stop()
    missing = load.missing()
    row = measured("planned hand-over of the virtual IP", gaps, outcome, set().union(*missing.values()))
    figures.append(row | bank.figures)
    assert bank.right(), bank.verdicts
    assert missing == {store: set() for store in STORES}
    assert (outcome.failed, outcome.unknown) == (set(), set()), str(outcome)


def test_a_client_on_the_host_that_gets_the_virtual_ip_is_answered_by_the_one_that_had_it(cluster):
    host = next(other for other in cluster.hosts if other != cluster.vip_holder())
    # Nothing but the answer tells this client anything: without keepalives it would wait for ever.
    conninfo = (
        f"host={cluster.vip} dbname=utmstack user=utmstack sslmode=verify-full keepalives=0"
        " sslrootcert=/etc/utmstack-ha/tls/ca.crt"
    )
    query = f"timeout 60 psql '{conninfo}' -Atc \"SELECT 'begun ' || now() FROM pg_sleep(40)\""
    password = shlex.quote(cluster.passwords["postgresql_application_password"])
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(cluster.ssh, host, f"PGPASSWORD={password} {query}", False, 90)
        time.sleep(2)
        cluster.playbook(*arguments("-e", f"to={host}", service="vip"))
        assert not answer.done(), "the query was over before the address had moved"
        assert cluster.vip_holder() == host
        assert answer.result().stdout.startswith("begun "), answer.result()


@pytest.mark.parametrize("named", [True, False], ids=["named", "any"])
@pytest.mark.parametrize("service", ["postgresql", "redis", "etcd", "elasticsearch", "vip", "swarm"])
def test_each_service_hands_over_and_tells_who_leads_and_how_long_it_took(cluster, under_load, service, named):
    until(cluster.status_is_ok, 240, "a whole platform")
    plan = cluster.playbook(*arguments("--check", service=service)).stdout
    old = re.search(rf"({'|'.join(cluster.hosts)}) hands over", plan)[1]
    # Only a synchronous standby may take PostgreSQL over.
    candidate = (
        successor(cluster) if service == "postgresql" else next(host for host in reversed(cluster.hosts) if host != old)
    )
    if named and service == "swarm":
        refused = cluster.playbook(*arguments("-e", f"to={candidate}", service=service), check=False)
        assert refused.returncode != 0
        assert f"leave -e to={candidate} out" in refused.stdout
        return
    wanted = ("-e", f"to={candidate}") if named else ()
    output = under_load(
        f"{service} handed over to {'a named host' if named else 'another host'}",
        lambda: cluster.playbook(*arguments(*wanted, service=service)).stdout,
    )
    told = re.search(rf"{service}: {old} handed over to\s+(\w+) in ([\d.]+) s", output)
    print(told and told[0])
    assert told, output
    assert told[1] == candidate if named else told[1] != old
    if named:
        again = cluster.playbook(*arguments(*wanted, service=service)).stdout
        assert f"{candidate} leads {service} already" in again
        assert_unchanged(again)


def test_a_transaction_that_does_not_end_stops_it_and_is_named(cluster, writer):
    old = cluster.primary()
    with psycopg.connect(cluster.conninfo(), application_name="a-long-report") as idle:
        process = idle.execute("SELECT pg_backend_pid()").fetchone()[0]
        done = cluster.playbook(*arguments(), check=False)
        assert done.returncode != 0
        assert f"process {process} of the primary" in done.stdout
        assert "All were resumed. Nothing was handed over" in done.stdout
    mark = len(writer.outcome.acknowledged)
    until(lambda: len(writer.outcome.acknowledged) > mark + 20, 10, "writes to go on")
    assert cluster.primary() == old
    assert "replicatefrom" not in "".join(
        cluster.ssh(host, "cat /etc/patroni/config.yml").stdout for host in cluster.hosts
    )


PAUSED = (
    "for turn in $(seq 1500); do runuser -u postgres -- psql -h /run/pgbouncer -p 6432 -U pgbouncer -Atc 'SHOW STATE' pgbouncer"
    " | grep -q '^paused|yes' && exit 0; sleep 0.1; done; exit 1"
)
# The module has no name of its own among the processes: it is the Python that speaks to pgbouncers' consoles.
KILL_MODULE = (
    "ss -Htnp 'dport = :6432' | sed -n 's/.*\"python3[^\"]*\",pid=\\([0-9]*\\).*/\\1/p' | sort -u | xargs kill -9"
)
TIMER_FIRED = "journalctl -u pgbouncer --since '{} seconds ago' | grep -c 'got SIGUSR2, continuing from PAUSE'"


def test_clients_go_on_when_the_run_dies_while_they_wait(cluster, writer):
    leader, holder = cluster.primary(), cluster.vip_holder()
    run = cluster.start(*arguments("-e", "postgresql_pause_limit_s=8"))
    try:
        cluster.ssh(holder, f"cd /tmp; {PAUSED}", timeout=WHOLE_S)
    finally:
        kill(run)
    cluster.ssh(leader, KILL_MODULE)
    died = time.monotonic()
    mark = len(writer.outcome.acknowledged)
    until(lambda: len(writer.outcome.acknowledged) > mark + 50, 60, "writes to go on by themselves")
    waited = longest(writer.outcome, died - 1)
    print(f"clients waited {waited:.1f} s in all, since the run had died")
    fired = int(cluster.ssh(holder, TIMER_FIRED.format(round(waited) + 30), check=False).stdout)
    outcome = writer.stop()
    assert fired == 1, "it was not the timer that ended the pause"
    assert not outcome.acknowledged - present(cluster.conninfo())
    assert (outcome.failed, outcome.unknown) == (set(), set()), outcome.errors
    cluster.playbook("playbooks/postgresql.yml")
    until(cluster.whole, WHOLE_S, "three that stream")
    assert "replicatefrom" not in "".join(
        cluster.ssh(each, "cat /etc/patroni/config.yml").stdout for each in cluster.hosts
    )
