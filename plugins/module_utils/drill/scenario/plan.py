# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a drill does, and to whom: pure decisions on the topology, the state of the platform and the faults that choice.py has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...common.text import nearest, table
from ...operation.plan import ill, leaders
from ...services.drill import LEADER, LEADER_OF_ALL, REPLICA, VIP_HOLDER
from ...services.registry import SERVICES, handed_over, leaderships, ledger_paths, processes, targets

Topology = Mapping[str, Any]
State = Mapping[str, Any]


# Whom a fault may meet, but for a host by its name.
ROLES = (LEADER, REPLICA, VIP_HOLDER, LEADER_OF_ALL)
# Kinds of which the controller runs the commands: what takes the host away, and what brings it back.
COMMANDS = {"power": ("power_off", "power_on"), "frozen": ("freeze", "thaw")}
# How long a fault may last beyond its time until the host undoes it by itself, in seconds.
MARGIN_S = 90


def refusals(state: State) -> list[str]:
    """Why no drill may begin now, each with its remedy; empty where it may."""
    found = [
        f"{host['name']} is in maintenance ({host['maintenance']}). End that first: playbooks/maintenance.yml "
        f"-e host={host['name']} -e state=absent."
        for host in state["hosts"]
        if host["maintenance"]
    ]
    other = [problem for problem in state["problems"] if "is in maintenance" not in problem]
    if other:
        found.append(
            f"The cluster is not healthy, and a drill begins with a healthy one: {'; '.join(other)}. Repair that first."
        )
    return found


