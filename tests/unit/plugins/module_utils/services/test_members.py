# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What numbers of members are good for; which service asks for what is in topology/test_build.py."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.services.members import check_single, check_voters, quorum
from ansible_collections.utmstack.ha.plugins.module_utils.services.registry import SERVICES
from ansible_collections.utmstack.ha.plugins.module_utils.topology.faults import Findings, TopologyError
from role_templates import topology

THREE = ["node1", "node2", "node3"]


@pytest.mark.parametrize(("members", "agree"), [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (7, 4)])
def test_more_than_half_must_agree(members, agree):
    assert quorum(members) == agree


@pytest.mark.parametrize(
    ("count", "said"), [(0, ""), (1, ""), (2, "even number"), (3, ""), (7, ""), (8, "even number"), (9, "are 9")]
)
def test_voters_are_odd_in_number_and_seven_at_most(count, said):
    found = Findings()
    check_voters("queue", [f"node{number}" for number in range(count)], found)
    assert [said in str(fault) for fault in found.faults] == [True] * bool(said)


def test_a_single_member_is_warned_of():
    found = Findings()
    check_single("queue", ["node1"], "with it all messages are lost", found)
    check_single("queue", THREE, "with it all messages are lost", found)
    assert len(found.warnings) == 1 and "are 1: with it all messages are lost" in str(found.warnings[0])


def test_a_service_judges_its_own_members(monkeypatch):
    def check(members, found):
        check_voters("web", members["web"], found)

    monkeypatch.setitem(SERVICES, "etcd", dataclasses.replace(SERVICES["etcd"], check_members=check))
    assert topology({"web": THREE, "etcd": ["node1", "node2"]}, "node1")["etcd"]["quorum"] == 2
    with pytest.raises(TopologyError, match="group web: members are 2"):
        topology({"web": ["node1", "node2"], "etcd": THREE}, "node1")
