# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The state of the whole platform from what its hosts said.

`status` merges plain values: the topology and, by host, what host_info and the services' information modules returned there. `screen` of
screen.py lays its result out. Neither asks anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..services.answers import Answer, against_inventory, cluster, reason
from ..services.registry import SERVICES
from ..services.service import Service, asked
from ..topology.build import MAINTENANCE_FILE


def status(topology: Mapping[str, Any], observations: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Merge what the hosts said into one state.

    topology: what `build` of module_utils.topology returned. observations: by host what M(utmstack.ha.observe) returned:
    reachable, error and answers: of `host`, and of the services' parts of the state that the host was asked for.

    Returns healthy, problems (sentences, each begins with the layer or host it is about), cluster, hosts, and for each part of parts() a
    dict or, where the topology has no such layer, None.
    """
    hosts = _hosts(topology, observations)
    roles: dict[str, dict[str, str]] = {}
    layers = {}
    # The virtual IP first: without it clients reach nothing.
    for part, service in sorted(parts().items(), key=lambda item: item[1].leadership != "vip"):
        own = (
            service.form(topology, observations, roles)
            if service.form
            else _members(topology, observations, part, service)
        )
        layers[part] = own
        roles |= service.server_roles(own)
    problems = [f"{host['name']}: cannot be reached ({host['error']})" for host in hosts if not host["reachable"]]
    problems += [f"{host['name']}: is in maintenance ({host['maintenance']})" for host in hosts if host["maintenance"]]
    for layer in layers.values():
        problems += layer["problems"] if layer else []
    problems = list(dict.fromkeys(problems))
    return {
        "healthy": not problems,
        "problems": problems,
        "cluster": topology["cluster"],
        "hosts": hosts,
        **layers,
    }


def parts() -> dict[str, Service]:
    """The services that are asked, by their part of the state."""
    return asked(SERVICES.values())


def _members(topology, observations, part, service):
    """A cluster whose information module returns members, each with its name and whether it is healthy, leader, healthy and problems."""
    if not service.members(topology):
        return None
    hosts = topology[service.layer]["members"]
    best, problems = cluster(part, topology, observations, part, lambda member: member["healthy"], members=hosts)
    found = list(best["members"]) if best else []
    missing, differences = against_inventory(service.layer, topology, found)
    return {
        "healthy": not problems + differences,
        "problems": problems + differences,
        "leader": best["leader"] if best else None,
        "members": found,
        "not_members": missing,
    }


def _hosts(topology, observations) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "address": topology["hosts"].get(name, {}).get("address", ""),
            "reachable": bool(seen.get("reachable")),
            "error": "" if seen.get("reachable") else reason(seen),
            "maintenance": maintenance(seen.get("answers", {}).get("host")),
        }
        for name, seen in observations.items()
    ]


def maintenance(answer: Answer | None) -> str:
    """Since when and why a host is in maintenance, from what host_info said; empty where it is not."""
    return " ".join(((answer or {}).get("texts") or {}).get(MAINTENANCE_FILE, "").split())
