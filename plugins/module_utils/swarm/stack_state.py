# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A stack that is stopped for some time and started again, with its definition and its secrets left as they are.

A stopped service has no replicas, and a label with the number that it had. So whoever starts it needs to know nothing, and what another
run has left is found. A deployment of the stack takes the label away and gives the replicas back.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

from .stack import Seen, places, replicas

STOPPED = "utmstack.ha.replicas"
STATES = STOP, START = ("stopped", "started")
# States of a task (Docker's API) after which none of its processes is left.
ENDED = ("complete", "shutdown", "failed", "rejected", "remove", "orphaned")


def change(raw: Mapping, state: str) -> dict | None:
    """The specification by which a service stops or starts, or None where it is so, or runs on every node."""
    count, labels = replicas(raw), raw["Spec"].get("Labels") or {}
    if count is None or (state == STOP) == (STOPPED in labels):
        return None
    if state == STOP and count == 0:
        return None
    spec = copy.deepcopy(dict(raw["Spec"]))
    spec["Labels"] = {name: value for name, value in labels.items() if name != STOPPED}
    if state == STOP:
        spec["Labels"][STOPPED] = str(count)
    spec["Mode"]["Replicated"]["Replicas"] = 0 if state == STOP else int(labels[STOPPED])
    return spec


def everywhere(seen: Seen) -> list[str]:
    """Services that run on every node, which have no number of replicas to change."""
    return sorted(name for name, raw in seen.services.items() if replicas(raw) is None)


def lacking(seen: Seen, state: str) -> list[str]:
    """What is still to be waited for, as sentences."""
    found = []
    for name, raw in sorted(seen.services.items()):
        if replicas(raw) is None:
            continue
        if state == STOP:
            left = [task for task in seen.tasks.get(name, []) if _may_run(task) and not _lost(task, seen)]
            if left:
                found.append(f"{len(left)} of {name}'s replicas have not ended.")
            continue
        running = sum(
            task["DesiredState"] == "running" and task["Status"]["State"] == "running"
            for task in seen.tasks.get(name, [])
        )
        if running < places(raw, seen.nodes):
            found.append(f"{name} runs {running} of {places(raw, seen.nodes)} replicas.")
    return found


def unknown(seen: Seen) -> list[str]:
    """Nodes with replicas of which nobody can say whether they run, since the node does not answer."""
    lost = {task["NodeID"] for tasks in seen.tasks.values() for task in tasks if _may_run(task) and _lost(task, seen)}
    return sorted(node["Description"].get("Hostname", node["ID"]) for node in seen.nodes if node["ID"] in lost)


def _may_run(task: Mapping) -> bool:
    return bool(task.get("NodeID")) and task["Status"]["State"] not in ENDED


def _lost(task: Mapping, seen: Seen) -> bool:
    states = {node["ID"]: node["Status"]["State"] for node in seen.nodes}
    return states.get(task["NodeID"]) != "ready"
