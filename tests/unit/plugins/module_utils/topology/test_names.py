# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the plan accepts, every component can bear; the limits are those of the components' own sources and documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.topology.build import build
from ansible_collections.utmstack.ha.plugins.module_utils.topology.faults import TopologyError
from ansible_collections.utmstack.ha.plugins.module_utils.topology.names import path_fault
from ansible_collections.utmstack.ha.plugins.module_utils.topology.settings import Inventory

ROOT = Path(__file__).resolve().parents[5]
LAYERS = ("loadbalancer", "etcd", "postgresql", "elasticsearch", "redis", "swarm_managers")


def topology(names, groups=LAYERS, settings=None, **variables):
    hosts = {name: {"ha_address": f"10.0.1.{number}", **variables} for number, name in enumerate(names, 11)}
    return build(Inventory(dict.fromkeys(groups, list(names)), hosts), {"ha_vip": "10.0.1.100", **(settings or {})})


def named(first):
    return [first, "other1", "other2"]


LABEL = "a" * 63
LONG = f"{'b' * 40}.{'c' * 22}"
# A name, and what each component makes of it.
GOOD = [LABEL, LONG, "db-1.example.org", "A1", "xn--nde-1qa", "1a", "fd00::1", "10.0.1.5", "n", "a--b"]


@pytest.mark.parametrize("name", GOOD)
def test_a_name_that_is_accepted_can_be_borne_by_every_component(name):
    ha = topology(named(name))
    assert len(name.encode()) <= 63  # PostgreSQL: application_name; NAMEDATALEN - 1
    assert re.fullmatch(r"[A-Za-z0-9.:-]+", name)  # HAProxy: names of servers ("invalid_char")
    assert "=" not in name and "," not in name  # etcd: initial-cluster
    assert not re.search(r"\s", name)  # keepalived: a word; /etc/hosts: a field
    assert ha["hosts"][name]["names"][0] == name


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (named("a" * 64), "no host name"),
        (named(f"{'b' * 40}.{'c' * 23}"), "PostgreSQL cuts a standby's name at 63"),
        (named("node_1"), "no host name"),
        (named("node 1"), "no host name"),
        (named("knöten"), "no host name"),
        (named("-a"), "no host name"),
        (named("a."), "no host name"),
        (named("17"), "number of an IPv4 address"),
        (named("10.1"), "number of an IPv4 address"),
        (named("0x0a"), "number of an IPv4 address"),
        (["node1", "Node1", "node2"], "but for capital letters"),
        (["a.b", "a-b", "c"], "same replication slot"),
    ],
)
def test_a_name_that_a_component_can_not_bear_is_refused(names, told):
    with pytest.raises(TopologyError, match=told):
        topology(names)


def test_a_long_name_is_accepted_where_no_postgresql_runs():
    name = f"{'b' * 60}.{'c' * 60}"
    assert topology(named(name), groups=("etcd",))["hosts"][name]["name"] == name


@pytest.mark.parametrize("template", ["issue.yml", "authority.yml"])
def test_a_certificates_common_name_is_cut_at_its_limit(template):
    text = (ROOT / "roles" / "tls" / "tasks" / template).read_text()
    assert re.search(r"common_name: .*\[:64\] ", text)


@pytest.mark.parametrize("name", ["a", "utmstack-2_b", "a" * 63])
def test_a_cluster_name_that_is_accepted_is_a_word_everywhere(name):
    ha = topology(named("node1"), settings={"ha_cluster_name": name})
    assert path_fault(f"/var/lib/etcd/{ha['cluster']}") == ""  # a directory, a part of a path in etcd
    assert len(ha["postgresql"]["scope"]) <= 63  # PostgreSQL: cluster_name
    assert ":" not in ha["elasticsearch"]["cluster_name"]  # Elasticsearch: cluster.name


@pytest.mark.parametrize("name", ["a" * 64, "Utm", "-a", "a b", "a/b", "a:b", 7, ""])
def test_other_cluster_names_are_refused(name):
    with pytest.raises(TopologyError, match="ha_cluster_name"):
        topology(named("node1"), settings={"ha_cluster_name": name})


