# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""PostgreSQL's primary handed over by plan under load, measured: no statement fails, none that was acknowledged is missing.

SWITCHOVERS says how often, 2 by default. Times are printed; only the one limit that was promised is asserted.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import time

import psycopg
import pytest
from cluster import PLAIN, ROOT, until
from ledger import Writer, present

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


def arguments(*options) -> list[str]:
    return ["playbooks/switchover.yml", "-e", "service=postgresql", *options]


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
    figures.append(
        {
            "fault": f"{name} ({REPEATS} times, median {statistics.median(gaps):.2f} s)",
            "outage_s": max(gaps),
            "acknowledged": len(outcome.acknowledged),
            "missing": len(missing),
            "unknown": len(outcome.unknown),
            "gaps_s": [round(gap, 2) for gap in gaps],
        }
    )
    if fast:
        cluster.playbook("playbooks/postgresql.yml")
    assert (outcome.failed, outcome.unknown, outcome.refused) == (set(), set(), 0), outcome.errors
    assert not missing, f"acknowledged but not there: {sorted(missing)[:20]}"


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
    run = subprocess.Popen(
        ["ansible-playbook", "-i", str(cluster.inventory), *arguments("-e", "postgresql_pause_limit_s=8")],
        cwd=ROOT, env=os.environ | PLAIN, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        cluster.ssh(holder, f"cd /tmp; {PAUSED}", timeout=WHOLE_S)
    finally:
        os.killpg(run.pid, signal.SIGKILL)
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
