# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The state of the platform as one screen: the verdict, the problems, and a table for each layer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ..common.text import table
from ..services.postgresql import LEADING_ROLES
from .status import LEADING_OR_FOLLOWING, WIDTH, others


def screen(state: Mapping[str, Any]) -> str:
    """The state as text of at most 100 columns, for a person: the verdict, the problems, one table for each layer."""
    count = len(state["problems"])
    verdict = "OK" if state["healthy"] else f"DEGRADED, {count} problem{'s' if count > 1 else ''}"
    blocks = [f"{state['cluster']}: {verdict}"]
    if state["problems"]:
        blocks.append("\n".join(["Problems", *(line for text in state["problems"] for line in _item(text))]))
    tables = (
        _host_table,
        _etcd_table,
        _postgresql_table,
        _elasticsearch_table,
        _redis_table,
        _swarm_table,
        *(partial(_other_table, part) for part in others()),
        _haproxy_table,
    )
    for title, rows in (make(state) for make in tables):
        if rows:
            blocks.append("\n".join([title, *(f"  {line}" for line in table(rows, WIDTH - 2))]))
    return "\n\n".join(blocks)


def _item(text: str) -> list[str]:
    """A sentence as a list item, continued on lines of its own where it is long."""
    lines, line = [], "  -"
    for word in text.split():
        if len(line) + 1 + len(word) > WIDTH and line.strip() not in ("", "-"):
            lines.append(line)
            line = "   "
        line += f" {word}"
    return [*lines, line]


def size(count: int | None) -> str:
    """A number of bytes with a binary unit, as in `1.5 MiB`; `-` where it is not known."""
    if count is None:
        return "-"
    value, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def _host_table(state):
    vip, haproxy = state["vip"], state["haproxy"]
    title = "Hosts"
    if vip:
        title += f", virtual address {vip['cidr']} on {' and '.join(vip['holders']) or 'no host'}"
    balancers = {member["name"]: member for member in vip["members"]} if vip else {}
    proxies = {host["name"]: host for host in haproxy["hosts"]} if haproxy else {}
    rows = [["host", "address", "reachable", *(["virtual address", "keepalived", "haproxy"] if vip else [])]]
    for host in state["hosts"]:
        reachable = "maintenance" if host["maintenance"] else "yes" if host["reachable"] else "NO"
        row = [host["name"], host["address"], reachable]
        if vip:
            row += _balancer_cells(balancers.get(host["name"]), proxies.get(host["name"]))
        rows.append(row)
    return title, rows


def _balancer_cells(balancer, proxy):
    if balancer is None:
        return ["", "", ""]
    if balancer["held"] is None:
        return ["?", "?", "?"]
    held = f"{balancer['interface']}/{balancer['prefix']}" if balancer["held"] else "-"
    keepalived = (balancer["state"] or "running") if balancer["keepalived"] else "DOWN"
    return [held, keepalived, (proxy["version"] or "running") if proxy and proxy["answers"] else "DOWN"]


def _etcd_table(state):
    etcd = state["etcd"]
    if not etcd:
        return "", []
    rows = [["member", "address", "role", "health", "version", "database", "term"]]
    for member in etcd["members"]:
        role = "leader" if member["leader"] else "learner" if member["learner"] else "follower"
        known = member["version"] is not None
        rows.append(
            [
                member["name"],
                member["address"],
                role if known else "-",
                "ok" if member["healthy"] else "BAD",
                member["version"] or "-",
                size(member["db_size_bytes"]),
                str(member["raft_term"] or "-"),
            ]
        )
    rows += [[name, "", "-", "NO MEMBER", "-", "-", "-"] for name in etcd["not_members"]]
    if len(rows) == 1:
        return "etcd, nobody answers", [["-"]]
    healthy = sum(1 for member in etcd["members"] if member["healthy"])
    return f"etcd, {healthy} of {len(rows) - 1} healthy, quorum {etcd['quorum']}", rows


def _postgresql_table(state):
    postgresql = state["postgresql"]
    if not postgresql:
        return "", []
    rows = [["member", "address", "role", "state", "timeline", "lag", "notes"]]
    for member in postgresql["members"]:
        leads = member["role"] in LEADING_ROLES
        doing = (member["replication_state"] or member["state"] if member["reachable"] else "no answer") or "unknown"
        notes = ["restart pending"] if member["pending_restart"] else []
        notes += [f"{key}: {value}" for key, value in member["tags"].items() if value]
        rows.append(
            [
                member["name"],
                str(member["host"] or ""),
                member["role"].replace("_", " "),
                doing if member["serves"] else doing.upper(),
                str(member["timeline"] or "-"),
                "-" if leads else size(member["lag_bytes"]) if member["lag_bytes"] is not None else "unknown",
                ", ".join(notes),
            ]
        )
    rows += [[name, "", "-", "NO MEMBER", "-", "-", ""] for name in postgresql["not_members"]]
    if len(rows) == 1:
        return "PostgreSQL, nobody answers", [["-"]]
    title = f"PostgreSQL, primary {postgresql['leader'] or 'NONE'}"
    if postgresql["synchronous_mode"] not in (None, "off"):
        standbys = ", ".join(postgresql["synchronous_standbys"]) or "NONE"
        title += f", synchronous mode {postgresql['synchronous_mode']} ({standbys})"
    return title + (", PAUSED (no automatic failover)" if postgresql["paused"] else ""), rows


