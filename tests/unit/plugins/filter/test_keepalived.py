# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.utmstack.ha.plugins.filter.keepalived import elapsed_s, interface_of, neighbours, restart_order
from role_templates import topology

INTERFACES = {
    "lo": ["127.0.0.1", "::1"],
    "br-lan": ["10.0.1.11", "10.0.2.11", "fd00:0::11"],
    "eth0.5": ["10.0.5.11"],
}
MEMBERS = [{"name": "node1"}, {"name": "node2"}, {"name": "node3"}]


@pytest.mark.parametrize(
    ("address", "interface"),
    [("10.0.1.11", "br-lan"), ("10.0.2.11", "br-lan"), ("fd00::11", "br-lan"), ("10.0.5.11", "eth0.5")],
)
def test_the_interface_that_carries_the_address_is_found(address, interface):
    assert interface_of(INTERFACES, address) == interface


def test_an_address_that_no_interface_carries_is_told_with_those_that_there_are():
    with pytest.raises(
        AnsibleFilterError, match=r"carries 10\.0\.9\.9, only .*10\.0\.1\.11 on br-lan.*keepalived_interface"
    ):
        interface_of(INTERFACES, "10.0.9.9")


def host(state, *addresses):
    return {"service": {"state": state}, "base_host": {"interfaces": {"lo": ["127.0.0.1"], "eth0": list(addresses)}}}


@pytest.mark.parametrize(
    ("hosts", "order"),
    [
        ({"node1": host("fresh"), "node2": host("reload"), "node3": host("stopped")}, []),
        ({"node1": host("restart"), "node2": host("restart"), "node3": host("restart")}, ["node3", "node2", "node1"]),
        (
            {"node1": host("restart"), "node2": host("restart"), "node3": host("restart", "10.0.1.13", "10.0.1.100")},
            ["node2", "node1", "node3"],
        ),
        ({"node1": host("restart"), "node2": {}}, ["node1"]),
    ],
)
def test_those_that_need_it_are_restarted_with_the_holder_last(hosts, order):
    assert restart_order(MEMBERS, hosts, "service", "10.0.1.100") == order


THREE = ["node1", "node2", "node3"]


@pytest.mark.parametrize(
    ("groups", "asked"),
    [
        ({"loadbalancer": THREE, "redis": THREE}, [("10.0.1.12", 6379), ("10.0.1.13", 6379)]),
        (
            {"loadbalancer": ["node1", "node5"], "redis": THREE, "elasticsearch": ["node2", "node3", "node4"]},
            [("10.0.1.12", 9200), ("10.0.1.13", 9200), ("10.0.1.14", 9200)],
        ),
        # Redis last, which has a line for each connection without TLS, and never Patroni's port, which has a traceback.
        (
            {"loadbalancer": THREE, "redis": THREE, "etcd": THREE, "postgresql": THREE[:2]},
            [("10.0.1.12", 5432), ("10.0.1.13", 6379)],
        ),
        (
            {"loadbalancer": ["node4"], "etcd": THREE, "postgresql": THREE},
            [("10.0.1.11", 5432), ("10.0.1.12", 5432), ("10.0.1.13", 5432)],
        ),
        ({"loadbalancer": THREE[:2], "web": THREE[:2]}, []),
        ({"loadbalancer": THREE}, []),
    ],
    ids=[
        "three alike",
        "load balancers of their own",
        "the quietest",
        "PostgreSQL alone",
        "one other host",
        "nothing behind them",
    ],
)
def test_each_other_host_is_asked_once_unless_there_are_too_few_to_know_who_is_cut_off(groups, asked):
    found = neighbours(topology(groups, groups["loadbalancer"][0]))
    assert [(entry["address"], entry["port"]) for entry in found] == asked


@pytest.mark.parametrize("start, end, seconds", [
    ("2026-03-01 23:59:59.900000", "2026-03-02 00:00:01.150000", 1.25),
    ("2026-03-01 12:00:00.004000", "2026-03-01 12:00:00.250000", 0.25),
    # Ansible leaves out the fraction where there is none.
    ("2026-03-01 12:00:00", "2026-03-01 12:00:02", 2.0),
], ids=["over midnight", "rounded", "whole seconds"])  # fmt: skip
def test_the_time_that_a_command_took_is_told(start, end, seconds):
    assert elapsed_s({"start": start, "end": end, "rc": 0}) == seconds
