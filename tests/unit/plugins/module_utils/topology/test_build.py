# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the topology makes of an inventory, and what it refuses."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.utmstack.ha.plugins.module_utils.services.registry import SERVICES
from ansible_collections.utmstack.ha.plugins.module_utils.services.service import Service
from ansible_collections.utmstack.ha.plugins.module_utils.topology.build import build
from ansible_collections.utmstack.ha.plugins.module_utils.topology.faults import TopologyError
from ansible_collections.utmstack.ha.plugins.module_utils.topology.groups import memory_share
from ansible_collections.utmstack.ha.plugins.module_utils.topology.plan import plan, survives, ways_in
from ansible_collections.utmstack.ha.plugins.module_utils.topology.ports import defaults
from ansible_collections.utmstack.ha.plugins.module_utils.topology.settings import (
    HOST_SETTINGS,
    OTHER_NAMES,
    PLATFORM,
    Inventory,
)
from ansible_collections.utmstack.ha.plugins.module_utils.topology.timing import limits, profiles

ROOT = Path(__file__).resolve().parents[5]
NODES = ["node1", "node2", "node3"]
SECRET = "Tr0ub4dor&3-not-to-be-told"


def inventory(groups=None, hosts=None, broken=None, count=3, common=None):
    """Return three co-located hosts, with groups replaced (None removes one), and variables added to single hosts."""
    names = [f"node{number}" for number in range(1, count + 1)]
    all_groups = {"loadbalancer": names, "etcd": names, "postgresql": names, **(groups or {})}
    all_groups = {name: members for name, members in all_groups.items() if members is not None}
    every = list(dict.fromkeys([*names, *(host for members in all_groups.values() for host in members)]))
    variables = {
        name: {"ansible_host": f"10.0.1.{10 + number}", **(common or {})} for number, name in enumerate(every, 1)
    }
    for name, extra in (hosts or {}).items():
        variables[name] = {key: value for key, value in {**variables[name], **extra}.items() if value is not None}
    return Inventory(all_groups, variables, broken or {})


def topology(settings=None, **changes):
    return build(inventory(**changes), {"ha_vip": "10.0.1.100", **(settings or {})})


def faults(settings=None, **changes):
    with pytest.raises(TopologyError) as caught:
        topology(settings, **changes)
    return [str(fault) for fault in caught.value.faults]


def timing(part, **values):
    return {"settings": {"ha_timing": {part: values}}}


def vip(address):
    return {"settings": {"ha_vip": address}}


def ports(numbers):
    return {"settings": {"ha_ports": numbers}}


def host(name="node3", **variables):
    return {"hosts": {name: variables}}


def group(**members):
    return {"groups": members}


def search(**hosts):
    return {**group(elasticsearch=NODES), "hosts": hosts}


SWARM = ["app1", "app2", "app3", "app4"]

