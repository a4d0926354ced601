# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What may be changed once a platform is deployed: one table, and the faults of an inventory that changes what can't be.

The table is the truth for docs/changes.md too (`page`). What is deployed is read on the hosts, see deployed.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..services.change import (
    APPLIED,
    CLIENT_PORT,
    NOT_ROTATED,
    OPERATION,
    PORT,
    REFUSED,
    Change,
    Wanted,
    address,
    given,
    port,
    tls_directory,
)
from ..services.passwords import passwords
from ..services.registry import SERVICES
from .faults import Findings, report

_NEW_HOST = "To move the host, give the machine a new system with nothing on it, and the new value: it joins as a new member while the others serve"
_AWAY = "To change it, plan a time without the application: `docker stack rm STACK` on a manager, then site.yml"
_KEY = "What the application has encrypted with the old one could not be read any more"
_ROLLING = "one host after the other"
_PATRONI = "by Patroni, one member after the other where a restart is needed"
_RELOAD_HAPROXY = "HAProxy is reloaded"
_SWITCH = "by a second user that has the new one, while the first still has the old: {} moves over, then the first user gets the new one, and {} moves back"

TABLE = (
    # Names and places of the whole cluster.
    Change("ha_cluster_name", REFUSED, "To have another name, deploy a new cluster and restore into it"),
    Change(
        "ha_vip",
        REFUSED,
        "To change it, plan a time without clients: stop keepalived, HAProxy and pgbouncer on all load balancers, remove"
        " /etc/keepalived/keepalived.conf there, then run site.yml",
    ),
    Change("ha_vip_name", APPLIED, "certificates are issued anew, and each service takes its own up"),
    Change("ha_vip_router_id", APPLIED, "keepalived is reloaded; the virtual IP is away as in a failover"),
    Change("ha_failover_profile", APPLIED, _ROLLING),
    Change("ha_timing", APPLIED, _ROLLING),
    Change("ha_tls_directory", REFUSED, "To have the files on another disk, mount it there"),
    Change("ha_drill_allowed", APPLIED, "the drill's users are made; taken back, they stay"),
    Change(
        "ha_secrets_dir", REFUSED, "Restore the directory that the cluster was deployed with, or set ha_secrets_dir to it"
    ),
    Change("ha_secrets", REFUSED, "It is set by role topology only"),
    Change("tls_source, tls_ca_file", OPERATION, "tls_replace_ca: true, after all clients trust the new CA"),
    # Hosts.
    Change("inventory name", REFUSED, _NEW_HOST),
    Change("ha_address", REFUSED, _NEW_HOST),
    Change(
        "group membership",
        REFUSED,
        "Put the host back into the group, or take it out first: `systemctl disable --now` the service there, remove the member with the"
        " product's own tool, and move its data away",
    ),
    Change("ha_priority", APPLIED, "keepalived is reloaded"),
    Change("ha_rack", APPLIED, _ROLLING),
    Change("ha_memory_mb", APPLIED, _ROLLING),
    Change("ha_backup_server", APPLIED, _RELOAD_HAPROXY),
    Change("ha_take_over", APPLIED, "what it names is stopped and disabled; taken back, it stays so"),
    Change(
        "elasticsearch_node_roles",
        APPLIED,
        "one node after the other. Taking the last data role from a node that has shards is refused: move them away first"
        " (cluster.routing.allocation.exclude._name), stop the node and remove its data",
    ),
    # Data, versions and flavors.
    Change("etcd_data_directory", REFUSED, "To have the data on another disk, mount it there while the member is stopped"),
    Change(
        "postgresql_data_directory", REFUSED, "To have the data on another disk, mount it there while the member is stopped"
    ),
    Change(
        "elasticsearch_data_directory",
        REFUSED,
        "To have the data on another disk, mount it there while the node is stopped",
    ),
    Change("swarm_data_root", REFUSED, "To have the data on another disk, mount it there while Docker is stopped"),
    Change("postgresql_version", OPERATION, "playbooks/postgresql_major_upgrade.yml"),
    Change("elasticsearch_version", APPLIED, "upgrades roll through the nodes; a step back or too far is refused"),
    Change("elasticsearch_flavor", REFUSED, "To change the engine, deploy a new cluster and restore a snapshot or index anew"),
    # Services.
    Change("postgresql_synchronous_mode", APPLIED, _PATRONI),
    Change("postgresql_synchronous_node_count", APPLIED, _PATRONI),
    Change("postgresql_max_connections", APPLIED, _PATRONI),
    Change(
        "postgresql_databases",
        APPLIED,
        "new ones are made; one taken out keeps its data, and pgbouncer lets nobody in. That of the application is refused",
    ),
    Change("pgbouncer_enabled", APPLIED, "clients of port 5432 reconnect once"),
    Change("swarm_address_pools", REFUSED, "To have others, deploy a new swarm"),
    Change("backend_stack_name", REFUSED, _AWAY),
    Change("backend_tls", REFUSED, _AWAY),
    Change("backend_database_name", APPLIED, "the replicas are replaced; what is in the other database is not copied"),
    # Ports.
    Change("ha_ports.etcd_client", REFUSED, PORT),
    Change("ha_ports.etcd_peer", REFUSED, PORT),
    Change("ha_ports.postgresql", REFUSED, PORT),
    Change("ha_ports.patroni_rest", REFUSED, PORT),
    Change("ha_ports.elasticsearch_http", REFUSED, PORT),
    Change("ha_ports.elasticsearch_transport", REFUSED, PORT),
    Change("ha_ports.swarm_cluster", REFUSED, PORT),
    Change("ha_ports.swarm_data", REFUSED, PORT),
    Change("ha_ports.swarm_gossip", APPLIED, "Docker has no such setting; the number is for firewalls and the plan"),
    Change("ha_ports.postgresql_write", REFUSED, CLIENT_PORT),
    Change("ha_ports.postgresql_direct", REFUSED, CLIENT_PORT),
    Change("ha_ports.elasticsearch", REFUSED, CLIENT_PORT),
    Change("ha_ports.postgresql_read", APPLIED, _RELOAD_HAPROXY),
    Change("ha_ports.pgbouncer", APPLIED, "one load balancer after the other; clients go to the primary without it meanwhile"),
    Change("ha_ports.https", APPLIED, _RELOAD_HAPROXY),
    Change("ha_ports.http", APPLIED, _RELOAD_HAPROXY),
    Change("ha_ports.grpc", APPLIED, _RELOAD_HAPROXY),
    Change("ha_ports.stats", APPLIED, _RELOAD_HAPROXY),
    Change("ha_ports.web", APPLIED, _RELOAD_HAPROXY),
    Change("ha_ports.backend_http", REFUSED, _AWAY),
    Change("ha_ports.backend_grpc", REFUSED, _AWAY),
    Change("ha_ports.ssh", APPLIED, "it only says where the SSH server listens already"),
    # Passwords.
    Change("etcd_root_password", REFUSED, NOT_ROTATED),
    Change("etcd_patroni_password", REFUSED, NOT_ROTATED, "/etc/patroni/config.yml (etcd3)"),
    Change("postgresql_superuser_password", REFUSED, NOT_ROTATED, "/etc/patroni/config.yml (superuser)"),
    Change("postgresql_replication_password", REFUSED, NOT_ROTATED, "/etc/patroni/config.yml (replication)"),
    Change("postgresql_rewind_password", REFUSED, NOT_ROTATED, "/etc/patroni/config.yml (rewind)"),
    Change("postgresql_rest_password", APPLIED, "Patroni is reloaded on all members before anybody uses it"),
    Change("postgresql_application_password", APPLIED, _SWITCH.format("the backend", "the backend")),
    Change("postgresql_pgbouncer_password", APPLIED, "every pgbouncer is updated together with PostgreSQL"),
    Change("postgresql_drill_password", APPLIED, "at once"),
    Change(
        "postgresql_reaper_password",
        APPLIED,
        "the session reapers restart with it when the load balancers' turn comes; they serve no client",
    ),
    Change("pgbouncer_admin_password", APPLIED, "every pgbouncer is updated before the first use"),
    Change("elasticsearch_superuser_password", REFUSED, NOT_ROTATED, "each node's keystore (bootstrap.password), unless it was changed since"),
    Change("elasticsearch_application_password", APPLIED, _SWITCH.format("the backend", "the backend")),
    Change("elasticsearch_monitoring_password", APPLIED, _SWITCH.format("HAProxy", "HAProxy")),
    Change("elasticsearch_snapshot_password", APPLIED, "at once; the timer tries again"),
    Change("elasticsearch_drill_password", APPLIED, "at once"),
    Change("backend_internal_key", REFUSED, _KEY, "/run/secrets/INTERNAL_KEY in a running replica (`docker exec`)"),
    Change("backend_encryption_key", REFUSED, _KEY, "/run/secrets/ENCRYPTION_KEY in a running replica (`docker exec`)"),
    Change("haproxy_stats_password", APPLIED, _RELOAD_HAPROXY),
    Change("swarm_unlock_key", REFUSED, "Docker makes it; `docker swarm unlock-key -q` on a manager prints it", "/etc/utmstack-ha/swarm-unlock-key"),
)  # fmt: skip

