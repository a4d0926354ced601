# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""There is never a second cluster: all services decide alike in every situation of three hosts that nobody leads."""

from __future__ import annotations

import itertools

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common.bootstrap import without_leader
from ansible_collections.utmstack.ha.plugins.module_utils.etcd import bootstrap as etcd
from ansible_collections.utmstack.ha.plugins.module_utils.redis import bootstrap as redis
from ansible_collections.utmstack.ha.plugins.module_utils.search import bootstrap as search
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import bootstrap as swarm
from role_templates import topology

NAMES = ["node1", "node2", "node3"]
UNSEEN, EMPTY, DOWN, RUNS = "unseen", "empty", "down", "runs"
SITUATIONS = list(itertools.product([UNSEEN, EMPTY, DOWN, RUNS], repeat=3))
HA = topology({"swarm_managers": NAMES, "loadbalancer": NAMES}, "node1")
ADDRESSES = [{"name": name, "address": name} for name in NAMES]


def facts(situation, **more):
    return {
        name: {"data": state in (DOWN, RUNS), "running": state == RUNS, "restart": False, "forming": [], **more}
        for name, state in zip(NAMES, situation)
        if state != UNSEEN
    }


def etcd_forms(situation):
    members = [{"name": name, "peer_url": name} for name in NAMES]
    plan = etcd.plan_bootstrap(members, facts(situation, forming=""), {"members": [], "leader": None})
    return plan["form"], plan["start"] + plan["restart"], plan["refusal"]


def search_forms(situation):
    members = [{"name": name, "roles": ["master"]} for name in NAMES]
    plan = search.plan_bootstrap(members, facts(situation, cluster_uuid=""), {"master": None, "nodes": []})
    return plan["form"], plan["start"] + plan["restart"], plan["refusal"]


def swarm_forms(situation):
    # Docker is started elsewhere: a swarm's state counts the same, whether a manager is locked out, alone or stopped a moment ago.
    inactive = {"state": "inactive", "cluster_id": "", "node_id": "", "nodes": [], "managers": [], "error": ""}
    inactive |= {"settings": {"autolock": True}, "unlock_key_known": True}
    seen = {
        name: inactive | ({"state": "error", "error": "no leader"} if one["data"] else {})
        for name, one in facts(situation).items()
    }
    options = {"adopt": False, "unlock_key_known": True, "address_pools": [], "settings": {"autolock": True}}
    plan = swarm.plan(HA, seen, options)
    return plan["init"] + [one["name"] for one in plan["join"]], [], plan["refusal"]


def redis_forms(situation):
    seen = {name: {"data": one["data"], "watched": "", "epoch": 0} for name, one in facts(situation).items()}
    plan = redis.plan_master(ADDRESSES, seen, {"newest_master_address": None, "masters": []})
    return ([] if plan["refusal"] else NAMES), [], plan["refusal"]


@pytest.mark.parametrize("situation", SITUATIONS, ids="-".join)
@pytest.mark.parametrize("decide", [etcd_forms, search_forms, swarm_forms, redis_forms])
def test_a_cluster_is_formed_only_where_all_members_are_known_to_be_empty(decide, situation):
    forms, starts, refusal = decide(situation)
    # Redis' first host is the master that others copy: data on it alone is what a first run leaves that died.
    begun = decide is redis_forms and situation[0] in (DOWN, RUNS) and situation[1:] == (EMPTY, EMPTY)
    assert bool(forms) == (set(situation) == {EMPTY} or begun)
    assert not (refusal and (forms or starts))
    assert refusal or forms or starts
    if refusal and decide is not redis_forms:
        assert [name for name, state in zip(NAMES, situation) if state == UNSEEN and name not in refusal] == []


@pytest.mark.parametrize(
    ("forming", "expected"),
    [
        (("ab", "ab", None), {"form": ["node3"], "begun": "ab"}),
        (("ab", None, None), {"form": ["node2", "node3"], "begun": "ab"}),
        (("ab", "", None), {"form": [], "begun": None}),
        (("ab", "abc", None), {"form": [], "begun": None}),
    ],
)
def test_only_what_all_hosts_with_data_began_alike_is_completed(forming, expected):
    seen = {
        name: {"data": one is not None, "running": one is not None, "restart": False, "forming": one}
        for name, one in zip(NAMES, forming)
    }
    plan = without_leader(NAMES, seen, "unit", "Nobody leads", "ask")
    assert {key: plan[key] for key in expected} == expected
    assert bool(plan["refusal"]) == (not expected["form"])
