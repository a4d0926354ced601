# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who leads a cluster whose etcd was restored: the members' data decide."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.patroni.positions import choose

MEMBERS = ["node1", "node2", "node3"]


def member(timeline, lsn, identifier="7712"):
    return {"timeline": timeline, "lsn": lsn, "system_identifier": identifier}


def cluster(*places):
    return {name: member(*place) for name, place in zip(MEMBERS, places, strict=False)}


@pytest.mark.parametrize(
    ("places", "leader"),
    [
        ([(3, "0/A0"), (3, "0/A0"), (3, "0/90")], "node1"),
        ([(3, "0/90"), (3, "0/A0"), (3, "0/A0")], "node2"),
        # Farther on a timeline that was left is not newer.
        ([(3, "0/F0"), (4, "0/A0"), (4, "0/A0")], "node2"),
        # As text F0 were more than 1/10.
        ([(3, "0/F0"), (3, "1/10"), (3, "1/10")], "node2"),
    ],
)
def test_the_highest_timeline_leads_and_on_it_the_farthest_position(places, leader):
    found = choose(MEMBERS, cluster(*places), True)
    assert (found["leader"], found["refusals"], found["doubts"], found["system_identifier"]) == (leader, [], [], "7712")


def test_a_leader_that_no_standby_equals_is_refused_until_the_operator_names_it():
    seen = cluster((3, "0/A0"), (3, "0/90"), (3, "0/90"))
    found = choose(MEMBERS, seen, True)
    assert found["refusals"] == []
    assert found["doubts"] == [
        "No other member is as far as node1 (timeline 3, 0/A0), so no standby proves that it has all confirmed writes. Look at the positions, and give"
        " -e leader=node1 where it led last"
    ]
    assert choose(MEMBERS, seen, True, "node1")["doubts"] == []
    assert choose(MEMBERS, seen, False)["doubts"] == []


def test_nobody_leads_who_is_behind():
    found = choose(MEMBERS, cluster((3, "0/A0"), (3, "0/90"), (3, "0/A0")), True, "node2")
    assert "is behind node1 and node3" in found["refusals"][0]
    assert choose(MEMBERS, cluster((3, "0/A0"), (3, "0/A0"), (3, "0/90")), True, "node2")["leader"] == "node2"


def test_a_member_that_can_not_be_looked_at_may_have_more():
    found = choose(MEMBERS, cluster((3, "0/A0"), (3, "0/A0")), True)
    assert "node3 can't be looked at" in found["refusals"][0]
    assert choose(MEMBERS, cluster((3, "0/A0"), (3, "0/A0")), True, "node1")["refusals"] == []


def test_a_member_without_data_does_not_decide():
    seen = cluster((3, "0/A0"), (3, "0/A0")) | {"node3": {"timeline": 0, "lsn": "", "system_identifier": ""}}
    found = choose(MEMBERS, seen, True)
    assert (found["leader"], found["refusals"]) == ("node1", [])
    assert found["lines"][2] == "node3  no data, gets a base backup"


def test_data_of_two_clusters_are_refused():
    seen = cluster((3, "0/A0"), (3, "0/A0"), (3, "0/A0", "7713"))
    assert "are of different clusters" in choose(MEMBERS, seen, True)["refusals"][0]


def test_without_any_data_etcd_is_not_what_is_to_be_restored():
    nothing = {name: {"timeline": 0, "lsn": "", "system_identifier": ""} for name in MEMBERS}
    assert "Restore PostgreSQL first" in choose(MEMBERS, nothing, True)["refusals"][0]


def test_a_single_member_has_nobody_to_be_equal_to():
    found = choose(["node1"], cluster((3, "0/A0")), True)
    assert (found["refusals"], found["doubts"]) == ([], [])