# What messages call a layer, and the groups whose hosts have it.
LAYERS = {
    "etcd": ("etcd", ("etcd",)),
    "postgresql": ("PostgreSQL", ("postgresql",)),
    "elasticsearch": ("the search engine", ("elasticsearch",)),
    "swarm": ("the swarm", ("swarm_managers", "swarm_workers")),
    "backend": ("the backend", ("swarm_managers", "swarm_workers")),
    "haproxy": ("HAProxy", ("loadbalancer",)),
    "keepalived": ("keepalived", ("loadbalancer",)),
}


def _pools(ha: Mapping, host: Mapping, given: Mapping) -> list[str]:
    """Those of a swarm that is taken over are what they are."""
    return [] if given.get("swarm_adopt") else sorted(given.get("swarm_address_pools") or [])


def _name(ha: Mapping, host: Mapping, given: Mapping) -> Any:
    return host["name"]


def _cluster(ha: Mapping, host: Mapping, given: Mapping) -> Any:
    return ha["cluster"]


# Layer, what is known of it (see operation/deployed.py), the setting that it comes from, and what the inventory wants.
COMPARED: tuple[tuple[str, str, str, Wanted], ...] = (
    ("etcd", "name", "inventory name", _name),
    ("etcd", "cluster", "ha_cluster_name", _cluster),
    ("etcd", "address", "ha_address", address),
    ("etcd", "client_port", "ha_ports.etcd_client", port("etcd_client")),
    ("etcd", "peer_port", "ha_ports.etcd_peer", port("etcd_peer")),
    ("etcd", "data_directory", "etcd_data_directory", given("etcd_data_directory")),
    ("etcd", "tls_directory", "ha_tls_directory", tls_directory),
    ("postgresql", "name", "inventory name", _name),
    ("postgresql", "cluster", "ha_cluster_name", _cluster),
    ("postgresql", "address", "ha_address", address),
    ("postgresql", "port", "ha_ports.postgresql", port("postgresql")),
    ("postgresql", "rest_port", "ha_ports.patroni_rest", port("patroni_rest")),
    ("postgresql", "data_directory", "postgresql_data_directory", given("postgresql_data_directory")),
    ("postgresql", "tls_directory", "ha_tls_directory", tls_directory),
    ("elasticsearch", "name", "inventory name", _name),
    ("elasticsearch", "cluster", "ha_cluster_name", _cluster),
    ("elasticsearch", "address", "ha_address", address),
    ("elasticsearch", "http_port", "ha_ports.elasticsearch_http", port("elasticsearch_http")),
    ("elasticsearch", "transport_port", "ha_ports.elasticsearch_transport", port("elasticsearch_transport")),
    ("elasticsearch", "data_directory", "elasticsearch_data_directory", given("elasticsearch_data_directory")),
    ("elasticsearch", "flavor", "elasticsearch_flavor", lambda ha, host, given: ha["elasticsearch"]["flavor"]),
    ("swarm", "cluster", "ha_cluster_name", _cluster),
    ("swarm", "address", "ha_address", address),
    ("swarm", "port", "ha_ports.swarm_cluster", port("swarm_cluster")),
    ("swarm", "data_port", "ha_ports.swarm_data", port("swarm_data")),
    ("swarm", "data_root", "swarm_data_root", given("swarm_data_root")),
    ("swarm", "address_pools", "swarm_address_pools", _pools),
    ("backend", "stack", "backend_stack_name", given("backend_stack_name")),
    ("backend", "http_port", "ha_ports.backend_http", port("backend_http")),
    ("backend", "grpc_port", "ha_ports.backend_grpc", port("backend_grpc")),
    ("backend", "tls", "backend_tls", lambda ha, host, given: ha["backend"]["tls"]),
    ("haproxy", "postgresql_write", "ha_ports.postgresql_write", port("postgresql_write")),
    ("haproxy", "postgresql_direct", "ha_ports.postgresql_direct", port("postgresql_direct")),
    ("haproxy", "elasticsearch", "ha_ports.elasticsearch", port("elasticsearch")),
    ("keepalived", "vip", "ha_vip", lambda ha, host, given: ha["virtual_ip"]["address"]),
)


