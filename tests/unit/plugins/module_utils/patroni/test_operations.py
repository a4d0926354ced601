# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Operations on a Patroni cluster against recorded answers; only the network and the clock are doubled."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import operations
from ansible_collections.utmstack.ha.plugins.module_utils.patroni.client import NoAnswer, PatroniError
from patroni_network import URLS, Network, replies, said, switchover_frames

VERSIONS = ("3.0.2", "4.0.7")


def leader_of(answers):
    listed = next(iter(answers.values()))["GET /cluster"]["body"]["members"]
    return next(member["name"] for member in listed if member["role"] == "leader")


def role(answers, wanted):
    listed = next(iter(answers.values()))["GET /cluster"]["body"]["members"]
    return next(member["name"] for member in listed if member["role"] == wanted)


def own(answers, name):
    """The member's own status, to be changed in place."""
    return answers[url_of(name)]["GET /patroni"]["body"]


def url_of(name):
    return URLS[int(name[-1]) - 1]


def listed(answers, name):
    """What each member says of `name` in /cluster, to be changed in place."""
    for reply in answers.values():
        yield from (one for one in reply["GET /cluster"]["body"]["members"] if one["name"] == name)


# -- access ---------------------------------------------------------------------------------------------------------


def test_when_nobody_answers_everybody_is_named():
    with pytest.raises(NoAnswer) as caught:
        operations.read_status(Network({}).client())
    for url in URLS:
        assert f"{url} does not answer: timed out" in str(caught.value)


def test_the_next_member_is_asked_when_the_first_does_not_answer():
    answers = replies("4.0.7-healthy")
    answers.pop(URLS[0])
    found = operations.read_status(Network(answers).client())
    assert found["leader"] == "node2"
    assert found["problems"] == ["node1 does not answer at https://10.0.1.11:8008: timed out."]


def test_a_503_of_one_member_is_passed_over_and_told():
    answers = replies("4.0.7-healthy")
    answers[URLS[0]] = dict.fromkeys(answers[URLS[0]], {"status": 503, "body": "Service Unavailable"})
    found = operations.read_status(Network(answers).client())
    assert found["problems"] == [
        "node1 does not answer at https://10.0.1.11:8008: it answers with 503 (Service Unavailable)."
    ]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("answer", "remedy"),
    [
        ("no authentication", "set username and password to those of restapi.authentication"),
        ("wrong password", "set username and password to those of restapi.authentication"),
        ("no client certificate", "set client_cert and client_key"),
    ],
)
def test_refused_access_says_what_to_set(version, answer, remedy):
    network = Network(replies(f"{version}-healthy"), acts={"PATCH /config": said(version, answer)})
    with pytest.raises(PatroniError, match=remedy) as caught:
        operations.reconcile_config(network.client(), {"ttl": 30})
    assert "secret" not in str(caught.value)


def test_a_host_outside_of_the_allowlist_is_told_so():
    network = Network(replies("4.0.7-healthy"), acts={"POST /reload": {"status": 403, "body": "Access is denied"}})
    with pytest.raises(PatroniError, match="restapi.allowlist"):
        operations.reload_member(network.client(), "node1")


# -- waiting for a state --------------------------------------------------------------------------------------------


def appearing(*frames):
    network = Network(*frames)
    network.start()
    return network


def test_a_healthy_cluster_is_waited_for():
    network = appearing((0, {}), (4, replies("4.0.7-member-killed")), (9, replies("4.0.7-healthy")))
    status = operations.wait_for_status(network.client(), "healthy", 30)
    assert status["healthy"] is True
    assert 9 <= network.time < 10


def test_a_leader_is_waited_for_even_if_the_cluster_is_not_whole():
    network = appearing((0, replies("4.0.7-bootstrapping")), (4, replies("4.0.7-member-killed")))
    status = operations.wait_for_status(network.client(), "leader", 30)
    assert status["leader"] == "node1"
    assert 4 <= network.time < 5


def test_what_was_seen_last_is_told_when_it_does_not_come():
    network = appearing((0, replies("4.0.7-paused")))
    assert operations.wait_for_status(network.client(), "healthy", 5)["problems"] != []
    assert 5 <= network.time < 6


