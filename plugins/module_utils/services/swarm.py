# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Docker Swarm, which runs the application."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .answers import cluster
from .backup import HOUR, Backup
from .change import APPLIED, PORT, REFUSED, Change, address, cluster_name, given, port
from .drill import LEADER, Fault, frozen, killed
from .listener import HOST, Listener
from .members import check_voters
from .service import Layer, Service, member_of

# Docker's own packages, in whose place apt would put Debian's.
BARRED = ("docker-ce", "containerd.io")


def drained(layer: Layer, host: str) -> list[str]:
    """Whether the host's node takes no tasks."""
    return [] if member_of(layer, "nodes", host, "hostname").get("availability") in (None, "active") else ["swarm"]


def traces(look: Any, _unit: str) -> str:
    count = len(list(look.glob("/var/lib/docker/containers/*")))
    return f"{count} container{'s' if count != 1 else ''}" if count else ""


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


def check_members(members: Mapping[str, list[str]], found: Any) -> None:
    """Managers vote, and schedule for all."""
    managers, hosts = members["swarm_managers"], members["backend"]
    check_voters("swarm_managers", managers, found)
    if members["swarm_workers"] and not managers:
        found.refuse(
            "group swarm_managers", "members", "are none, while group swarm_workers has some", "Add three hosts to it"
        )
    if len(managers) == 1 and len(hosts) > 1:
        found.refuse(
            "group swarm_managers",
            "members",
            f"are 1 of {len(hosts)} Swarm hosts, whose loss stops all scheduling",
            "Add two more of them to group swarm_managers",
        )


def backed_up(ha: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    """What its backup needs to know: the managers, of which the leader gives its state, and the key by which a swarm made of it is unlocked."""
    return {
        "managers": [{"name": one["name"], "address": one["address"]} for one in ha["swarm"]["managers"]],
        "port": ha["ports"]["swarm_backup"],
        "ca": ha["tls"]["ca"],
        "certificate": ha["tls"]["certificate"],
        "key": ha["tls"]["key"],
        # Docker makes it, so at first there is none.
        "unlock_key": secrets.get("swarm_unlock_key") or "",
    }


def given_to(ha: Mapping[str, Any]) -> list[str]:
    """The backup hosts that are given the swarm's state."""
    return list(ha["backup"]["hosts"]) if "swarm" in ha["backup"]["kinds"] else []


def some_packages(ha: Mapping[str, Any], release: Mapping[str, Any]) -> tuple[str, ...]:
    """Docker's client; and by what the key of a node in a backup is opened."""
    return (*(("docker-cli",) if release["docker_client"] else ()), *(("python3-nacl",) if given_to(ha) else ()))


def address_pools(_ha: Mapping, _host: Mapping, settings: Mapping) -> list[str]:
    """Those of a swarm that is taken over are what they are."""
    return [] if settings.get("swarm_adopt") else sorted(settings.get("swarm_address_pools") or [])


SERVICE = Service(
    name="swarm",
    title="the swarm",
    role="swarm",
    layer="swarm",
    groups=("swarm_managers", "swarm_workers"),
    listeners=(
        Listener("swarm_managers", "Swarm (management)", "swarm_cluster", 2377, HOST, "swarm hosts"),
        Listener("backend", "Swarm (gossip)", "swarm_gossip", 7946, HOST, "swarm hosts"),
        Listener("backend", "Swarm (overlay, UDP)", "swarm_data", 4789, HOST, "swarm hosts"),
        Listener("swarm_managers", "Swarm (state)", "swarm_backup", 8434, HOST, "backup hosts", ("backup",)),
    ),
    check_members=check_members,
    changes=(
        Change("swarm_data_root", REFUSED, "To have the data on another disk, mount it there while Docker is stopped"),
        Change("swarm_address_pools", REFUSED, "To have others, deploy a new swarm"),
        Change("ha_ports.swarm_cluster", REFUSED, PORT),
        Change("ha_ports.swarm_data", REFUSED, PORT),
        Change("ha_ports.swarm_backup", APPLIED, "the socket for backup hosts opens anew on managers"),
        Change(
            "ha_ports.swarm_gossip", APPLIED, "Docker has no such setting; the number is for firewalls and the plan"
        ),
        Change(
            "swarm_unlock_key",
            REFUSED,
            "Docker makes it; `docker swarm unlock-key -q` on a manager prints it",
            "/etc/utmstack-ha/swarm-unlock-key",
        ),
    ),
    compared=(
        ("swarm", "cluster", "ha_cluster_name", cluster_name),
        ("swarm", "address", "ha_address", address),
        ("swarm", "port", "ha_ports.swarm_cluster", port("swarm_cluster")),
        ("swarm", "data_port", "ha_ports.swarm_data", port("swarm_data")),
        ("swarm", "data_root", "swarm_data_root", given("swarm_data_root")),
        ("swarm", "address_pools", "swarm_address_pools", address_pools),
    ),
    settings={
        "swarm_adopt": False,
        "swarm_data_root": "/var/lib/docker",
        "swarm_address_pools": ["10.201.0.0/16"],
    },
    # docker.io 20.10 brings its client along, and can't judge its file (dockerd --validate, 23.0).
    releases={
        "12": {"docker_client": False, "docker_validates": False},
        "13": {"docker_client": True, "docker_validates": True},
    },
    kept=("swarm_unlock_key",),
    units=("docker.service",),
    helpers=("containerd.service",),
    packages=("docker.io", "nftables"),
    some_packages=some_packages,
    # runc restarts nothing.
    held=("containerd", "docker.io"),
    upgrades=("containerd", "docker-cli", "docker.io", "runc"),
    upgraded={"containerd.service": (), "docker.service": ()},
    barred=BARRED,
    configs={"docker.service": ("/etc/docker/daemon.json",)},
    traces=traces,
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
    faults=(
        Fault("dockerd-sigkill", "Docker is killed on the leader of the swarm", LEADER, killed("dockerd"), hold_s=20),
        Fault("dockerd-sigstop", "Docker is frozen on the leader of the swarm", LEADER, frozen("dockerd"), hold_s=30),
    ),
    reported="Swarm",
    backups=(
        Backup(
            kind="swarm",
            title="Docker Swarm",
            playbook="restore_swarm",
            asked=backed_up,
            source="the leader, while Docker runs",
            schedule=("*-*-* 03:15",),
            verify_schedule=("*-*-* 05:15",),
            # An engine of its own, with the state and the files of the log that it makes in advance.
            scratch=lambda size: (4 * size + (512 << 20), 512 << 20),
            # An engine is root's. Its namespaces keep it from all others.
            account="root",
            limit_s=HOUR,
            packages=("docker.io", "python3-nacl"),
            barred=BARRED,
        ),
    ),
)