def table() -> tuple[Change, ...]:
    """What a new value of each setting becomes: of the platform's, then of the services'."""
    return (*TABLE, *(row for service in SERVICES.values() for row in service.changes))


def rows() -> dict[str, Change]:
    """The rows of the table by their settings."""
    return {row.setting: row for row in table()}


def compared() -> tuple[tuple[str, str, str, Wanted], ...]:
    """COMPARED with what the services add."""
    return (*COMPARED, *(one for service in SERVICES.values() for one in service.compared))


def layers() -> dict[str, tuple[str, tuple[str, ...]]]:
    """LAYERS with the services that say what they are called."""
    return LAYERS | {name: (service.title, service.groups) for name, service in SERVICES.items() if service.title}


def refusal(ha: Mapping, deployed: Mapping[str, Mapping]) -> str:
    """Why the inventory can't be applied to what is deployed, as a list for a person; empty where it can.

    ha: the topology. deployed: what deployed_info returned, by the name of each host that answered.
    """
    found = Findings()
    hosts = {name: one for name, one in deployed.items() if name in ha["hosts"]}
    _check_values(ha, hosts, found)
    _check_membership(ha, hosts, found)
    _check_roles(ha, hosts, found)
    _check_databases(ha, hosts, found)
    _check_passwords(hosts, found)
    return report(found.faults) if found.faults else ""