def test_a_cluster_of_which_nobody_answers_to_the_end_is_an_error():
    with pytest.raises(NoAnswer):
        operations.wait_for_status(appearing((0, {})).client(), "healthy", 5)


# -- dynamic configuration ------------------------------------------------------------------------------------------

MORE = {"postgresql": {"parameters": {"max_connections": 60}}}
LESS = {"postgresql": {"parameters": {"max_connections": 40}}}


def config_network(version, after, seconds=3.4, before=None, stored_after=0.001, **options):
    """A cluster that shows what it was given at once or later, and applies it after some seconds."""
    first = before or replies(f"{version}-healthy")
    stored, applied = copy.deepcopy(first), replies(f"{version}-{after}")
    for url in URLS:
        stored[url]["GET /config"] = applied[url]["GET /config"]
    reply = {"status": 200, "body": applied[URLS[0]]["GET /config"]["body"]}
    return Network((0, first), (stored_after, stored), (seconds, applied), acts={"PATCH /config": reply, **options})


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_is_sent_when_nothing_differs(version):
    network = Network(replies(f"{version}-healthy"))
    result = operations.reconcile_config(network.client(), {"ttl": "20", "failsafe_mode": "on"})
    assert result["changed"] is False
    assert result["patch"] == {}
    assert network.sent == []
    assert result["restart_order"] == []


@pytest.mark.parametrize(
    ("expected", "without", "healthy"), [((), (), True), (("node9",), (), False), (("node9",), ("node9",), True)]
)
def test_the_status_that_is_returned_is_that_of_patroni_info(expected, without, healthy):
    answers = replies("4.0.7-healthy")
    told = operations.read_status(Network(copy.deepcopy(answers)).client(), expected, without=without)
    found = operations.reconcile_config(
        Network(answers).client(), {"ttl": "20"}, defer=True, expected=expected, without=without
    )
    assert (found["patch"], found["status"]) == ({}, told)
    assert found["status"]["healthy"] is healthy


@pytest.mark.parametrize("version", VERSIONS)
def test_a_change_is_sent_and_waited_for_until_all_say_that_a_restart_is_pending(version):
    network = config_network(version, "pending-raised")
    result = operations.reconcile_config(network.client(), MORE)
    assert [request[2] for request in network.sent] == [MORE]
    assert result["changed"] is True
    assert result["unapplied_members"] == []
    assert result["restart_parameters"] == ["max_connections"]
    assert (result["raised"], result["lowered"]) == (["max_connections"], [])
    assert sorted(result["pending_restart"]) == ["node1", "node2", "node3"]
    assert result["restart_order"][-1] == leader_of(replies(f"{version}-healthy"))
    assert result["diff"]["before"]["postgresql"]["parameters"]["max_connections"] == 50
    assert result["diff"]["after"]["postgresql"]["parameters"]["max_connections"] == 60
    assert 3.4 <= network.time < 6


@pytest.mark.parametrize("version", VERSIONS)
def test_a_lowered_parameter_puts_the_leader_first(version):
    before = replies(f"{version}-healthy")
    for url in URLS:
        before[url]["GET /config"]["body"]["postgresql"]["parameters"]["max_connections"] = 60
    result = operations.reconcile_config(config_network(version, "pending-lowered", before=before).client(), LESS)
    assert result["lowered"] == ["max_connections"]
    assert result["restart_order"][0] == leader_of(before)


@pytest.mark.parametrize("version", VERSIONS)
def test_check_mode_sends_nothing_and_forecasts_the_restarts(version):
    network = Network(replies(f"{version}-healthy"))
    result = operations.reconcile_config(network.client(), MORE, check_mode=True)
    assert network.sent == []
    assert result["changed"] is True
    assert sorted(result["restart_order"]) == ["node1", "node2", "node3"]
    assert network.time < 1


def test_a_run_after_one_that_died_finds_what_still_has_to_restart():
    network = Network(replies("4.0.7-pending-lowered"))
    result = operations.reconcile_config(network.client(), LESS)
    assert result["changed"] is False
    assert result["restart_order"][0] == "node2"


