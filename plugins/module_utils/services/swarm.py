# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Docker Swarm, which runs the application."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .answers import cluster
from .listener import HOST, Listener
from .service import Layer, Service, member_of


def drained(layer: Layer, host: str) -> list[str]:
    """Whether the host's node takes no tasks."""
    return [] if member_of(layer, "nodes", host, "hostname").get("availability") in (None, "active") else ["swarm"]


def asks(ha: Mapping[str, Any], secrets: Mapping[str, str], _host: str) -> dict[str, dict[str, Any]]:
    """A manager tells of all nodes."""
    managers = [one["name"] for one in ha["swarm"]["managers"]]
    members = [{**one, "role": "manager" if one["name"] in managers else "worker"} for one in ha["swarm"]["members"]]
    return {"utmstack.ha.swarm_info": {"expected_members": members, "services": True}}


def form(topology, observations, _roles):
    """Return its part of the state of the platform, as Service.form says."""
    if not topology["swarm"]["members"]:
        return None

    def view(answer):
        leader = next((node["hostname"] for node in answer["nodes"] if node["leader"]), None)
        return {**answer, "members": [{**node, "name": node["hostname"]} for node in answer["nodes"]], "leader": leader}

    best, problems = cluster(
        "swarm", topology, observations, "swarm", lambda node: node["state"] == "ready", view,
        topology["swarm"]["managers"],
    )  # fmt: skip
    nodes = best["nodes"] if best else []
    wanted = [member["name"] for member in topology["swarm"]["members"]]
    return {
        "healthy": not problems,
        "problems": problems,
        "leader": best["leader"] if best else None,
        "quorum": topology["swarm"]["quorum"],
        "nodes": nodes,
        "services": best["services"] if best else [],
        "not_members": [name for name in wanted if nodes and name not in [node["hostname"] for node in nodes]],
    }


def table(state):
    """Return its table, as Service.table says."""
    swarm = state["swarm"]
    if not swarm:
        return "", []
    rows = [["node", "address", "role", "status", "availability", "Docker"]]
    for node in swarm["nodes"]:
        role = "leader" if node["leader"] else node["role"]
        doing = node["state"] if node["reachability"] != "unreachable" else "unreachable"
        doing = doing if doing == "ready" else doing.upper()
        rows.append([node["hostname"], node["address"], role, doing, node["availability"], node["version"]])
    rows += [[name, "", "NO NODE", "-", "-", "-"] for name in swarm["not_members"]]
    if len(rows) == 1:
        return "Swarm, nobody answers", [["-"]]
    services = [f"{one['name']} {one['running']} of {one['desired']}" for one in swarm["services"]]
    return ", ".join([f"Swarm, leader {swarm['leader'] or 'NONE'}, quorum {swarm['quorum']}", *services]), rows


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
    kept=("swarm_unlock_key",),
    units=("docker.service",),
    helpers=("containerd.service",),
    packages=("docker.io", "nftables"),
    some_packages=lambda _ha, release: ("docker-cli",) if release["docker_client"] else (),
    # runc restarts nothing.
    held=("containerd", "docker.io"),
    upgrades=("containerd", "docker-cli", "docker.io", "runc"),
    upgraded={"containerd.service": (), "docker.service": ()},
    barred=("docker-ce", "containerd.io"),
    configs={"docker.service": ("/etc/docker/daemon.json",)},
    asks=asks,
    form=form,
    table=table,
    asked_groups=("swarm_managers",),
    serves=lambda layer, host: member_of(layer, "nodes", host, "hostname").get("state") == "ready",
    drained=drained,
    leads="the swarm's leader",
    # Docker can't hand over leadership by itself: another manager is elected.
    successor=False,
    candidates="managers",
    processes={"dockerd": {"only": "main", "what": "Docker"}},
)
