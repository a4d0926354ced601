# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A drill's state: what each step makes of it, and that a step takes what it takes and nothing else."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.drill.scenario.state import STEPS, changed
from platform_state import whole

BEGAN = 1_763_000_000.25
ILL = {**whole(), "healthy": False, "problems": ["a", "b", "c", "d"]}
WELL = {**whole(), "healthy": True, "problems": []}
FAULT = {"fault": {"kind": "partition", "cut": "rest"}}
TOPOLOGY = {"redis": {"min_replicas_to_write": 0}}
BEGINNING = (
    ("plan", {"plan": {"turns": [], "passed_over": [{"fault": "x", "why": "y"}]}}),
    ("begin", {"output": "/out", "platform": WELL}),
    ("turn", {}),
    ("target", {"target": {"host": "node1"}}),
    ("answer", {"fault": "kill", "why_not": ""}),
    ("lead", {"fault": FAULT, "platform": WELL, "topology": TOPOLOGY}),
    ("ledger", {"job": "7.7"}),
    ("inject", {"injected": 10.0, "effect": 10.5, "text": "It is killed"}),
)


def after(*steps, at=BEGAN, state=None):
    """The state after steps, all at one time."""
    state = state or {}
    for step, given in steps:
        state = changed(state, step, at, given)
    return state


def test_a_drill_begins_with_its_plan_its_place_and_who_leads():
    state = after(*BEGINNING[:2])
    assert (state["began"], state["out"]) == ("2025-11-13T02:13:20Z", "/out/2025-11-13T021320Z")
    assert state["passed_over"] == [{"fault": "x", "why": "y"}]
    assert state["led_before"]["postgresql"] == "node1"
    assert "at" not in state["led_before"]
    assert (state["stopped"], state["found"]) == ("", [])


def test_a_plan_keeps_nothing_of_an_earlier_drill():
    assert after(*BEGINNING, BEGINNING[0]).keys() == {"plan", "stopped", "found"}


def test_a_turn_keeps_nothing_of_the_one_before():
    state = after(*BEGINNING, ("leaders", {"platform": WELL}), ("turn", {}))
    assert (state["marks"], state["leaders"], state["ledger_job"], state["target"]) == ([], [], "", {"host": ""})


def test_a_turn_that_the_host_refuses_is_passed_over_with_its_reason():
    state = after(*BEGINNING[:4], ("answer", {"fault": "kill", "why_not": "no such process"}))
    assert state["why_not"] == "no such process"
    assert state["passed_over"][1:] == [{"fault": "kill", "why": "node1: no such process"}]
    assert after(*BEGINNING)["passed_over"] == [{"fault": "x", "why": "y"}]


def test_who_leads_as_the_fault_is_injected_decides_what_it_may_cost():
    state = after(*BEGINNING[:5], ("lead", {"fault": FAULT, "platform": WELL, "topology": TOPOLOGY}))
    assert state["led"]["redis"] == "node1"
    assert state["loss"]["expected_loss_s"] == 0


def test_the_injection_marks_when_it_was_and_when_it_was_seen():
    assert after(*BEGINNING)["marks"] == [
        {"at": 10.0, "what": "injected", "text": "It is killed (node1)"},
        {"at": 10.5, "what": "effect", "text": "seen to have taken effect"},
    ]


@pytest.mark.parametrize(
    ("undone", "at"), [([{"id": "01-kill", "at": 12.0}], 12.0), ([{"id": "02-kill", "at": 12.0}], 99.0), ([], 99.0)]
)
def test_a_fault_was_undone_when_the_host_says_or_else_by_now(undone, at):
    state = after(("undo", {"turn": "01-kill", "undone": undone}), at=99.0, state=after(*BEGINNING))
    assert (state["marks"][-1]["what"], state["marks"][-1]["at"]) == ("undone", at)