def test_a_run_after_one_that_died_takes_the_safe_order_where_patroni_gives_no_reasons():
    result = operations.reconcile_config(Network(replies("3.0.2-pending-lowered")).client(), LESS)
    assert result["restart_order"] == ["node1", "node2", "node3", "node1", "node2"]


def rounds(name="4.0.7-healthy", seconds=3, change=None):
    """Frames in which every member reads the DCS each few seconds."""
    frames = []
    for turn in range(4):
        frame = replies(name)
        for number, url in enumerate(URLS):
            own(frame, f"node{number + 1}")["dcs_last_seen"] += seconds * turn
            if change:
                change(frame[url])
        frames.append((0.001 + seconds * turn, frame))
    return frames


def test_a_change_without_restart_is_applied_once_every_member_has_gone_round_twice():
    def store(answers):
        answers["GET /config"]["body"]["postgresql"]["parameters"]["work_mem"] = "8MB"

    network = Network(
        (0, replies("4.0.7-healthy")), *rounds(change=store), acts={"PATCH /config": {"status": 200, "body": {}}}
    )
    result = operations.reconcile_config(network.client(), {"postgresql": {"parameters": {"work_mem": "8MB"}}})
    assert result["unapplied_members"] == []
    assert result["restart_parameters"] == []
    assert 6 <= network.time < 8


def test_members_that_were_just_reloaded_are_given_two_rounds_to_say_that_they_wait_for_a_restart():
    frames = rounds()
    frames[2:] = [(second, replies("4.0.7-pending-raised")) for second, _frame in frames[2:]]
    for turn, (_second, frame) in enumerate(frames[2:]):
        for name in ("node1", "node2", "node3"):
            own(frame, name)["dcs_last_seen"] += 100 + turn
            frame[url_of(name)]["GET /config"] = frames[0][1][url_of(name)]["GET /config"]
    network = Network((0, frames[0][1]), *frames)
    network.start()
    assert operations.reconcile_config(network.client(), {})["restart_order"] == []
    result = operations.reconcile_config(network.client(), {}, settle=True)
    assert (result["changed"], result["unapplied_members"]) == (False, [])
    assert result["restart_order"][-1] == "node2"


def test_members_that_do_not_apply_a_change_in_time_are_named():
    network = config_network("4.0.7", "pending-raised", seconds=3.4)
    for _second, frame in network.frames[1:]:
        frame[URLS[0]] = {"error": "timed out"}
    result = operations.reconcile_config(network.client(), MORE, wait_timeout=10)
    assert result["unapplied_members"] == ["node1"]
    assert network.time < 15


def test_a_configuration_changed_by_somebody_else_meanwhile_is_read_again():
    network = config_network("4.0.7", "pending-raised")
    frames, stored = network.frames, network.acts["PATCH /config"]
    network.frames = frames[:1]

    def take(net, _url, _body):
        net.frames = frames
        net.start()
        return stored

    network.acts["PATCH /config"] = [{"status": 409, "body": "Conflict"}, take]
    result = operations.reconcile_config(network.client(), MORE)
    assert result["changed"] is True
    assert [request[2] for request in network.sent] == [MORE, MORE]


def test_conflicts_without_end_are_given_up():
    network = Network(replies("4.0.7-healthy"), acts={"PATCH /config": {"status": 409, "body": "Conflict"}})
    with pytest.raises(PatroniError, match="three times"):
        operations.reconcile_config(network.client(), MORE)


def test_a_configuration_that_is_gone_from_the_dcs_is_an_error():
    network = Network(replies("4.0.7-healthy"), acts={"PATCH /config": {"status": 503, "body": "Service Unavailable"}})
    with pytest.raises(PatroniError, match="does not take the configuration: 503"):
        operations.reconcile_config(network.client(), MORE)


def test_a_member_that_shows_what_it_read_before_the_change_is_asked_again():
    network = config_network("4.0.7", "pending-raised", stored_after=2.0)
    result = operations.reconcile_config(network.client(), MORE)
    assert result["unapplied_members"] == []
    assert [request[2] for request in network.sent] == [MORE]


