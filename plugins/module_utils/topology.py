# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The topology: inventory and settings in, everything that one role must know of another out.

`build` is pure: it reads no file, asks no host, and gives the same result for the same input. Templates and tasks
use its result, the variable `ha`, and never walk groups or host variables themselves.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .secrets import PASSWORDS, trouble
from .topology_addresses import HOSTNAME, check_hosts, check_name, host_address, parse, url, virtual_ip
from .topology_faults import Findings, TopologyError, nearest
from .topology_groups import GROUPS, check_members, members_of, memory_share, quorum, synchronous_mode
from .topology_ports import check_collisions, ports
from .topology_timing import number, timing

# The settings that cross roles, with their defaults; role topology documents them (a test compares the two).
DEFAULTS: dict[str, Any] = {
    "ha_cluster_name": "utmstack",
    "ha_vip": "",
    "ha_vip_name": "",
    "ha_vip_router_id": 51,
    "ha_failover_profile": "fast",
    "ha_timing": {},
    "ha_ports": {},
    "ha_tls_directory": "/etc/utmstack-ha/tls",
    "postgresql_synchronous_mode": "",
    "postgresql_synchronous_node_count": 1,
}
HOST_SETTINGS = ("ha_address", "ha_priority", "ha_rack", "ha_memory_mb", "ha_backup_server")
# Names that begin with ha_ without being read here: the secrets' directory, and what the roles themselves set.
OTHER_NAMES = ("ha_secrets_dir", "ha_secrets")
# Variables of a host that `build` looks at.
VARIABLES = (*DEFAULTS, *HOST_SETTINGS, *PASSWORDS, "ansible_host", "ansible_port")

