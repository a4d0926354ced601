# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What may be changed later: one table that knows every setting, and refusals that name host, setting and remedy."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.services.passwords import kept, passwords
from ansible_collections.utmstack.ha.plugins.module_utils.services.registry import SERVICES
from ansible_collections.utmstack.ha.plugins.module_utils.topology import changes, role_specs
from ansible_collections.utmstack.ha.plugins.module_utils.topology.build import build
from ansible_collections.utmstack.ha.plugins.module_utils.topology.ports import defaults
from ansible_collections.utmstack.ha.plugins.module_utils.topology.settings import (
    OTHER_NAMES,
    Inventory,
    host_settings,
    shared_settings,
    variables_seen,
)

ROOT = Path(__file__).resolve().parents[5]
HOSTS = {f"node{number}": f"10.0.1.1{number}" for number in (1, 2, 3)}
GROUPS = ("loadbalancer", "etcd", "postgresql", "elasticsearch", "redis", "swarm_managers")
# What cannot be rotated yet; everything else of passwords.yml arrives.
MAY_BE_REFUSED = {
    "etcd_root_password", "etcd_patroni_password", "postgresql_superuser_password", "postgresql_replication_password",
    "postgresql_rewind_password", "elasticsearch_superuser_password", "redis_sentinel_password",
    "backup_passphrase",
}  # fmt: skip
KEYS = {"backend_internal_key", "backend_encryption_key"}


def topology(groups=GROUPS, hosts=None, **settings):
    hosts = hosts or HOSTS
    variables = {name: {"ansible_host": address} for name, address in hosts.items()}
    inventory = Inventory({group: list(hosts) for group in groups}, variables)
    return build(inventory, {"ha_vip": "10.0.1.100", **settings})


def deployed(name="node1", address="10.0.1.11"):
    """A host as topology() deploys it."""
    tls = "/etc/utmstack-ha/tls"
    layers = {
        "etcd": {"name": name, "cluster": "utmstack", "address": address, "client_port": 2379, "peer_port": 2380,
                 "data_directory": "/var/lib/etcd/utmstack", "tls_directory": tls},
        "postgresql": {"name": name, "cluster": "utmstack", "address": address, "port": 5432, "rest_port": 8008,
                       "data_directory": "/var/lib/postgresql/17/utmstack", "tls_directory": tls},
        "elasticsearch": {"name": name, "cluster": "utmstack", "address": address, "http_port": 9200, "transport_port": 9300,
                          "data_directory": "/var/lib/elasticsearch", "flavor": "elasticsearch",
                          "roles": ["master", "data", "ingest"]},
        "redis": {"flavor": "redis", "address": address, "port": 6379, "tls_directory": tls,
                  "data_directory": "/var/lib/redis/utmstack"},
        "sentinel": {"master_name": "utmstack-redis", "address": address, "port": 26379,
                     "data_directory": "/var/lib/redis/utmstack"},
        "swarm": {"address": address, "port": 2377, "data_port": 4789, "data_root": "/var/lib/docker",
                  "address_pools": ["10.201.0.0/16"], "cluster": "utmstack"},
        "backend": {"stack": "utmstack", "http_port": 8080, "grpc_port": 50051, "tls": False, "database": "utmstack"},
        "haproxy": {"postgresql_write": 5432, "postgresql_direct": 5434, "elasticsearch": 9200, "redis": 6379},
        "keepalived": {"vip": "10.0.1.100"},
    }  # fmt: skip
    settings = {
        "etcd_data_directory": "/var/lib/etcd/utmstack", "postgresql_data_directory": "/var/lib/postgresql/17/utmstack",
        "elasticsearch_data_directory": "/var/lib/elasticsearch", "redis_data_directory": "/var/lib/redis/utmstack",
        "redis_flavor": "redis", "swarm_data_root": "/var/lib/docker",
        "swarm_address_pools": ["10.201.0.0/16"], "backend_stack_name": "utmstack", "backend_database_name": "utmstack",
        "backend_database_user": "utmstack",
    }  # fmt: skip
    passwords = dict.fromkeys((*MAY_BE_REFUSED, *KEYS, "swarm_unlock_key"), True)
    return {"layers": layers, "enabled": list(layers), "passwords": passwords, "settings": settings}


