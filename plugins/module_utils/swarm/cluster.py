# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a Docker engine says of its swarm, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .engine import Engine, EngineError, plain

GATEWAY = "docker_gwbridge"
BINDING = "com.docker.network.bridge.host_binding_ipv4"
SECOND = 1_000_000_000  # Docker's durations are nanoseconds

# Docker answers so (503 or 500) where a manager can't reach the majority.
NO_LEADER = re.compile(r"does not have a leader|context deadline exceeded|no leader", re.IGNORECASE)


def host_of(address: str) -> str:
    """The host of `host:port` or `[host]:port`, or what was given where there is no port."""
    match = re.fullmatch(r"\[(.+)\]:\d+|([^:]+):\d+", address)
    return (match[1] or match[2]) if match else address


def join_address(host: str, port: int) -> str:
    """`host:port`, with brackets around IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def node(raw: Mapping) -> dict:
    """One entry of /nodes as plain values."""
    manager = raw.get("ManagerStatus") or {}
    address = raw.get("Status", {}).get("Addr", "")
    if manager.get("Addr") and address in ("", "0.0.0.0", "127.0.0.1"):
        address = host_of(manager["Addr"])
    return {
        "id": raw["ID"],
        "hostname": raw.get("Description", {}).get("Hostname", ""),
        "address": address,
        "version": raw.get("Description", {}).get("Engine", {}).get("EngineVersion", ""),
        "role": raw["Spec"].get("Role", "worker"),
        "availability": raw["Spec"].get("Availability", "active"),
        "labels": raw["Spec"].get("Labels") or {},
        "state": raw.get("Status", {}).get("State", "unknown"),
        "message": raw.get("Status", {}).get("Message", ""),
        "leader": bool(manager.get("Leader")),
        "reachability": manager.get("Reachability", ""),
    }


def settings(spec: Mapping) -> dict:
    """The settings of a swarm that this collection keeps, out of its Spec; durations in seconds."""
    return {
        "labels": spec.get("Labels") or {},
        "autolock": bool((spec.get("EncryptionConfig") or {}).get("AutoLockManagers")),
        "dispatcher_heartbeat_s": (spec.get("Dispatcher") or {}).get("HeartbeatPeriod", 0) / SECOND,
        "task_history_limit": (spec.get("Orchestration") or {}).get("TaskHistoryRetentionLimit", 5),
        "node_certificate_expiry_s": (spec.get("CAConfig") or {}).get("NodeCertExpiry", 0) / SECOND,
    }


def _service(raw: Mapping) -> dict:
    status = raw.get("ServiceStatus") or {}
    return {
        "name": raw["Spec"]["Name"],
        "running": status.get("RunningTasks", 0),
        "desired": status.get("DesiredTasks", 0),
    }


def look(engine: Engine, unlock_key: str = "") -> dict:
    """All that the engine tells of itself, of its swarm and, where it is a manager with a quorum, of all nodes.

    unlock_key: compared with the swarm's own; it is in no result. Never raises for what Docker answers: `error` tells.
    """
    found = {
        "engine": None, "hostname": "", "state": "stopped", "error": "", "node_id": "", "manager": False, "cluster_id": "",
        "managers": [], "settings": None, "unlock_key_known": None, "nodes": [], "services": [], "gateway": None,
    }  # fmt: skip
    try:
        info = engine.get("/info")
    except EngineError as error:
        return found | {"error": str(error)}
    swarm = info.get("Swarm") or {}
    found |= {
        "engine": info.get("ServerVersion", ""),
        "hostname": info.get("Name", ""),
        "state": swarm.get("LocalNodeState") or "inactive",
        "error": plain(swarm.get("Error", "")),
        "node_id": swarm.get("NodeID", ""),
        "manager": bool(swarm.get("ControlAvailable")),
        "cluster_id": (swarm.get("Cluster") or {}).get("ID", ""),
        "managers": sorted(host_of(peer["Addr"]) for peer in swarm.get("RemoteManagers") or []),
    }
    try:
        network = engine.find(f"/networks/{GATEWAY}")
        if network:
            found["gateway"] = {"binding": (network.get("Options") or {}).get(BINDING, "")}
        if found["manager"]:
            inspected = engine.get("/swarm")
            found |= {"cluster_id": inspected["ID"], "settings": settings(inspected["Spec"])}
            found["nodes"] = sorted((node(raw) for raw in engine.get("/nodes")), key=lambda one: one["hostname"])
            found["services"] = sorted(
                (_service(raw) for raw in engine.get("/services?status=true")), key=lambda one: one["name"]
            )
            if found["settings"]["autolock"]:
                found["unlock_key_known"] = engine.get("/swarm/unlockkey").get("UnlockKey") == unlock_key
    except EngineError as error:
        found["error"] = str(error)
    return found


def member_of(entry: Mapping, members: list[Mapping]) -> str:
    """The name of the inventory's member that a node is: by its address, else by its host name; '' for none."""
    for key, value in (("address", entry["address"]), ("name", entry["hostname"])):
        for member in members:
            if member[key] == value:
                return member["name"]
    return ""


