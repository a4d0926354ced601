# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What differs between Debian's releases: what is refused, what is left out, and that the plan tells."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.services.registry import SERVICES
from ansible_collections.utmstack.ha.plugins.module_utils.topology.plan import plan
from ansible_collections.utmstack.ha.plugins.module_utils.topology.releases import RELEASES, release_faults, releases
from role_templates import topology

THREE = ["node1", "node2", "node3"]
COLOCATED = {"loadbalancer": THREE, "etcd": THREE, "postgresql": THREE, "redis": THREE}


def test_each_release_says_all_that_differs():
    assert len({tuple(sorted(values)) for values in releases().values()}) == 1
    for service in SERVICES.values():
        assert set(service.releases) in (set(), set(RELEASES)) and set(service.without) < set(RELEASES)


@pytest.mark.parametrize("settings, flavor, said", [
    ({}, "redis", []),
    ({"pgbouncer_enabled": False}, "redis", []),
    ({"pgbouncer_enabled": True}, "redis", ["pgbouncer_enabled is true"]),
    ({"pgbouncer_enabled": "true"}, "redis", ["pgbouncer_enabled is true"]),
    ({"postgresql_synchronous_mode": "quorum"}, "redis", ["postgresql_synchronous_mode is quorum"]),
    ({}, "valkey", ["redis_flavor is valkey"]),
])  # fmt: skip
def test_what_debian_12_cannot_do_is_refused_where_it_is_asked_for(settings, flavor, said):
    ha = topology(COLOCATED, "node1", **settings)
    faults = release_faults(ha, "12", "node1", {"redis_flavor": flavor})
    assert [fault.split(", ")[0] for fault in faults] == said
    assert all("upgrade node1 to Debian 13" in fault for fault in faults)
    assert release_faults(ha, "13", "node1", {"redis_flavor": flavor}) == []


def test_a_host_is_asked_for_what_is_its_own_only():
    groups = {"loadbalancer": ["node4"], "etcd": THREE, "postgresql": THREE}
    ha = topology(groups, "node1", pgbouncer_enabled=True)
    assert release_faults(ha, "12", "node1", {"redis_flavor": "valkey"}) == []


def test_what_redis_and_sentinel_share_is_told_once_on_hosts_of_either():
    groups = {"etcd": THREE, "redis": THREE[:2], "sentinel": THREE}
    for host in THREE:
        told = release_faults(topology(groups, host), "12", host, {"redis_flavor": "valkey"})
        assert [fault.split(",")[0] for fault in told] == ["redis_flavor is valkey"]


def test_settings_that_are_left_out_or_empty_have_their_defaults():
    ha = topology(COLOCATED, "node1")
    assert release_faults(ha, "12", "node1", {}) == release_faults(ha, "12", "node1", {"redis_flavor": ""}) == []


@pytest.mark.parametrize("setting, told", [("auto", True), (True, False), (False, False)])
def test_the_plan_tells_what_an_older_release_does_without(setting, told):
    text = plan(topology(COLOCATED, "node1", pgbouncer_enabled=setting))
    assert "With Debian 12\n" in text
    assert ("- pgbouncer: left out" in text) is told
    assert "With Debian 12" not in plan(topology({"etcd": THREE}, "node1"))