def everywhere():
    return {name: deployed(name, address) for name, address in HOSTS.items()}


def test_every_setting_that_crosses_roles_and_every_password_has_a_row():
    rows = {name for row in changes.table() for name in row.setting.split(", ")}
    ports = {f"ha_ports.{name}" for name in defaults()}
    assert {*shared_settings(), *host_settings(), *OTHER_NAMES, *passwords(), *kept()} - {"ha_ports"} | ports <= rows
    assert len(changes.rows()) == len(changes.table())


def test_passwords_arrive_but_for_those_that_cannot_be_rotated_yet():
    refused = {name for name in passwords() if changes.rows()[name].effect == changes.REFUSED}
    assert refused == MAY_BE_REFUSED | KEYS


def test_every_compared_setting_is_refused_by_the_table():
    assert {changes.rows()[setting].effect for _layer, _key, setting, _wanted in changes.compared()} == {
        changes.REFUSED
    }


def test_the_page_has_the_table():
    assert changes.page() in (ROOT / "docs" / "changes.md").read_text()


def test_role_base_hands_over_every_setting_that_is_compared():
    """It hands over the settings of the registry, whose defaults are those of the roles (services/test_software.py)."""
    known = {name for service in SERVICES.values() for name in service.settings}
    assert set(deployed()["settings"]) <= known
    of_roles = set(role_specs.settings()) - set(variables_seen())
    assert {setting for _layer, _key, setting, _wanted in changes.compared() if setting in of_roles} <= known


@pytest.mark.parametrize(
    "present", [everywhere(), {}, {"node1": {"layers": {}, "enabled": [], "passwords": {}, "settings": {}}}]
)
def test_what_is_deployed_as_wanted_and_bare_hosts_are_accepted(present):
    assert changes.refusal(topology(), present) == ""