# id: what is changed, and what the message must name: host or group, setting, a part of the problem, of the remedy.
REFUSED = {
    "no virtual IP": (vip(""), "group all", "ha_vip", "missing", "Set it to a free address"),
    "virtual IP is no address": (vip("pg-vip"), "group all", "ha_vip", "'pg-vip'", "Set it to an address"),
    "virtual IP is a host's own": (vip("10.0.1.12"), "group all", "ha_vip", "host node2", "no host has"),
    "virtual IP elsewhere": (vip("10.0.2.100"), "group all", "ha_vip", "load balancer node1", "10.0.1.0/24"),
    "virtual IP is the network": (vip("10.0.1.0"), "group all", "ha_vip", "network address", "free host address"),
    "virtual IP is broadcast": (vip("10.0.1.255/24"), "group all", "ha_vip", "broadcast address", "free host address"),
    "virtual IP is loopback": (vip("127.0.0.5"), "group all", "ha_vip", "loopback", "free address"),
    "virtual IP is multicast": (vip("224.0.0.18"), "group all", "ha_vip", "no single host", "free address"),
    "prefix too long": (vip("10.0.1.100/33"), "group all", "ha_vip", "prefix '33'", "usually /24"),
    "prefix is no number": (vip("10.0.1.100/x"), "group all", "ha_vip", "prefix 'x'", "usually /24"),
    "prefix is empty": (vip("fd00::100/"), "group all", "ha_vip", "prefix ''", "usually /64"),
    "virtual IP of another family": (vip("fd00::100"), "group all", "ha_vip", "host node1", "one family"),
    "host of another family": (host(ha_address="fd00::13"), "host node3", "ha_address", "IPv6", "one family"),
    "host without an address": (host(ansible_host=None), "host node3", "ha_address", "missing", "Set ha_address"),
    "host known by a DNS name only": (
        host(ansible_host="node3.example.org"), "host node3", "ha_address", "missing", "Set ha_address",
    ),
    "ha_address is a name": (host(ha_address="db3"), "host node3", "ha_address", "'db3'", "IP address by which"),
    "ha_address has a prefix": (
        host(ha_address="10.0.1.13/24"), "host node3", "ha_address", "/24", "IP address by which",
    ),
    "ha_address is loopback": (
        host(ha_address="127.0.0.1"), "host node3", "ha_address", "loopback", "IP address by which",
    ),
    "ansible_host is loopback": (
        host(ansible_host="127.0.0.1"), "host node3", "ansible_host", "loopback", "Set ha_address",
    ),
    "ha_address is any": (host(ha_address="0.0.0.0"), "host node3", "ha_address", "any address", "IP address by which"),
    "ha_address is link-local": (host(ha_address="fe80::1"), "host node3", "ha_address", "link-local", "IP address by"),
    "two hosts share an address": (host(ansible_host="10.0.1.12"), "host node3", "ha_address", "host node2", "its own"),
    "underscore in a name": (group(web=["web_1"]), "host web_1", "inventory name", "RFC 1123", "to web-1"),
    "name too long": (group(web=["w" * 64]), f"host {'w' * 64}", "inventory name", "63 characters", "Rename it"),
    "name begins with a hyphen": (group(web=["-web"]), "host -web", "inventory name", "RFC 1123", "to web"),
    "host named localhost": (group(web=["localhost"]), "host localhost", "inventory name", "themselves", "own name"),
    "names with one replication slot": (
        group(postgresql=["db-1", "db.1", "db2"]), "host db.1", "inventory name", "host db-1", "Rename one",
    ),
    "two etcd members": (group(etcd=NODES[:2]), "group etcd", "members", "2 (node1, node2)", "Have 3 or 1"),
    "four etcd members": ({"count": 4}, "group etcd", "members", "even number", "Have 5 or 3"),
    "nine etcd members": ({"count": 9}, "group etcd", "members", "are 9", "Have 3, 5 or 7"),
    "no etcd": (group(etcd=None), "group etcd", "members", "Patroni keeps its state", "Add three hosts"),
    "empty group": (group(web=[]), "group web", "members", "none", "remove the group"),
    "no group at all": (
        group(loadbalancer=None, etcd=None, postgresql=None, other=NODES), "group all", "members", "in none of",
        "Put hosts into loadbalancer",
    ),
    "misspelt group": (
        group(loadbalancer=None, load_balancers=NODES),
        "group load_balancers", "group name", "unknown", "loadbalancer?",
    ),
    "strict with two members": (
        {"count": 3, **group(postgresql=NODES[:2]), "settings": {"postgresql_synchronous_mode": "strict"}},
        "group postgresql", "postgresql_synchronous_mode", "needs 3 members", "Add 1 to group postgresql",
    ),
    "more synchronous standbys than there are": (
        {"settings": {"postgresql_synchronous_node_count": 2}},
        "group postgresql", "postgresql_synchronous_mode", "needs 4 members", "Add 1",
    ),
    "synchronous mode of one member": (
        {**group(postgresql=["node1"]), "settings": {"postgresql_synchronous_mode": True}},
        "group postgresql", "postgresql_synchronous_mode", "is on", "off needs 1",
    ),
    "unknown synchronous mode": (
        {"settings": {"postgresql_synchronous_mode": "always"}},
        "group postgresql", "postgresql_synchronous_mode", "'always'", "off, on, strict, quorum",
    ),
    "no synchronous standby": (
        {"settings": {"postgresql_synchronous_node_count": 0}},
        "group postgresql", "postgresql_synchronous_node_count", "0", "whole number from 1",
    ),
    "one Swarm manager": (
        group(swarm_managers=["app1"], swarm_workers=SWARM), "group swarm_managers", "members", "1 of 4", "two more",
    ),
    "two Swarm managers": (group(swarm_managers=SWARM[:2]), "group swarm_managers", "members", "even", "Have 3 or 1"),
    "workers without a manager": (group(swarm_workers=SWARM), "group swarm_managers", "members", "none", "Add three"),
    "even number of sentinels": (
        group(redis=["r1", "r2"], sentinel=SWARM), "group sentinel", "members", "even number", "Have 5 or 3",
    ),
    "Redis with two sentinels": (
        group(redis=["r1", "r2"]), "group sentinel", "members", "too few", "until there are three",
    ),
    "sentinels without Redis": (group(sentinel=NODES), "group redis", "members", "none", "Add two hosts"),
    "every backend a backup server": (
        {**group(swarm_managers=NODES), "common": {"ha_backup_server": True}},
        "group backend", "ha_backup_server", "every member", "Leave it out",
    ),
    "backup server neither true nor false": (
        host(ha_backup_server="maybe"), "host node3", "ha_backup_server", "maybe", "true",
    ),
    "VRRP router 0": ({"settings": {"ha_vip_router_id": 0}}, "group all", "ha_vip_router_id", "0", "1 to 255"),
    "VRRP router 256": ({"settings": {"ha_vip_router_id": "256"}}, "group all", "ha_vip_router_id", "256", "1 to 255"),
    "priority 255": (host(ha_priority=255), "host node3", "ha_priority", "255", "1 to 254"),
    "priority is a word": (host(ha_priority="high"), "host node3", "ha_priority", "'high'", "1 to 254"),
    "priority twice": (
        {"hosts": {"node1": {"ha_priority": 9}, "node2": {"ha_priority": 9}}},
        "host node2", "ha_priority", "host node1", "its own priority",
    ),
    "memory is a word": (host(ha_memory_mb="4G"), "host node3", "ha_memory_mb", "'4G'", "MiB"),
    "unknown profile": (
        {"settings": {"ha_failover_profile": "fats"}}, "group all", "ha_failover_profile", "fats", "fast?",
    ),
    "profile is a list": (
        {"settings": {"ha_failover_profile": ["wan"]}}, "group all", "ha_failover_profile", "wan", "wan?",
    ),
    "unknown component": (timing("patorni", ttl_s=30), "group all", "ha_timing.patorni", "unknown", "mean patroni?"),
    "unknown timing": (timing("patroni", ttl=30), "group all", "ha_timing.patroni.ttl", "unknown", "mean ttl_s?"),
    "timing is no mapping": (
        {"settings": {"ha_timing": "ttl_s=30"}}, "group all", "ha_timing", "no mapping", "Write it like",
    ),
    "component is no mapping": (
        {"settings": {"ha_timing": {"etcd": 5}}}, "group all", "ha_timing.etcd", "mapping", "keys",
    ),
    "ttl too short for its parts": (
        timing("patroni", loop_wait_s=11), "group all", "ha_timing.patroni.ttl_s", "11 + 2 x 5 = 21", "Set it to 21",
    ),
    "ttl below Patroni's minimum": (timing("patroni", ttl_s=19), "group all", "patroni.ttl_s", "19", "from 20"),
    "loop_wait 0": (timing("patroni", loop_wait_s=0), "group all", "patroni.loop_wait_s", "0", "from 1"),
    "retry_timeout 2": (timing("patroni", retry_timeout_s=2), "group all", "patroni.retry_timeout_s", "2", "from 3"),
    "part of a second for Patroni": (
        timing("patroni", loop_wait_s=1.5), "group all", "loop_wait_s", "1.5", "whole number",
    ),
    "timing is a word": (
        timing("etcd", election_timeout_ms="1s"), "group all", "election_timeout_ms", "1s", "whole number",
    ),
    "timing is true": (timing("haproxy", fall=True), "group all", "ha_timing.haproxy.fall", "True", "whole number"),
    "election too near the heartbeat": (
        timing("etcd", heartbeat_interval_ms=300), "group all", "etcd.election_timeout_ms", "5 x", "1500 or more",
    ),
    "election above etcd's maximum": (
        timing("etcd", election_timeout_ms=50001), "group all", "election", "50001", "to 50000",
    ),
    "election as long as retry_timeout": (
        timing("etcd", election_timeout_ms=5000), "group all", "patroni.retry_timeout_s", "demote", "Set it above 5",
    ),
    "sender gives up before receiver": (
        timing("postgresql", wal_receiver_timeout_ms=6000), "group all", "wal_sender_timeout_ms", "drop", "above 6000",
    ),
    "check outlasts its interval": (
        timing("haproxy", check_timeout_ms=900), "group all", "haproxy.check_timeout_ms", "outlast", "500 or less",
    ),
    "fastinter slower than inter": (
        timing("haproxy", fastinter_ms=900), "group all", "fastinter_ms", "faster", "or less",
    ),
    "advert too often": (
        timing("keepalived", advert_interval_s=0.001), "group all", "advert_interval_s", "0.001", "0.01",
    ),
    "advert beyond VRRP's field": (
        timing("keepalived", advert_interval_s=41), "group all", "advert_interval_s", "41", "40.95",
    ),
    "script killed before its next turn": (
        timing("keepalived", script_timeout_s=0.1), "group all", "script_timeout_s", "busy", "0.2 or more",
    ),
    "tcp_retries2 of 2": (timing("tcp", retries2=2), "group all", "ha_timing.tcp.retries2", "2", "from 3"),
    "unknown port": (ports({"statistics": 1}), "group all", "ha_ports.statistics", "unknown", "stats?"),
    "port 0": (ports({"stats": 0}), "group all", "ha_ports.stats", "0", "1 to 65535"),
    "port of 400 digits": (ports({"stats": 10**400}), "group all", "ha_ports.stats", "0", "1 to 65535"),
    "timing of 400 digits": (timing("patroni", ttl_s=10**400), "group all", "patroni.ttl_s", "0", "from 20"),
    "port 65536": (ports({"stats": 65536}), "group all", "ha_ports.stats", "65536", "1 to 65535"),
    "ports are no mapping": ({"settings": {"ha_ports": [80]}}, "group all", "ha_ports", "no mapping", "Write it like"),
    "two services on a host's port": (
        ports({"patroni_rest": 5432}), "group all", "ha_ports.patroni_rest", "PostgreSQL", "another number",
    ),
    "two services on the virtual IP's port": (
        ports({"postgresql_read": 5432}), "group all", "ha_ports.postgresql_read", "virtual IP", "another",
    ),
    "statistics on sshd's port": (
        ports({"stats": 22}), "group all", "ha_ports.stats", "sshd", "another number",
    ),
    "backend's two ports are one": (
        {**group(swarm_managers=NODES), "settings": {"ha_ports": {"backend_grpc": 8080}}},
        "group all", "ha_ports.backend_grpc", "backend (HTTP)", "another number",
    ),
    "misspelt setting": (
        host(ha_adress="10.0.1.13"), "host node3", "ha_adress", "no setting", "Did you mean ha_address?",
    ),
    "unknown setting": (host(ha_zzzzz=1), "host node3", "ha_zzzzz", "no setting", "Known are ha_address"),
    "setting differs between hosts": (
        {"common": {"ha_vip": "10.0.1.100"}, **host("node2", ha_vip="10.0.1.101")},
        "host node2", "ha_vip", "'10.0.1.101'", "Set it once",
    ),
    "setting of one host only": (
        host(ha_failover_profile="wan"),
        "host node3", "ha_failover_profile", "node1, node2: 'fast'; node3: 'wan'", "Set it once",
    ),
    "variable can't be templated": (
        {"broken": {"node2": {"ha_address": "'eth7_address' is undefined"}}},
        "host node2", "ha_address", "'eth7_address' is undefined", "define what it refers to",
    ),
    "cluster name with a slash": (
        {"settings": {"ha_cluster_name": "a/b"}}, "group all", "ha_cluster_name", "'a/b'", "for example utmstack",
    ),
    "cluster name empty": ({"settings": {"ha_cluster_name": ""}}, "group all", "ha_cluster_name", "''", "1 to 63"),
    "virtual IP's name is no name": (
        {"settings": {"ha_vip_name": "db_vip"}}, "group all", "ha_vip_name", "db_vip", "like db.",
    ),
    "name of the virtual IP is a number": (
        {"settings": {"ha_vip_name": "10.1"}}, "group all", "ha_vip_name", "10.1", "like db.",
    ),
    "name of the virtual IP is a list": (
        {"settings": {"ha_vip_name": []}}, "group all", "ha_vip_name", "[]", "like db.",
    ),
    "virtual IP with an interface": (vip("fd00::100%eth0/64"), "group all", "ha_vip", "RFC 4007", "free address"),
    "ha_address with an interface": (
        host(ha_address="fd00::13%eth0"), "host node3", "ha_address", "RFC 4007", "IP address by which",
    ),
    "virtual IP's name is a host's": (
        {"settings": {"ha_vip_name": "node1"}}, "group all", "ha_vip_name", "own name", "leads to",
    ),
    "relative directory": (
        {"settings": {"ha_tls_directory": "tls"}}, "group all", "ha_tls_directory", "'tls'", "Set it like /etc",
    ),
    "root as directory": (
        {"settings": {"ha_tls_directory": "/"}}, "group all", "ha_tls_directory", "'/'", "Set it like /etc",
    ),
    "password too short": (
        {"settings": {"postgresql_superuser_password": SECRET[:11]}},
        "group all", "postgresql_superuser_password", "11 characters", "12 to 128",
    ),
    "password too long": (
        {"settings": {"etcd_root_password": SECRET * 5}}, "group all", "etcd_root_password", "too many", "12 to 128",
    ),
    "password with a space": (
        {"settings": {"postgresql_rest_password": SECRET + " x"}},
        "group all", "postgresql_rest_password", "space", "leave it out",
    ),
    "password with an umlaut": (
        {"settings": {"etcd_patroni_password": SECRET + "ü"}},
        "group all", "etcd_patroni_password", "ASCII", "leave it out",
    ),
    "password that HAProxy can't take": (
        {"settings": {"haproxy_stats_password": SECRET + "$"}},
        "group all", "haproxy_stats_password", "can't take", "leave it out",
    ),
    "password is a number": (
        {"settings": {"etcd_root_password": 123456789012}}, "group all", "etcd_root_password", "no text", "quote it",
    ),
    "password differs between hosts": (
        host(etcd_root_password=SECRET), "host node3", "etcd_root_password", "node3: a value", "Set it once",
    ),
    "unknown search engine": (
        {"settings": {"elasticsearch_flavor": "opensaerch"}},
        "group elasticsearch", "elasticsearch_flavor", "'opensaerch'", "Did you mean opensearch?",
    ),
    "two master-eligible nodes": (
        search(node3={"elasticsearch_node_roles": ["data"]}),
        "group elasticsearch", "elasticsearch_node_roles", "loss of one stops the cluster", "Have three",
    ),
    "no master-eligible node": (
        search(**dict.fromkeys(NODES, {"elasticsearch_node_roles": ["data"]})),
        "group elasticsearch", "elasticsearch_node_roles", "no host master-eligible", "Give three hosts",
    ),
    "only masters without votes to win": (
        search(**dict.fromkeys(NODES, {"elasticsearch_node_roles": ["master", "voting_only", "data"]})),
        "group elasticsearch", "elasticsearch_node_roles", "none can be elected", "on two",
    ),
    "no data node": (
        search(**dict.fromkeys(NODES, {"elasticsearch_node_roles": ["master"]})),
        "group elasticsearch", "elasticsearch_node_roles", "no host a data node", "two hosts or more",
    ),
    "unknown role of a node": (
        search(node2={"elasticsearch_node_roles": ["master", "date"]}),
        "host node2", "elasticsearch_node_roles", "'date'", "Did you mean data?",
    ),
    "role of the other engine": (
        {**search(node2={"elasticsearch_node_roles": ["master", "data", "voting_only"]}),
         "settings": {"elasticsearch_flavor": "opensearch"}},
        "host node2", "elasticsearch_node_roles", "'voting_only', no role of opensearch", "Known are",
    ),
    "roles are no list": (
        search(node2={"elasticsearch_node_roles": "master"}),
        "host node2", "elasticsearch_node_roles", "no list", "[master, data, ingest]",
    ),
    "a Redis master's name with a blank": (
        {**group(redis=NODES), "settings": {"redis_master_name": "my master"}},
        "group redis", "redis_master_name", "'my master'", "hyphens and underscores",
    ),
    "more replicas wanted than there are": (
        {**group(redis=NODES), "settings": {"redis_min_replicas_to_write": 3}},
        "group redis", "redis_min_replicas_to_write", "no write would ever", "Set it to 1",
    ),
    "replicas wanted are no number": (
        {**group(redis=NODES), "settings": {"redis_min_replicas_to_write": "all"}},
        "group redis", "redis_min_replicas_to_write", "'all'", "whole number",
    ),
    "Sentinel gives up too early": (
        timing("redis", down_after_ms=6000),
        "group all", "ha_timing.redis.failover_timeout_ms", "2 x down_after_ms", "above 12000",
    ),
    "two ports of Elasticsearch": (
        {**search(), "settings": {"ha_ports": {"elasticsearch_transport": 9200}}},
        "group all", "ha_ports.elasticsearch_transport", "Elasticsearch (HTTPS)", "another number",
    ),
    "backend's TLS is no boolean": (
        {"settings": {"backend_tls": "perhaps"}}, "group all", "backend_tls", "'perhaps'", "true or false",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_and_names_place_setting_and_remedy(name):
    changes, where, setting, problem, remedy = REFUSED[name]
    told = faults(**changes)
    fitting = [
        text for text in told if text.startswith(f"{where}: ") and setting in text.partition(": ")[2].split(" is ")[0]
    ]
    assert fitting, told
    assert any(problem in text and remedy in text for text in fitting), told
    assert SECRET[:11] not in "\n".join(told)


def test_a_wrong_value_is_told_alone_where_nothing_else_is_wrong():
    alone = ("virtual IP elsewhere", "four etcd members", "strict with two members", "two services on a host's port")
    for name in alone:
        told = faults(**REFUSED[name][0])
        assert len({text.split(": ", 1)[1].split(" ")[0] for text in told}) == 1, told


def test_all_faults_are_told_at_once_and_numbered():
    with pytest.raises(TopologyError) as caught:
        topology(
            {"ha_vip": "", "ha_failover_profile": "slow", "ha_ports": {"stats": 0}},
            groups={"etcd": NODES[:2]},
            hosts={"node3": {"ha_address": "127.0.0.1", "ha_rak": "r1"}},
        )
    lines = str(caught.value).splitlines()
    assert lines[0] == "The inventory is refused and no host was touched: 6 faults."
    assert [line.split(".")[0].strip() for line in lines[1:]] == ["1", "2", "3", "4", "5", "6"]


def test_three_hosts_and_a_virtual_ip_are_enough():
    result = topology()
    assert json.loads(json.dumps(result)) == result
    assert result["virtual_ip"] == {
        "address": "10.0.1.100",
        "prefix": 24,
        "cidr": "10.0.1.100/24",
        "router_id": 51,
        "name": "",
    }
    assert result["etcd"]["endpoints"] == [f"https://10.0.1.1{number}:2379" for number in (1, 2, 3)]
    assert result["etcd"]["initial_cluster"].startswith("node1=https://10.0.1.11:2380,node2=")
    assert (result["etcd"]["quorum"], result["postgresql"]["quorum"]) == (2, 2)
    assert result["postgresql"]["synchronous_mode"] == "strict"
    assert result["postgresql"]["members"][0] == {
        "name": "node1",
        "address": "10.0.1.11",
        "rest_url": "https://10.0.1.11:8008",
    }
    assert [entry["priority"] for entry in result["loadbalancer"]["members"]] == [250, 240, 230]
    assert result["hosts"]["node1"]["memory_share"]["postgresql"] == 0.8
    assert result["hosts"]["node1"]["names"] == ["node1", "10.0.1.11", "10.0.1.100"]
    assert result["ports"] == defaults()
    assert result["web"] == {"members": []}
    assert result["backend"] == {"members": [], "tls": False, "wanted": False}
    assert result["warnings"] == []


def test_ipv6_gets_brackets_in_urls_and_64_as_prefix():
    hosts = {name: {"ansible_host": f"fd00:0::1{number}"} for number, name in enumerate(NODES, 1)}
    result = topology({"ha_vip": "fd00::100"}, hosts=hosts)
    assert result["virtual_ip"]["cidr"] == "fd00::100/64"
    assert result["hosts"]["node1"]["address"] == "fd00::11"
    assert result["etcd"]["endpoints"][0] == "https://[fd00::11]:2379"


def test_the_address_is_ha_address_then_ansible_host_then_the_name():
    result = topology(
        groups={"web": ["10.0.1.50"]},
        hosts={"node1": {"ha_address": "10.0.1.200"}, "10.0.1.50": {"ansible_host": "web.example.org"}},
    )
    assert result["hosts"]["node1"]["address"] == "10.0.1.200"
    assert result["hosts"]["node2"]["address"] == "10.0.1.12"
    assert result["hosts"]["10.0.1.50"]["address"] == "10.0.1.50"


def test_a_host_route_as_virtual_ip_need_not_be_in_the_subnet():
    assert topology({"ha_vip": "192.0.2.7/32"})["virtual_ip"]["cidr"] == "192.0.2.7/32"


@pytest.mark.parametrize(("count", "mode"), [(1, "off"), (2, "on"), (3, "strict"), (5, "strict")])
def test_the_synchronous_mode_follows_from_the_number_of_members(count, mode):
    names = [f"node{number}" for number in range(1, count + 1)]
    result = topology(count=max(count, 3), groups={"postgresql": names, "etcd": NODES})
    assert result["postgresql"]["synchronous_mode"] == mode


@pytest.mark.parametrize(("value", "mode"), [(True, "on"), (False, "off"), ("quorum", "quorum"), (None, "strict")])
def test_yaml_booleans_are_the_modes_that_they_were_written_as(value, mode):
    assert topology({"postgresql_synchronous_mode": value})["postgresql"]["synchronous_mode"] == mode


def test_priorities_follow_the_group_around_those_that_are_set():
    result = topology(
        count=4, groups={"etcd": NODES}, hosts={"node3": {"ha_priority": "240"}, "node4": {"ha_priority": 254}}
    )
    members = [(entry["name"], entry["priority"]) for entry in result["loadbalancer"]["members"]]
    assert members == [("node4", 254), ("node1", 250), ("node3", 240), ("node2", 230)]


def test_thirty_load_balancers_have_thirty_priorities():
    result = topology(count=30, groups={"etcd": NODES})
    assert len({entry["priority"] for entry in result["loadbalancer"]["members"]}) == 30


def test_backend_runs_on_both_swarm_groups_and_backup_servers_are_marked():
    result = topology(
        groups={"swarm_managers": ["app1", "app2", "app3"], "swarm_workers": ["app4", "app1"]},
        hosts={"app3": {"ha_backup_server": True}},
    )
    backup = {entry["name"]: entry["backup"] for entry in result["backend"]["members"]}
    assert backup == {"app4": False, "app1": False, "app2": False, "app3": True}
    assert "backend" not in result["hosts"]["app1"]["groups"]


def test_the_search_cluster_is_told_by_what_its_nodes_do():
    nodes = [*NODES, "es4", "es5"]
    only = {"es4": {"elasticsearch_node_roles": []}, "node3": {"elasticsearch_node_roles": ["cluster_manager"]}}
    found = topology(groups={"elasticsearch": nodes}, hosts=only)["elasticsearch"]
    assert found["masters"] == [*NODES, "es5"] and found["data"] == ["node1", "node2", "es5"]
    assert found["quorum"] == 2, "Elasticsearch leaves one of four masters out of its votes"
    assert found["replicas"] == 1
    assert {entry["name"] for entry in found["members"] if entry["serves"]} == {"node1", "node2", "es4", "es5"}
    assert found["members"][0]["url"] == "https://10.0.1.11:9200"
    assert found["members"][0]["transport"] == "10.0.1.11:9300"
    assert found["client"] == {"host": "10.0.1.100", "port": 9200}


def test_one_data_node_has_no_replicas():
    result = topology(groups={"elasticsearch": ["node1"]})
    assert result["elasticsearch"]["replicas"] == 0
    assert any("no shard has a replica" in warning for warning in result["warnings"])


@pytest.mark.parametrize("hosts, least", [(2, 0), (3, 1), (5, 1)])
def test_a_redis_master_needs_a_replica_where_there_are_two(hosts, least):
    names = [f"redis{number}" for number in range(hosts)]
    result = topology(groups={"redis": names, "sentinel": NODES})
    assert result["redis"]["min_replicas_to_write"] == least
    assert result["sentinel"]["quorum"] == 2


def test_sentinels_are_the_redis_hosts_unless_others_are_named():
    assert [entry["name"] for entry in topology(groups={"redis": NODES})["sentinel"]["members"]] == NODES
    assert "sentinel" in topology(groups={"redis": NODES})["hosts"]["node1"]["groups"]


def test_managers_that_also_are_workers_are_managers():
    found = topology(groups={"swarm_managers": NODES, "swarm_workers": ["app1", "node1"]})["swarm"]
    assert [entry["name"] for entry in found["managers"]] == NODES
    assert [entry["name"] for entry in found["workers"]] == ["app1"]
    assert found["quorum"] == 2


def test_the_same_port_may_be_used_on_the_virtual_ip_and_on_a_host():
    result = topology(groups={"swarm_managers": NODES, "web": NODES})
    assert result["ports"]["grpc"] == result["ports"]["backend_grpc"]
    assert result["ports"]["http"] == result["ports"]["web"]


def test_a_port_is_free_where_the_other_service_does_not_run():
    assert topology({"ha_ports": {"stats": 8080}})["ports"]["stats"] == 8080


@pytest.mark.parametrize("profile", ["fast", "normal", "wan"])
def test_every_profile_is_consistent_and_within_the_limits(profile):
    result = topology({"ha_failover_profile": profile})
    assert result["timing"] == profiles()[profile]
    for part, own in limits().items():
        assert own.keys() == profiles()[profile][part].keys()
        for key, (low, high) in own.items():
            assert low <= profiles()[profile][part][key] <= high, key


def test_overrides_are_laid_over_the_profile_and_named():
    result = topology(
        {"ha_timing": {"patroni": {"ttl_s": "40"}, "haproxy": {"fall": 3}}, "ha_ports": {"stats": "9000"}}
    )
    assert result["timing"]["patroni"] == {**profiles()["fast"]["patroni"], "ttl_s": 40}
    assert result["overrides"] == {"timing": ["patroni.ttl_s"], "ports": ["stats"]}
    assert profiles()["fast"]["patroni"]["ttl_s"] == 20


def test_memory_is_shared_by_weight_and_never_more_than_all():
    assert memory_share(["postgresql"]) == {"postgresql": 1.0}
    assert memory_share(["backup"]) == {}
    shares = memory_share(["loadbalancer", "etcd", "postgresql", "elasticsearch", "redis", "backend", "web"])
    assert 0.97 <= sum(shares.values()) <= 1
    assert shares["postgresql"] == shares["elasticsearch"] == 0.32


def test_a_dns_name_of_the_virtual_ip_is_in_the_certificates():
    names = topology({"ha_vip_name": "db.example.org"}, groups={"web": ["web1"]})["hosts"]
    assert "db.example.org" in names["node1"]["names"]
    assert names["web1"]["names"] == ["web1", "10.0.1.14"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"groups": {"etcd": ["node1"]}}, "group etcd: members are 1"),
        ({"groups": {"loadbalancer": ["node1"]}}, "group loadbalancer: members are 1"),
        ({"groups": {"loadbalancer": None}}, "group loadbalancer: members are none"),
        ({"groups": {"postgresql": NODES[:2]}}, "group postgresql: members are 2"),
        ({"settings": {"postgresql_synchronous_mode": "off"}}, "postgresql_synchronous_mode is off"),
    ],
)
def test_warns_of_what_is_allowed_but_costs_availability(changes, word):
    assert any(word in warning for warning in topology(**changes)["warnings"])


