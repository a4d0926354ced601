# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A search cluster's first start that goes wrong forms one cluster all the same, and a host that comes later joins it.

In this order, each on what the one before has left. There is one cluster when all nodes tell the same identity: nodes that
bootstrap apart from each other would each tell their own.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "testinfra"))

from cluster import ROOT, Cluster, changes, until  # noqa: E402
from opensearchpy import OpenSearch  # noqa: E402

HERE = Path(__file__).parent
SITE = ("playbooks/elasticsearch.yml", "-e", f"@{ROOT}/inventories/lab/group_vars/all.yml")
FIRST = ["node1", "node2", "node3"]
LATE_S = 60
DROP_IN = "/etc/systemd/system/elasticsearch.service.d/late.conf"


@pytest.fixture(scope="module")
def cluster():
    return Cluster(HERE / "inventory")


def client(cluster, host: str) -> OpenSearch:
    login = ("elastic", cluster.passwords["elasticsearch_superuser_password"])
    return OpenSearch([f"https://{cluster.hosts[host]}:9200"], http_auth=login, ca_certs=str(cluster.ca), timeout=60)


def identity(cluster, hosts: list[str]) -> str:
    """The one identity that all hosts tell, of a green cluster that has all of them and nobody else."""
    told = {
        host: client(cluster, host).cluster.state(metric="master_node", local=True)["cluster_uuid"] for host in hosts
    }
    assert len(set(told.values())) == 1, told
    health = client(cluster, hosts[0]).cluster.health(wait_for_status="green")
    assert (health["status"], health["number_of_nodes"]) == ("green", len(hosts)), health
    return told[hosts[0]]


def initial_masters(cluster, hosts: list[str]) -> str:
    """What is left on the hosts of the setting that is for the very first start only."""
    files = "grep -rls initial_master_nodes /etc/elasticsearch /var/lib/utmstack-ha || true"
    return "".join(cluster.ssh(host, files).stdout for host in hosts)


def forget(cluster):
    """Bare hosts again, as far as a first start is concerned."""
    for host in FIRST:
        own = "/var/lib/elasticsearch /etc/elasticsearch /var/lib/utmstack-ha/elasticsearch"
        cluster.ssh(host, f"systemctl stop elasticsearch; rm -rf {own}", timeout=200)


def test_one_host_a_minute_late_is_waited_for(cluster):
    late = f"[Service]\\nTimeoutStartSec=300\\nExecStartPre=/bin/sleep {LATE_S}\\n"
    cluster.ssh("node3", f"mkdir -p $(dirname {DROP_IN}) && printf '{late}' > {DROP_IN}")
    began = time.monotonic()
    printed = cluster.playbook(*SITE).stdout
    assert time.monotonic() - began > LATE_S
    started = {
        host: int(cluster.ssh(host, 'date +%s -d "$(systemctl show -P ExecMainStartTimestamp elasticsearch)"').stdout)
        for host in FIRST
    }
    apart = started["node3"] - max(started["node1"], started["node2"])
    print(f"\nnode3 started {apart} s after the others; the run took {time.monotonic() - began:.0f} s")
    assert apart >= LATE_S - 5, started
    identity(cluster, FIRST)
    assert initial_masters(cluster, FIRST) == "", printed
    cluster.ssh("node3", f"rm {DROP_IN}")


@pytest.mark.parametrize("moment", ["Write the bootstrap settings", "Start the search engine"])
def test_a_first_start_that_is_killed_is_finished_by_the_next_run(cluster, moment):
    forget(cluster)
    cluster.kill_when(re.compile(moment), 1, *SITE)
    active = {
        host: cluster.ssh(host, "systemctl is-active elasticsearch", check=False).stdout.strip() for host in FIRST
    }
    cluster.playbook(*SITE)
    print(f"\nkilled at {moment!r}, Elasticsearch was {active}; one cluster: {identity(cluster, FIRST)}")
    assert initial_masters(cluster, FIRST) == ""
    assert set(changes(cluster.playbook(*SITE).stdout).values()) == {0}


def test_a_fourth_host_joins(cluster):
    before = identity(cluster, FIRST)
    client(cluster, "node1").index(index="before", id="1", body={"number": 1}, refresh=True)
    grown = (*SITE, "-i", str(HERE / "grown" / "inventory"))
    cluster.playbook(*grown)
    assert identity(cluster, [*FIRST, "node4"]) == before
    assert initial_masters(cluster, [*FIRST, "node4"]) == ""
    assert client(cluster, "node4").get(index="before", id="1")["_source"] == {"number": 1}

    def used():
        return any(shard["node"] == "node4" for shard in client(cluster, "node4").cat.shards(format="json"))

    until(used, 120, "shards on the new node")
    assert set(changes(cluster.playbook(*grown).stdout).values()) == {0}