def test_a_change_that_did_not_stick_is_an_error():
    network = Network(replies("4.0.7-healthy"), acts={"PATCH /config": {"status": 200, "body": {}}})
    with pytest.raises(PatroniError, match="still missing.*max_connections"):
        operations.reconcile_config(network.client(), MORE)


def test_the_patch_goes_to_another_member_when_the_first_does_not_answer():
    network = config_network("4.0.7", "pending-raised")
    stored = network.acts["PATCH /config"]
    network.acts["PATCH /config"] = lambda _net, url, _body: {"error": "refused"} if url == URLS[0] else stored
    assert operations.reconcile_config(network.client(), MORE)["changed"] is True
    assert [request[1] for request in network.sent] == URLS[:2]


def test_a_cluster_without_configuration_is_not_patched():
    network = Network(replies("4.0.7-bootstrapping"))
    with pytest.raises(NoAnswer, match="/config with 502 \\(Bad Gateway.\\)"):
        operations.reconcile_config(network.client(), MORE)


def test_an_impossible_configuration_is_refused_before_it_is_sent():
    network = Network(replies("3.0.2-healthy"))
    with pytest.raises(PatroniError, match=r"ttl is 15.*3\.0\.2 runs on one"):
        operations.reconcile_config(network.client(), {"ttl": 15, "synchronous_mode": "quorum"})
    assert network.sent == []


# -- switchover -----------------------------------------------------------------------------------------------------


def switchover_network(version):
    return Network(*switchover_frames(version), acts={"POST /switchover": said(version, "switchover")})


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("named", [True, False])
def test_a_switchover_is_waited_for_until_the_old_leader_streams_again(version, named):
    network = switchover_network(version)
    before = network.frames[0][1]
    old, new = leader_of(before), role(before, "sync_standby")
    result = operations.switch_over(network.client(), candidate=new if named else None)
    assert result["changed"] is True
    assert (result["old_leader"], result["leader"]) == (old, new)
    assert result["candidates"] == [new]
    assert 0 < result["seconds_to_new_leader"] < result["seconds"] < 15
    synchronous_again = network.frames[-1][0]
    assert result["seconds"] >= synchronous_again
    request, url, body, headers, _timeout = network.sent[0]
    assert (request, url) == ("POST /switchover", url_of(old))
    assert body == ({"leader": old, "candidate": new} if named else {"leader": old})
    assert headers["Authorization"].startswith("Basic ")


def healthy(change=None):
    answers = replies("4.0.7-healthy")  # node2 leads, node3 is the synchronous standby
    if change:
        change(answers)
    return answers


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"candidate": "node2"}, "node2 leads already."),
        ({"candidate": "node2", "leader": "node1"}, "node2 leads already."),
        ({"leader": "node1"}, "node1 does not lead."),
    ],
)
def test_nothing_is_done_when_it_is_so_already(arguments, reason):
    network = Network(healthy())
    result = operations.switch_over(network.client(), **arguments)
    assert result["changed"] is False
    assert result["reason"] == reason
    assert result["leader"] == "node2"
    assert network.sent == []


def test_check_mode_says_who_could_take_over():
    network = Network(healthy())
    result = operations.switch_over(network.client(), check_mode=True)
    assert result["changed"] is True
    assert result["candidates"] == ["node3"]
    assert network.sent == []


def lag(answers, name, received, replayed):
    own(answers, name)["xlog"].update(received_location=received, replayed_location=replayed)


def pause(answers):
    for answer in answers.values():
        answer["GET /cluster"]["body"]["pause"] = True


def asynchronous(answers):
    for answer in answers.values():
        answer["GET /config"]["body"]["synchronous_mode"] = False


def nobody_leads(answers):
    for one in listed(answers, "node2"):
        one["role"] = "replica"


POSITION = 83886176


