# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ports: their defaults, the user's overrides, and who listens where on which host."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

from ..common.text import nearest
from ..common.values import number
from ..services.listener import EVERYWHERE, HOST, Listener
from ..services.registry import SERVICES
from .faults import Findings

# Of what is no service of the collection's: the way in, and a web server of the operator's.
OTHERS = (
    Listener("", "sshd", "ssh", 22, EVERYWHERE, "the controller"),
    Listener("web", "web server", "web", 80, HOST, "load balancers"),
)


def all_listeners() -> list[Listener]:
    """Return what listens in a platform that has everything."""
    return [*OTHERS, *(listener for service in SERVICES.values() for listener in service.listeners)]


def defaults() -> dict[str, int]:
    """Return the port numbers by name, as long as nobody sets others."""
    return {listener.key: listener.port for listener in all_listeners()}


def ports(overrides: Any, found: Findings) -> tuple[dict[str, int], list[str]]:
    """Return the port numbers with the overrides laid over the defaults, and the names of what was overridden."""
    result = defaults()
    if not isinstance(overrides, Mapping):
        found.refuse("group all", "ha_ports", f"is {overrides!r}, no mapping", "Write it like ha_ports: {stats: 8405}")
        return result, []
    changed = []
    for key, value in overrides.items():
        name = f"ha_ports.{key}"
        if key not in result:
            found.refuse("group all", name, "is unknown", nearest(str(key), result))
            continue
        figure = number(value)
        if not isinstance(figure, int) or not 1 <= figure <= 65535:
            found.refuse("group all", name, f"is {value!r}", "Set a whole number from 1 to 65535")
            continue
        if figure != result[key]:
            result[key] = figure
            changed.append(key)
    return result, changed


def listeners(layers: list[str], present: set[str]) -> list[Listener]:
    """Return what listens on a host of these layers, in a platform where the layers `present` have members."""
    return [
        listener
        for listener in all_listeners()
        if (not listener.layer or listener.layer in layers)
        and (not listener.serves or any(layer in present for layer in listener.serves))
    ]


def check_collisions(host: str, layers: list[str], present: set[str], numbers: dict[str, int], found: Findings) -> None:
    """Refuse two services of one host on the same address and port."""
    for one, other in combinations(listeners(layers, present), 2):
        same_address = one.bind == other.bind or EVERYWHERE in (one.bind, other.bind)
        if numbers[one.key] != numbers[other.key] or not same_address:
            continue
        bind = other.bind if one.bind == EVERYWHERE else one.bind
        found.refuse(
            f"host {host}",
            f"ha_ports.{other.key}",
            f"is {numbers[other.key]}: {other.service} and {one.service} (ha_ports.{one.key}) would both listen there "
            f"on {bind}",
            f"Give ha_ports.{other.key} or ha_ports.{one.key} another number",
        )