def test_thirty_hosts_take_less_than_a_second():
    import time

    start = time.monotonic()
    topology(count=30, groups={"etcd": NODES, "web": [f"web{number}" for number in range(30)]})
    assert time.monotonic() - start < 1


def test_roles_document_what_the_topology_takes_with_its_default():
    """Role topology has what belongs to the platform; the settings of a service are in its own role."""
    wanted = {"topology": PLATFORM, **{service.role: {} for service in SERVICES.values()}}
    for service in SERVICES.values():
        wanted[service.role] = wanted[service.role] | service.shared
    for name, shared in wanted.items():
        role = ROOT / "roles" / name
        defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text())
        specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]
        options = specs["settings" if name == "topology" else "main"]["options"]
        assert {setting: defaults[setting] for setting in shared} == shared
        assert {setting: options[setting]["default"] for setting in shared} == shared
        if name == "topology":
            assert {*defaults} - {*OTHER_NAMES} == {*shared}
            assert {*options} == {*defaults, *HOST_SETTINGS}
    for service in SERVICES.values():
        specs = yaml.safe_load((ROOT / "roles" / service.role / "meta" / "argument_specs.yml").read_text())
        assert {*service.host_settings} <= {*specs["argument_specs"]["main"]["options"]}


def test_a_layer_survives_what_its_quorum_or_synchronous_mode_allows():
    assert survives(topology()) == {"loadbalancer": 2, "etcd": 1, "postgresql": 1}
    assert survives(topology({"postgresql_synchronous_mode": "on"}))["postgresql"] == 2
    assert survives(topology({"postgresql_synchronous_node_count": 2}, count=5))["postgresql"] == 2


