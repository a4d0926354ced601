# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A stack of services on a Docker swarm: what is wanted, what runs, and whether it has come about.

A stack is a Compose definition. Secrets and configs can't be changed in Swarm, so each version has a name of its own that depends on
its content. The definition itself is kept as a config, too, so that any manager can tell what a new one changes.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field

NAMESPACE = "com.docker.stack.namespace"
# On services: which definition they come from. On secrets and configs: which stack they belong to.
DEFINITION = "utmstack.ha.definition"
STACK = "utmstack.ha.stack"
# The name of the config that keeps the definition.
KEPT = "definition"

_LONGEST_NAME = 64
_HASH = 12
_CONSTRAINT = re.compile(r"node\.(labels\.(?P<label>\S+)|(?P<what>role|hostname|id))\s*(?P<how>==|!=)\s*(?P<value>\S+)")
# States of an update (Docker's API, ServiceUpdateStatus) that goes no further by itself.
PAUSED = ("paused", "rollback_paused")
FAILED_TASK = ("failed", "rejected")


@dataclass
class Seen:
    """What a manager says: raw services (with their status), tasks, nodes, and the stack's secrets and configs."""

    services: dict[str, dict] = field(default_factory=dict)
    tasks: dict[str, list[dict]] = field(default_factory=dict)
    nodes: list[dict] = field(default_factory=list)
    secrets: list[dict] = field(default_factory=list)
    configs: list[dict] = field(default_factory=list)


def version_name(stack: str, name: str, content: str, salt: str) -> str:
    """The name of one version of a secret or config, at most 64 characters.

    It depends on the content through a keyed hash (the key is the swarm's number), so that it tells nothing of it.
    """
    digest = hmac.new(salt.encode(), f"{name}\0{content}".encode(), hashlib.sha256).hexdigest()[:_HASH]
    room = _LONGEST_NAME - len(stack) - len(digest) - 2
    return f"{stack}_{name[:room]}_{digest}"


def literal(value):
    """A definition with every dollar doubled, as Docker takes them for variables otherwise."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, Mapping):
        return {name: literal(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [literal(item) for item in value]
    return value


def compose(definition: Mapping, stack: str, secrets: Mapping, configs: Mapping, salt: str) -> dict:
    """The whole definition: with the names of the present versions, and without what is None."""
    whole = _without_none(copy.deepcopy(dict(definition)))
    whole["version"] = str(whole.get("version", "3.8"))
    for kind, contents in (("secrets", secrets), ("configs", configs)):
        if contents:
            named = {
                name: {"external": True, "name": version_name(stack, name, content, salt)}
                for name, content in contents.items()
            }
            whole[kind] = {**whole.get(kind, {}), **named}
    for service in whole["services"].values():
        if isinstance(service.get("environment"), Mapping):
            service["environment"] = {name: _text(value) for name, value in service["environment"].items()}
    return whole


def fingerprint(whole: Mapping) -> str:
    """A short name of a definition, the same for the same content."""
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:_HASH]


def labelled(whole: Mapping, mark: str) -> dict:
    """The definition with the mark on each of its services."""
    marked = copy.deepcopy(dict(whole))
    for service in marked["services"].values():
        deploy = service.setdefault("deploy", {})
        deploy["labels"] = {**deploy.get("labels", {}), DEFINITION: mark}
    return marked


def _text(value) -> str:
    """A value as an environment variable has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _without_none(value):
    if isinstance(value, Mapping):
        return {name: _without_none(item) for name, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_without_none(item) for item in value]
    return value


def shown(whole: Mapping | None) -> str:
    """A definition for a diff."""
    return json.dumps(whole, indent=2, sort_keys=True) + "\n" if whole else ""


def kept_definition(seen: Seen, stack: str, mark: str) -> dict | None:
    """The definition of that mark, as it was deployed, or None where it is not kept any more."""
    for config in seen.configs:
        if config["Spec"]["Name"] == f"{stack}_{KEPT}_{mark}":
            return json.loads(base64.b64decode(config["Spec"]["Data"]))
    return None


