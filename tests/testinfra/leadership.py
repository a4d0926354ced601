# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who leads what, with counters that only grow: two looks tell what changed hands in between, also where it came back."""

from __future__ import annotations

import csv
import json
import shlex
import ssl
import urllib.request
from base64 import b64encode

import clients
from cluster import UNITS, everywhere

# Service to what was seen of it, by name.
Look = dict[str, dict[str, object]]


def postgresql(cluster) -> dict:
    members, history = cluster.ask_patroni("/cluster")["members"], cluster.ask_patroni("/history")
    leader = next((member for member in members if member["role"] == "leader"), {})
    return {
        "primary": leader.get("name"),
        "timeline": leader.get("timeline"),
        "history": f"{len(history)} entries, the last {history[-1] if history else None}",
    }


def etcd(cluster) -> dict:
    seen = {host: json.loads(cluster.etcd(host, "endpoint status -w json"))[0]["Status"] for host in cluster.hosts}
    names = {status["header"]["member_id"]: host for host, status in seen.items()}
    return {
        "leader": ", ".join(sorted({names.get(status["leader"], "nobody") for status in seen.values()})),
        "raft term": max(status["raftTerm"] for status in seen.values()),
    }


def redis(cluster) -> dict:
    sentinels = clients.sentinel(cluster, patience=10).sentinels
    names = {address: host for host, address in cluster.hosts.items()}
    masters = [sentinel.sentinel_masters()[clients.REDIS_MASTER] for sentinel in sentinels]
    return {
        "master": ", ".join(sorted({names[master["ip"]] for master in masters})),
        "config epoch": max(master["config-epoch"] for master in masters),
        "replication id": clients.redis_by_sentinel(cluster, patience=10).info("replication")["master_replid"],
    }


def elasticsearch(cluster) -> dict:
    monitoring = clients.search(cluster, "utmstack-monitoring", cluster.passwords["elasticsearch_monitoring_password"])
    state = monitoring.cluster.state(
        metric="master_node,nodes,metadata",
        filter_path="master_node,nodes.*.name,metadata.cluster_coordination.term",
    )
    return {
        "master": f"{state['nodes'][state['master_node']]['name']} ({state['master_node']})",
        "nodes": ", ".join(sorted(node["name"] for node in state["nodes"].values())),
        "term": state["metadata"]["cluster_coordination"]["term"],
    }


def keepalived(cluster) -> dict:
    """The state of each host as keepalived has told it, with the time: it is another after every transition."""
    states = everywhere(cluster, "cat /run/utmstack-ha/vip-state")
    return {
        "holder": ", ".join(cluster.vip_holders()),
        **{f"state of {host}, and since when": state.strip() for host, state in states.items()},
    }


ELECTIONS = "became candidate|elected leader|changed leader|lost leader"


def swarm(cluster) -> dict:
    """Docker tells the term of its raft nowhere but in its log."""
    counted = everywhere(cluster, f"journalctl --quiet --output=cat --unit=docker | grep -Ec '{ELECTIONS}' || true")
    return {
        "leader": cluster.swarm_leader(),
        **{f"elections in the log of {host}": int(count) for host, count in counted.items()},
    }


def backend(cluster) -> dict:
    tasks = "docker service ps --filter desired-state=running --format '{{.Node}} {{.ID}}' utmstack_backend"
    listed = cluster.ssh(next(iter(cluster.hosts)), tasks).stdout.splitlines()
    return {f"task on {node}": task for node, task in map(str.split, listed)}


def downs(statistics: str) -> dict[str, str]:
    """BACKEND/SERVER to how often it went down, of HAProxy's statistics as CSV."""
    rows = csv.DictReader(statistics.removeprefix("# ").splitlines())
    return {
        f"{row['pxname']}/{row['svname']}": row["chkdown"]
        for row in rows
        if row["svname"] not in ("FRONTEND", "BACKEND") and row["chkdown"]
    }


def haproxy(cluster) -> dict:
    context = ssl.create_default_context(cafile=str(cluster.ca))
    login = b64encode(f"operator:{cluster.passwords['haproxy_stats_password']}".encode()).decode()
    seen = {}
    for host, address in cluster.hosts.items():
        asked = urllib.request.Request(f"https://{address}:8404/stats;csv", headers={"Authorization": f"Basic {login}"})
        with urllib.request.urlopen(asked, timeout=10, context=context) as answer:
            counted = downs(answer.read().decode())
        seen |= {f"times that {host} saw {server} go down": count for server, count in counted.items()}
    return seen


def processes(cluster) -> dict:
    """The identity of each unit's present invocation, which changes with every start."""
    show = f"for unit in {' '.join(UNITS)}; do echo $unit $(systemctl show -P InvocationID $unit); done"
    return {
        f"start of {unit} on {host}": identity
        for host, lines in everywhere(cluster, show).items()
        for unit, _space, identity in (line.partition(" ") for line in lines.splitlines())
    }


READERS = {
    reader.__name__: reader
    for reader in (postgresql, etcd, redis, elasticsearch, keepalived, swarm, backend, haproxy, processes)
}
# Where the journal tells of it: units, and what their lines have in them.
JOURNAL = {
    "postgresql": (("patroni",), "promoted|demot|acquired session lock|released leader key"),
    "etcd": (("etcd",), ELECTIONS),
    "redis": (("redis-sentinel",), r"[+-](sdown|odown|tilt|switch-master|new-epoch|try-failover)"),
    "elasticsearch": (("elasticsearch",), "master node changed|elected-as-master|node-left"),
    "keepalived": (("keepalived",), "Entering .* STATE"),
    "swarm": (("docker",), ELECTIONS),
    "backend": (("docker",), "task|health"),
    "haproxy": (("haproxy",), "is (DOWN|UP)"),
    "processes": (UNITS, "^[^ ]+ [^ ]+ systemd"),
}


def look(cluster) -> Look:
    """All that `moved` compares."""
    return {service: read(cluster) for service, read in READERS.items()}


def moved(before: Look, after: Look) -> dict[str, dict[str, tuple]]:
    """Service to what is not as it was, and that to what it was and is; empty where nothing changed hands or was started."""
    found = {}
    for service in before | after:
        old, new = before.get(service, {}), after.get(service, {})
        if changed := {what: (old.get(what), new.get(what)) for what in old | new if old.get(what) != new.get(what)}:
            found[service] = changed
    return found


def told(found: dict[str, dict[str, tuple]]) -> str:
    """What moved, a line each."""
    return "\n".join(
        f"{service}: {what}: {old} -> {new}"
        for service, changed in found.items()
        for what, (old, new) in changed.items()
    )


def journal(cluster, services, since: float) -> str:
    """The last lines on each host that tell of these services' changes, since a time of day in seconds."""
    lines = []
    for service in services:
        units, pattern = JOURNAL[service]
        command = (
            f"journalctl --quiet --output=short-iso-precise --since=@{since:.0f} {' '.join(f'--unit={unit}' for unit in units)}"
            f" | grep -E {shlex.quote(pattern)} | tail -n 20 || true"
        )
        lines += [
            f"{service}: {line}" for shown in everywhere(cluster, command).values() for line in shown.splitlines()
        ]
    return "\n".join(lines)
