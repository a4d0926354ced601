# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.etcd import members as etcd_member
from ansible_collections.utmstack.ha.plugins.modules import etcd_member as module
from etcd_replay import ENDPOINTS, VERSIONS, Server, run

NODE1 = {"name": "node1", "peer_urls": ["https://127.0.0.11:2380"]}
CHANGES = [f"/v3/cluster/member/{verb}" for verb in ("add", "remove", "promote")] + [
    "/v3/maintenance/transfer-leadership"
]
LEADERS = {"3.4.23": "node1", "3.5.16": "node3"}


@pytest.fixture(params=VERSIONS)
def member(request, monkeypatch, capsys):
    """Run etcd_member on a recorded scene; returns its answer and the server."""

    def call(scene, check=False, **options):
        server = Server(request.param, scene)
        return run(module, server, monkeypatch, capsys, check, **options), server

    call.version = request.param
    return call


def test_a_member_that_lost_its_data_leaves_and_comes_back_as_a_learner(member):
    answer, server = member("replace", **NODE1, replace=True)
    assert answer["changed"] is True
    assert [path for _endpoint, path, _body in server.asked if path in CHANGES] == CHANGES[1::-1]
    assert server.sent("/v3/cluster/member/add") == [{"peerURLs": NODE1["peer_urls"], "isLearner": True}]
    assert sorted(answer["initial_cluster"].split(",")) == [f"node{n}=https://127.0.0.1{n}:2380" for n in (1, 2, 3)]
    assert "node1 https://127.0.0.11:2380 learner\n" in answer["diff"]["after"]


def test_announcing_it_again_before_it_started_changes_nothing(member):
    answer, server = member("replace_again", **NODE1, replace=True)
    assert (answer["changed"], server.sent(*CHANGES)) == (False, [])
    assert "node1=https://127.0.0.11:2380" in answer["initial_cluster"]


def test_changes_are_sent_to_the_leader(member):
    _answer, server = member("promoted", **NODE1, state="promoted")
    (asked,) = [endpoint for endpoint, path, _body in server.asked if path == "/v3/cluster/member/promote"]
    status = next(b for e, p, b in server.asked if e == asked and p == "/v3/maintenance/status")
    assert status == {}
    assert asked in ENDPOINTS[1:]


def test_a_learner_is_promoted_once(member):
    assert member("promoted", **NODE1, state="promoted")[0]["changed"] is True
    answer, server = member("promoted_again", **NODE1, state="promoted")
    assert (answer["changed"], server.sent(*CHANGES)) == (False, [])


def test_leadership_moves_to_another_member_and_the_time_is_told(member):
    leader = LEADERS[member.version]
    answer, server = member("follower", name=leader, state="follower")
    assert answer["changed"] is True
    assert answer["leader"] not in (None, leader)
    assert isinstance(answer["seconds"], float)
    assert len(server.sent("/v3/maintenance/transfer-leadership")) == 1


def test_a_follower_stays_one(member):
    follower = "node2"
    answer, server = member("healthy", name=follower, state="follower", password="rootpw")
    assert (answer["changed"], answer["leader"]) == (False, LEADERS[member.version])
    assert server.sent(*CHANGES) == []


@pytest.mark.parametrize(
    ("scene", "options"),
    [
        ("replace", {**NODE1, "replace": True}),
        ("promoted", {**NODE1, "state": "promoted"}),
        ("one_down", {"name": "node1", "state": "absent"}),
    ],
)
def test_check_mode_tells_the_change_and_sends_none(member, scene, options):
    answer, server = member(scene, check=True, **options)
    assert answer["changed"] is True
    assert answer["diff"]["before"] != answer["diff"]["after"]
    assert server.sent(*CHANGES) == []


def test_without_a_quorum_it_says_why_nothing_can_be_done(member):
    answer, _server = member("no_quorum_follower", name="node2", state="follower", wait_timeout=0)
    assert answer["failed"] is True
    assert "too few of them are up to form a quorum" in answer["msg"]


def test_one_who_is_no_member_cannot_be_promoted(member):
    answer, _server = member("healthy", name="node4", peer_urls=["https://127.0.0.14:2380"], state="promoted")
    assert "node4 is not a member" in answer["msg"]


def entry(name, number, learner=False, healthy=True, applied=10):
    return {
        "name": name,
        "id": str(number),
        "peer_urls": [f"https://h{number}:2380"],
        "learner": learner,
        "healthy": healthy,
        "raft_applied_index": applied,
    }


@pytest.mark.parametrize(
    ("members", "replace", "remove", "add"),
    [
        ([], False, [], True),
        ([entry("a", 1)], False, [], False),
        ([entry("a", 1)], True, ["1"], True),
        ([entry("", 1)], False, [], False),
        ([entry("", 1)], True, ["1"], True),
        ([entry("", 1, learner=True)], True, [], False),
        ([entry("a", 1, learner=True)], True, ["1"], True),
        ([entry("a", 2)], False, ["2"], True),
        ([entry("a", 2), entry("", 1)], False, ["2"], False),
    ],
    ids=[
        "no entry: add",
        "a member: nothing",
        "a member without data: replace",
        "announced: nothing",
        "announced as voter, may have voted: replace",
        "announced as learner: nothing",
        "learner that lost its data: replace",
        "other address: replace",
        "old entry at another address beside the announced one: remove the old",
    ],
)
def test_what_leads_to_a_present_member(members, replace, remove, add):
    change = etcd_member.plan_present(members, "a", ["https://h1:2380"], replace)
    assert (change.remove, change.add) == (remove, add)


def test_the_successor_is_a_healthy_voter_with_most_entries():
    members = [
        entry("a", 1),
        entry("b", 2, applied=9),
        entry("c", 3, applied=12, healthy=False),
        entry("d", 4, learner=True),
    ]
    assert etcd_member.successor(members, "a")["name"] == "b"
    assert etcd_member.successor(members[:1], "a") is None


def test_a_successor_that_is_named_has_to_be_a_healthy_voter():
    fit = {"healthy": True, "learner": False, "raft_applied_index": 7}
    members = [{"name": "a", **fit}, {"name": "b", **fit}, {"name": "c", **fit, "learner": True}]
    assert etcd_member.successor(members, "a", "b")["name"] == "b"
    assert etcd_member.successor(members, "a", "c") is None
    assert etcd_member.successor(members, "a", "d") is None
