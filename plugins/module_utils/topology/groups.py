# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Groups: which there are, who is in them, and how the layers of a host share its memory."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from ..services.registry import SERVICES
from .faults import Findings

# Groups without a service of the collection's.
OTHER_GROUPS = ("web", "monitoring", "drill")
# Ansible's pattern of no host.
NOBODY = "!all"

# How much memory they need, relative to the services (Service.memory). PostgreSQL and Elasticsearch want the file system's cache as
# much as their own memory, so they weigh most; etcd and HAProxy stay below 1 GiB. Three co-located hosts with PostgreSQL: 8 of 8 + 1 + 1, so 0.8.
# Layers that are not here need next to nothing.
OTHER_WEIGHTS = {"monitoring": 2, "web": 1}


def groups() -> tuple[str, ...]:
    """Return the groups that an inventory may have, those of the virtual IP first."""
    own = (group for service in SERVICES.values() for group in service.groups)
    return tuple(dict.fromkeys(("loadbalancer", *own, *OTHER_GROUPS)))


def platform_groups(inventory_groups: Mapping[str, list[str]], otherwise: str = NOBODY) -> list[str]:
    """Return the groups of an inventory whose hosts run services, in the inventory's order, as a play takes them for its hosts.

    otherwise: the pattern of hosts where there is none. A play of no pattern at all would be one of all hosts.
    """
    known = {group for service in SERVICES.values() for group in service.groups}
    return [name for name, hosts in inventory_groups.items() if name in known and hosts] or [otherwise]


def layers() -> tuple[str, ...]:
    """Return the groups, and `backend`, the hosts of both Swarm groups."""
    return (*groups(), "backend")


def memory_share(layers: list[str]) -> dict[str, float]:
    """Return for each layer of a host the part of its memory that it may count on; the parts sum to at most 1."""
    known = OTHER_WEIGHTS | {service.layer: service.memory for service in SERVICES.values() if service.memory}
    weights = {layer: known[layer] for layer in layers if layer in known}
    total = sum(weights.values())
    return {layer: int(100 * weight / total) / 100 for layer, weight in weights.items()}


def members_of(inventory_groups: Mapping[str, list[str]], found: Findings) -> dict[str, list[str]]:
    """Return each layer's members in order, with `backend` (both Swarm groups), and with the hosts of services whose group is not given."""
    known = groups()
    for name, hosts in inventory_groups.items():
        if name in known and not hosts:
            found.refuse(
                f"group {name}", "members", "are none", "Add hosts to it, or remove the group from the inventory"
            )
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        if near and hosts and name not in known and not inventory_groups.get(near[0]):
            found.refuse(
                f"group {name}",
                "group name",
                f"is unknown, and there is no group {near[0]}",
                f"Did you mean {near[0]}?",
            )
    members = {name: list(dict.fromkeys(inventory_groups.get(name, []))) for name in known}
    if not any(members.values()):
        found.refuse(
            "group all",
            "members",
            "are in none of this collection's groups",
            f"Put hosts into {', '.join(known[:3])} and so on",
        )
    for service in SERVICES.values():
        if service.default_hosts:
            members[service.layer] = members[service.layer] or list(members[service.default_hosts])
    members["backend"] = list(dict.fromkeys(members["swarm_workers"] + members["swarm_managers"]))
    return members


def check_members(members: Mapping[str, list[str]], found: Findings) -> None:
    """Refuse numbers of members that can't work or that make things worse; warn about those that survive nothing."""
    for service in SERVICES.values():
        service.check_members(members, found)