def _check_values(ha: Mapping, hosts: Mapping[str, Mapping], found: Findings) -> None:
    differing: dict[tuple[str, str, str], tuple[list[str], list[str]]] = {}
    for name, one in hosts.items():
        for setting, wanted, present, layer in _differences(ha, ha["hosts"][name], one):
            names, parts = differing.setdefault((setting, str(wanted), str(present)), ([], []))
            names += [name] * (name not in names)
            parts += [layer] * (layer not in parts)
    for (setting, wanted, present), (names, parts) in differing.items():
        found.refuse(
            _where(names),
            setting,
            f"is {wanted}, but {_and(layers()[layer][0] for layer in parts)} {_is(parts)} deployed with {present}",
            f"Put {present} back. {rows()[setting].how}",
        )


def _differences(ha: Mapping, host: Mapping, one: Mapping) -> Iterator[tuple[str, Any, Any, str]]:
    """What the inventory wants otherwise than a host has it: (setting, wanted, present, layer)."""
    found, given = one["layers"], one["settings"]
    renamed = any(
        layer in found and found[layer].get("cluster") not in (None, "", ha["cluster"])
        for layer in ("etcd", "postgresql")
    )
    for layer, key, setting, wanted_of in compared():
        present = found.get(layer, {}).get(key)
        # Directories are named after the cluster.
        if present in (None, "", []) or (renamed and setting in ("etcd_data_directory", "postgresql_data_directory")):
            continue
        wanted = wanted_of(ha, host, given)
        if wanted not in (None, "", []) and str(wanted) != str(present):
            yield setting, wanted, present, layer


