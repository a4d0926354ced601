# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.search import policy as search_policy
from ansible_collections.utmstack.ha.plugins.modules import elasticsearch_snapshot_policy as module
from search_network import ENGINES, Network, fits, run

SERVERS = ("elasticsearch-slm", "opensearch-sm")
NIGHTLY = {
    "name": "nightly",
    "schedule": "0 30 1 * * ?",
    "repository": "backup",
    "indices": ["data-*", "important"],
    "config": {"ignore_unavailable": False, "include_global_state": False},
    "retention": {"expire_after": "30d", "min_count": 5, "max_count": 50},
}


@pytest.fixture(params=SERVERS)
def declare(request, monkeypatch, capsys):
    """Run elasticsearch_snapshot_policy on a scene; returns its answer and the network."""

    def call(scene, check=False, **options):
        network = Network(request.param, scene)
        return run(module, network, monkeypatch, capsys, check, **{**NIGHTLY, **options}), network

    return call


def test_a_new_policy_is_made_in_the_servers_own_form(declare):
    answer, network = declare("policy new")
    assert (answer["changed"], answer["supported"]) == (True, True)
    if network.flavor == "elasticsearch":
        assert network.changes == ["PUT /_slm/policy/nightly"]
        assert answer["policy"]["name"] == "<nightly-{now/d}>"
        assert answer["policy"]["config"]["indices"] == ["data-*", "important"]
    else:
        assert network.changes == ["POST /_plugins/_sm/policies/nightly"]
        assert answer["policy"]["creation"]["schedule"]["cron"] == {"expression": "30 1 * * *", "timezone": "UTC"}
        assert answer["policy"]["deletion"]["condition"] == {"max_age": "30d", "min_count": 5, "max_count": 50}
        assert answer["policy"]["snapshot_config"]["indices"] == "data-*,important"


def test_a_policy_that_is_as_it_should_be_is_left_alone(declare):
    answer, network = declare("policy as it should be")
    assert (answer["changed"], network.changes) == (False, [])


@pytest.mark.parametrize(
    ("scene", "options"),
    [
        ("policy with another schedule", {"schedule": "0 0 3 * * ?"}),
        ("policy that shall keep all", {"retention": None}),
    ],
)
def test_a_policy_that_differs_is_replaced_at_the_version_that_was_seen(declare, scene, options):
    answer, network = declare(scene, **options)
    assert answer["changed"] is True
    (change,) = network.changes
    if network.flavor == "opensearch":
        assert change.endswith("?if_primary_term=21&if_seq_no=54983")
    assert answer["diff"]["before"] != answer["diff"]["after"]


def test_check_mode_tells_and_sends_nothing(declare):
    answer, network = declare("policy new", check=True)
    assert (answer["changed"], network.changes) == (True, [])


def test_a_policy_is_deleted(declare):
    answer, network = declare("policy deleted", state="absent")
    assert answer["changed"] is True
    assert [one.partition(" ")[0] for one in network.changes] == ["DELETE"]


def test_executing_names_the_snapshot_or_says_that_this_server_cannot(declare):
    answer, network = declare("policy executed", execute=True)
    if network.flavor == "elasticsearch":
        assert (answer["changed"], answer["snapshot"]) == (True, "nightly-2019.04.24-gwrqoo2xtea3q57vvg0uea")
        assert answer["status"]["last_success"] == "nightly-2099.05.06-tme_ivjqswgkpryvnao2lg"
    else:
        assert answer["failed"] is True
        assert "elasticsearch_snapshot" in answer["msg"]


def test_a_missing_repository_is_told_with_the_remedy(monkeypatch, capsys):
    network = Network("elasticsearch-slm", "policy without its repository")
    answer = run(module, network, monkeypatch, capsys, **NIGHTLY)
    assert answer["failed"] is True
    assert "no such repository [backup]. Register the repository first" in answer["msg"]


def test_policies_that_all_rest_are_warned_of(monkeypatch, capsys):
    warnings = []
    monkeypatch.setattr(module.AnsibleModule, "warn", lambda _self, text: warnings.append(text))
    run(module, Network("elasticsearch-slm", "policies stopped"), monkeypatch, capsys, **NIGHTLY)
    (warning,) = warnings
    assert "_slm/start" in warning


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("unsupported", ["report", "fail"])
def test_a_server_without_policies_is_reported_or_refused_with_its_own_words(engine, unsupported, monkeypatch, capsys):
    options = {"name": "nightly", "schedule": "0 30 1 * * ?", "repository": "backup", "unsupported": unsupported}
    network = Network(engine, "policies not there")
    answer = run(module, network, monkeypatch, capsys, **options)
    said = answer["msg" if unsupported == "fail" else "reason"]
    assert answer.get("failed", False) == (unsupported == "fail")
    assert "no handler found for uri" in said
    assert engine.split("-")[1] in said
    if unsupported == "report":
        assert (answer["supported"], answer["changed"]) == (False, False)


@pytest.mark.parametrize(
    ("schedule", "unix"),
    [
        ("0 30 1 * * ?", "30 1 * * *"),
        ("0 0/15 * ? * *", "0-59/15 * * * *"),
        ("0 0 2 ? * SUN", "0 2 * * 0"),
        ("0 0 2 ? * MON-FRI", "0 2 * * 1-5"),
        ("0 0 2 ? * 1,7", "0 2 * * 0,6"),
        ("0 0 2 ? * 2-6/2", "0 2 * * 1-5/2"),
        ("0 0 2 1 JAN,jul ?", "0 2 1 1,7 *"),
        ("0 0 2 * * ? *", "0 2 * * *"),
        ("0 */10 6/2 * * ?", "*/10 6-23/2 * * *"),
    ],
)
def test_a_schedule_is_translated_for_opensearch(schedule, unix):
    assert search_policy.unix_cron(schedule) == unix


@pytest.mark.parametrize(
    "schedule", ["30m", "0 0 2 L * ?", "0 0 2 ? * 6#3", "0 0 2 15W * ?", "*/10 0 2 * * ?", "0 0 2 * * ? 2027"]
)
def test_a_schedule_that_opensearch_cannot_follow_is_refused(schedule):
    with pytest.raises(search_policy.Unsupported, match="cannot follow"):
        search_policy.unix_cron(schedule)


@pytest.mark.parametrize(
    ("wanted", "present", "same"),
    [
        ({"max_age": "720h"}, {"max_age": "30d"}, True),
        ({"max_age": "7d"}, {"max_age": "30d"}, False),
        ({"partial": True}, {"partial": "true"}, True),
        ({"indices": ["a", "b"]}, {"indices": ["b", "a"]}, False),
        ({"a": {"b": 1}}, {"a": {"b": "1", "c": 2}}, True),
    ],
)
def test_what_the_server_tells_in_another_form_is_no_difference(wanted, present, same):
    assert search_policy.covers(wanted, present) is same


def test_the_definition_refuses_what_no_server_takes():
    assert not fits({"schedule": 1}, {"schedule": "string"})
    assert not fits({"when": "x"}, {"schedule": "string"})
    assert fits({"config": {"indices": "a,b"}}, {"config": {"indices": "strings"}})
