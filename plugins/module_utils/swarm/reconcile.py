# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Brings a swarm's settings and nodes to what is wanted, through one of its managers."""

from __future__ import annotations

import copy
import json
import time
import urllib.parse
from collections.abc import Callable, Mapping

from .cluster import SECOND, member_of, node, settings
from .engine import Engine, EngineError

# Someone changed the object between the look and the change; Docker then wants the change again, upon the newer one.
CONFLICT = "update out of sequence"
# Where a swarm was made anew of one manager's state, its former managers are listed still, and no part of the quorum.
NO_VOTER = "can't find manager in raft memberlist"

# How the options are named in a node's Spec.
FIELDS = {"role": "Role", "availability": "Availability", "labels": "Labels"}
# States of a task that has begun and not ended (Docker's documentation, "Swarm task states").
ALIVE = ("assigned", "accepted", "preparing", "ready", "starting", "running")


def wanted_spec(spec: Mapping, wanted: Mapping) -> dict:
    """The swarm's Spec with the wanted settings, each as swarm.settings() names it; None leaves a setting alone."""
    new = copy.deepcopy(dict(spec))

    def put(section: str, key: str, value: object) -> None:
        new[section] = {**(new.get(section) or {}), key: value}

    if wanted.get("labels") is not None:
        new["Labels"] = {**(new.get("Labels") or {}), **wanted["labels"]}
    if wanted.get("autolock") is not None:
        put("EncryptionConfig", "AutoLockManagers", wanted["autolock"])
    if wanted.get("dispatcher_heartbeat_s") is not None:
        put("Dispatcher", "HeartbeatPeriod", int(wanted["dispatcher_heartbeat_s"] * SECOND))
    if wanted.get("task_history_limit") is not None:
        put("Orchestration", "TaskHistoryRetentionLimit", wanted["task_history_limit"])
    if wanted.get("node_certificate_expiry_s") is not None:
        put("CAConfig", "NodeCertExpiry", int(wanted["node_certificate_expiry_s"] * SECOND))
    return new


def listing(values: Mapping, nodes: list[Mapping]) -> str:
    """Settings and nodes for a diff."""
    lines = [f"{name}: {values[name]}" for name in sorted(values)]
    lines += [
        f"{one['hostname']} ({one['id'][:12]}): {one['role']}, {one['availability']}"
        + "".join(f", {key}={value}" for key, value in sorted(one["labels"].items()))
        for one in nodes
    ]
    return "".join(f"{line}\n" for line in lines)


