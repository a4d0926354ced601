# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which faults are chosen, and what is wrong with the choice: judged on the controller, before any host is asked or touched.

A fault of catalogue.py is {text, target, service, alone, fault, hold_s, target_s}; a scenario is {text, faults}, with names of the
catalogue, or such faults of its own with a name besides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ...common.text import nearest
from ...services.registry import processes, targets
from .catalogue import catalogue
from .plan import ROLES, Topology

Named = Mapping[str, Mapping[str, Any]]

NEEDED = ("text", "target", "fault", "hold_s")
KNOWN = (*NEEDED, "name", "service", "alone", "target_s")
DIRECTIONS = ("both", "in", "out")


def _number(value: Any) -> str:
    right = isinstance(value, (int, float)) and not isinstance(value, bool)
    return "" if right else "is no number"


def share(value: Any) -> str:
    """What is wrong with a share of packets, in percent; empty where nothing is."""
    return "" if str(value).isdigit() and 1 <= int(value) <= 99 else "has to be a whole number from 1 to 99"


# What each kind takes: the values that an option may have, or what tells what is wrong with one. A question mark: it may be left out.
KINDS: dict[str, dict[str, Sequence[str] | Callable[[Any], str]]] = {
    "signal": {"signal": ("KILL", "STOP"), "process": ()},
    "power": {},
    "frozen": {},
    "partition": {"cut": ("rest", "one", "clients"), "direction?": DIRECTIONS},
    "lossy": {"cut": ("everyone", "rest", "one"), "direction?": DIRECTIONS, "loss_percent?": share},
    # Of `volume` the settings of the drill know which there are, of `process` the services.
    "fill": {"volume": ()},
    "hung": {"volume": ()},
    "dead": {"process": ()},
    "clock": {"step_s": _number},
    "certificate": {"certificate": ("expired", "wrong")},
    "unshare": {},
}


def scenario(
    name: Any,
    scenarios: Named,
    own: Any = None,
    volumes: Sequence[str] = (),
    hosts: Sequence[str] = (),
) -> dict[str, Any]:
    """The faults that a name stands for: of a scenario, of one fault of the catalogue, `all`, or several of them with commas in between.

    scenarios: those of the role; its `all` gives the order, and what it does not name comes last. own: what a file said in place of a name.
    volumes, hosts: those that a fault of one's own may name.
    Returns {text, faults: name to fault, problems: what is wrong, each with its remedy}.
    """
    every = catalogue()
    if own is not None:
        if not isinstance(own, Mapping) or not isinstance(own.get("faults"), list):
            return _nothing(
                f"{name} is no scenario: it needs a list `faults`, and may have a `text`. See docs/drill.md."
            )
        chosen, text = own["faults"], own.get("text", name)
    else:
        names = list(dict.fromkeys(word.strip() for word in str(name).split(",") if word.strip()))
        ordered = scenarios["all"]
        known = {**scenarios, "all": {**ordered, "faults": list(dict.fromkeys((*ordered["faults"], *every)))}}
        unknown = [_unknown(one, (*known, *every)) for one in names if one not in known and one not in every]
        if unknown or not names:
            return _nothing(*(unknown or ["No scenario is chosen. docs/drill.md lists them."]))
        chosen = [label for one in names for label in (known[one]["faults"] if one in known else [one])]
        text = ", ".join(known[one]["text"] if one in known else every[one]["text"] for one in names)
    faults, problems = {}, []
    for entry in chosen:
        label = entry.get("name", "") if isinstance(entry, Mapping) else str(entry)
        if isinstance(entry, Mapping):
            faults[label] = {**every.get(label, {}), **entry}
        elif label in every:
            faults[label] = dict(every[label])
        else:
            problems.append(f"scenario={name} has a fault {label}, which is not known. {nearest(label, every)}")
    for label, fault in faults.items():
        told = f"scenario={name}: the fault {label or '(without a name)'}"
        problems += [f"{told} {problem}" for problem in _problems(label, fault, volumes, hosts)]
    return {"text": text, "faults": faults, "problems": problems}


def _nothing(*problems: str) -> dict[str, Any]:
    return {"text": "", "faults": {}, "problems": list(problems)}


def _unknown(name: str, known: Sequence[str]) -> str:
    if "/" in name or name.endswith((".yml", ".yaml")):
        return (
            f"scenario={name} is no file on the controller. Give its path from the working directory, or from the root."
        )
    return f"scenario={name} is not known. {nearest(name, dict.fromkeys((*known, 'cleanup')))}"


def _problems(label: str, fault: Mapping[str, Any], volumes: Sequence[str], hosts: Sequence[str]) -> Iterator[str]:
    """What is wrong with a fault; each continues its name."""
    lacking = [key for key in NEEDED if not fault.get(key)]
    if lacking or not label:
        yield f"lacks {', '.join(lacking) or 'name'}."
    for key in fault:
        if key not in KNOWN:
            yield f"has {key}, which no fault has. {nearest(key, KNOWN)}"
    if fault.get("target") and fault["target"] not in (*ROLES, *hosts):
        yield f"has target {fault['target']}, which is neither a role nor a host. {nearest(str(fault['target']), (*ROLES, *hosts))}"
    if fault.get("service") and fault["service"] not in targets():
        yield f"has service {fault['service']}, which is none. {nearest(str(fault['service']), targets())}"
    if fault.get("hold_s") and (wrong := _number(fault["hold_s"])):
        yield f"has hold_s {fault['hold_s']!r}, which {wrong}. Give how long it lasts, in seconds."
    injected = fault.get("fault")
    if not injected:
        return
    kind = injected.get("kind") if isinstance(injected, Mapping) else None
    if kind not in KINDS:
        yield f"has kind {kind}, which is none. {nearest(str(kind), KINDS)}"
        return
    takes = {key.rstrip("?"): allowed for key, allowed in KINDS[kind].items()}
    for key in takes:
        if key not in injected and f"{key}?" not in KINDS[kind]:
            yield f"is of kind {kind} and lacks {key}."
    for key, value in injected.items():
        if key == "kind":
            continue
        if key not in takes:
            yield f"is of kind {kind}, which does not take {key}. {nearest(key, takes) if takes else 'Take it out.'}"
            continue
        allowed = {"volume": volumes, "process": tuple(processes())}.get(key, takes[key])
        if callable(allowed):
            if wrong := allowed(value):
                yield f"has {key} {value!r}, which {wrong}."
        elif value not in allowed:
            yield f"has {key} {value}, which is none. {nearest(str(value), allowed)}"


def not_allowed(topology: Topology) -> list[str]:
    """Why this cluster is not to be drilled at all, with the remedy; empty where it may."""
    if topology["drill"]["allowed"]:
        return []
    return [
        f"Cluster {topology['cluster']} is not marked for drills, which break parts of it on purpose. Where that may be, set "
        "ha_drill_allowed: true for all hosts and run site.yml, which also makes the users that the drill writes with."
    ]


def refusals(topology: Topology, chosen: Mapping[str, Any], repeat: Any, loss_percent: Any) -> list[str]:
    """Why a drill is refused before any host is asked, each with its remedy; empty where it is not.

    chosen: what scenario() returned. repeat: how often, as it was given. loss_percent: the setting.
    """
    found = [*not_allowed(topology), *chosen["problems"]]
    if not str(repeat).isdigit() or int(repeat) < 1:
        found.append(f"repeat={repeat} is no number of times. Give a whole number from 1.")
    if wrong := share(loss_percent):
        found.append(f"drill_loss_percent is {loss_percent!r}, and {wrong}.")
    return found
