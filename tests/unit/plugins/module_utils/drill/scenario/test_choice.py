# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which faults a choice stands for, and how a wrong one is told: all of it in one list, and before any host is touched."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.utmstack.ha.plugins.module_utils.drill.fault import kinds as drill_kinds
from ansible_collections.utmstack.ha.plugins.module_utils.drill.scenario import choice as drill_choice
from ansible_collections.utmstack.ha.plugins.module_utils.drill.scenario import plan as drill_scenario
from drill_catalogue import CATALOGUE, NODES, ROLE, SCENARIOS
from role_templates import topology

THREE = topology({"etcd": NODES, "postgresql": NODES}, "node1", ha_drill_allowed=True)
OWN = {
    "text": "node2 is cut off",
    "target": "node2",
    "fault": {"kind": "partition", "cut": "rest", "direction": "both"},
    "hold_s": 30,
}


def chosen(name="mine.yml", own=None):
    return drill_choice.scenario(name, SCENARIOS, own, ["postgresql", "elasticsearch"], NODES)


def refused(name="redis-sigkill", own=None, ha=THREE, repeat=1, loss=25):
    return drill_choice.refusals(ha, chosen(name, own), repeat, loss)


def test_the_catalogue_and_its_scenarios_are_right():
    assert refused("all") == []
    assert sorted(SCENARIOS["all"]["faults"]) == sorted(CATALOGUE)
    for name in SCENARIOS:
        assert (refused(name), list(chosen(name)["faults"])) == ([], SCENARIOS[name]["faults"])


def test_several_faults_and_scenarios_are_chosen_with_commas_in_between_and_each_once():
    result = chosen("etcd-sigkill, short,redis-sigkill")
    assert list(result["faults"]) == ["etcd-sigkill", *SCENARIOS["short"]["faults"]]
    assert result["text"].startswith("The leader of etcd is killed, four faults for CI, ")


def test_a_fault_of_ones_own_takes_from_the_catalogue_what_it_does_not_say():
    result = chosen(own={"faults": [{"name": "redis-sigkill", "hold_s": 99}, "etcd-sigkill", {"name": "ours", **OWN}]})
    assert result["problems"] == []
    assert [fault["hold_s"] for fault in result["faults"].values()] == [99, 15, 30]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("defualt", "scenario=defualt is not known. Did you mean default?"),
        ("redis-sigkil", "Did you mean redis-sigkill?"),
        ("postgresql-losy", "Did you mean postgresql-lossy?"),
        ("clean-up", "Did you mean cleanup?"),
        ("", "No scenario is chosen."),
        ("ours/drill.yml", "scenario=ours/drill.yml is no file on the controller."),
    ],
)
def test_a_choice_of_what_there_is_not_is_refused_with_the_nearest(name, told):
    assert any(told in problem for problem in refused(name)), refused(name)


def test_every_unknown_name_of_a_choice_is_told():
    problems = refused("redis-sigkil,haproxy-sigkill,etcd-lossi")
    assert [problem.partition(" is")[0] for problem in problems] == ["scenario=redis-sigkil", "scenario=etcd-lossi"]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("no-such", "has a fault no-such, which is not known."),
        ({"name": "mine", "target": "vip_holder"}, "the fault mine lacks text, fault, hold_s."),
        ({**OWN}, "the fault (without a name) lacks name."),
        ({"name": "m", **OWN, "hold": 3}, "has hold, which no fault has. Did you mean hold_s?"),
        ({"name": "m", **OWN, "hold_s": "long"}, "has hold_s 'long', which is no number."),
        ({"name": "m", **OWN, "target": "leeder"}, "has target leeder, which is neither a role nor a host. Did you mean leader?"),
        ({"name": "m", **OWN, "target": "node22"}, "Did you mean node2?"),
        ({"name": "m", **OWN, "service": "postgres"}, "has service postgres, which is none. Did you mean postgresql?"),
        ({"name": "m", **OWN, "fault": {"kind": "partiton"}}, "has kind partiton, which is none. Did you mean partition?"),
        ({"name": "m", **OWN, "fault": "partition"}, "has kind None, which is none."),
        ({"name": "m", **OWN, "fault": {"kind": "partition"}}, "is of kind partition and lacks cut."),
        ({"name": "m", **OWN, "fault": {"kind": "lossy", "cut": "evryone"}}, "has cut evryone, which is none. Did you mean everyone?"),
        ({"name": "m", **OWN, "fault": {"kind": "lossy", "cut": "rest", "loss_percent": 100}}, "has loss_percent 100, which has to be a whole"),
        ({"name": "m", **OWN, "fault": {"kind": "lossy", "cut": "rest", "percent": 9}}, "does not take percent. Did you mean loss_percent?"),
        ({"name": "m", **OWN, "fault": {"kind": "hung", "volume": "postgres"}}, "has volume postgres, which is none. Did you mean postgresql?"),
        ({"name": "m", **OWN, "fault": {"kind": "signal", "signal": "KILL", "process": "postmastr"}}, "Did you mean postmaster?"),
        ({"name": "m", **OWN, "fault": {"kind": "unshare", "path": "/x"}}, "is of kind unshare, which does not take path. Take it out."),
    ],
)  # fmt: skip
def test_a_fault_of_ones_own_is_judged_before_anything_is_touched(fault, told):
    (problem,) = refused("mine.yml", own={"faults": [fault]})
    assert problem.startswith("scenario=mine.yml")
    assert told in problem


@pytest.mark.parametrize("own", ["faults", [], {"text": "x"}, {"faults": "redis-sigkill"}])
def test_a_file_that_is_no_scenario_is_refused(own):
    (problem,) = refused("mine.yml", own=own)
    assert problem.startswith("mine.yml is no scenario: it needs a list `faults`")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"repeat": "often"}, "repeat=often is no number of times. Give a whole number from 1."),
        ({"repeat": 0}, "repeat=0 is no number of times."),
        ({"loss": "0"}, "drill_loss_percent is '0', and has to be a whole number from 1 to 99."),
        ({"loss": 101}, "drill_loss_percent is 101"),
    ],
)
def test_a_wrong_number_is_refused(options, told):
    (problem,) = refused(**options)
    assert problem.startswith(told)


def test_a_cluster_that_is_not_marked_is_refused_with_whatever_else_is_wrong():
    problems = refused("redis-sigkil", ha={**THREE, "drill": {"allowed": False, "members": []}}, repeat=0)
    assert "not marked for drills" in problems[0]
    assert "ha_drill_allowed: true" in problems[0]
    assert len(problems) == 3


def test_every_kind_that_may_be_chosen_is_one_that_a_host_knows():
    assert set(drill_choice.KINDS) - set(drill_scenario.COMMANDS) == set(drill_kinds.KINDS) - {"command"}


def test_the_settings_name_the_directions_that_a_fault_may():
    specs = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    assert specs["drill_loss_direction"]["choices"] == list(drill_choice.DIRECTIONS)