def test_the_plan_shows_hosts_clients_ports_layers_timing_and_overrides():
    text = plan(
        topology(
            {"ha_timing": {"patroni": {"ttl_s": 40}}, "ha_vip_name": "db.example.org"},
            groups={"swarm_managers": NODES, "web": ["web1"], "etcd": ["node1"]},
            hosts={"node1": {"ha_rack": "r7"}},
        )
    )
    for part in (
        "virtual IP 10.0.1.100/24 (db.example.org)",
        "10.0.1.100:5433   the replicas, port 5432",
        "/api and /websocket: backend, port 8080; the rest: web servers, port 80",
        "node2, node3\n",
        "8008   host        Patroni",
        "ttl 40 s*",
        "No host may be lost at once (limited by etcd, web)",
        "group etcd: members are 1",
        "r7",
    ):
        assert part in text
    assert all(line == line.rstrip() and len(line) < 125 for line in text.splitlines())


def test_the_ways_in_name_addresses_users_and_where_the_passwords_are():
    names = {"postgresql": "application", "statistics": "operator", "database": "events"}
    text = ways_in({**topology(groups={"redis": NODES}), "secrets_dir": "/srv/secrets"}, names, "/srv/ca.pem")
    lines = [line.split() for line in text.splitlines()]
    assert [
        "PostgreSQL",
        "replicas",
        "postgresql://10.0.1.100:5433/events",
        "application",
        "postgresql_application_password",
    ] in lines
    assert [
        "PostgreSQL",
        "primary,",
        "direct",
        "postgresql://10.0.1.100:5434/events",
        "application",
        "postgresql_application_password",
    ] in lines
    assert ["Redis", "master", "rediss://10.0.1.100:6379", "utmstack", "redis_application_password"] in lines
    services = [line[2:].split("  ")[0] for line in text.splitlines() if line.startswith("  ")]
    assert len(services) == len(set(services)), "two rows that only their ports tell apart"
    assert any(line[-3:] == ["https://10.0.1.11:8404/stats", "operator", "haproxy_stats_password"] for line in lines)
    assert (
        "/srv/secrets/passwords.yml" in text and "Back up the directory /srv/secrets." in text and "/srv/ca.pem" in text
    )
    assert "Elasticsearch" not in text
    assert all(line == line.rstrip() and len(line) < 125 for line in text.splitlines())