@pytest.mark.parametrize(
    ("change", "arguments", "fault"),
    [
        (None, {"candidate": "node9"}, "node9 is not a member"),
        (None, {"leader": "node9"}, "node9 is not a member"),
        (None, {"leader": "node1", "candidate": "node1"}, "named both as leader and as candidate"),
        (None, {"leader": "node1", "candidate": "node3"}, "node2 leads, not node1: the leader has changed meanwhile"),
        (None, {"candidate": "node1"}, "node1 cannot take over: it is no synchronous standby, while synchronous_mode"),
        (lambda a: lag(a, "node3", 1, 1), {"candidate": "node3"}, "it lags by 83886175 bytes, more than 1048576"),
        (lambda a: lag(a, "node3", POSITION, POSITION - 100), {"maximum_lag": 99}, "it has 100 bytes of WAL to replay"),
        (lambda a: own(a, "node3").update(state="starting"), {}, "node3 cannot take over: it is in state 'starting'"),
        (lambda a: own(a, "node3").update(timeline=9), {}, "it is on timeline 9, the leader on 1"),
        (lambda a: own(a, "node3")["xlog"].update(paused=True), {}, "it has its WAL replay paused"),
        (lambda a: own(a, "node3").update(tags={"nofailover": True}), {}, "a tag that forbids it to become primary"),
        (lambda a: own(a, "node3").update(tags={"failover_priority": 0}), {}, "a tag that forbids it"),
        (lambda a: a.pop(URLS[2]), {"candidate": "node3"}, "it does not answer at https://10.0.1.13:8008: timed out"),
        (lambda a: own(a, "node2").update(state="stopping"), {}, "node2, the leader, is in state 'stopping'"),
        (nobody_leads, {}, "No member holds the leader lock: this is no case for a planned switchover"),
        (pause, {}, "Patroni then wants a candidate"),
    ],
)
def test_an_unfit_switchover_is_refused_before_anything_is_sent(change, arguments, fault):
    network = Network(healthy(change))
    with pytest.raises(PatroniError) as caught:
        operations.switch_over(network.client(), **arguments)
    assert fault in str(caught.value)
    assert network.sent == []


def test_an_asynchronous_cluster_takes_any_standby():
    network = Network(healthy(asynchronous))
    assert operations.switch_over(network.client(), check_mode=True)["candidates"] == ["node1", "node3"]


def test_a_quorum_cluster_takes_any_quorum_standby():
    network = Network(replies("4.0.7-quorum"))
    assert operations.switch_over(network.client(), check_mode=True)["candidates"] == ["node2", "node3"]


def test_without_the_dcs_there_is_no_switchover():
    with pytest.raises(PatroniError, match="No member can read the cluster's state in the DCS"):
        operations.switch_over(Network(replies("4.0.7-dcs-down")).client())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "answer", ["switchover to an asynchronous member", "switchover onto itself", "switchover to an unknown member"]
)
def test_patronis_own_refusal_is_passed_on(version, answer):
    network = switchover_network(version)
    network.acts["POST /switchover"] = said(version, answer)
    network.frames = network.frames[:1]
    with pytest.raises(PatroniError) as caught:
        operations.switch_over(network.client())
    assert said(version, answer)["body"] in str(caught.value)
    assert caught.value.facts["changed"] is False


def test_a_leader_that_changes_between_look_and_request_is_told():
    network = Network(*[(second * 1000, frame) for second, frame in switchover_frames("4.0.7")])
    network.frames[-1] = (0.001, network.frames[-1][1])
    network.frames = [network.frames[0], network.frames[-1]]
    network.acts["POST /switchover"] = said("4.0.7", "switchover, leader's name wrong")
    with pytest.raises(PatroniError, match="leader name does not match: node1 leads now, the leader has changed"):
        operations.switch_over(network.client())


def test_a_switchover_that_patroni_gives_up_is_an_error_and_no_change():
    network = Network(healthy(), acts={"POST /switchover": {"status": 503, "body": "Switchover failed"}})
    with pytest.raises(PatroniError, match="node2 was to hand over, but still leads.*Switchover failed") as caught:
        operations.switch_over(network.client())
    assert caught.value.facts["changed"] is False
    assert network.time < 5


