# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The state of the platform as one screen: the verdict, the problems, and a table for each layer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ..common.text import table
from .status import parts

WIDTH = 100


def screen(state: Mapping[str, Any]) -> str:
    """The state as text of at most 100 columns, for a person: the verdict, the problems, one table for each layer."""
    count = len(state["problems"])
    verdict = "OK" if state["healthy"] else f"DEGRADED, {count} problem{'s' if count > 1 else ''}"
    blocks = [f"{state['cluster']}: {verdict}"]
    if state["problems"]:
        blocks.append("\n".join(["Problems", *(line for text in state["problems"] for line in _item(text))]))
    tables = (_host_table, *(service.table or partial(_members_table, part) for part, service in parts().items()))
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


def _host_table(state):
    vip, haproxy = state["vip"], state["haproxy"]
    title = "Hosts"
    if vip:
        title += f", virtual IP {vip['cidr']} on {' and '.join(vip['holders']) or 'no host'}"
    balancers = {member["name"]: member for member in vip["members"]} if vip else {}
    proxies = {host["name"]: host for host in haproxy["hosts"]} if haproxy else {}
    rows = [["host", "address", "reachable", *(["virtual IP", "keepalived", "HAProxy"] if vip else [])]]
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


def _members_table(part, state):
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