# What the inventory changes -> the setting that is named, what is put back, and the number of faults.
CHANGED = {
    "ha_cluster_name": ({"ha_cluster_name": "other"}, "ha_cluster_name is other", "Put utmstack back", 1),
    "redis_master_name": ({"redis_master_name": "other"}, "redis_master_name is other", "Put utmstack-redis back", 1),
    "ha_vip": ({"ha_vip": "10.0.1.101"}, "ha_vip is 10.0.1.101", "Put 10.0.1.100 back", 1),
    "flavor": ({"elasticsearch_flavor": "opensearch"}, "elasticsearch_flavor is opensearch", "Put elasticsearch back", 1),
    "TLS": ({"ha_tls_directory": "/srv/tls"}, "ha_tls_directory is /srv/tls", "Put /etc/utmstack-ha/tls back", 1),
    "backend_tls": ({"backend_tls": True}, "backend_tls is True", "docker stack rm", 1),
    "ports": ({"ha_ports": {"postgresql": 5442, "stats": 8500}}, "ha_ports.postgresql is 5442", "Put 5432 back", 1),
    "databases": (
        {"postgresql_databases": [{"name": "new", "owner": "utmstack"}]}, "postgresql_databases lacks utmstack", "into the list", 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGED)
def test_a_changed_setting_is_refused_once_with_all_hosts_and_the_remedy(case):
    settings, told, remedy, count = CHANGED[case]
    text = changes.refusal(topology(**settings), everywhere())
    assert told in text and remedy in text, text
    assert f"{count} fault" in text.splitlines()[0]
    assert case == "databases" or "hosts node1, node2, node3: " in text


def test_directories_that_follow_a_new_name_of_the_cluster_are_not_refused_beside_it():
    present = everywhere()
    for host in present.values():
        for setting in ("etcd_data_directory", "postgresql_data_directory", "redis_data_directory"):
            host["settings"][setting] = host["settings"][setting].replace("/utmstack", "/other")
    text = changes.refusal(topology(ha_cluster_name="other"), present)
    assert "1 fault" in text.splitlines()[0] and "ha_cluster_name is other" in text, text


def test_data_in_an_earlier_default_directory_stay_there_unless_the_inventory_names_another():
    present = everywhere()
    for host in present.values():
        for layer in ("redis", "sentinel"):
            host["layers"][layer]["data_directory"] = "/var/lib/redis"
    assert changes.refusal(topology(), present) == ""
    for host in present.values():
        host["settings"]["redis_data_directory"] = "/srv/redis"
    text = changes.refusal(topology(), present)
    assert "redis_data_directory is /srv/redis" in text and "Put /var/lib/redis back" in text, text


PORTS = sorted(name for name in defaults() if changes.rows()[f"ha_ports.{name}"].effect == changes.REFUSED)


@pytest.mark.parametrize("name", defaults())
def test_each_port_is_refused_or_applied_as_the_table_says(name):
    text = changes.refusal(topology(ha_ports={name: 1999}), everywhere())
    assert (f"ha_ports.{name} is 1999" in text) == (name in PORTS)


@pytest.mark.parametrize(
    "name, value",
    [
        ("etcd_data_directory", "/srv/etcd"),
        ("postgresql_data_directory", "/srv/pg"),
        ("elasticsearch_data_directory", "/srv/es"),
        ("swarm_data_root", "/srv/docker"),
        ("swarm_address_pools", ["10.9.0.0/16"]),
        ("redis_flavor", "valkey"),
        ("backend_stack_name", "other"),
    ],
)
def test_a_setting_of_one_host_is_refused_there(name, value):
    present = everywhere()
    present["node2"]["settings"][name] = value
    text = changes.refusal(topology(), present)
    assert f"host node2: {name} is {value}" in text and "1 fault." in text


def test_a_renamed_host_and_one_with_another_address_are_refused():
    hosts = {"node1": "10.0.1.11", "node2": "10.0.1.12", "extra": "10.0.1.13"}
    present = {name: deployed({"extra": "node3"}.get(name, name), address) for name, address in hosts.items()}
    text = changes.refusal(topology(hosts=hosts), present)
    assert (
        "host extra: inventory name is extra, but etcd, PostgreSQL and the search engine are deployed with node3"
        in text
    )
    moved = changes.refusal(topology(hosts=HOSTS | {"node3": "10.0.1.33"}), everywhere())
    assert "host node3: ha_address is 10.0.1.33" in moved and "1 fault." in moved


def test_a_host_that_is_away_is_not_asked_and_the_others_decide():
    present = everywhere()
    del present["node3"]
    assert changes.refusal(topology(), present) == ""
    assert "hosts node1, node2: ha_cluster_name" in changes.refusal(topology(ha_cluster_name="other"), present)


def test_a_member_that_leaves_its_group_with_its_data_is_refused_unless_its_service_is_off():
    ha = topology(groups=[group for group in GROUPS if group != "redis"])
    present = everywhere()
    text = changes.refusal(ha, present)
    assert "host node1: group membership lacks redis, but Redis runs there with data of this cluster" in text
    for one in present.values():
        one["enabled"] = [layer for layer in one["enabled"] if layer not in ("redis", "sentinel")]
        one["layers"]["haproxy"].pop("redis")
    assert changes.refusal(ha, present) == ""


def test_a_node_with_shards_keeps_a_data_role():
    ha = topology()
    ha["elasticsearch"]["members"][0]["roles"] = ["master"]
    assert "host node1: elasticsearch_node_roles takes data" in changes.refusal(ha, everywhere())
    ha["elasticsearch"]["members"][0]["roles"] = ["data_hot", "data_content"]
    assert changes.refusal(ha, everywhere()) == ""


@pytest.mark.parametrize("name", [*sorted(MAY_BE_REFUSED | KEYS), "swarm_unlock_key"])
def test_a_password_that_cannot_change_is_refused_with_where_the_old_one_is(name):
    present = everywhere()
    for host in ("node1", "node3"):
        present[host]["passwords"][name] = False
    text = changes.refusal(topology(), present)
    place = changes.rows()[name].found_in or "a copy of passwords.yml"
    assert f"hosts node1, node3: {name} is not the one that is deployed. Put back the old value" in text
    assert place in text and "1 fault." in text


def test_a_controller_with_other_secrets_altogether_is_told_once():
    present = everywhere()
    for one in present.values():
        one["passwords"] = dict.fromkeys(one["passwords"], False)
    text = changes.refusal(topology(), present)
    assert "ha_secrets_dir leads to other passwords" in text and "1 fault." in text


def test_nothing_is_changed_by_looking():
    present = everywhere()
    before = copy.deepcopy(present)
    changes.refusal(topology(ha_cluster_name="other"), present)
    assert present == before
