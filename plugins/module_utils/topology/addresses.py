# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names and addresses: of the hosts, of the virtual IP, and what makes each of them unusable."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from ..common.values import number
from .faults import Findings

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"

# RFC 1123, section 2.1: letters, digits and hyphens between dots, 63 characters a part.
HOSTNAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
SETTING_REMEDY = "Set ha_address to the IP address by which the other hosts reach it"


def parse(value: Any) -> Address | None:
    """Return value as an address, or None."""
    try:
        return ipaddress.ip_address(str(value))
    except ValueError:
        return None


def check_name(name: str, found: Findings) -> None:
    """Refuse an inventory name that can't be a host's, a certificate's, an etcd and a Patroni member's name."""
    where = f"host {name}"
    if parse(name) is not None:
        return
    if not HOSTNAME.fullmatch(name):
        better = re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.")[:63] or "node1"
        found.refuse(
            where,
            "inventory name",
            "is no host name (RFC 1123: letters, digits, hyphens; no underscore, at most 63 characters a part)",
            f"Rename it in the inventory, for example to {better}",
        )
    elif name.lower() in ("localhost", "localhost.localdomain"):
        found.refuse(
            where,
            "inventory name",
            "would point other hosts to themselves",
            "Give the host its own name, for example node1",
        )


def host_address(name: str, variables: Mapping[str, Any], found: Findings) -> str | None:
    """Return a host's address in canonical form: ha_address, else ansible_host, else its name, whichever is an IP."""
    where = f"host {name}"
    given = variables.get("ha_address")
    if given not in (None, ""):
        address, setting = parse(given), "ha_address"
        if address is None:
            found.refuse(where, setting, f"is {given!r}, which is no IP address", SETTING_REMEDY)
            return None
    else:
        setting = "ansible_host" if parse(variables.get("ansible_host")) else "inventory name"
        address = parse(variables.get("ansible_host")) or parse(name)
        if address is None:
            found.refuse(
                where,
                "ha_address",
                "is missing, and neither ansible_host nor the inventory name is an IP address",
                SETTING_REMEDY,
            )
            return None
    trouble = _unusable(address)
    if trouble:
        found.refuse(where, setting, f"is {address}, {trouble}", SETTING_REMEDY)
        return None
    return str(address)


def _unusable(address: Address) -> str:
    if getattr(address, "scope_id", None):
        return "which names an interface of one host alone (RFC 4007)"
    if address.is_loopback:
        return "a loopback address that no other host can reach"
    if address.is_unspecified:
        return "which means any address"
    if address.is_multicast or str(address) == "255.255.255.255":
        return "which belongs to no single host"
    if address.is_link_local:
        return "a link-local address, which is ambiguous between networks"
    return ""


def check_hosts(addresses: Mapping[str, str], found: Findings) -> None:
    """Refuse two hosts with one address, and a mixture of IPv4 and IPv6."""
    owners: dict[str, str] = {}
    for name, address in addresses.items():
        if address in owners:
            found.refuse(
                f"host {name}",
                "ha_address",
                f"is {address}, which host {owners[address]} has too",
                "Give each host its own address",
            )
        owners.setdefault(address, name)
    versions = {name: parse(address).version for name, address in addresses.items()}
    if len(set(versions.values())) > 1:
        first = next(iter(versions))
        for name, version in versions.items():
            if version != versions[first]:
                found.refuse(
                    f"host {name}",
                    "ha_address",
                    f"is IPv{version} ({addresses[name]}), while host {first} has IPv{versions[first]}",
                    "Use one family for all hosts and the virtual IP",
                )


def virtual_ip(setting: Any, addresses: Mapping[str, str], balancers: list[str], found: Findings) -> dict[str, Any]:
    """Return address, prefix and cidr of the virtual IP; {} when it can't be used, and why goes to `found`."""

    def refuse(problem: str, remedy: str) -> None:
        found.refuse("group all", "ha_vip", problem, remedy)

    text = str(setting if setting is not None else "").strip()
    if not text:
        refuse(
            "is missing", "Set it to a free address of the load balancers' subnet, for example ha_vip: 10.0.1.100/24"
        )
        return {}
    host_part, slash, prefix_part = text.partition("/")
    address = parse(host_part)
    if address is None:
        refuse(
            f"is {text!r}, which is no IP address", "Set it to an address, with its prefix or without: 10.0.1.100/24"
        )
        return {}
    prefix = number(prefix_part) if slash else (24 if address.version == 4 else 64)
    if not isinstance(prefix, int) or not 8 <= prefix <= address.max_prefixlen:
        refuse(
            f"is {text!r}, whose prefix {prefix_part!r} is wrong for IPv{address.version}",
            f"Set the prefix length of the subnet, 8 to {address.max_prefixlen}, usually "
            f"/{24 if address.version == 4 else 64}",
        )
        return {}
    trouble = _unusable(address)
    if trouble:
        refuse(f"is {address}, {trouble}", "Set it to a free address of the load balancers' subnet")
    network = ipaddress.ip_network(f"{address}/{prefix}", strict=False)
    if address.version == 4 and prefix < 31 and address in (network.network_address, network.broadcast_address):
        kind = "network" if address == network.network_address else "broadcast"
        refuse(f"is {address}, the {kind} address of {network}", "Set it to a free host address of that subnet")
    for name, own in addresses.items():
        if own == str(address):
            refuse(
                f"is {address}, which is host {name}'s own address",
                "Set it to an address that no host has: keepalived moves it between the load balancers",
            )
        elif parse(own).version != address.version:
            refuse(
                f"is IPv{address.version} ({address}), while host {name} has IPv{parse(own).version} ({own})",
                "Use one family for all hosts and the virtual IP",
            )
        elif name in balancers and prefix < address.max_prefixlen and parse(own) not in network:
            refuse(
                f"is {address}/{prefix}, outside the subnet of load balancer {name} ({own})",
                f"Set it to a free address of {ipaddress.ip_network(f'{own}/{prefix}', strict=False)}, or correct its "
                "prefix",
            )
    return {"address": str(address), "prefix": prefix, "cidr": f"{address}/{prefix}"}
