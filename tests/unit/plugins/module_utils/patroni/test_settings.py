# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who has set what in a cluster's dynamic configuration, what goes back, and what is tried before all get it."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import cluster as patroni
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import operations
from ansible_collections.utmstack.ha.plugins.module_utils.patroni.settings import (
    leaves,
    plan,
    tree,
    trial_members,
    untried,
)
from patroni_network import URLS, Network, replies

OWNER = "utmstack_ha"


def config(ttl=20, **parameters):
    return {"ttl": ttl, "postgresql": {"use_slots": True, "parameters": parameters}}


def run(current, wanted, earlier=None, later=()):
    """What a run makes of a configuration, and what it tells."""
    planned = plan(current, wanted, OWNER, earlier or {}, later)
    return patroni.merge(current, planned["patch"]), planned


def test_a_configuration_falls_into_leaves_and_back():
    whole = config(work_mem="7MB", **{"auto_explain.log_nested_statements": True}) | {"slots": {}}
    assert leaves(whole)["postgresql", "parameters", "auto_explain.log_nested_statements"] is True
    assert tree(leaves(whole)) == whole


def test_what_a_run_has_set_goes_when_the_inventory_has_it_no_more():
    first, _told = run(config(), config(work_mem="7MB", huge_pages="on"))
    assert first["postgresql"]["parameters"] == {"work_mem": "7MB", "huge_pages": "on"}
    second, told = run(first, config(work_mem="7MB"))
    assert second["postgresql"]["parameters"] == {"work_mem": "7MB"}
    assert told["removed"] == ["postgresql.parameters.huge_pages"]
    assert run(second, config(work_mem="7MB"))[1]["patch"] == {}


def test_a_key_of_the_dynamic_configuration_goes_as_well():
    first, _told = run(config(), config() | {"maximum_lag_on_failover": 5, "slots": {"a": {"type": "physical"}}})
    second, told = run(first, config())
    assert set(second) == {"ttl", "postgresql", OWNER, "slots"}
    assert second["slots"] == {"a": {}}
    assert told["removed"] == ["maximum_lag_on_failover", "slots.a.type"]


def test_what_an_operator_has_set_stays_and_is_told():
    first, _told = run(config(), config())
    by_hand = patroni.merge(first, {"postgresql": {"parameters": {"log_statement": "ddl"}}, "check_timeline": True})
    after, told = run(by_hand, config())
    assert after == by_hand
    assert told["foreign"] == {"check_timeline": True, "postgresql.parameters.log_statement": "ddl"}


def test_what_an_operator_has_changed_is_his_once_the_inventory_has_it_no_more():
    first, _told = run(config(), config(work_mem="7MB"))
    by_hand = patroni.merge(first, {"postgresql": {"parameters": {"work_mem": "9MB"}}})
    after, told = run(by_hand, config())
    assert after["postgresql"]["parameters"] == {"work_mem": "9MB"}
    assert told["removed"] == []
    assert told["foreign"] == {"postgresql.parameters.work_mem": "9MB"}
    again, told = run(after, config())
    assert again == after
    assert told["foreign"] == {"postgresql.parameters.work_mem": "9MB"}


def test_a_value_that_was_stored_in_another_spelling_is_still_ours():
    first, _told = run(config(), config(work_mem="8MB"))
    stored = patroni.merge(first, {"postgresql": {"parameters": {"work_mem": "8192kB"}}})
    assert run(stored, config())[1]["removed"] == ["postgresql.parameters.work_mem"]


def test_null_removes_also_what_an_operator_has_set_and_is_not_noted():
    after, _told = run(config(log_statement="ddl"), config(log_statement=None))
    assert after["postgresql"]["parameters"] == {}
    assert "log_statement" not in str(after[OWNER])


def test_a_cluster_without_a_note_counts_what_the_last_run_wanted_as_set_by_runs():
    old = config(work_mem="7MB", log_statement="ddl")
    after, told = run(old, config(), earlier=config(work_mem="7MB"))
    assert after["postgresql"]["parameters"] == {"log_statement": "ddl"}
    assert (told["removed"], told["foreign"]) == (
        ["postgresql.parameters.work_mem"],
        {"postgresql.parameters.log_statement": "ddl"},
    )


def test_a_note_goes_before_what_an_earlier_run_wanted():
    noted, _told = run(config(log_statement="ddl"), config())
    assert run(noted, config(), earlier=config(log_statement="ddl"))[1]["removed"] == []


def test_a_pause_of_the_cluster_is_nobodys_setting():
    assert run(config() | {"pause": True}, config())[1]["foreign"] == {}


def test_what_is_left_for_later_stays_as_it_is_and_stays_noted():
    first, _told = run(config(), config(huge_pages="try"))
    after, told = run(first, config(huge_pages="on", work_mem="7MB"), later=["huge_pages"])
    assert after["postgresql"]["parameters"] == {"huge_pages": "try", "work_mem": "7MB"}
    assert told["removed"] == []
    # The inventory goes back before that was ever set.
    assert run(after, config())[1]["removed"] == ["postgresql.parameters.huge_pages", "postgresql.parameters.work_mem"]


