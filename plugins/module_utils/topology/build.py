# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The topology: inventory and settings in, everything that one role must know of another out.

`build` is pure: it reads no file, asks no host, and gives the same result for the same input. Templates and tasks
use its result, the variable `ha`, and never walk groups or host variables themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..services.listener import VIP
from ..services.members import quorum
from ..services.registry import SERVICES, entry_points
from ..services.service import Service
from .addresses import check_hosts, check_name, host_address, virtual_ip
from .backups import plan_backups
from .certificates import ca_file, check_certificates
from .components import Options, check_components
from .faults import Findings, TopologyError
from .groups import check_members, groups, members_of, memory_share
from .groups import layers as all_layers
from .names import check_names
from .pooling import pooling
from .ports import check_collisions, ports
from .releases import releases
from .settings import (
    Inventory,
    backup_servers,
    check_variables,
    cluster_name,
    memory_mb,
    priorities,
    router_id,
    shared_settings,
    switch,
    take_over,
    tls_files,
    together,
    vip_name,
)
from .timing import timing

# What playbooks/maintenance.yml leaves on a host: since when, and why.
MAINTENANCE_FILE = "/var/lib/utmstack-ha/maintenance"


def build(
    inventory: Inventory, settings: Mapping[str, Any], options: Options | None = None, found: Findings | None = None
) -> dict[str, Any]:
    """Return the topology (without `host`, which each host adds for itself).

    `settings` are the values of those of shared_settings() and of the passwords as the play sees them; what is missing has its default.
    `options` are the settings of the roles' argument specs, by which those of the components are judged.
    `found` has what is wrong beside the inventory.
    Every rule is asked, whatever the others found. Raises TopologyError with all faults.
    """
    found = found or Findings()
    members = members_of(inventory.groups, found)
    hosts = list(dict.fromkeys(host for layer in all_layers() for host in members[layer]))
    layers = {host: [layer for layer in all_layers() if host in members[layer]] for host in hosts}
    check_variables(inventory, hosts, settings, found)
    check_components(inventory, hosts, options or {}, found)
    settings = {**shared_settings(), **{name: value for name, value in settings.items() if value is not None}}

    figures, changed_timing = timing(settings["ha_failover_profile"], settings["ha_timing"], found)
    numbers, changed_ports = ports(settings["ha_ports"], found)
    addresses = _addresses(inventory, hosts, found)
    vip = virtual_ip(settings["ha_vip"], addresses, members["loadbalancer"], found)
    vip["router_id"] = router_id(settings["ha_vip_router_id"], found)
    vip["name"] = vip_name(settings["ha_vip_name"], hosts, found)
    cluster = cluster_name(settings["ha_cluster_name"], found)
    tls = tls_files(settings["ha_tls_directory"], found)
    drill = switch("group all", "ha_drill_allowed", settings["ha_drill_allowed"], found)
    priority = priorities(inventory, members["loadbalancer"], found)
    memory = {host: memory_mb(inventory, host, found) for host in hosts}
    given_up = {host: take_over(inventory, host, found) for host in hosts}
    backup = backup_servers(inventory, members, hosts, found)
    kept = plan_backups(settings, members, {host: inventory.variables(host) for host in hosts}, found)
    pool = pooling(settings, members, found)
    encrypted = switch("group all", "backend_tls", settings["backend_tls"], found)
    facts = {
        name: service.facts(settings, {host: inventory.variables(host) for host in members[service.layer]}, found)
        for name, service in SERVICES.items()
        if service.layer in members
    }
    check_members(members, found)
    check_names(hosts, {host: inventory.variables(host).get("ha_rack") for host in hosts}, found)
    present = {layer for layer in all_layers() if members[layer]} | ({"pgbouncer"} if pool["enabled"] else set())
    for host in hosts:
        check_collisions(host, layers[host], present, numbers, found)
    names = {host: _certificate_names(host, addresses.get(host, ""), layers[host], vip) for host in hosts}
    check_certificates(inventory, names, found)
    if found.faults:
        raise TopologyError(together(inventory, hosts, found.faults))

    def listed(layer: str) -> list[dict[str, Any]]:
        return [{"name": host, "address": addresses[host]} for host in members[layer]]

    balancers = [entry | {"priority": priority[entry["name"]]} for entry in listed("loadbalancer")]
    platform = {
        "maintenance_file": MAINTENANCE_FILE,
        "releases": releases(),
        "cluster": cluster,
        "profile": settings["ha_failover_profile"],
        "timing": figures,
        "ports": numbers,
        "overrides": {"timing": changed_timing, "ports": changed_ports},
        "tls": tls,
        "secrets_dir": settings["ha_secrets_dir"],
        "virtual_ip": vip,
        "hosts": {
            host: {
                "name": host,
                "address": addresses[host],
                "groups": [group for group in groups() if group in layers[host]],
                "priority": priority.get(host),
                "rack": _rack(inventory, host),
                "memory_mb": memory[host],
                "memory_share": memory_share(layers[host]),
                "names": names[host],
                "ca_file": ca_file(inventory.variables(host), settings["ha_secrets_dir"]),
                "take_over": given_up[host],
                "entry_points": entry_points(layers[host]),
            }
            for host in hosts
        },
    }
    parts = {
        service.layer: service.part(
            {"members": listed(service.layer), **facts[service.name], **_client(service, vip, numbers)}, platform
        )
        for service in SERVICES.values()
        if service.layer in members
    }
    return {
        **platform,
        **parts,
        "loadbalancer": {"members": sorted(balancers, key=lambda entry: -entry["priority"])},
        "postgresql": {
            **parts["postgresql"],
            "max_connections": pool["max_connections"],
            "databases": pool["databases"],
        },
        "pgbouncer": {
            "enabled": pool["enabled"],
            "auto": pool["auto"],
            "members": [{"name": entry["name"], "address": entry["address"]} for entry in balancers if pool["enabled"]],
            "pool": pool["sizes"],
        },
        "swarm": {
            "managers": listed("swarm_managers"),
            "workers": [entry for entry in listed("swarm_workers") if entry["name"] not in members["swarm_managers"]],
            "members": listed("backend"),
            "quorum": quorum(len(members["swarm_managers"])),
        },
        "backend": {
            **facts["backend"],
            "members": [entry | {"backup": backup[entry["name"]]} for entry in listed("backend")],
            "tls": encrypted,
        },
        "web": {"members": [entry | {"backup": backup[entry["name"]]} for entry in listed("web")]},
        "drill": {"allowed": drill, "members": listed("drill")},
        "backup": {**kept, "members": listed("backup")},
        "services": {
            name: {
                "role": service.role,
                "layer": service.layer,
                "proxied": service.proxied,
                "groups": list(service.groups),
                "units": service.every(service.units),
                "settings": list(service.settings),
                "secrets": dict(service.secrets),
            }
            for name, service in SERVICES.items()
        },
        "warnings": [str(warning) for warning in together(inventory, hosts, found.warnings)],
    }


