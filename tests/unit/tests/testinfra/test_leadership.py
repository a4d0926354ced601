# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a failover that has come and gone is found by two looks at the cluster."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "testinfra"))

import leadership  # noqa: E402

FIXTURES = Path(__file__).parents[2] / "fixtures"
HOSTS = ("node1", "node2", "node3")
BEFORE = {
    "postgresql": {"primary": "node1", "timeline": 1, "history": "0 entries, the last None"},
    "etcd": {"leader": "node2", "raft term": 2},
    "redis": {"master": "node1", "config epoch": 0, "replication id": "960b92a4"},
    "elasticsearch": {"master": "node3 (abc)", "nodes": "node1, node2, node3", "term": 1},
    "keepalived": {
        "holder": "node1",
        "state of node1, and since when": "MASTER 2026-03-01T12:00:00+0000",
        "state of node2, and since when": "BACKUP 2026-03-01T12:00:00+0000",
    },
    "swarm": {"leader": "node1", **{f"elections in the log of {host}": 1 for host in HOSTS}},
    "backend": {f"task on {host}": f"task-{host}" for host in HOSTS},
    "haproxy": {"times that node1 saw postgresql_write/node1 go down": "0"},
    "processes": {f"start of etcd on {host}": f"start-{host}" for host in HOSTS},
}
# Each a failover that has come back to where it was, as far as it could: only what counts tells.
ALTERED = [
    ("postgresql", "timeline", 3),
    ("postgresql", "primary", "node2"),
    ("etcd", "raft term", 3),
    ("etcd", "leader", "nobody, node2"),
    ("redis", "config epoch", 2),
    ("redis", "replication id", "f00f5a8b"),
    ("elasticsearch", "term", 4),
    ("elasticsearch", "nodes", "node1, node3"),
    ("keepalived", "state of node2, and since when", "BACKUP 2026-03-01T12:07:31+0000"),
    ("keepalived", "holder", ""),
    ("swarm", "elections in the log of node3", 2),
    ("backend", "task on node2", "another"),
    ("haproxy", "times that node1 saw postgresql_write/node1 go down", "1"),
    ("processes", "start of etcd on node3", "another"),
]


def test_nothing_has_moved_where_nothing_is_different():
    assert leadership.moved(BEFORE, copy.deepcopy(BEFORE)) == {}
    assert leadership.told({}) == ""


@pytest.mark.parametrize(("service", "what", "value"), ALTERED)
def test_each_trace_of_a_failover_is_found_and_told(service, what, value):
    after = copy.deepcopy(BEFORE)
    after[service][what] = value
    found = leadership.moved(BEFORE, after)
    assert found == {service: {what: (BEFORE[service][what], value)}}
    assert leadership.told(found) == f"{service}: {what}: {BEFORE[service][what]} -> {value}"


def test_what_has_gone_and_what_has_come_is_found():
    after = copy.deepcopy(BEFORE)
    after["backend"]["task on node4"] = after["backend"].pop("task on node3")
    del after["haproxy"]
    assert leadership.moved(BEFORE, after) == {
        "backend": {"task on node3": ("task-node3", None), "task on node4": (None, "task-node3")},
        "haproxy": {"times that node1 saw postgresql_write/node1 go down": ("0", None)},
    }


def test_every_service_that_is_looked_at_has_its_place_in_the_journal_and_here():
    assert leadership.READERS.keys() == leadership.JOURNAL.keys() == BEFORE.keys()
    assert {service for service, _what, _value in ALTERED} == BEFORE.keys()


def test_a_switchover_is_found_in_what_patroni_answers():
    steps = json.loads((FIXTURES / "patroni" / "4.0.7-switchover.json").read_text())["steps"]

    def seen(step):
        cluster = step["replies"]["https://10.0.1.11:8008"]["GET /cluster"]["body"]
        return leadership.postgresql(SimpleNamespace(ask_patroni={"/cluster": cluster, "/history": []}.__getitem__))

    before, after = seen(steps[0]), seen(steps[-1])
    assert leadership.moved({"postgresql": before}, {"postgresql": after}) == {
        "postgresql": {"primary": ("node2", "node1"), "timeline": (1, 2)}
    }


def test_haproxy_counts_by_server_how_often_it_went_down():
    answer = (FIXTURES / "haproxy_3.0_info_and_stat.txt").read_text()
    assert leadership.downs(answer[answer.index("# pxname") :]) == {
        "postgresql_write/node1": "7",
        "postgresql_write/node2": "1",
        "postgresql_write/node3": "1",
        "postgresql_read/node1": "1",
        "postgresql_read/node2": "0",
        "postgresql_read/node3": "5",
    }