def test_a_switchover_that_stops_half_way_tells_who_is_in_which_state():
    frames = switchover_frames("4.0.7")
    middle = next(index for index, (_s, frame) in enumerate(frames) if own(frame, "node2")["state"] == "stopped")
    frames = frames[: middle + 1]
    for name in ("node1", "node2", "node3"):
        for one in listed(frames[-1][1], name):
            one["role"] = "replica"
    network = Network(*frames, acts={"POST /switchover": {"status": 503, "body": "Switchover status unknown"}})
    with pytest.raises(PatroniError, match="nobody is seen to take writes.*node2 is replica, stopped") as caught:
        operations.switch_over(network.client(), wait_timeout=20)
    assert caught.value.facts["changed"] is True
    assert network.time < 25


def test_no_reply_to_the_request_does_not_matter_when_the_leader_changes():
    network = switchover_network("4.0.7")
    network.acts["POST /switchover"] = {"error": "timed out", "seconds": 3}
    assert operations.switch_over(network.client())["leader"] == "node1"


def test_a_new_leader_counts_only_once_it_takes_writes():
    network = switchover_network("4.0.7")
    early = copy.deepcopy(network.frames[-1][1])
    own(early, "node1")["role"] = "replica"
    network.frames = [network.frames[0], (0.001, early), (7, network.frames[-1][1])]
    assert operations.switch_over(network.client())["seconds_to_new_leader"] >= 7


def test_another_member_than_the_candidate_is_an_error_and_a_change():
    network = switchover_network("4.0.7")
    frames = [(0, healthy(asynchronous)), *network.frames[1:]]
    network.frames = frames
    network.acts["POST /switchover"] = {"status": 200, "body": 'Switched over to "node1" instead of "node3"'}
    with pytest.raises(PatroniError, match="node1 took over instead of node3") as caught:
        operations.switch_over(network.client(), candidate="node3")
    assert caught.value.facts["changed"] is True
    assert caught.value.facts["leader"] == "node1"


def test_an_old_leader_that_does_not_come_back_is_an_error_that_names_the_new_one():
    frames = switchover_frames("4.0.7")
    stuck = [index for index, (_s, frame) in enumerate(frames) if own(frame, "node1").get("role") == "primary"][0]
    network = Network(*frames[: stuck + 1], acts={"POST /switchover": said("4.0.7", "switchover")})
    with pytest.raises(
        PatroniError, match="node1 leads, but the cluster is less healthy than before.*node2 is in state"
    ) as caught:
        operations.switch_over(network.client(), wait_timeout=20)
    assert caught.value.facts["changed"] is True
    assert caught.value.facts["seconds_to_new_leader"] < 6


# -- one member -----------------------------------------------------------------------------------------------------


def restart_network(version, member, answer="restart of the leader", seconds=2.5, **acts):
    """A cluster in which `member` waits for a restart, is down for `seconds` after the request and then has restarted."""
    before = replies(f"{version}-pending-raised")
    down, after = copy.deepcopy(before), copy.deepcopy(before)
    own(down, member)["state"] = "restarting"
    own(after, member)["postmaster_start_time"] = "2026-11-23 09:00:00.000000+00:00"
    for answers in (own(after, member), *listed(after, member)):
        answers.pop("pending_restart", None)
        answers.pop("pending_restart_reason", None)
    reply = said(version, answer)
    return Network((0, before), (0.001, down), (seconds, after), acts={"POST /restart": reply, **acts})


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["leader", "replica"])
def test_a_pending_restart_is_done_and_waited_for(version, kind):
    member = role(replies(f"{version}-pending-raised"), kind)
    network = restart_network(version, member)
    result = operations.restart_member(network.client(), member, only_pending=True, restart_timeout=45)
    assert result["changed"] is True
    assert result["role"] == kind
    assert result["pending_restart"] is False
    assert 2.5 <= result["seconds"] < 4
    request, url, body, _headers, timeout = network.sent[0]
    assert (request, url, body) == ("POST /restart", url_of(member), {"timeout": 45, "restart_pending": True})
    assert timeout == 50


def test_a_restarted_leader_is_back_once_the_others_stream_from_it_again():
    network = restart_network("4.0.7", "node2")
    alone = copy.deepcopy(network.frames[-1][1])
    own(alone, "node2").pop("replication")
    own(alone, "node1").pop("replication_state")
    network.frames[-1:] = [(2.5, alone), (6, network.frames[-1][1])]
    assert operations.restart_member(network.client(), "node2")["seconds"] >= 6