@pytest.mark.parametrize("name", ["utmstack-redis", "a" * 63, "a.b_c"])
def test_a_master_name_is_one_word_of_sentinels_configuration(name):
    assert topology(named("node1"), settings={"redis_master_name": name})["redis"]["master_name"] == name


@pytest.mark.parametrize("name", ["a b", '"a"', "a" * 64, "", "a\nb"])
def test_other_master_names_are_refused(name):
    with pytest.raises(TopologyError, match="redis_master_name"):
        topology(named("node1"), settings={"redis_master_name": name})


@pytest.mark.parametrize("key", ["name", "owner"])
@pytest.mark.parametrize("name", ["a" * 63, "App.v2-x", "_x", "9lives"])
def test_a_database_that_is_accepted_is_one_word_of_pgbouncers_configuration(key, name):
    entry = {"name": "app", "owner": "app", key: name}
    topology(named("node1"), settings={"postgresql_databases": [entry]})
    assert re.fullmatch(r"[\w.-]{1,63}", name)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("name", "a" * 64),
        ("name", "my db"),
        ("name", "ü"),
        ("name", "a=b"),
        ("name", "postgres"),
        ("name", "all"),
        ("name", "replication"),
        ("name", "template1"),
        ("owner", "a" * 64),
        ("owner", "postgres"),
        ("owner", "replicator"),
        ("owner", "public"),
        ("owner", "pg_monitor"),
        ("owner", "a'b"),
    ],
)
def test_other_databases_and_owners_are_refused(key, name):
    entry = {"name": "app", "owner": "app", key: name}
    with pytest.raises(TopologyError, match="postgresql_databases"):
        topology(named("node1"), settings={"postgresql_databases": [entry]})


@pytest.mark.parametrize(
    ("rack", "good"),
    [("r1", True), ("Zone A/2", True), (0, True), (7, True), (None, True), ("", True),
     ("a,b", False), ("x" * 64, False), (False, False), ([], False), (["r1"], False), ({}, False)],
)  # fmt: skip
def test_a_rack_is_one_entry_of_elasticsearchs_list(rack, good):
    if good:
        topology(named("node1"), ha_rack=rack)
        return
    with pytest.raises(TopologyError, match="ha_rack"):
        topology(named("node1"), ha_rack=rack)


@pytest.mark.parametrize("path", ["/data/pg", "/srv/a.b_c-d@e+f/", "/x"])
def test_a_path_that_is_accepted_is_one_word(path):
    assert path_fault(path) == ""


@pytest.mark.parametrize("path", ["/my data", "/a:b", "data", "/", "/a/../b", "/a//b", "/a%b", "/a$b", "/ä"])
def test_other_paths_are_refused(path):
    assert path_fault(path)


def test_a_tls_directory_with_a_blank_is_refused():
    with pytest.raises(TopologyError, match="ha_tls_directory"):
        topology(named("node1"), settings={"ha_tls_directory": "/etc/my tls"})


@pytest.mark.parametrize("value", ["etcd", ["a b"], [7], {"etcd": True}, ["../x/"]])
def test_what_is_given_up_is_a_list_of_units_and_paths(value):
    with pytest.raises(TopologyError, match="ha_take_over"):
        topology(named("node1"), ha_take_over=value)


def test_what_is_given_up_may_differ_from_host_to_host():
    hosts = {name: {"ha_address": f"10.0.1.{number}"} for number, name in enumerate(named("node1"), 11)}
    hosts["node1"]["ha_take_over"] = ["etcd", "postgresql@17-main", "/var/lib/elasticsearch"]
    ha = build(Inventory(dict.fromkeys(LAYERS, list(hosts)), hosts), {"ha_vip": "10.0.1.100"})
    assert len(ha["hosts"]["node1"]["take_over"]) == 3
    assert ha["hosts"]["other1"]["take_over"] == []
