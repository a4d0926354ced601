# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Failures of every part while the application is under load: it answers again by itself, and nothing it acknowledged is lost.

Each event is written to PostgreSQL, Elasticsearch and Redis before it is acknowledged. Times are printed, never asserted
tightly.
"""

from __future__ import annotations

import subprocess
import time

import clients
import pytest
from cluster import LAB, Cluster, until
from load import STORES, Load

LIMIT_S = 90


def kill_search_master(cluster):
    host = clients.search(cluster).cat.master(format="json")[0]["node"]
    cluster.ssh(host, "systemctl kill --signal=KILL elasticsearch")


def kill_redis_master(cluster):
    cluster.ssh(cluster.redis_master(), "systemctl kill --signal=KILL redis-server")


def kill_replica(cluster):
    cluster.ssh(cluster.vip_holder(), "docker kill $(docker ps --quiet --filter name=_backend)")


def kill_swarm_leader(cluster):
    cluster.ssh(cluster.swarm_leader(), "systemctl kill --signal=KILL docker")


def cut_power(cluster):
    holder = cluster.vip_holder()
    subprocess.run([*LAB, "power-off", holder], check=True, capture_output=True)
    return holder


def nothing(cluster):
    """Nothing has to be led by one host."""


FAULTS = {
    "Elasticsearch's elected master, SIGKILL": (nothing, kill_search_master),
    "Redis master, SIGKILL": (nothing, kill_redis_master),
    "a backend replica, SIGKILL": (nothing, kill_replica),
    "Docker on the leader of the swarm, SIGKILL": (nothing, kill_swarm_leader),
    "power loss of the host with virtual IP, primary, etcd leader and a third of everything": (
        Cluster.lead_everything, cut_power,
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_the_application_goes_on_by_itself_and_loses_nothing(cluster, fault, figures):
    prepare, strike = FAULTS[fault]
    until(cluster.status_is_ok, 240, "a whole platform")
    prepare(cluster)
    load = Load(cluster).start()
    until(lambda: len(load.outcome.acknowledged) > 100, 60, "the load to get going")
    started = time.monotonic()
    dark = strike(cluster)
    time.sleep(2)
    mark = len(load.outcome.acknowledged)
    until(lambda: len(load.outcome.acknowledged) > mark + 100, LIMIT_S, "the application to go on by itself")
    if dark:
        subprocess.run([*LAB, "power-on", dark], check=True, capture_output=True)
    until(lambda: clients.search(cluster).cluster.health()["status"] == "green", 240, "all shards green")
    until(cluster.status_is_ok, 240, "a whole platform")
    redundant = time.monotonic() - started
    outcome = load.stop()
    print(f"\n{fault}: {outcome}")
    missing, missing_directly = load.missing(), load.missing_directly(cluster)
    figures.append(
        {
            "fault": f"application: {fault}",
            "outage_s": round(outcome.longest_gap(started - 0.5), 2),
            "acknowledged": len(outcome.acknowledged),
            "missing": len(set().union(*missing.values(), *missing_directly.values())),
            "unknown": len(outcome.unknown),
            "failed": len(outcome.failed),
            "full_redundancy_s": round(redundant, 1),
        }
    )
    assert missing == missing_directly == {store: set() for store in STORES}
