# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which groups of an inventory a play for the whole platform takes."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.services.registry import SERVICES
from ansible_collections.utmstack.ha.plugins.module_utils.services.service import Service
from ansible_collections.utmstack.ha.plugins.module_utils.topology.groups import platform_groups

OFFICE = {"all": ["pc1", "node1"], "ungrouped": [], "office": ["pc1"], "web": ["pc1"]}


@pytest.mark.parametrize(
    ("groups", "found"),
    [
        ({**OFFICE, "etcd": ["node1"]}, ["etcd"]),
        ({**OFFICE, "redis": ["node1"], "etcd": ["node1"]}, ["redis", "etcd"]),
        ({**OFFICE, "etcd": ["node1"], "sentinel": []}, ["etcd"]),
        # Ansible takes a play without a pattern for one of all hosts.
        (OFFICE, ["!all"]),
        ({}, ["!all"]),
    ],
    ids=["others", "order", "empty group", "none of ours", "no inventory"],
)
def test_a_play_for_the_whole_platform_takes_groups_of_services_that_have_hosts(groups, found):
    assert platform_groups(groups) == found


def test_what_a_play_takes_instead_is_taken_only_where_there_is_no_host_of_the_platform():
    assert platform_groups(OFFICE, "all:localhost") == ["all:localhost"]
    assert platform_groups({**OFFICE, "etcd": ["node1"]}, "all:localhost") == ["etcd"]


def test_a_new_service_is_in_the_plays_for_the_whole_platform(monkeypatch):
    monkeypatch.setitem(SERVICES, "queue", Service(name="queue", role="queue", layer="queue", groups=("queue",)))
    assert platform_groups({**OFFICE, "queue": ["node1"]}) == ["queue"]