def test_without_a_load_balancer_there_is_no_way_in_to_tell():
    alone = topology(groups={"loadbalancer": None})
    assert (
        ways_in(
            {**alone, "secrets_dir": "/srv/secrets"}, dict.fromkeys(("postgresql", "statistics", "database"), "x"), ""
        )
        == ""
    )


def used_in_roles():
    """Return where roles and playbooks refer to the variable ha, as (file, path of keys)."""
    files = [path for place in ("roles", "playbooks") for path in (ROOT / place).rglob("*") if path.is_file()]
    wanted = [path for path in files if path.suffix in (".yml", ".j2") and "collections" not in path.parts]
    return sorted(
        {
            (str(path.relative_to(ROOT)), match.group(1))
            for path in wanted
            for match in re.finditer(r"(?<![\w.'\"/-])ha\.([a-z_]+(?:\.[a-z_0-9]+)*)", path.read_text())
        }
    )


@pytest.mark.parametrize(("file", "path"), used_in_roles())
def test_what_roles_ask_of_the_topology_is_there(file, path):
    value = topology(
        groups={"elasticsearch": NODES, "redis": NODES, "swarm_managers": NODES, "web": NODES, "backup": ["node4"]},
        hosts={"node4": {"ansible_host": "10.0.1.14"}},
        settings={"ha_timing": {}},
        common={"elasticsearch_snapshot_policies": [{"name": "daily"}]},
    )
    value["host"] = value["hosts"]["node1"]
    for key in path.split("."):
        if not isinstance(value, dict) or hasattr(value, key):
            break
        assert key in value, f"{file} uses ha.{path}"
        value = value[key]