class Swarm:
    """The swarm as one manager knows and changes it. `seconds`: how long a change may take to come about."""

    def __init__(self, engine: Engine, seconds: float, clock: Callable = time.monotonic, sleep: Callable = time.sleep):
        self.engine, self._seconds, self._clock, self._sleep = engine, seconds, clock, sleep

    def nodes(self) -> list[dict]:
        """All nodes, by host name. Raises EngineError."""
        return sorted((node(raw) for raw in self.engine.get("/nodes")), key=lambda one: (one["hostname"], one["id"]))

    def _until(self, attempt: Callable[[], str], what: str) -> None:
        """Try until the attempt returns '', what is still to come otherwise. Raises EngineError."""
        end = self._clock() + self._seconds
        while missing := attempt():
            if self._clock() > end:
                raise EngineError(f"{what} did not come about within {self._seconds:g} s: {missing}")
            self._sleep(0.3)

    def _change(self, path: str, edit: Callable[[dict], dict]) -> None:
        """Edit the Spec of the object at `path`, and again where someone else was faster. Raises EngineError."""
        for attempt in range(5):
            found = self.engine.get(path)
            try:
                self.engine.post(f"{path}/update?version={found['Version']['Index']}", edit(found["Spec"]), 30.0)
                return
            except EngineError as error:
                if CONFLICT not in str(error) or attempt == 4:
                    raise
                self._sleep(0.2)

    def set(self, wanted: Mapping) -> None:
        """Put the swarm's settings in force. Raises EngineError."""
        self._change("/swarm", lambda spec: wanted_spec(spec, wanted))

    def update(self, number: str, name: str, wanted: Mapping) -> None:
        """Make a node what it should be; waits until that has come about. Raises EngineError."""
        path = f"/nodes/{number}"

        def missing() -> str:
            found = node(self.engine.get(path))
            role = wanted.get("role")
            if role == "manager" and found["reachability"] != "reachable":
                return f"the manager is {found['reachability'] or 'not known to the others'}"
            if role == "worker" and found["reachability"]:
                return "it is still a manager"
            if found["availability"] == "drain" and (left := self.tasks(number)):
                return f"{left} tasks run there"
            return ""

        self._change(path, lambda spec: {**spec, **{FIELDS[key]: value for key, value in wanted.items()}})
        self._until(missing, f"The change of {name}")

    def tasks(self, number: str) -> int:
        """How many tasks a node has that have not ended. Raises EngineError."""
        filters = urllib.parse.quote(json.dumps({"node": {number: True}}))
        found = self.engine.get(f"/tasks?filters={filters}")
        return sum(task["Status"]["State"] in ALIVE for task in found)

    def remove(self, gone: Mapping) -> None:
        """Take a node that is gone out of the swarm, a manager out of its quorum first. Raises EngineError."""
        path = f"/nodes/{gone['id']}"
        if self.engine.find(path) is None:
            return
        if gone["role"] == "manager":
            try:
                self._change(path, lambda spec: {**spec, "Role": "worker"})
            except EngineError as error:
                if NO_VOTER not in str(error):
                    raise

        def attempt() -> str:
            try:
                self.engine.delete(f"{path}?force=1")
            except EngineError as error:
                if error.status != 404:
                    return str(error)
            return ""

        self._until(attempt, f"The removal of the former node of {gone['name']}")


def find(nodes: list[Mapping], wanted: Mapping) -> Mapping:
    """The node that is meant: by its number, else by address or name, the one that is ready first. Raises EngineError."""
    if wanted.get("id"):
        found = [entry for entry in nodes if entry["id"] == wanted["id"]]
    else:
        found = [entry for entry in nodes if member_of(entry, [wanted])]
    if not found:
        raise EngineError(f"{wanted['name']} is no node of the swarm")
    return min(found, key=lambda entry: entry["state"] != "ready")


def reconcile(swarm: Swarm, wanted: Mapping, update: list[Mapping], remove: list[Mapping], check: bool) -> dict:
    """Bring settings and nodes to what is wanted; returns changed and diff. Raises EngineError."""
    spec = swarm.engine.get("/swarm")["Spec"]
    before_nodes = swarm.nodes()
    new_spec = wanted_spec(spec, wanted)
    gone = [one for one in remove if one["id"] in {entry["id"] for entry in before_nodes}]
    changes = {}
    for one in update:
        entry = find(before_nodes, one)
        new = {key: one[key] for key in FIELDS if one.get(key) is not None}
        if new.get("labels") is not None:
            new["labels"] = {name: str(value) for name, value in new["labels"].items()}
        if any(entry[key] != value for key, value in new.items()):
            changes[entry["id"]] = (one["name"], new)
    gone_ids = {one["id"] for one in gone}
    after_nodes = [
        {**entry, **changes[entry["id"]][1]} if entry["id"] in changes else entry
        for entry in before_nodes
        if entry["id"] not in gone_ids
    ]
    if not check:
        for one in gone:
            swarm.remove(one)
        if new_spec != spec:
            swarm.set(wanted)
        for number, (name, new) in changes.items():
            swarm.update(number, name, new)
    return {
        "changed": bool(gone or changes or new_spec != spec),
        "diff": {"before": listing(settings(spec), before_nodes), "after": listing(settings(new_spec), after_nodes)},
    }
