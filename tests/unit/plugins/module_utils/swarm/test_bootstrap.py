# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import copy

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import bootstrap as swarm_plan
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import cluster as swarm
from docker_replay import Server
from role_templates import topology

THREE = {"swarm_managers": ["node1", "node2", "node3"], "loadbalancer": ["node1", "node2", "node3"]}
MIXED = {**THREE, "swarm_workers": ["node4"]}
HA = topology(THREE, "node1")
SETTINGS = {"autolock": True, "dispatcher_heartbeat_s": 5.0, "task_history_limit": 5}
OPTIONS = {"adopt": False, "unlock_key_known": True, "address_pools": ["10.201.0.0/16"], "settings": SETTINGS}
LISTS = ("unlock", "init", "join", "leave", "remove", "nodes", "roll")


def seen_of(scene, **changes):
    found = swarm.look(Server(scene).engine(), "SWMKEY-1-thekey")
    wanted = {"restart": False, "availability": "active", "labels": {}, "gateway_wrong": False}
    return {**found, **wanted, **changes}


WHOLE, INACTIVE, LOCKED, NO_LEADER = (seen_of(scene) for scene in ("whole", "inactive", "locked", "no_leader"))
IDS = {entry["hostname"]: entry["id"] for entry in WHOLE["nodes"]}
STOPPED = seen_of("inactive", state="stopped", error="Docker does not run: it has no socket")
FOREIGN = {**WHOLE, "cluster_id": "another", "node_id": "foreign"}


def member(name, **changes):
    """A host that is a healthy node of the recorded swarm."""
    return {**WHOLE, "node_id": IDS[name], **changes}


def everyone(**changes):
    return {name: changes.get(name, member(name)) for name in THREE["swarm_managers"]}


def former(name):
    return {"id": IDS[name], "name": name, "role": "manager"}


@pytest.mark.parametrize(
    ("situation", "seen", "expected"),
    [
        ("all are in: nothing", everyone(), {}),
        (
            "nobody is in any: the first makes it, the others join",
            everyone(node1=INACTIVE, node2=INACTIVE, node3=INACTIVE),
            {"init": ["node1"], "join": ["node2", "node3"]},
        ),
        (
            "a host lost its state: its former node goes, it joins",
            everyone(node3=INACTIVE),
            {"remove": ["node3"], "join": ["node3"]},
        ),
        ("a run died before the last joined", everyone(node3=INACTIVE), {"remove": ["node3"], "join": ["node3"]}),
        ("one is locked: first that, then all else", everyone(node2=LOCKED, node3=INACTIVE), {"unlock": ["node2"]}),
        ("settings of Docker changed: the leader last", everyone(**{name: member(name, restart=True) for name in IDS}),
         {"roll": ["node1", "node3", "node2"]}),
        ("a host was left drained by a run that died", everyone(node1=member("node1", availability="drain")),
         {"nodes": ["node1"]}),
        ("a label is wanted", everyone(node1=member("node1", labels={"disk": "ssd"})), {"nodes": ["node1"]}),
        (
            "a run limited to one host",
            {"node1": member("node1")},
            {},
        ),
        (
            "its membership was ended: it leaves what remains of it, and joins",
            everyone(node3={**WHOLE, "node_id": "removed", "cluster_id": "", "nodes": [], "managers": ["10.0.1.11"]}),
            {"leave": ["node3"], "remove": ["node3"], "join": ["node3"]},
        ),
    ],
)  # fmt: skip
def test_each_host_does_what_its_state_asks_for(situation, seen, expected):
    plan = swarm_plan.plan(HA, seen, OPTIONS)
    assert plan["refusal"] == ""
    found = {
        name: [item if isinstance(item, str) else item["name"] for item in plan[name]] for name in LISTS if plan[name]
    }
    assert found == expected