def test_a_member_that_waits_for_nothing_is_left_alone_when_only_pending():
    network = Network(replies("4.0.7-healthy"))
    result = operations.restart_member(network.client(), "node1", only_pending=True)
    assert (result["changed"], result["reason"]) == (False, "node1 waits for no restart.")
    assert network.sent == []


def test_check_mode_restarts_nothing():
    network = Network(replies("4.0.7-healthy"))
    assert operations.restart_member(network.client(), "node1", check_mode=True)["changed"] is True
    assert operations.reload_member(network.client(), "node1", check_mode=True)["changed"] is True
    assert operations.reinitialize_member(network.client(), "node1", check_mode=True)["changed"] is True
    assert network.sent == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_flag_that_was_cleared_meanwhile_is_no_change(version):
    network = restart_network(version, "node1", "restart only when pending, nothing pending")
    result = operations.restart_member(network.client(), "node1", only_pending=True)
    assert result["changed"] is False
    assert result["reason"] == "node1 waits for no restart any more."


@pytest.mark.parametrize("version", VERSIONS)
def test_a_restart_that_goes_on_already_is_waited_for_and_not_repeated(version):
    network = restart_network(version, "node1", "restart, request 2 of two at once")
    result = operations.restart_member(network.client(), "node1")
    assert result["changed"] is True
    assert 2.5 <= result["seconds"] < 5
    assert all(request[0] == "POST /restart" for request in network.sent)


@pytest.mark.parametrize("version", VERSIONS)
def test_another_action_that_goes_on_is_waited_for_and_then_the_restart_done(version):
    network = restart_network(version, "node1", seconds=5)
    busy, done = said(version, "restart while it is reinitialized"), said(version, "restart of a standby")
    network.acts["POST /restart"] = [busy, busy, busy, done]
    assert operations.restart_member(network.client(), "node1")["changed"] is True
    assert len(network.sent) == 4


def test_an_action_that_never_ends_is_given_up():
    network = restart_network("4.0.7", "node1", "restart while it is reinitialized", seconds=9999)
    with pytest.raises(PatroniError, match="node1 was not restarted, because of a reinitialize already in progress"):
        operations.restart_member(network.client(), "node1", wait_timeout=10)
    assert network.time < 15


def test_a_scheduled_restart_is_no_obstacle():
    network = Network(replies("4.0.7-scheduled-restart"))
    result = operations.restart_member(network.client(), "node1", only_pending=True)
    assert result["changed"] is False


def test_a_restart_that_failed_is_an_error():
    network = restart_network("4.0.7", "node1", **{"POST /restart": {"status": 503, "body": "restart failed"}})
    with pytest.raises(PatroniError, match=r"does not restart PostgreSQL: 503 \(restart failed\)") as caught:
        operations.restart_member(network.client(), "node1")
    assert caught.value.facts["changed"] is True


def test_postgresql_that_is_still_starting_is_waited_for():
    answer = {"status": 503, "body": "postgres is still starting"}
    network = restart_network("4.0.7", "node1", seconds=20, **{"POST /restart": answer})
    assert operations.restart_member(network.client(), "node1")["seconds"] >= 20


def test_a_member_that_does_not_come_back_is_an_error_that_says_how_it_is():
    network = restart_network("4.0.7", "node1", seconds=9999)
    with pytest.raises(PatroniError, match="less healthy than before: node1 is in state 'restarting'") as caught:
        operations.restart_member(network.client(), "node1", wait_timeout=10)
    assert caught.value.facts["changed"] is True


def test_no_reply_to_the_request_does_not_matter_when_the_member_restarts():
    network = restart_network("4.0.7", "node1", **{"POST /restart": {"error": "Remote end closed connection"}})
    assert operations.restart_member(network.client(), "node1")["changed"] is True