def marks(seen: Seen) -> list[str]:
    """The marks of the definitions that the services come from, most frequent first."""
    found = [raw["Spec"].get("Labels", {}).get(DEFINITION, "") for raw in seen.services.values()]
    return sorted(set(filter(None, found)), key=lambda mark: -found.count(mark))


def differences(seen: Seen, whole: Mapping, stack: str, mark: str) -> list[str]:
    """Why the stack has to be deployed, as sentences; none: it runs as defined."""
    reasons = []
    for short, service in whole["services"].items():
        name = f"{stack}_{short}"
        raw = seen.services.get(name)
        if raw is None:
            reasons.append(f"{name} is not there")
            continue
        spec = raw["Spec"]
        container = spec["TaskTemplate"]["ContainerSpec"]
        if spec.get("Labels", {}).get(DEFINITION) != mark:
            reasons.append(f"{name} comes from another definition")
        elif container["Image"].split("@")[0] != service["image"].split("@")[0]:
            reasons.append(f"{name} was changed by hand: its image is {container['Image']}")
        elif sorted(container.get("Env") or []) != sorted(
            f"{key}={value}" for key, value in service.get("environment", {}).items()
        ):
            reasons.append(f"{name} was changed by hand: its environment")
        elif replicas(raw) is not None and replicas(raw) != service.get("deploy", {}).get("replicas", 1):
            reasons.append(f"{name} was changed by hand: it has {replicas(raw)} replicas")
    names = {f"{stack}_{short}" for short in whole["services"]}
    return reasons + [f"{name} is not defined any more" for name in seen.services if name not in names]


def replicas(raw: Mapping) -> int | None:
    """How many replicas a service should have, or None where it runs on every node."""
    return (raw["Spec"]["Mode"].get("Replicated") or {}).get("Replicas")


def places(raw: Mapping, nodes: list[Mapping]) -> int:
    """How many replicas of a service the nodes that serve right now can carry."""
    placement = raw["Spec"]["TaskTemplate"].get("Placement") or {}
    fitting = [
        node for node in nodes if _serves(node) and all(_fits(node, one) for one in placement.get("Constraints") or [])
    ]
    most = placement.get("MaxReplicas") or 0
    wanted = replicas(raw)
    if wanted is None:
        return len(fitting)
    if not fitting:
        return 0
    return min(wanted, most * len(fitting)) if most else wanted


def _serves(node: Mapping) -> bool:
    return node["Status"]["State"] == "ready" and node["Spec"].get("Availability", "active") == "active"


def _fits(node: Mapping, constraint: str) -> bool:
    """Whether a node fulfils a constraint; one that is not understood counts as fulfilled."""
    match = _CONSTRAINT.fullmatch(constraint.strip())
    if not match:
        return True
    if match["label"]:
        value = (node["Spec"].get("Labels") or {}).get(match["label"], "")
    else:
        what = {"role": node["Spec"].get("Role"), "hostname": node["Description"].get("Hostname"), "id": node["ID"]}
        value = what[match["what"]]
    return (value == match["value"]) == (match["how"] == "==")


def _current(task: Mapping, raw: Mapping) -> bool:
    """Whether a task runs with the service's present specification."""
    mine, wanted = task["Spec"], raw["Spec"]["TaskTemplate"]
    return mine.get("ContainerSpec") == wanted.get("ContainerSpec") and mine.get("ForceUpdate", 0) == wanted.get(
        "ForceUpdate", 0
    )


