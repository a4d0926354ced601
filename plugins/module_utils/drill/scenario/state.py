# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a drill knows of itself while it runs: one mapping, changed by one function, a step at a time.

The drill:     plan, began (UTC, as text), out (the directory of its results), led_before (as leading() returns it),
               passed_over (a list of {fault, why}), found (what must not be, sentences), stopped (why it ends; empty while it goes on)
the turn:      target (as target() returns it), why_not (why it is passed over), led (who leads as it begins), loss (as
               expected_loss() returns it), ledger_job (Ansible's id of the ledger that runs; empty where none does),
               marks (a list of {at, what, text}), leaders (a list of what leading() returns at a time)
the wait:      looking (whether another look is needed), looking_since, looked_at, looked (what the last look has seen, in words)

Times are seconds since 1970.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from .plan import expected_loss, leading, not_healed

Given = Mapping[str, Any]


def changed(state: Given, step: str, at: float, given: Given) -> dict[str, Any]:
    """The state after a step of STEPS. at: when that is. given: what the step takes, by name.

    Raises ValueError for a step that is none, or one that is given something else than it takes.
    """
    if step not in STEPS:
        raise ValueError(f"the drill has no step {step}; it has {', '.join(STEPS)}")
    decide, taken = STEPS[step]
    if given.keys() != set(taken):
        raise ValueError(f"step {step} takes {', '.join(taken) or 'nothing'}, not {', '.join(given) or 'nothing'}")
    return decide(state, at, given)


def _plan(_state, _at, given):
    """Nothing of an earlier drill is kept."""
    return {"plan": given["plan"], "stopped": "", "found": []}


def _begin(state, at, given):
    began = time.gmtime(at)
    return {
        **state,
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", began),
        "out": f"{given['output']}/{time.strftime('%Y-%m-%dT%H%M%SZ', began)}",
        "passed_over": state["plan"]["passed_over"],
        "led_before": leading(given["platform"]),
    }


def _turn(state, _at, _given):
    return {**state, "target": {"host": ""}, "why_not": "", "ledger_job": "", "marks": [], "leaders": []}


def _target(state, _at, given):
    return {**state, "target": given["target"]}


def _answer(state, _at, given):
    """The host can have the fault, or the turn is passed over."""
    if not given["why_not"]:
        return {**state, "why_not": ""}
    why = f"{state['target']['host']}: {given['why_not']}"
    passed = [*state["passed_over"], {"fault": given["fault"], "why": why}]
    return {**state, "why_not": given["why_not"], "passed_over": passed}


def _lead(state, _at, given):
    led = leading(given["platform"])
    loss = expected_loss(given["fault"], state["target"]["host"], given["topology"], led)
    return {**state, "led": led, "loss": loss}


def _ledger(state, _at, given):
    return {**state, "ledger_job": given["job"]}


def _inject(state, _at, given):
    marks = [
        {"at": given["injected"], "what": "injected", "text": f"{given['text']} ({state['target']['host']})"},
        {"at": given["effect"], "what": "effect", "text": "seen to have taken effect"},
    ]
    return {**state, "marks": marks}


def _leaders(state, at, given):
    return {**state, "leaders": [*state.get("leaders", ()), leading(given["platform"], at)]}


def _undo(state, at, given):
    """What is said to be undone has its time there; where nothing is said, it is over by now. Nothing injected, nothing undone."""
    times = [one["at"] for one in given["undone"] if one["id"] == given["turn"]]
    return _mark(state, next(iter(times), at), "undone", "undone, or started again by then")


def _look(state, at, _given):
    return {**state, "looking": True, "looking_since": at}


def _looked(state, at, given):
    platform, waited = given["platform"], at - state["looking_since"]
    return {
        **_leaders(state, at, given),
        "looked_at": at,
        "looking": not platform["healthy"] and waited < given["limit_s"],
        "looked": f"after {int(waited)} s: {'; '.join(platform['problems'][:3])}",
    }


def _heal(state, _at, given):
    """The wait is over: the cluster is healthy, or the drill ends."""
    if given["platform"]["healthy"]:
        return _mark(state, state["looked_at"], "whole", "the whole cluster is healthy again")
    why = not_healed(given["turn"], given["limit_s"], given["platform"]["problems"])
    return {**state, "stopped": state["stopped"] or why}


def _judge(state, _at, given):
    return {**state, "found": [*state["found"], *given["found"]]}


def _stop(state, _at, given):
    """The first reason counts."""
    why = next(filter(None, given["reasons"]), "a step that did not tell why")
    return {**state, "stopped": state["stopped"] or f"{given['turn']} failed at {why}"}


def _mark(state, at, what, text):
    """Marks follow that of the injection; without one there is nothing to be marked."""
    marks = state["marks"]
    return {**state, "marks": [*marks, {"at": at, "what": what, "text": text}] if marks else marks}


# Each step, and what it takes. platform: the state of the platform as operation/status.py has it. turn: the turn's id.
STEPS: dict[str, tuple[Any, Sequence[str]]] = {
    "plan": (_plan, ("plan",)),
    "begin": (_begin, ("output", "platform")),
    "turn": (_turn, ()),
    "target": (_target, ("target",)),
    "answer": (_answer, ("fault", "why_not")),
    "lead": (_lead, ("fault", "platform", "topology")),
    "ledger": (_ledger, ("job",)),
    "inject": (_inject, ("effect", "injected", "text")),
    "leaders": (_leaders, ("platform",)),
    "undo": (_undo, ("turn", "undone")),
    "look": (_look, ()),
    "looked": (_looked, ("limit_s", "platform")),
    "heal": (_heal, ("limit_s", "platform", "turn")),
    "judge": (_judge, ("found",)),
    "stop": (_stop, ("reasons", "turn")),
}
