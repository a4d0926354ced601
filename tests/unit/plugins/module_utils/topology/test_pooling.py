# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where pgbouncer runs, and how many connections it may open."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.topology.faults import TopologyError
from ansible_collections.utmstack.ha.plugins.module_utils.topology.pooling import pool_sizes
from role_templates import topology

THREE = ["node1", "node2", "node3"]
COLOCATED = {"loadbalancer": THREE, "etcd": THREE, "postgresql": THREE}


@pytest.mark.parametrize("connections", [40, 100, 200, 333, 5000])
@pytest.mark.parametrize("balancers", [1, 2, 3, 5])
@pytest.mark.parametrize("databases", [1, 2, 3])
def test_all_pgbouncers_together_leave_a_tenth_and_at_least_ten_connections(connections, balancers, databases):
    sizes = pool_sizes(connections, balancers, databases)
    most = balancers * (sizes["lookup"] + max(sizes["per_database"], 0) * databases)
    assert sizes["reserved"] >= max(10, connections / 10)
    assert most + sizes["reserved"] <= connections


def test_the_default_gives_each_of_three_pgbouncers_58_connections():
    assert pool_sizes(200, 3, 1) == {"reserved": 20, "lookup": 2, "per_database": 58}


def test_every_load_balancer_has_one_where_there_is_postgresql():
    ha = topology(COLOCATED, "node1")
    assert ha["pgbouncer"]["enabled"] is True
    assert ha["pgbouncer"]["members"][0] == {"name": "node1", "address": "10.0.1.11"}
    assert ha["postgresql"]["direct"] == {"host": "10.0.1.100", "port": 5434}
    assert ha["postgresql"]["databases"] == ["utmstack"]


@pytest.mark.parametrize("asked, auto", [({}, True), ("auto", True), (True, False), ("true", False)])
def test_the_release_decides_only_where_nobody_has(asked, auto):
    pooling = topology(COLOCATED, "node1", **({"pgbouncer_enabled": asked} if asked else {}))["pgbouncer"]
    assert (pooling["enabled"], pooling["auto"]) == (True, auto)


@pytest.mark.parametrize(
    "groups, settings",
    [
        (COLOCATED, {"pgbouncer_enabled": False}),
        (COLOCATED, {"pgbouncer_enabled": "false"}),
        ({"loadbalancer": THREE}, {}),
        ({"etcd": THREE, "postgresql": THREE}, {}),
    ],
)
def test_it_is_left_out_where_it_is_unwanted_or_has_nothing_to_do(groups, settings):
    assert topology(groups, "node1", **settings)["pgbouncer"]["enabled"] is False
    assert topology(groups, "node1", **settings)["pgbouncer"]["members"] == []


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"pgbouncer_enabled": "perhaps"}, "pgbouncer_enabled is 'perhaps'. Set auto, true or false."),
        ({"postgresql_max_connections": "many"}, "postgresql_max_connections is 'many'. Set a whole number from 10."),
        ({"postgresql_max_connections": 15}, "leaves none of 3 pgbouncers a connection for each of 1 databases"),
        (
            {"postgresql_databases": "utmstack"},
            "Write it like postgresql_databases: [{name: utmstack, owner: utmstack}]",
        ),
        ({"postgresql_databases": [{"name": "a b", "owner": "a"}]}, "with letters, digits, _, - and dots"),
        ({"postgresql_databases": [{"name": "a"}]}, "Write it like postgresql_databases:"),
        ({"postgresql_databases": [{"name": 'a"b', "owner": "a"}]}, "Write it like postgresql_databases:"),
        ({"postgresql_databases": [{"name": "pgbouncer", "owner": "a"}]}, "which is not for an application"),
    ],
)
def test_what_cannot_be_is_refused(settings, said):
    with pytest.raises(TopologyError) as caught:
        topology(COLOCATED, "node1", **settings)
    assert said in str(caught.value)


def test_few_connections_are_enough_without_pgbouncer():
    assert topology(COLOCATED, "node1", postgresql_max_connections=15, pgbouncer_enabled=False)


def test_its_port_must_be_free():
    with pytest.raises(TopologyError, match="pgbouncer"):
        topology(COLOCATED, "node1", ha_ports={"pgbouncer": 8008})
