# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Docker Swarm, which runs the application."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .listener import HOST, Listener
from .service import Layer, Service, member


def drained(layer: Layer, host: str) -> list[str]:
    """Whether the host's node takes no tasks."""
    return [] if member(layer, "nodes", host, "hostname").get("availability") in (None, "active") else ["swarm"]


def asks(ha: Mapping[str, Any], secrets: Mapping[str, str], _host: str) -> dict[str, dict[str, Any]]:
    """A manager tells of all nodes."""
    managers = [one["name"] for one in ha["swarm"]["managers"]]
    members = [{**one, "role": "manager" if one["name"] in managers else "worker"} for one in ha["swarm"]["members"]]
    return {"utmstack.ha.swarm_info": {"expected_members": members, "services": True}}


SERVICE = Service(
    name="swarm",
    role="swarm",
    layer="swarm",
    groups=("swarm_managers", "swarm_workers"),
    listeners=(
        Listener("swarm_managers", "Swarm (management)", "swarm_cluster", 2377, HOST, "swarm hosts"),
        Listener("backend", "Swarm (gossip)", "swarm_gossip", 7946, HOST, "swarm hosts"),
        Listener("backend", "Swarm (overlay, UDP)", "swarm_data", 4789, HOST, "swarm hosts"),
    ),
    settings={
        "swarm_adopt": False,
        "swarm_data_root": "/var/lib/docker",
        "swarm_address_pools": ["10.201.0.0/16"],
    },
    units=("docker.service",),
    helpers=("containerd.service",),
    packages=("docker.io", "nftables"),
    release_packages={"docker_client": ("docker-cli",)},
    # runc restarts nothing.
    held=("containerd", "docker.io"),
    upgrades=("containerd", "docker-cli", "docker.io", "runc"),
    upgraded={"containerd.service": (), "docker.service": ()},
    barred=("docker-ce", "containerd.io"),
    configs={"docker.service": ("/etc/docker/daemon.json",)},
    asks=asks,
    asked_groups=("swarm_managers",),
    serves=lambda layer, host: member(layer, "nodes", host, "hostname").get("state") == "ready",
    drained=drained,
    leads="the swarm's leader",
    # Docker can't hand over leadership by itself: another manager is elected.
    successor=False,
    candidates="managers",
    processes={"dockerd": {"only": "main", "what": "Docker"}},
)
