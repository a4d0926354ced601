# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is made of what real servers said: while all was well, during a failover, with a node down, without a master."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.redis import client as redis_client
from ansible_collections.utmstack.ha.plugins.module_utils.redis import cluster as redis_cluster
from redis_network import HOSTS, NAMES, SERVERS, Replay, recording


def assess(stage, **options):
    return redis_cluster.assess(HOSTS, redis_cluster.observe(HOSTS, Replay(stage)), **options)


@pytest.fixture(params=SERVERS)
def recorded(request):
    return recording(request.param)


def test_a_whole_cluster_is_healthy(recorded):
    found = assess(recorded["healthy"])
    assert found["problems"] == []
    assert found["healthy"]
    assert (found["master"], found["master_address"], found["masters"]) == ("node1", "127.0.0.11", ["node1"])
    assert found["restart_order"] == ["node2", "node3", "node1"]
    replica = found["members"][1]
    assert (replica["role"], replica["master"], replica["link_up"]) == ("replica", "node1", True)
    assert replica["lag_bytes"] < 10000
    assert found["members"][0]["good_replicas"] == 2
    assert {sentinel["master"] for sentinel in found["sentinels"]} == {"node1"}
    # As redis_sentinel_monitor compares them.
    told = {"quorum", "down-after-milliseconds", "failover-timeout", "parallel-syncs"}
    assert all(set(sentinel["settings"]) == told for sentinel in found["sentinels"])
    assert found["sentinels"][0]["settings"]["down-after-milliseconds"] == "1500"


def test_versions_are_told():
    versions = {name: assess(recording(name)["healthy"])["members"][0]["version"] for name in SERVERS}
    assert versions == {"redis_7.0.15": "7.0.15", "redis_8.0.2": "8.0.2", "valkey_8.1.1": "8.1.1"}


def test_a_failover_in_progress_is_not_healthy(recorded):
    found = assess(recorded["during"])
    assert not found["healthy"]
    assert "The sentinel on node1 is failing over." in found["problems"]


def test_after_a_failover_the_new_master_is_restarted_last(recorded):
    found = assess(recorded["after"])
    assert found["problems"] == []
    assert found["master"] in ("node2", "node3")
    assert found["restart_order"][-1] == found["master"]
    assert found["sentinels"][0]["epoch"] == 1


def test_a_replica_that_is_down_is_told_and_may_be_left_out(recorded):
    found = assess(recorded["replica_down"])
    assert found["problems"] == ["Redis on node1 does not answer (Connection refused)."]
    assert assess(recorded["replica_down"], without=["node1"])["healthy"]


def test_a_master_that_is_down_is_told_by_sentinels_and_by_itself(recorded):
    found = assess(recorded["master_down"])
    assert not found["healthy"]
    assert any("does not reach the master" in problem for problem in found["problems"])


def test_with_two_of_three_nodes_down_there_is_a_master_all_the_same(recorded):
    found = assess(recorded["failed_over"])
    assert found["master"] in found["masters"]
    assert len([problem for problem in found["problems"] if "does not answer" in problem]) == 2


def sentinel_says(stage, name, **fields):
    """A recording in which one sentinel says something else."""
    stage = copy.deepcopy(stage)
    reply = redis_client.pairs(stage["sentinel"][NAMES[name]])
    reply |= {key.replace("_", "-"): value for key, value in fields.items()}
    stage["sentinel"][NAMES[name]] = [word for pair in reply.items() for word in pair]
    return stage


def member_says(stage, name, other):
    """A recording in which one data node says what another one said."""
    stage = copy.deepcopy(stage)
    stage["info"][NAMES[name]] = stage["info"][NAMES[other]]
    return stage


def test_sentinels_that_disagree_are_named_with_their_views(recorded):
    stage = sentinel_says(recorded["healthy"], "node2", ip="127.0.0.12", config_epoch="1")
    stage = sentinel_says(stage, "node3", ip="127.0.0.13")
    found = assess(stage)
    assert found["master"] is None
    assert found["newest_master_address"] == "127.0.0.12"
    assert found["problems"][0] == (
        "Fewer than 2 of 3 sentinels name the same master (node1: node1; node2: node2; node3: node3)."
    )


def test_a_sentinel_of_a_minority_is_a_problem_but_does_not_decide(recorded):
    found = assess(sentinel_says(recorded["healthy"], "node3", ip="127.0.0.13"))
    assert found["master"] == "node1"
    assert found["problems"] == ["The sentinel on node3 takes node3 for the master."]


def test_two_masters_are_told(recorded):
    found = assess(member_says(recorded["healthy"], "node3", "node1"))
    assert found["masters"] == ["node1", "node3"]
    assert found["problems"] == ["Redis on node3 is a master too, while the sentinels name node1."]


def test_a_master_that_became_a_replica_is_told(recorded):
    found = assess(member_says(recorded["healthy"], "node1", "node2"))
    assert "Redis on node1 is a replica of node1, while the sentinels name it as master." in found["problems"]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"num_other_sentinels": "1"}, "The sentinel on node1 sees 1 other sentinels, of 2."),
        (
            {"num_other_sentinels": "3"},
            "The sentinel on node1 sees 3 other sentinels, of 2; where one is gone for good, "
            "SENTINEL RESET utmstack-redis there makes it forget.",
        ),
        ({"num_slaves": "0"}, "The sentinel on node1 sees 0 replicas, of 2."),
        ({"flags": "s_down,master"}, "The sentinel on node1 does not reach the master (s_down)."),
    ],
)
def test_what_one_sentinel_lacks_is_told(recorded, fields, problem):
    assert assess(sentinel_says(recorded["healthy"], "node1", **fields))["problems"] == [problem]


def test_a_sentinel_that_does_not_watch_this_master_is_told_apart_from_one_that_is_down(recorded):
    stage = copy.deepcopy(recorded["healthy"])
    stage["sentinel"]["127.0.0.12"] = recorded["errors"]["unknown_master"]
    assert assess(stage)["problems"] == ["The sentinel on node2 does not watch utmstack-redis."]


def test_a_wrong_password_is_told_in_the_servers_words(recorded):
    stage = copy.deepcopy(recorded["healthy"])
    stage["info"]["127.0.0.13"] = recorded["errors"]["wrong_password"]
    assert assess(stage)["problems"] == [
        "Redis on node3 does not answer (WRONGPASS invalid username-password pair or user is disabled.)."
    ]


def edited(stage, name, old, new):
    stage = copy.deepcopy(stage)
    assert old in stage["info"][NAMES[name]]
    stage["info"][NAMES[name]] = stage["info"][NAMES[name]].replace(old, new)
    return stage


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("master_link_status:up", "master_link_status:down", "Redis on node2 has no connection to its master."),
        ("master_host:127.0.0.11", "master_host:127.0.0.13", "Redis on node2 follows node3, not node1."),
        ("loading:0", "loading:1", "Redis on node2 is loading its data."),
    ],
)
def test_what_a_replica_lacks_is_told(recorded, old, new, problem):
    assert assess(edited(recorded["healthy"], "node2", old, new))["problems"] == [problem]


def test_a_replica_far_behind_is_told(recorded):
    found = assess(recorded["healthy"], max_lag_bytes=-(10**9))
    assert len(found["problems"]) == 2
    assert "bytes behind" in found["problems"][0]


def test_nobody_who_answers_is_told_and_not_failed():
    found = assess({"sentinel": {}, "info": {}})
    assert found["problems"][0] == "No sentinel reports the master of utmstack-redis."
    assert found["master"] is None
    assert len(found["problems"]) == 7