def _check_membership(ha: Mapping, hosts: Mapping[str, Mapping], found: Findings) -> None:
    for name, one in hosts.items():
        for layer, (title, groups) in layers().items():
            if (
                layer in one["enabled"]
                and layer in one["layers"]
                and not set(groups) & set(ha["hosts"][name]["groups"])
            ):
                found.refuse(
                    f"host {name}",
                    "group membership",
                    f"lacks {' and '.join(groups)}, but {title} runs there with data of this cluster",
                    rows()["group membership"].how,
                )


def _check_roles(ha: Mapping, hosts: Mapping[str, Mapping], found: Findings) -> None:
    for member in ha["elasticsearch"]["members"]:
        present = hosts.get(member["name"], {}).get("layers", {}).get("elasticsearch", {}).get("roles") or []
        if _data(present) and not _data(member["roles"]):
            found.refuse(
                f"host {member['name']}",
                "elasticsearch_node_roles",
                f"takes {', '.join(_data(present))} from a node that has shards, which then would not start",
                "Put it back, or move the shards away first (cluster.routing.allocation.exclude._name), stop the node and remove its data",
            )


def _data(roles: list[str]) -> list[str]:
    return [role for role in roles if role == "data" or role.startswith("data_")]


def _check_databases(ha: Mapping, hosts: Mapping[str, Mapping], found: Findings) -> None:
    """The application's database must go on being served."""
    for one in hosts.values():
        name = one["layers"].get("backend", {}).get("database")
        if name and name not in ha["postgresql"]["databases"] and name == one["settings"]["backend_database_name"]:
            found.refuse(
                "group postgresql",
                "postgresql_databases",
                f"lacks {name}, which the deployed backend uses: nobody could connect to it any more",
                "Put it back into the list",
            )


def _check_passwords(hosts: Mapping[str, Mapping], found: Findings) -> None:
    differing: dict[str, list[str]] = {}
    compared: set[str] = set()
    for name, one in hosts.items():
        compared |= set(one["passwords"])
        for password, same in one["passwords"].items():
            if not same:
                differing.setdefault(password, []).append(name)
    if len(differing) > 2 and set(differing) == compared:
        found.refuse(
            _where(list(hosts)),
            "ha_secrets_dir",
            "leads to other passwords than those that the cluster was deployed with, all that could be compared",
            rows()["ha_secrets_dir"].how,
        )
        return
    for password in sorted(differing, key=[*passwords(), *differing].index):
        row = rows()[password]
        if row.unknown:
            found.refuse(_where(differing[password]), password, *row.unknown)
            continue
        old = (
            f"the old value, which is in {row.found_in}"
            if row.found_in
            else "the old value, of a copy of passwords.yml"
        )
        found.refuse(
            _where(differing[password]),
            password,
            "is not the one that is deployed",
            f"Put back {old}. {row.how}",
        )


def _where(names: list[str]) -> str:
    return f"host{'s' * (len(names) > 1)} {', '.join(names)}"


def _and(words) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _is(words: list) -> str:
    return "are" if len(words) > 1 else "is"


def page() -> str:
    """The table for the docs, in Markdown."""
    lines = ["| setting | a new value | how, or what to do instead |", "|---|---|---|"]
    lines += [f"| {_code(row.setting)} | {row.effect} | {row.how} |" for row in table()]
    return "\n".join(lines) + "\n"


def _code(setting: str) -> str:
    return ", ".join(f"`{name}`" if "_" in name else name for name in setting.split(", "))