def _elasticsearch_table(state):
    search = state["elasticsearch"]
    if not search:
        return "", []
    engine = "OpenSearch" if search["flavor"] == "opensearch" else "Elasticsearch"
    rows = [["node", "address", "role", "version", "does"]]
    for node in search["nodes"]:
        role = "master" if node["master"] else "-"
        rows.append([node["name"], node["address"] or "", role, node["version"] or "-", ", ".join(node["roles"])])
    rows += [[name, "", "NOT THERE", "-", ""] for name in search["absent_nodes"]]
    if len(rows) == 1:
        return f"{engine}, nobody answers", [["-"]]
    title = f"{engine}, {search['status'] if search['status'] == 'green' else (search['status'] or 'unknown').upper()}"
    title += f", master {search['master'] or 'NONE'}"
    moving = [f"{search[key]} shards {key}" for key in ("unassigned", "initializing", "relocating") if search[key]]
    return ", ".join([title, *moving]), rows


def _redis_table(state):
    redis = state["redis"]
    if not redis:
        return "", []
    agree = sum(1 for sentinel in redis["sentinels"] if redis["master"] and sentinel["master"] == redis["master"])
    sentinels = {sentinel["name"]: sentinel for sentinel in redis["sentinels"]}
    rows = [["host", "address", "role", "link", "lag", "version", "its sentinel"]]
    for member in redis["members"]:
        link = "-" if member["role"] == "master" else "up" if member["link_up"] else "DOWN"
        lag = size(member["lag_bytes"]) if member["role"] == "replica" else "-"
        role = member["role"] or "NO ANSWER"
        version = member["version"] or "-"
        sentinel = _sentinel_word(sentinels.pop(member["name"], None))
        rows.append([member["name"], member["address"], role, link, lag, version, sentinel])
    for name, sentinel in sentinels.items():
        rows.append([name, sentinel["address"], "-", "-", "-", "-", _sentinel_word(sentinel)])
    if len(rows) == 1:
        return "Redis, nobody answers", [["-"]]
    return f"Redis, master {redis['master'] or 'NONE'}, {agree} of {len(redis['sentinels'])} sentinels agree", rows


def _sentinel_word(sentinel) -> str:
    if sentinel is None:
        return "-"
    if sentinel["error"]:
        return "NO ANSWER"
    return ", ".join(sentinel["flags"]).upper() or f"sees {sentinel['master'] or 'NO MASTER'}"


def _swarm_table(state):
    swarm = state["swarm"]
    if not swarm:
        return "", []
    rows = [["node", "address", "role", "state", "tasks", "engine"]]
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


def _other_table(part, state):
    layer = state.get(part)
    if not layer:
        return "", []
    rows = [["member", "role", "health"]]
    for member in layer["members"]:
        role = "leader" if member["name"] == layer["leader"] else "member"
        rows.append([member["name"], role, "ok" if member["healthy"] else "BAD"])
    rows += [[name, "-", "NO MEMBER"] for name in layer["not_members"]]
    if len(rows) == 1:
        return f"{part}, nobody answers", [["-"]]
    healthy = sum(1 for member in layer["members"] if member["healthy"])
    return f"{part}, {healthy} of {len(rows) - 1} healthy", rows


def _haproxy_table(state):
    haproxy = state["haproxy"]
    if not haproxy or not haproxy["servers"]:
        return "", []
    total = sum(1 for host in haproxy["hosts"] if host["answers"])
    rows = [["backend", "server", "status", "last check", "sessions"]]
    for row in haproxy["servers"]:
        if row["expected_down"] == "spare":
            continue
        view = next(iter(row["on"].values()))
        last = f"{view['check']} {view['check_code'] or ''}".strip() or "-"
        sessions = str(sum(view["sessions"] for view in row["on"].values()))
        rows.append([row["backend"], row["server"], _server_status(row, total), last, sessions])
    return f"HAProxy, as {total} load balancer{'s see' if total != 1 else ' sees'} it", rows


def _server_status(row, total) -> str:
    """One word where all load balancers agree, else who sees what."""
    words: dict[str, list[str]] = {}
    for host, view in row["on"].items():
        word = view["status"]
        if row["expected_down"] in LEADING_OR_FOLLOWING and not view["up"]:
            word = f"- ({row['expected_down']})"
        words.setdefault(word, []).append(host)
    if len(words) == 1 and len(row["on"]) == total:
        return next(iter(words))
    return "; ".join(f"{word} on {', '.join(hosts)}" for word, hosts in words.items())
