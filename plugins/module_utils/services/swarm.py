# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Docker Swarm, which runs the application."""

from __future__ import annotations

from .service import Layer, Service, member


def drained(layer: Layer, host: str) -> list[str]:
    """Whether the host's node takes no tasks."""
    return [] if member(layer, "nodes", host, "hostname").get("availability") in (None, "active") else ["swarm"]


SERVICE = Service(
    name="swarm",
    role="swarm",
    layer="swarm",
    units=("docker.service",),
    serves=lambda layer, host: member(layer, "nodes", host, "hostname").get("state") == "ready",
    drained=drained,
    leads="the swarm's leader",
    # Docker can't hand over leadership by itself: another manager is elected.
    successor=False,
    candidates="managers",
    processes={"dockerd": {"only": "main", "what": "Docker"}},
)
