# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who leads a cluster whose etcd was restored: the members' data decide."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.patroni.positions import choose

MEMBERS = ["node1", "node2", "node3"]
NOTHING = {"timeline": 0, "lsn": "", "data_lsn": "", "system_identifier": "", "state": "", "running": False}


def member(timeline, lsn, identifier="7712", data_lsn="", state="shut down in recovery", running=False):
    return {
        "timeline": timeline, "lsn": lsn, "data_lsn": data_lsn or lsn, "system_identifier": identifier, "state": state, "running": running,
    }  # fmt: skip


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
    assert found["doubts"] == []
    assert found["refusals"] == [
        "No other member is as far as node1 (timeline 3, 0/A0), so no standby proves that it has all confirmed writes. Look at the positions, and give"
        " -e leader=node1 where it led last"
    ]
    assert choose(MEMBERS, seen, True, "node1")["refusals"] == []
    assert choose(MEMBERS, seen, False)["refusals"] == []


def stopped(*lsns, data="0/50", last="0/A0"):
    """node1 was stopped cleanly as primary, with its last records from `data` on; the standbys have the positions given."""
    return {"node1": member(3, last, data_lsn=data, state="shut down")} | {
        name: member(3, lsn) for name, lsn in zip(MEMBERS[1:], lsns, strict=False)
    }


@pytest.mark.parametrize(
    ("lsns", "refused"),
    [
        (("0/50", "0/40"), False),
        # One that has the switch of segments, and not the checkpoint.
        (("0/80", "0/40"), False),
        (("0/48", "0/40"), True),
    ],
)
def test_a_standby_that_lacks_only_what_a_clean_stop_writes_last_has_all_data(lsns, refused):
    found = choose(MEMBERS, stopped(*lsns), True)
    assert (found["leader"], bool(found["refusals"])) == ("node1", refused)
    assert (found["lines"][1] == f"node2  timeline 3, {lsns[0]}  all data of it") is not refused


def test_who_lacks_a_record_of_the_leader_can_not_lead_it():
    found = choose(MEMBERS, stopped("0/50", "0/50"), True, "node2")
    assert found["refusals"] == ["leader=node2 is behind node1, so it can't lead these. Leave it out"]


def test_data_on_another_timeline_prove_nothing():
    found = choose(MEMBERS, stopped("0/40", "0/40") | {"node2": member(2, "0/F0")}, True)
    assert "No other member is as far as node1" in found["refusals"][0]


def test_among_equals_the_one_that_was_primary_leads():
    seen = cluster((3, "0/A0"), (3, "0/A0"), (3, "0/A0")) | {
        "node2": member(3, "0/A0", data_lsn="0/50", state="shut down")
    }
    assert choose(MEMBERS, seen, True)["leader"] == "node2"


@pytest.mark.parametrize("follows", [True, False])
def test_a_standby_that_runs_may_still_receive_the_rest_and_no_other(follows):
    seen = cluster((3, "0/A0"), (3, "0/90"), (3, "0/90")) | {
        "node1": member(3, "0/A0", state="in production", running=True),
        "node2": member(3, "0/90", state="in archive recovery", running=follows),
    }
    found = choose(MEMBERS, seen, True)
    assert (bool(found["doubts"]), bool(found["refusals"])) == (follows, not follows)
    assert found["primaries"] == ["node1"]


def test_nobody_leads_who_is_behind():
    found = choose(MEMBERS, cluster((3, "0/A0"), (3, "0/90"), (3, "0/A0")), True, "node2")
    assert "is behind node1 and node3" in found["refusals"][0]
    assert choose(MEMBERS, cluster((3, "0/A0"), (3, "0/A0"), (3, "0/90")), True, "node2")["leader"] == "node2"


def test_a_member_that_can_not_be_looked_at_may_have_more():
    found = choose(MEMBERS, cluster((3, "0/A0"), (3, "0/A0")), True)
    assert "node3 can't be looked at" in found["refusals"][0]
    assert choose(MEMBERS, cluster((3, "0/A0"), (3, "0/A0")), True, "node1")["refusals"] == []


def test_a_member_without_data_does_not_decide():
    seen = cluster((3, "0/A0"), (3, "0/A0")) | {"node3": NOTHING}
    found = choose(MEMBERS, seen, True)
    assert (found["leader"], found["refusals"]) == ("node1", [])
    assert found["lines"][2] == "node3  no data, gets a base backup"


def test_data_of_two_clusters_are_refused():
    seen = cluster((3, "0/A0"), (3, "0/A0"), (3, "0/A0", "7713"))
    assert "are of different clusters" in choose(MEMBERS, seen, True)["refusals"][0]


def test_without_any_data_etcd_is_not_what_is_to_be_restored():
    assert "Restore PostgreSQL first" in choose(MEMBERS, dict.fromkeys(MEMBERS, NOTHING), True)["refusals"][0]


def test_a_single_member_has_nobody_to_be_equal_to():
    found = choose(["node1"], cluster((3, "0/A0")), True)
    assert (found["refusals"], found["doubts"]) == ([], [])