def test_a_leader_that_loses_its_role_in_the_restart_is_an_error():
    network = Network(switchover_frames("4.0.7")[0][1], (0.1, switchover_frames("4.0.7")[-1][1]), acts={})
    network.acts["POST /restart"] = said("4.0.7", "restart of the leader")
    with pytest.raises(PatroniError, match="node2 was the leader and is not any more: node1 took over") as caught:
        operations.restart_member(network.client(), "node2")
    assert caught.value.facts["changed"] is True


def test_a_member_that_does_not_exist_is_an_error_that_lists_those_that_do():
    for act in (operations.restart_member, operations.reload_member, operations.reinitialize_member):
        with pytest.raises(PatroniError, match="node9 is not a member of the cluster, which has: node1, node2, node3"):
            act(Network(replies("4.0.7-healthy")).client(), "node9")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_reload_is_handed_to_the_member_and_waited_for(version):
    frames = [(0, replies(f"{version}-healthy")), *rounds(f"{version}-healthy")]
    network = Network(*frames, acts={"POST /reload": said(version, "reload")})
    result = operations.reload_member(network.client(), "node3")
    assert result["changed"] is True
    assert result["pending_restart"] is False
    assert 6 <= result["seconds"] < 8
    assert network.sent[0][1] == URLS[2]


def test_a_member_that_does_not_go_on_after_a_reload_is_an_error():
    network = Network(replies("4.0.7-healthy"), acts={"POST /reload": said("4.0.7", "reload")})
    with pytest.raises(PatroniError, match="has not done two rounds of its loop in 30 s") as caught:
        operations.reload_member(network.client(), "node3", wait_timeout=30)
    assert caught.value.facts["changed"] is True


def test_a_reload_that_is_not_taken_is_an_error():
    network = Network(replies("4.0.7-healthy"), acts={"POST /reload": {"status": 500, "body": "no"}})
    with pytest.raises(PatroniError, match=r"node3 does not reload: 500 \(no\)"):
        operations.reload_member(network.client(), "node3")


def reinitialize_network(version, answer, seconds=8.0):
    member = role(replies(f"{version}-healthy"), "replica")
    before = replies(f"{version}-healthy")
    copying, after = copy.deepcopy(before), copy.deepcopy(before)
    own(copying, member)["state"] = "creating replica"
    own(after, member)["postmaster_start_time"] = "2026-11-23 09:00:00.000000+00:00"
    reply = said(version, answer) if isinstance(answer, str) else answer
    network = Network((0, before), (1, copying), (seconds, after), acts={"POST /reinitialize": reply})
    return network, member


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("answer", ["reinitialize of a replica", "reinitialize of a replica again at once"])
def test_a_standby_is_copied_anew_and_waited_for(version, answer):
    network, member = reinitialize_network(version, answer)
    result = operations.reinitialize_member(network.client(), member, force=True)
    assert result["changed"] is True
    assert result["role"] == "replica"
    assert 8 <= result["seconds"] < 10
    assert network.sent[0][2] == {"force": True}


def test_the_leader_is_never_reinitialized():
    network = Network(replies("4.0.7-healthy"))
    with pytest.raises(PatroniError, match="node2 leads the cluster: its data are the ones to keep"):
        operations.reinitialize_member(network.client(), "node2")
    assert network.sent == []


def test_without_a_leader_nothing_is_reinitialized():
    network = Network(healthy(nobody_leads))
    own(network.frames[0][1], "node2")["role"] = "replica"
    with pytest.raises(PatroniError, match="nothing that node1 could be copied from"):
        operations.reinitialize_member(network.client(), "node1")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("reinitialize of the leader", "I am the leader, can not reinitialize"),
        ({"status": 503, "body": "restart already in progress"}, "With force that would be broken off"),
    ],
)
def test_a_refused_reinitialization_is_an_error(answer, message):
    network, member = reinitialize_network("4.0.7", answer)
    with pytest.raises(PatroniError, match=message):
        operations.reinitialize_member(network.client(), member)


def test_a_copy_that_does_not_end_is_an_error():
    network, member = reinitialize_network("4.0.7", "reinitialize of a replica", seconds=9999)
    with pytest.raises(PatroniError, match="is not back after .* s: node1 is in state 'creating replica'"):
        operations.reinitialize_member(network.client(), member, wait_timeout=60)