def test_nothing_that_was_not_injected_is_undone_or_got_over():
    state = after(*BEGINNING[:7], ("undo", {"turn": "01-kill", "undone": []}))
    state = after(("look", {}), ("looked", {"limit_s": 600, "platform": WELL}), state=state)
    assert after(("heal", {"turn": "01-kill", "limit_s": 600, "platform": WELL}), state=state)["marks"] == []


def test_the_wait_ends_with_a_healthy_cluster_or_its_time():
    """Cleanup waits, too, before there is a drill."""
    state = after(("look", {}), at=100.0)
    state = after(("looked", {"limit_s": 5, "platform": ILL}), at=104.9, state=state)
    assert (state["looking"], state["looked"]) == (True, "after 4 s: a; b; c")
    assert not after(("looked", {"limit_s": 5, "platform": ILL}), at=105.0, state=state)["looking"]
    state = after(("looked", {"limit_s": 5, "platform": WELL}), at=104.9, state=state)
    assert not state["looking"]
    assert [seen["at"] for seen in state["leaders"]] == [104.9, 104.9]


def test_the_cluster_is_whole_when_it_was_seen_to_be():
    state = after(("look", {}), ("looked", {"limit_s": 600, "platform": WELL}), at=50.0, state=after(*BEGINNING))
    state = after(("heal", {"turn": "01-kill", "limit_s": 600, "platform": WELL}), at=51.0, state=state)
    assert (state["marks"][-1]["what"], state["marks"][-1]["at"], state["stopped"]) == ("whole", 50.0, "")


def test_a_cluster_that_does_not_heal_ends_the_drill():
    state = after(("look", {}), ("looked", {"limit_s": 5, "platform": ILL}), state=after(*BEGINNING))
    state = after(("heal", {"turn": "01-kill", "limit_s": 5, "platform": ILL}), state=state)
    assert state["stopped"].startswith(
        "01-kill: the cluster did not become healthy within 5 s after the fault was reverted, so the drill"
    )
    assert [mark["what"] for mark in state["marks"]] == ["injected", "effect"]


@pytest.mark.parametrize(
    ("reasons", "why"),
    [(["Ask: timed out", "other"], "Ask: timed out"), (["", "x"], "x"), ([], "a step that did not tell why")],
)
def test_the_first_reason_to_end_is_kept(reasons, why):
    state = after(*BEGINNING, ("stop", {"turn": "01-kill", "reasons": reasons}))
    assert state["stopped"] == f"01-kill failed at {why}"
    assert after(("stop", {"turn": "01-kill", "reasons": ["later"]}), state=state)["stopped"] == state["stopped"]


def test_what_must_not_be_is_kept_of_all_turns():
    state = after(*BEGINNING, ("judge", {"found": ["a"]}), BEGINNING[2], ("judge", {"found": ["b", "c"]}))
    assert state["found"] == ["a", "b", "c"]


@pytest.mark.parametrize("step", STEPS)
def test_no_step_changes_the_state_that_it_is_given(step):
    state = after(("look", {}), ("looked", {"limit_s": 5, "platform": ILL}), state=after(*BEGINNING))
    copy = repr(state)
    given = dict(BEGINNING) | {
        "leaders": {"platform": WELL}, "undo": {"turn": "01-kill", "undone": []}, "look": {}, "judge": {"found": ["a"]},
        "looked": {"limit_s": 5, "platform": WELL}, "heal": {"limit_s": 5, "platform": WELL, "turn": "01-kill"},
        "stop": {"reasons": [], "turn": "01-kill"},
    }  # fmt: skip
    changed(state, step, BEGAN, given[step])
    assert repr(state) == copy


def test_a_step_that_is_none_or_is_given_something_else_is_refused():
    with pytest.raises(ValueError, match="no step went; it has plan, begin"):
        changed({}, "went", 0.0, {})
    with pytest.raises(ValueError, match="step ledger takes job, not jobs"):
        changed({}, "ledger", 0.0, {"jobs": "7"})