def progress(seen: Seen, mark: str, former: Set[str] = frozenset()) -> tuple[list[str], list[str]]:
    """What the services still lack, and what has failed for good, each as sentences.

    mark: that of the definition that they should come from; a service that does not was rolled back by Docker. former: numbers of tasks
    whose failures are old news. Replicas that no node can carry at present, since hosts are away, are not waited for.
    """
    lacking, failed = [], []
    for name, raw in sorted(seen.services.items()):
        tasks = [task for task in seen.tasks.get(name, []) if task["DesiredState"] == "running"]
        running = [task for task in tasks if task["Status"]["State"] == "running"]
        ready = [task for task in running if _current(task, raw)]
        wanted = places(raw, seen.nodes)
        update = raw.get("UpdateStatus") or {}
        state = update.get("State", "completed")
        why = _errors(seen, name, former)
        if raw["Spec"].get("Labels", {}).get(DEFINITION) != mark:
            failed.append(f"Docker took {name} back to its former definition ({update.get('Message') or state}).{why}")
        elif state in PAUSED:
            failed.append(f"The update of {name} has stopped ({update.get('Message') or state}).{why}")
        elif len(ready) < wanted or len(running) > wanted or not wanted:
            lacking.append(f"{name} runs {len(ready)} of {wanted or replicas(raw)} replicas.{why}")
        elif state == "updating" and wanted == (replicas(raw) or wanted):
            lacking.append(f"{name} runs {len(ready)} of {wanted} replicas and is still watched.")
    return lacking, failed


def settled(seen: Seen) -> bool:
    """Whether nothing moves any more: no update or rollback is under way, and as many replicas run as can."""
    return all(
        (raw.get("UpdateStatus") or {}).get("State", "") not in ("updating", "rollback_started")
        and _running(seen, name) >= places(raw, seen.nodes)
        for name, raw in seen.services.items()
    )


def standing(seen: Seen) -> list[str]:
    """How many replicas of each service serve, whatever their definition, as sentences."""
    return [
        f"{name} serves with {_running(seen, name)} of {places(raw, seen.nodes)} replicas."
        for name, raw in sorted(seen.services.items())
    ]


def _running(seen: Seen, name: str) -> int:
    return sum(
        task["DesiredState"] == "running" and task["Status"]["State"] == "running" for task in seen.tasks.get(name, [])
    )


def _errors(seen: Seen, name: str, former: Set[str], most: int = 3) -> str:
    """What the newest tasks of a service that failed say, one of each kind."""
    hosts = {node["ID"]: node["Description"].get("Hostname", "") for node in seen.nodes}
    failed = [
        task for task in seen.tasks.get(name, []) if task["Status"]["State"] in FAILED_TASK and task["ID"] not in former
    ]
    failed.sort(key=lambda task: task["Status"].get("Timestamp", ""), reverse=True)
    waiting = [
        task
        for task in seen.tasks.get(name, [])
        if task["DesiredState"] == "running" and task["Status"]["State"] == "pending"
    ]
    said = []
    for task in failed + waiting:
        status = task["Status"]
        host = hosts.get(task.get("NodeID", ""), "")
        text = (status.get("Err") or status.get("Message") or status["State"]).strip()
        line = f" {name}.{task.get('Slot', '')}{' on ' + host if host else ''}: {text} (`docker service logs {task['ID']}`)."
        if not any(text in other for other in said):
            said.append(line)
    return "".join(said[:most])


def referenced(services: Mapping[str, Mapping]) -> set[str]:
    """Numbers of the secrets and configs that services use, or would use again after a rollback."""
    found = set()
    for raw in services.values():
        for spec in (raw["Spec"], raw.get("PreviousSpec") or {}):
            container = (spec.get("TaskTemplate") or {}).get("ContainerSpec") or {}
            found.update(one["SecretID"] for one in container.get("Secrets") or [])
            found.update(one["ConfigID"] for one in container.get("Configs") or [])
    return found


def superfluous(items: list[Mapping], used: set[str], keep: set[str]) -> list[Mapping]:
    """Versions of secrets or configs that nothing uses; those of the names in `keep` stay."""
    return [item for item in items if item["ID"] not in used and item["Spec"]["Name"] not in keep]