def _node_trouble(entry: Mapping) -> list[str]:
    """What keeps one node from doing its work."""
    trouble = []
    if entry["state"] != "ready":
        trouble.append(f"is {entry['state']}" + (f" ({entry['message']})" if entry["message"] else ""))
    if entry["role"] == "manager" and entry["reachability"] != "reachable":
        trouble.append(f"is as a manager {entry['reachability'] or 'not ready yet'}")
    return trouble


def led(found: Mapping) -> bool:
    """Whether nothing is to be waited for: the host is in no swarm, is locked, or its swarm has a leader as far as it can know."""
    if found["state"] not in ("active", "pending"):
        return True
    if found["nodes"]:
        return any(entry["leader"] for entry in found["nodes"])
    return found["state"] == "active" and not found["manager"] and not found["error"]


def assess(found: dict, expected: list[Mapping] = (), without: list[str] = (), services: bool = False) -> list[str]:
    """What is wrong with the swarm, as sentences; none: it is whole.

    expected: members of the inventory, each {name, address, role, availability}, the last '' where it does not matter. without: names
    whose own troubles are not counted, such as that of a host that is about to be restarted. services: whether every replica has to run.
    """
    if found["state"] != "active":
        return [found["error"].rstrip(".") + "." if found["error"] else f"Docker's swarm state is {found['state']}."]
    if not found["manager"]:
        return [found["error"].rstrip(".") + "."] if found["error"] else []
    if not found["nodes"]:
        return [f"The managers have no leader: {found['error'] or 'too few of them answer'}."]
    if found["error"]:
        return [found["error"].rstrip(".") + "."]
    problems, seen = [], {}
    for entry in found["nodes"]:
        seen.setdefault(member_of(entry, expected), []).append(entry)
    if not any(entry["leader"] for entry in found["nodes"]):
        problems.append("No manager leads.")
    for member in expected:
        name = member["name"]
        if name in without:
            continue
        entries = seen.get(name, [])
        if not entries:
            problems.append(f"{name} is no node of the swarm.")
            continue
        if len(entries) > 1:
            problems.append(f"{name} is listed {len(entries)} times, also as a node that is gone.")
        # A node that joined anew is the one that is ready.
        entry = min(entries, key=lambda one: one["state"] != "ready")
        trouble = _node_trouble(entry)
        if entry["role"] != member["role"]:
            trouble.append(f"is a {entry['role']}, not a {member['role']}")
        if entry["availability"] != (member["availability"] or entry["availability"]):
            trouble.append(f"has the availability {entry['availability']}, not {member['availability']}")
        if trouble:
            problems.append(f"{name} {' and '.join(trouble)}.")
    if services:
        problems += [
            f"Service {one['name']} runs {one['running']} of {one['desired']} replicas."
            for one in found["services"]
            if one["running"] < one["desired"]
        ]
    return problems


def lacking(found: Mapping, expected: list[str], away: int = 0) -> list[str]:
    """Which of the expected services are missing or lack more than `away` of their replicas, as sentences."""
    present = {one["name"]: one for one in found["services"]}
    problems = []
    for name in expected:
        one = present.get(name)
        if one is None:
            problems.append(f"There is no service {name}.")
        elif one["running"] < max(one["desired"] - away, min(1, one["desired"])):
            problems.append(f"Service {name} runs {one['running']} of {one['desired']} replicas.")
    return problems