def test_a_drill_is_allowed_only_where_the_inventory_says_so():
    assert topology()["drill"] == {"allowed": False, "members": []}
    allowed = topology({"ha_drill_allowed": True}, groups={"drill": ["runner"]})["drill"]
    assert allowed == {"allowed": True, "members": [{"name": "runner", "address": "10.0.1.14"}]}
    assert topology({"ha_drill_allowed": "false"})["drill"]["allowed"] is False
    assert faults({"ha_drill_allowed": "node1"}) == ["group all: ha_drill_allowed is 'node1'. Set true or false."]


def test_every_key_of_the_topology_is_documented():
    """Those of services on the pages of their roles."""
    module = importlib.import_module("ansible_collections.utmstack.ha.plugins.modules.topology")
    documented = yaml.safe_load(module.RETURN)["topology"]["contains"].keys()
    everything = build(inventory({"redis": NODES, "elasticsearch": NODES}), {"ha_vip": "10.0.1.100/24"})
    assert documented <= everything.keys()
    for layer in everything.keys() - documented:
        roles = {service.role for service in SERVICES.values() if service.layer == layer}
        text = "".join((ROOT / "roles" / role / "README.md").read_text() for role in roles)
        assert f"`ha.{layer}`" in text
        told = text[text.index(f"`ha.{layer}`") :].split("\n\n", maxsplit=1)[0]
        assert [key for key in everything[layer] if f"`{key}`" not in told] == []