def plan(
    topology: Topology, state: State, chosen: Mapping[str, Any], repeat: Any, commands: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """The turns of a drill.

    chosen: what scenario() of choice.py returned, without problems. repeat: how often all of it is done.
    commands: those of COMMANDS that the operator gave, by name.
    Returns {problems, turns: a list of {number, id, name, repeat, fault}, passed_over: a list of {fault, why}, targets: name to
    seconds or to seconds by path, text: for a person}. The targets' hosts are only what a turn would take now; each turn chooses anew.
    """
    problems = refusals(state)
    if problems:
        return {"problems": problems, "turns": [], "passed_over": [], "targets": {}, "text": ""}
    met = {name: target(fault, topology, state) for name, fault in chosen["faults"].items()}
    reasons = {name: lacking(fault, commands) or met[name]["why"] for name, fault in chosen["faults"].items()}
    passed = [{"fault": name, "why": why} for name, why in reasons.items() if why]
    left = {name: fault for name, fault in chosen["faults"].items() if not reasons[name]}
    if not left:
        problems = [
            "This inventory can have none of these faults:",
            *(f"{one['fault']}: {one['why']}." for one in passed),
        ]
    order = [(again, name) for again in range(1, int(repeat) + 1) for name in left]
    turns = [
        {"number": number, "id": f"{number:02d}-{name}", "name": name, "repeat": again, "fault": left[name]}
        for number, (again, name) in enumerate(order, 1)
    ]
    rows = [
        [number, name, met[name]["host"], f"{fault['hold_s']:g} s", _aim(fault), fault["text"]]
        for number, (name, fault) in enumerate(left.items(), 1)
    ]
    return {
        "problems": problems,
        "turns": turns,
        "passed_over": passed,
        "targets": {name: fault["target_s"] for name, fault in left.items() if fault.get("target_s")},
        "text": _text(chosen["text"], rows, int(repeat), passed),
    }


def _aim(fault):
    aim = fault.get("target_s")
    if not isinstance(aim, Mapping):
        return f"{aim:g} s" if aim else "-"
    return ", ".join(f"{path} {seconds:g} s" for path, seconds in aim.items())


def _text(title, rows, times, passed):
    each = "once" if times == 1 else f"{times} times"
    lines = table([["turn", "fault", "host (now)", "held for", "outage target", "description"], *rows]) if rows else []
    return "\n".join(
        [
            f"Drill: {title}, {len(rows)} faults, {each} each",
            *(f"  {line}" for line in lines),
            *(f"Skipped: {entry['fault']}: {entry['why']}" for entry in passed),
        ]
    )


def lacking(fault: Mapping[str, Any], commands: Mapping[str, Sequence[str]]) -> str:
    """Which of the operator's commands a fault needs and does not have, with the remedy."""
    absent = [f"drill_{name}" for name in COMMANDS.get(fault["fault"]["kind"], ()) if not commands.get(name)]
    return f"the inventory has no {' and '.join(absent)}. Set the commands that do that to a host" if absent else ""


def target(fault: Mapping[str, Any], topology: Topology, state: State) -> dict[str, Any]:
    """Whom a fault meets now.

    Returns {host, role, service, partner: another member of the service, or None, handovers: a list of {service, to} to do before, why:
    why there is no such host, with the remedy}.
    """
    role, service = fault["target"], fault.get("service", "")
    led = leaders(state)
    handovers: list[dict[str, str]] = []
    host, why = None, ""
    if role == LEADER:
        host = led.get(service)
        why = f"{service or 'a service that is not named'} has no leader"
    elif role == VIP_HOLDER:
        service, host = "vip", led.get("vip")
        why = "no host of this inventory holds the virtual IP"
    elif role == REPLICA:
        others = [one for one in hosts_of(topology, service) if one != led.get(service)]
        sick = ill(state, targets()[service].name, others) if others else []
        host = next(iter(sorted((one for one in others if one not in sick), key=list(led.values()).count)), None)
        why = f"{service or 'a service that is not named'} has no healthy replica"
    elif role == LEADER_OF_ALL:
        host, handovers = _leader_of_all(topology, state, led)
        why = "no host has a part in all that is led here"
    elif role in topology["hosts"]:
        host = role
    else:
        why = f"target {role} is neither a role nor a host. {nearest(role, [*ROLES, *topology['hosts']])}"
    if host and fault.get("alone"):
        handovers = _alone(topology, state, led, host, service)
    partner = next((one for one in hosts_of(topology, service) if one != host), None) if host else None
    return {
        "host": host,
        "role": role,
        "service": service,
        "partner": partner,
        "handovers": handovers,
        "why": "" if host else why,
    }


def hosts_of(topology: Topology, service: str) -> list[str]:
    """The hosts that may lead a service, or that are its replicas, by the names of registry.targets()."""
    return targets()[service].may_lead(topology) if service in targets() else []


def _can_lead(state, service, host):
    """Whether the host leads a service, or may take it over now."""
    part = targets()[service]
    successors = part.successors(part.layer_of(state))
    return not successors or host in (part.leader_of(state), *successors)


def _leader_of_all(topology, state, led):
    """The host that needs least to lead all, and what has to be handed over to it."""
    services = [service for service in handed_over() if service in led]
    able = [
        host
        for host in topology["hosts"]
        if all(host in hosts_of(topology, one) and _can_lead(state, one, host) for one in services)
    ]
    if not able or not services:
        return None, []
    host = max(able, key=lambda one: sum(led[service] == one for service in services))
    return host, [{"service": service, "to": host} for service in services if led[service] != host]


def _alone(topology, state, led, host, service):
    """What the host has to hand over so that it leads that service only, and to whom."""
    found = []
    for other in handed_over():
        candidates = [one for one in hosts_of(topology, other) if one != host and _can_lead(state, other, one)]
        if other != service and led.get(other) == host and candidates:
            found.append({"service": other, "to": candidates[0]})
    return found


def injection(
    fault: Mapping[str, Any],
    chosen: Mapping[str, Any],
    topology: Topology,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """What the module drill_fault is told.

    chosen: what target() returned. settings: volumes (service to directory), fill_limit_gb, commands (name to a command),
    certificate (PEM of an expired one), snapshots (the shared directories).
    Returns {controller: whether it runs there and not on the host, fault, limit_s, why: why it can't be, with the remedy}.
    """
    own, host = dict(fault["fault"]), chosen["host"]
    address, ssh = topology["hosts"][host]["address"], topology["ports"]["ssh"]
    kind, why = own["kind"], ""
    if kind in ("signal", "dead"):
        process = own.pop("process")
        own |= processes().get(process, {"what": process})
    elif kind in ("partition", "lossy"):
        own |= _cut(own.pop("cut"), chosen, topology)
        own["ssh_port"] = ssh
        why = "" if own["cut"] or own.get("everyone") else "there is nobody to be cut off from"
        if kind == "lossy":
            own["loss_percent"] = int(own.get("loss_percent", settings["loss_percent"]))
            own.setdefault("direction", settings["loss_direction"])
    elif kind in ("fill", "hung"):
        own["path"] = settings["volumes"].get(own.pop("volume"), "")
        if kind == "fill":
            own["limit_bytes"] = int(float(settings["fill_limit_gb"]) * 2**30)
    elif kind == "certificate":
        expired = own.pop("certificate") == "expired"
        own["content"] = settings["certificate"] if expired else ""
        if expired and not own["content"]:
            why = "the controller has no key of the CA, to sign an expired certificate with"
        unit, port = _with("certificate", fault).certificate
        own |= {"path": topology["tls"]["certificate"], "key": topology["tls"]["key"], "reload": [unit]}
        own |= {"address": address, "port": topology["ports"][port]}
    elif kind == "unshare":
        service = _with("shares", fault)
        own |= {"path": next(iter(settings["snapshots"]), ""), "setting": service.shares}
        own["units"] = service.every(service.units)
        why = "" if own["path"] else f"the inventory has no {service.shares}"
    elif kind in COMMANDS:
        do, undo = (list(settings["commands"][name]) for name in COMMANDS[kind])
        own = {"kind": "command", "do": do, "undo": undo, "address": address, "port": ssh}
    return {
        "controller": own["kind"] == "command",
        "fault": own,
        "limit_s": fault["hold_s"] + MARGIN_S,
        "why": why,
    }


def _with(what, fault):
    """The service that has such a field: that of the fault, else the first."""
    return next(one for one in (targets().get(fault.get("service")), *SERVICES.values()) if one and getattr(one, what))


def _cut(whom, chosen, topology):
    """The addresses of a partition; the virtual IP counts with the others, since any of them may hold it."""
    platform = {
        name: own["address"]
        for name, own in topology["hosts"].items()
        if set(own["groups"]) - {"drill", "monitoring", "backup"}
    }
    vip = topology["virtual_ip"]["address"]
    if whom == "everyone":
        return {"cut": [], "everyone": True}
    if whom == "clients":
        return {"cut": list(platform.values()), "clients_of": vip}
    if whom == "one":
        return {"cut": [platform[chosen["partner"]]] if chosen["partner"] else []}
    others = [address for name, address in platform.items() if name != chosen["host"]]
    return {"cut": others + ([vip] if others and vip else [])}


def expected_loss(fault: Mapping[str, Any], host: str, topology: Topology, led: Mapping[str, str]) -> dict[str, Any]:
    """How many seconds of acknowledged writes a fault costs by design, and why: those of a leader that is cut off."""
    kind, whom = fault["fault"]["kind"], fault["fault"].get("cut")
    cut_off = kind == "partition" and whom == "rest" or kind == "lossy" and whom in ("rest", "everyone")
    costs = [
        path.expected_loss(kind, topology)
        for name, service in leaderships().items()
        for path in service.ledger
        if cut_off and led.get(name) == host and path.expected_loss
    ]
    seconds, why = max(costs, default=(0, ""))
    return {"expected_loss_s": seconds, "expected_loss_why": why}


def restoring(before: Mapping[str, str], state: State) -> list[dict[str, str]]:
    """What has to be handed over so that who led before leads again, as far as they can. before: as leaders() of operation/plan.py returns it."""
    now = leaders(state)
    return [
        {"service": service, "to": before[service]}
        for service in handed_over()
        if service in before and service in now and before[service] != now[service]
        if _can_lead(state, service, before[service])
    ]


def leading(state: State, at: float | None = None) -> dict[str, Any]:
    """Who leads what, with the time where one is given."""
    return {**({} if at is None else {"at": round(float(at), 3)}), **leaders(state)}


def problems_after(name: str, verdicts: Mapping[str, Mapping[str, Any]], loss: Mapping[str, Any]) -> list[str]:
    """What a turn has shown that must not be: acknowledged writes that are missing, or a path that could not be judged.

    verdicts: verdict.json. loss: what expected_loss() returned.
    """
    found, known = [], ledger_paths()
    for path, verdict in verdicts.items():
        missing = verdict.get("missing")
        if missing is None:
            found.append(f"{name}: {path} could not be judged ({verdict.get('problem') or 'nothing was read back'}).")
        elif verdict.get("sum_right") is False:
            found.append(f"{name}: the accounts of {path} are wrong ({verdict['problem']}).")
        elif known[path].lost(verdict, loss["expected_loss_s"]):
            found.append(
                f"{name}: {missing} acknowledged writes of {path} are missing ({verdict['lost_s']:g} s of them)."
            )
    return found


def heal_spans(seconds: Any, pause_s: float) -> list[int]:
    """How often to look at a cluster until a time is over, with a pause in between: in spans, each as long as all before it.

    So a cluster that heals early costs few rounds that are planned and passed over, and one that does not as many as it got.
    """
    spans = [1]
    while sum(spans) * max(1, pause_s) < float(seconds):
        spans.append(sum(spans))
    return spans


def not_healed(name: str, seconds: Any, problems: Iterable[str]) -> str:
    """What the drill says where a cluster does not heal."""
    return (
        f"{name}: the cluster did not become healthy within {float(seconds):g} s after the fault was reverted, so the drill ends here. Seen: "
        f'{"; ".join(problems) or "nothing"}. Repair it as docs/failover.md, "When the cluster does not heal", says; '
        "playbooks/status.yml shows when it is healthy."
    )


def run_name(began: str, number: int) -> str:
    """The ledger's name of a turn, a part of the names of a table, an index and a key. began: as drill.json has it."""
    return f"{began.lower().replace('-', '').replace(':', '')}-{number:02d}"