@pytest.mark.parametrize(
    ("situation", "seen", "options", "words"),
    [
        ("a host in another swarm", everyone(node3=FOREIGN), {}, ["node3 in swarm another", "leave --force"]),
        ("all in another's swarm", {name: FOREIGN | {"settings": {**SETTINGS, "labels": {}}} for name in IDS}, {},
         ["was not made by this collection", "swarm_adopt"]),
        ("another cluster's swarm", {name: FOREIGN | {"settings": {**SETTINGS, "labels": {"utmstack.ha.cluster": "b"}}} for name in IDS},
         {"adopt": True}, ["belongs to the cluster b", "ha_cluster_name"]),
        ("a worker of another swarm", everyone(node3={**INACTIVE, "state": "active", "node_id": "x", "managers": ["10.9.9.9"]}), {},
         ["node3 is in another swarm", "10.9.9.9"]),
        ("nobody leads", everyone(node1=NO_LEADER, node2=INACTIVE, node3=INACTIVE), {},
         ["has no leader", "restore_swarm.yml -e from=HOST"]),
        ("a manager can't be looked at", {"node1": INACTIVE, "node2": INACTIVE}, {}, ["node3 cannot be looked at", "--limit"]),
        ("locked, and the key is not known", everyone(node2=LOCKED), {"unlock_key_known": False}, ["node2", "swarm_unlock_key"]),
        ("Docker does not answer", everyone(node2=STOPPED), {}, ["node2: Docker does not run", "journalctl -u docker"]),
        ("the gateway binds everything", everyone(node2=member("node2", gateway_wrong=True)), {}, ["docker_gwbridge of node2"]),
        ("overlay networks on the hosts' subnet", everyone(node1=INACTIVE, node2=INACTIVE, node3=INACTIVE),
         {"address_pools": ["10.0.0.0/8"]}, ["swarm_address_pools", "host node1", "the virtual IP"]),
        ("no subnet at all", everyone(node1=INACTIVE, node2=INACTIVE, node3=INACTIVE), {"address_pools": ["10.0.0.1/8"]},
         ["swarm_address_pools", "10.0.0.1/8"]),
    ],
)  # fmt: skip
def test_what_would_harm_is_refused_with_host_and_remedy(situation, seen, options, words):
    plan = swarm_plan.plan(HA, seen, OPTIONS | options)
    assert [word for word in words if word not in plan["refusal"]] == []
    assert plan["needed"]


def test_an_unlabelled_swarm_is_taken_over_when_asked():
    seen = copy.deepcopy(everyone())
    for one in seen.values():
        one["settings"]["labels"] = {}
    assert swarm_plan.plan(HA, seen, OPTIONS | {"adopt": True})["refusal"] == ""


def test_managers_join_before_workers():
    ha = topology(MIXED, "node1")
    seen = dict.fromkeys(("node4", "node3", "node2", "node1"), INACTIVE)
    plan = swarm_plan.plan(ha, seen, OPTIONS)
    assert plan["join"] == [
        {"name": "node2", "role": "manager"},
        {"name": "node3", "role": "manager"},
        {"name": "node4", "role": "worker"},
    ]


def test_a_worker_that_becomes_a_manager_is_promoted_before_another_is_demoted():
    ha = topology({**THREE, "swarm_managers": ["node1", "node2", "node4"], "swarm_workers": ["node3"]}, "node1")
    seen = copy.deepcopy({name: member(name) for name in IDS})
    fourth = {**seen["node1"]["nodes"][2], "id": "four", "hostname": "node4", "address": "10.0.1.14", "role": "worker"}
    for one in seen.values():
        one["nodes"].append(fourth)
    seen["node4"] = {**INACTIVE, "state": "active", "node_id": "four", "manager": False}
    changes = [(one["name"], one["role"]) for one in swarm_plan.plan(ha, seen, OPTIONS)["nodes"]]
    assert changes == [("node4", "manager"), ("node3", "worker")]


def test_nodes_of_no_inventory_are_named_and_left_alone():
    seen = copy.deepcopy(everyone())
    stranger = {**seen["node1"]["nodes"][2], "id": "x", "hostname": "old", "address": "10.0.1.99"}
    seen["node1"]["nodes"].append(stranger)
    plan = swarm_plan.plan(HA, seen, OPTIONS)
    assert not plan["remove"]
    assert "old" in plan["warnings"][0]


@pytest.mark.parametrize(
    ("changes", "settings", "key"),
    [
        ({}, False, False),
        ({"unlock_key_known": False}, False, True),
        ({"settings": WHOLE["settings"] | {"autolock": False}, "unlock_key_known": None}, True, True),
        ({"settings": WHOLE["settings"] | {"task_history_limit": 1}}, True, False),
    ],
)
def test_settings_and_key_are_kept_where_they_differ(changes, settings, key):
    plan = swarm_plan.plan(HA, {name: member(name) | changes for name in IDS}, OPTIONS)
    assert (plan["settings"], plan["key"], plan["needed"]) == (settings, key, False)


def test_a_node_that_is_down_makes_the_swarm_ill_unless_its_host_is_not_in_this_run():
    down = seen_of("node3_down")
    seen = {name: {**down, "node_id": IDS[name]} for name in IDS}
    assert swarm_plan.plan(HA, seen, OPTIONS)["ill"]
    del seen["node3"]
    assert not swarm_plan.plan(HA, seen, OPTIONS)["ill"]


def test_members_carry_rack_and_backend_labels():
    ha = copy.deepcopy(HA)
    ha["hosts"]["node1"]["rack"] = "r1"
    first, second, _third = swarm_plan.members(ha, {"node1": {"availability": "pause", "labels": {"disk": 1}}})
    assert first["labels"] == {"utmstack.ha.backend": "true", "utmstack.ha.rack": "r1", "disk": "1"}
    assert (first["availability"], second["availability"], second["labels"]) == ("pause", "", None)