def _client(service: Service, vip: Mapping[str, Any], numbers: Mapping[str, int]) -> dict[str, Any]:
    """Return where clients reach a service, if HAProxy has one port for it."""
    ports = [one.key for one in service.listeners if one.bind == VIP and one.serves == (service.layer,)]
    return {"client": {"host": vip["address"], "port": numbers[ports[0]]}} if len(ports) == 1 else {}


def _rack(inventory: Inventory, host: str) -> str:
    value = inventory.variables(host).get("ha_rack")
    return "" if value is None else str(value)


def _addresses(inventory: Inventory, hosts: list[str], found: Findings) -> dict[str, str]:
    """Return the addresses of the hosts that have a usable one."""
    addresses = {}
    for host in hosts:
        check_name(host, found)
        # A variable that can't be templated is told as such; that the address is missing then would only confuse.
        if not {"ha_address", "ansible_host"} & set(inventory.broken.get(host, {})):
            addresses[host] = host_address(host, inventory.variables(host), found)
    usable = {host: address for host, address in addresses.items() if address}
    check_hosts(usable, found)
    return usable


def _certificate_names(host: str, address: str, layers: list[str], vip: Mapping[str, Any]) -> list[str]:
    """Return what a host's certificate must be valid for.

    HAProxy passes the TLS of several services through, so a client that verifies the virtual IP sees the certificate
    of the host behind it, too.
    """
    names = [host, address]
    passed = {service.layer for service in SERVICES.values() if service.tls_passed}
    if {"loadbalancer", *passed}.intersection(layers):
        names += [vip.get("address", ""), vip["name"]]
    return list(dict.fromkeys(name for name in names if name))