# It becomes Patroni's scope (a part of a path in etcd) and PostgreSQL's cluster_name.
CLUSTER_NAME = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Inventory:
    """What the controller knows of the hosts.

    groups: name -> hosts, in inventory order. hosts: name -> its variables, templated (of those that begin with ha_
    all, of the others VARIABLES). broken: host -> variable -> why it could not be templated.
    """

    groups: Mapping[str, list[str]]
    hosts: Mapping[str, Mapping[str, Any]]
    broken: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def build(inventory: Inventory, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the topology (without `host`, which each host adds for itself).

    `settings` are the values of DEFAULTS and PASSWORDS as the play sees them; what is missing has its default.
    Raises TopologyError with every fault that was found.
    """
    found = Findings()
    members = members_of(inventory.groups, found)
    names = list(dict.fromkeys(name for group in (*GROUPS, "backend") for name in members[group]))
    _check_variables(inventory, names, settings, found)
    settings = {**DEFAULTS, **{name: value for name, value in settings.items() if value is not None}}

    figures, changed_timing = timing(settings["ha_failover_profile"], settings["ha_timing"], found)
    numbers, changed_ports = ports(settings["ha_ports"], found)
    check_members(members, found)
    layers = {name: [group for group in (*GROUPS, "backend") if name in members[group]] for name in names}
    present = {group for group, hosts in members.items() if hosts}
    addresses: dict[str, str] = {}
    for name in names:
        check_name(name, found)
        check_collisions(name, layers[name], present, numbers, found)
        address = host_address(name, _variables(inventory, name), found)
        if address:
            addresses[name] = address
    check_hosts(addresses, found)
    _check_member_names(members["postgresql"], found)
    vip = virtual_ip(settings["ha_vip"], addresses, members["loadbalancer"], found)
    vip |= {"router_id": _router_id(settings["ha_vip_router_id"], found), "name": _vip_name(settings, names, found)}
    priorities = _priorities(inventory, members["loadbalancer"], found)
    mode, node_count = synchronous_mode(
        settings["postgresql_synchronous_mode"],
        len(members["postgresql"]),
        settings["postgresql_synchronous_node_count"],
        found,
    )
    cluster = _cluster_name(settings["ha_cluster_name"], found)
    tls = _tls(settings["ha_tls_directory"], found)
    memory = {name: _memory_mb(name, _variables(inventory, name), found) for name in names}
    if members["postgresql"] and mode == "off" and len(members["postgresql"]) > 1:
        found.warn(
            "group postgresql", "postgresql_synchronous_mode", "is off: a failover may lose acknowledged writes",
            "Leave it unset where none may be lost",
        )
    backup = {name: _backup_server(name, _variables(inventory, name), found) for name in names}
    for group in ("backend", "web"):
        if members[group] and all(backup[name] for name in members[group]):
            found.refuse(f"group {group}", "ha_backup_server", "is true on every member", "Leave one or more without it")
    if found.faults:
        raise TopologyError(found.faults)

    def listed(group: str) -> list[dict[str, Any]]:
        return [{"name": name, "address": addresses[name]} for name in members[group]]

    etcd = [
        entry
        | {
            "client_url": url("https", entry["address"], numbers["etcd_client"]),
            "peer_url": url("https", entry["address"], numbers["etcd_peer"]),
        }
        for entry in listed("etcd")
    ]
    balancers = [entry | {"priority": priorities[entry["name"]]} for entry in listed("loadbalancer")]
    return {
        "cluster": cluster,
        "profile": settings["ha_failover_profile"],
        "timing": figures,
        "ports": numbers,
        "overrides": {"timing": changed_timing, "ports": changed_ports},
        "tls": tls,
        "virtual_ip": vip,
        "hosts": {
            name: {
                "name": name,
                "address": addresses[name],
                "groups": [group for group in layers[name] if group != "backend"],
                "priority": priorities.get(name),
                "rack": str(_variables(inventory, name).get("ha_rack") or ""),
                "memory_mb": memory[name],
                "memory_share": memory_share(layers[name]),
                "names": _certificate_names(name, addresses[name], layers[name], vip),
            }
            for name in names
        },
        "loadbalancer": {"members": sorted(balancers, key=lambda entry: -entry["priority"])},
        "etcd": {
            "members": etcd,
            "endpoints": [entry["client_url"] for entry in etcd],
            "initial_cluster": ",".join(f"{entry['name']}={entry['peer_url']}" for entry in etcd),
            "quorum": quorum(len(etcd)),
        },
        "postgresql": {
            "members": [
                entry | {"rest_url": url("https", entry["address"], numbers["patroni_rest"])}
                for entry in listed("postgresql")
            ],
            "quorum": quorum(len(members["postgresql"])),
            "synchronous_mode": mode,
            "synchronous_node_count": node_count,
            "scope": cluster,
            "namespace": "/service/",
            "write": {"host": vip["address"], "port": numbers["postgresql_write"]},
            "read": {"host": vip["address"], "port": numbers["postgresql_read"]},
        },
        "backend": {"members": [entry | {"backup": backup[entry["name"]]} for entry in listed("backend")]},
        "web": {"members": [entry | {"backup": backup[entry["name"]]} for entry in listed("web")]},
        "warnings": found.warnings,
    }


def _variables(inventory: Inventory, name: str) -> Mapping[str, Any]:
    return inventory.hosts.get(name, {})


def _check_variables(inventory: Inventory, names: list[str], settings: Mapping[str, Any], found: Findings) -> None:
    for name in names:
        for variable, reason in inventory.broken.get(name, {}).items():
            found.refuse(f"host {name}", variable, f"can't be templated: {reason}", "Correct it, or define what it refers to")
        for variable in _variables(inventory, name):
            known = (*DEFAULTS, *HOST_SETTINGS, *OTHER_NAMES)
            if variable.startswith("ha_") and variable not in known:
                ours = [setting for setting in known if setting.startswith("ha_")]
                found.refuse(
                    f"host {name}", variable, "is no setting of this collection, which owns the names that begin with ha_",
                    nearest(variable, ours),
                )
    for variable in (*DEFAULTS, *PASSWORDS):
        _check_same(inventory, names, variable, found)
    for variable in PASSWORDS:
        wrong = trouble(variable, settings[variable]) if settings.get(variable) not in (None, "") else None
        if wrong:
            found.refuse("group all", variable, *wrong)


def _check_same(inventory: Inventory, names: list[str], variable: str, found: Findings) -> None:
    """Refuse a setting of the whole cluster that hosts see differently; a password's value is not told."""
    holders: list[tuple[Any, list[str]]] = []
    for name in names:
        value = _variables(inventory, name).get(variable, DEFAULTS.get(variable))
        for seen, hosts in holders:
            if seen == value:
                hosts.append(name)
                break
        else:
            holders.append((value, [name]))
    if len(holders) > 1:
        shown = "; ".join(
            f"{', '.join(hosts)}: {'another value' if variable in PASSWORDS and value else repr(value) if value else 'unset'}"
            for value, hosts in holders
        )
        found.refuse(
            f"host {holders[1][1][0]}", variable, f"differs between hosts, but holds for all ({shown})",
            "Set it once, in group_vars/all or under all: vars:",
        )


def _check_member_names(members: list[str], found: Findings) -> None:
    """Patroni names a member's replication slot after it, in lower case and with _ for what is no letter or digit."""
    slots: dict[str, str] = {}
    for name in members:
        slot = re.sub(r"[.-]", "_", name.lower())[:63]
        if slot in slots:
            found.refuse(
                f"host {name}", "inventory name", f"gives the same replication slot, {slot}, as host {slots[slot]}",
                "Rename one so that they differ in more than case, dots and hyphens in the first 63 characters",
            )
        slots.setdefault(slot, name)


def _priorities(inventory: Inventory, balancers: list[str], found: Findings) -> dict[str, int]:
    """Return VRRP priorities: ha_priority where it is set, else 150, 140, … in the order of the group."""
    priorities: dict[str, int] = {}
    for name in balancers:
        given = _variables(inventory, name).get("ha_priority")
        if given in (None, ""):
            continue
        figure = number(given)
        if not isinstance(figure, int) or not 1 <= figure <= 254:
            found.refuse(f"host {name}", "ha_priority", f"is {given!r}", "Set a whole number from 1 to 254 (255 is reserved)")
        elif figure in priorities.values():
            other = next(host for host, priority in priorities.items() if priority == figure)
            found.refuse(f"host {name}", "ha_priority", f"is {figure}, as on host {other}", "Give each its own priority")
        else:
            priorities[name] = figure
    step = 10 if len(balancers) <= 15 else 1
    free = (priority for priority in range(150, 0, -step) if priority not in priorities.values())
    return {name: priorities[name] if name in priorities else next(free, 1) for name in balancers}


def _router_id(value: Any, found: Findings) -> int | None:
    figure = number(value)
    if not isinstance(figure, int) or not 1 <= figure <= 255:
        found.refuse(
            "group all", "ha_vip_router_id", f"is {value!r}",
            "Set a whole number from 1 to 255 that no other VRRP router of this subnet uses",
        )
        return None
    return figure


def _vip_name(settings: Mapping[str, Any], names: list[str], found: Findings) -> str:
    name = str(settings["ha_vip_name"] or "")
    if name and (not HOSTNAME.fullmatch(name) or parse(name)):
        found.refuse("group all", "ha_vip_name", f"is {name!r}, no DNS name", "Set a name like db.example.org, or leave it empty")
    elif name in names:
        found.refuse(
            "group all", "ha_vip_name", f"is {name}, which is a host's own name", "Set the name that leads to the virtual IP"
        )
    return name


def _cluster_name(value: Any, found: Findings) -> str:
    if not isinstance(value, str) or not CLUSTER_NAME.fullmatch(value):
        found.refuse(
            "group all", "ha_cluster_name", f"is {value!r}, which can't be Patroni's scope and PostgreSQL's cluster_name",
            "Set 1 to 63 lower-case letters, digits, hyphens and underscores, for example utmstack",
        )
    return str(value)


def _tls(value: Any, found: Findings) -> dict[str, str]:
    directory = posixpath.normpath(str(value))
    if not directory.startswith("/") or directory.count("/") < 2:
        found.refuse(
            "group all", "ha_tls_directory", f"is {value!r}, no absolute path of a directory of its own",
            f"Set it like {DEFAULTS['ha_tls_directory']}",
        )
    return {
        "directory": directory,
        "ca": f"{directory}/ca.crt",
        "certificate": f"{directory}/host.crt",
        "key": f"{directory}/host.key",
        "bundle": f"{directory}/host.pem",
        "group": "utmstack-tls",
    }


def _memory_mb(name: str, variables: Mapping[str, Any], found: Findings) -> int | None:
    given = variables.get("ha_memory_mb")
    if given in (None, ""):
        return None
    figure = number(given)
    if not isinstance(figure, int) or figure < 256:
        found.refuse(
            f"host {name}", "ha_memory_mb", f"is {given!r}", "Set the MiB to count with, 256 or more, or leave it out"
        )
        return None
    return figure


def _backup_server(name: str, variables: Mapping[str, Any], found: Findings) -> bool:
    given = variables.get("ha_backup_server", False)
    if not isinstance(given, bool):
        found.refuse(f"host {name}", "ha_backup_server", f"is {given!r}", "Set true or false")
    return bool(given)


def _certificate_names(name: str, address: str, layers: list[str], vip: Mapping[str, Any]) -> list[str]:
    """Return what a host's certificate must be valid for.

    HAProxy passes PostgreSQL's and gRPC's TLS through, so a client that verifies the virtual IP sees the certificate of
    the host behind it, too.
    """
    names = [name, address]
    if {"loadbalancer", "postgresql", "backend"} & set(layers):
        names += [vip["address"], vip["name"]]
    return list(dict.fromkeys(entry for entry in names if entry))