def test_a_service_judges_the_settings_of_its_hosts_and_gives_its_part_of_the_topology(monkeypatch):
    def facts(_settings, hosts, found):
        for name, own in hosts.items():
            if own.get("queue_log_mb") == 0:
                found.refuse(f"host {name}", "queue_log_mb", "is 0", "Set 1 or more")
        return {"logs": {name: own.get("queue_log_mb", 100) for name, own in hosts.items()}}

    def part(own, ha):
        return {**own, "url": f"queue://{ha['virtual_ip']['address']}:{ha['ports']['web']}"}

    queue = Service(
        "queue", "queue", "queue", groups=("queue",), host_settings=("queue_log_mb",), facts=facts, part=part
    )
    monkeypatch.setitem(SERVICES, "queue", queue)
    found = topology(groups={"queue": ["node1", "node3"]}, hosts={"node3": {"queue_log_mb": 7}})["queue"]
    assert (found["logs"], found["url"]) == ({"node1": 100, "node3": 7}, "queue://10.0.1.100:80")
    assert [one["name"] for one in found["members"]] == ["node1", "node3"]
    assert faults(groups={"queue": ["node1"]}, hosts={"node1": {"queue_log_mb": 0}}) == [
        "host node1: queue_log_mb is 0. Set 1 or more."
    ]
