# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A run may die at any moment: site.yml is killed again and again, and the next run finishes the work.

In this order: a first deployment, on hosts with nothing on them; then changes of the settings of the cluster that became of it, under load.

INTERRUPTIONS (20): how many kills, half of them in each. INTERRUPTED_SEED: the seed of an earlier run, for the same moments.
"""

from __future__ import annotations

import json
import os
import random

import pytest
from cluster import assert_unchanged, eventful, last_task, until
from test_converge import shown

INTERRUPTIONS = int(os.environ.get("INTERRUPTIONS", "20"))
FIRST = INTERRUPTIONS // 2
SEED = os.environ.get("INTERRUPTED_SEED") or str(random.randrange(10**6))
# A run that goes on where another was killed has the less to do the later that was: with kills up to so many seconds the last ones
# meet the end of a deployment of some four minutes.
FIRST_REACH_S = 100
# About what a run takes that restarts something of five clusters.
CHANGE_S = 400


@pytest.fixture
def chance():
    print(f"\nseed {SEED}: the same moments with INTERRUPTED_SEED={SEED}", flush=True)
    return random.Random(SEED)


def interrupt(cluster, which: str, seconds: float, *arguments: str) -> bool:
    """Whether the run was killed; one that had ended before has to have done its work."""
    done = cluster.kill_after(seconds, "site.yml", *arguments)
    killed = done.returncode < 0
    how = f"killed after {seconds:.0f} s, in: {last_task(done.stdout)}" if killed else f"ended within {seconds:.0f} s"
    print(f"{which}: {how}", flush=True)
    assert killed or done.returncode == 0, eventful(done.stdout)
    return killed


def settle(cluster, *arguments: str) -> None:
    """After a run that went to its end: the platform is whole, and another one has nothing to do."""
    until(cluster.status_is_ok, 60, "a whole platform")
    print("once more, with nothing to do", flush=True)
    again = cluster.playbook("site.yml", *arguments).stdout
    assert_unchanged(again)


def test_a_first_deployment_that_is_killed_again_and_again_is_finished_by_the_next_run(cluster, chance):
    assert not cluster.ca.exists(), f"{cluster.lab.name} was deployed before; `make interrupted` makes fresh hosts"
    for number in range(1, FIRST + 1):
        after = chance.uniform(5, 10 + FIRST_REACH_S * number / FIRST)
        if not interrupt(cluster, f"{number} of {FIRST}", after):
            break
    print("to the end", flush=True)
    cluster.playbook("site.yml")
    settle(cluster)


def settings(number: int, connections: int) -> dict:
    """Such that a run with another number has to restart etcd, Elasticsearch, Redis, Docker and PostgreSQL, whose limit goes up and
    down in turn."""
    return {
        "etcd_snapshot_count": 20000 + number,
        "elasticsearch_jvm_options": ["-XX:TieredStopAtLevel=1", f"-Dinterrupted.run={number}"],
        "redis_settings": {"tcp-backlog": 300 + number},
        "swarm_engine_settings": {"shutdown-timeout": 20 + number},
        "postgresql_max_connections": connections + number + 20 * (number % 2),
    }


def test_changes_that_are_killed_again_and_again_are_finished_by_the_next_run(cluster, under_load, chance):
    until(cluster.status_is_ok, 240, "a whole platform")
    connections, kills = int(shown(cluster, "max_connections")), INTERRUPTIONS - FIRST
    wanted = [settings(number, connections) for number in range(1, kills + 1)]
    last = ("-e", json.dumps(wanted[-1]))

    def change():
        for number, own in enumerate(wanted, 1):
            interrupt(cluster, f"{number} of {kills}", chance.uniform(10, CHANGE_S), "-e", json.dumps(own))
        print("to the end", flush=True)
        cluster.playbook("site.yml", *last)

    under_load(f"settings of five clusters changed, killed {kills} times", change, may_fail=True)
    assert int(shown(cluster, "max_connections")) == wanted[-1]["postgresql_max_connections"]
    settle(cluster, *last)