def test_a_value_in_place_of_a_dictionary_and_the_other_way_about():
    first, _told = run(config(), config() | {"slots": {"a": {"type": "physical"}}})
    second, told = run(first, config() | {"slots": "none"})
    assert (second["slots"], told["removed"], told["foreign"]) == ("none", [], {})
    assert run(second, config() | {"slots": {"b": {"type": "physical"}}})[0]["slots"] == {"b": {"type": "physical"}}


# -- what is tried ------------------------------------------------------------------------------------------------------


def status(change=None, version="4.0.7"):
    answers = copy.deepcopy(replies(f"{version}-healthy"))
    if change:
        change(answers)
    return operations.read_status(Network(answers).client())


def member(found, name):
    return next(one for one in found["members"] if one["name"] == name)


def test_a_changed_parameter_that_shows_at_a_start_is_tried_first():
    now, wanted = config(work_mem="4MB"), config(work_mem="7MB", huge_pages="on", max_connections=300)
    assert untried(now, wanted, status()) == {"huge_pages": "on"}
    assert untried(config(huge_pages="on"), wanted, status()) == {}


def test_parameters_of_extensions_and_those_that_only_a_start_reads_are_tried_as_well():
    wanted = config(**{"pg_stat_statements.max": 5, "session_preload_libraries": "x", "ssl_ciphers": "y"})
    assert set(untried(config(), wanted, status())) == set(wanted["postgresql"]["parameters"])


def test_what_the_leader_does_not_run_with_is_taken_back_at_once():
    found = status()
    member(found, found["leader"]).update(
        pending_restart=True, pending_restart_reason={"huge_pages": {"old_value": "try", "new_value": "on"}}
    )
    assert untried(config(huge_pages="on"), config(huge_pages="off", io_method="x"), found) == {"io_method": "x"}


def test_where_patroni_does_not_say_what_is_pending_all_is_taken_back_at_once():
    found = status(version="3.0.2")
    member(found, found["leader"]).update(pending_restart=True, pending_restart_reason={})
    assert untried(config(huge_pages="on"), config(huge_pages="off"), found) == {}


def test_where_nobody_leads_nothing_has_to_be_tried():
    assert untried(config(huge_pages="on"), config(huge_pages="off"), {"leader": None, "members": []}) == {}


def test_the_asynchronous_standby_tries_and_never_the_only_synchronous_one():
    found = status()
    names = [one["name"] for one in found["members"]]
    asynchronous = next(one["name"] for one in found["members"] if one["role"] == "replica")
    assert trial_members(found, names) == {"down": [], "stuck": [], "standby": asynchronous, "reason": ""}
    told = trial_members(found, [name for name in names if name != asynchronous])
    assert (told["standby"], told["reason"]) == (None, "no standby can be spared for it now")


def test_with_two_members_it_is_told_instead():
    found = status()
    found["members"] = [one for one in found["members"] if one["role"] != "replica"]
    assert trial_members(found, ["node1", "node2", "node3"])["reason"] == "fewer than three members are there"


@pytest.mark.parametrize("state", ["start failed", "restart failed (stopped)", "crashed"])
def test_a_member_that_is_down_anyway_tries(state):
    found = status()
    asynchronous = next(one for one in found["members"] if one["role"] == "replica")
    asynchronous["state"] = state
    assert trial_members(found, ["node1", "node2", "node3"])["down"] == [asynchronous["name"]]
    assert trial_members(found, [])["down"] == []


def test_a_standby_that_takes_no_session_is_told_and_a_leader_never():
    found = status()
    for one in found["members"]:
        one["state"] = "unknown"
    standbys = [one["name"] for one in found["members"] if one["name"] != found["leader"]]
    assert trial_members(found, ["node1", "node2", "node3"])["stuck"] == standbys


# -- the whole, against recorded answers ----------------------------------------------------------------------------------


def patched(answers):
    """A network whose members store what they get."""

    def store(network, _url, body):
        for reply in answers.values():
            reply["GET /config"]["body"] = patroni.merge(reply["GET /config"]["body"], body)
        return {"status": 200, "body": ""}

    return Network(answers, acts={"PATCH /config": store})


def test_settings_are_taken_back_with_a_member_down_without_waiting_for_it():
    answers = copy.deepcopy(replies("4.0.7-healthy"))
    stored = answers[URLS[0]]["GET /config"]["body"]
    answers.pop(URLS[2])
    network = patched(answers)
    owner = operations.Ownership(OWNER, stored | {"ttl": stored["ttl"]})
    wanted = {key: value for key, value in stored.items() if key != "maximum_lag_on_failover"}
    wanted["postgresql"] = {"parameters": {"huge_pages": "on"}}
    told = operations.reconcile_config(network.client(), wanted, owner=owner, defer=True)
    assert told["deferred"] == {"huge_pages": "on"}
    assert "huge_pages" not in str(told["config"])
    assert network.time < 5
    assert told["patch"][OWNER]["ttl"] == stored["ttl"]
    again = operations.reconcile_config(network.client(), wanted, owner=owner)
    assert again["patch"]["postgresql"] == {"parameters": {"huge_pages": "on"}}
    assert again["patch"][OWNER]["postgresql"]["parameters"]["huge_pages"] == "on"
