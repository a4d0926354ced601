# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan of a restore of the swarm: whose state goes where, and all that stands in its way at once."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import restore_plan
from ansible_collections.utmstack.ha.plugins.module_utils.swarm.state import fingerprint

KEY = "SWMKEY-1-of-this-swarm"
MEMBERS = [{"name": f"node{number}", "address": f"10.0.1.1{number}"} for number in (1, 2, 3, 4)]
HA = {"swarm": {"members": MEMBERS, "managers": MEMBERS[:3]}}
ACTIVE = {
    "state": "active",
    "manager": True,
    "engine": "26.1.5",
    "nodes": [],
    "error": "The swarm does not have a leader.",
}
DISKS = {one["name"]: {"free": 10 << 30, "copies": []} for one in MEMBERS}
COPY = "/var/lib/docker/swarm.before-restore-20261130T101500Z"


def seen(**changes):
    worker = {"node4": {"manager": False}}
    return {one["name"]: {**ACTIVE, **worker.get(one["name"], {}), **changes.get(one["name"], {})} for one in MEMBERS}


def backup(label="20261130T031507Z", verified=True, **facts):
    manifest = {
        "address": "10.0.1.12",
        "key": fingerprint(KEY),
        "node": "n2",
        "services": 2,
        "secrets": 7,
        "configs": 1,
        "networks": 2,
    }
    return {
        "kind": "swarm",
        "label": label,
        "verified": verified,
        "point": {"time": 1796039126},
        "record": {
            "host": "backup1",
            "source": "node2",
            "bytes": 300_000,
            "software": {"docker": "26.1.5"},
            "manifest": {**manifest, **facts},
        },
    }


def planned(hosts=None, kept=None, wanted="latest", own="", key=KEY, disks=DISKS):
    return restore_plan.plan(HA, hosts or seen(), disks, [backup()] if kept is None else kept, wanted, own, key)


def test_the_newest_backup_goes_to_the_manager_with_its_address():
    found = planned(kept=[backup("old"), backup("new")])
    assert (found["refusals"], found["host"], found["kept"]["label"]) == ([], "node2", "new")
    assert found["members"] == ["node1", "node2", "node3", "node4"]
    text = "\n".join(found["lines"])
    assert "up to      2026-11-30 11:45:26 UTC" in text
    assert "2 services, 7 secrets, 1 configs, 2 networks, on node2, which becomes the only manager" in text
    assert "joins      node1, node3, node4" in text
    # A worker has no state of the swarm.
    assert "the present state of node1, node2, node3, as" in text
    assert "NOT VERIFIED" not in text and "BEWARE" not in text


def test_another_backup_may_be_named():
    assert planned(kept=[backup("old"), backup("new")], wanted="old")["kept"]["label"] == "old"


def test_a_backup_that_was_not_verified_and_a_swarm_that_serves_are_marked():
    serving = seen(node1={"nodes": [{"hostname": "node1", "leader": True}], "error": ""})
    text = "\n".join(planned(serving, [backup(verified=False)])["lines"])
    assert "NOT VERIFIED" in text
    assert "BEWARE     the present swarm has a leader" in text


def test_a_manager_that_is_left_gives_its_own_state_without_any_backup():
    found = planned(kept=[], own="node3", key="")
    assert (found["refusals"], found["host"], found["kept"]) == ([], "node3", {})
    assert "from       the present state of node3" in "\n".join(found["lines"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"kept": []}, ["no usable backup of the swarm", "backup.yml -e kind=swarm"]),
        ({"wanted": "other"}, ["no usable backup other", "20261130T031507Z"]),
        ({"kept": [backup(address="10.0.1.99")]}, ["10.0.1.99", "no manager of the inventory has"]),
        ({"kept": [backup(address="10.0.1.14")]}, ["10.0.1.14", "no manager of the inventory has"]),
        ({"hosts": seen(node3={"state": "stopped"})}, ["node3 can't be reached", "there would be two"]),
        ({"hosts": {name: one for name, one in seen().items() if name != "node4"}}, ["node4 can't be reached"]),
        ({"key": "SWMKEY-1-another"}, ["another unlock key", "swarm_unlock_key"]),
        ({"key": ""}, ["another unlock key"]),
        ({"disks": {**DISKS, "node2": {"free": 1 << 20, "copies": []}}}, ["node2 has 1.0 MiB free"]),
        ({"hosts": seen(node2={"engine": "20.10.24+dfsg1"})}, ["node2 has Docker 20.10.24+dfsg1", "26.1.5"]),
        ({"own": "node4"}, ["node4 is no manager", "node1, node2, node3"]),
        ({"own": "node1", "hosts": seen(node1={"state": "inactive"})}, ["node1 is in no swarm"]),
    ],
)
def test_what_stands_in_the_way_is_said_with_host_and_remedy_and_nothing_is_planned(given, words):
    found = planned(**given)
    assert found["lines"] == []
    assert len(found["refusals"]) == 1
    for word in words:
        assert word in found["refusals"][0]


def test_a_restore_of_a_managers_own_state_that_was_interrupted_goes_on_with_what_it_has_kept():
    found = planned(
        seen(node1={"state": "inactive"}),
        kept=[],
        own="node1",
        disks={**DISKS, "node1": {"free": 10 << 30, "copies": ["old", COPY]}},
    )
    assert found["refusals"] == []
    assert f"from       {COPY}, which an interrupted restore has kept, on node1" in "\n".join(found["lines"])


def test_all_refusals_are_told_at_once():
    found = planned(seen(node3={"state": "stopped"}), [backup(address="10.0.1.99")], key="")
    assert len(found["refusals"]) == 3


@pytest.mark.parametrize(("state", "manager"), [("locked", False), ("active", True)])
def test_a_locked_manager_has_a_state_to_keep_and_to_give(state, manager):
    found = planned(seen(node1={"state": state, "manager": manager}), kept=[], own="node1")
    assert found["refusals"] == []
    assert "state of node1, node2, node3, as" in "\n".join(found["lines"])
