# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common import info as question
from ansible_collections.utmstack.ha.plugins.module_utils.etcd import cluster as etcd_cluster
from ansible_collections.utmstack.ha.plugins.modules import etcd_data_info, etcd_info
from etcd_replay import ENDPOINTS, VERSIONS, Server, run

pytestmark = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture
def look(version, monkeypatch, capsys):
    """Run etcd_info on a recorded scene."""
    return lambda scene, **options: run(etcd_info, Server(version, scene), monkeypatch, capsys, **options)


def test_a_whole_cluster_is_healthy_and_says_who_leads(look, version):
    found = look("healthy", expected_members=["node1", "node2", "node3"])
    assert (found["healthy"], found["problems"], found["alarms"], found["auth_enabled"]) == (True, [], [], True)
    assert [member["name"] for member in found["members"]] == ["node1", "node2", "node3"]
    assert [member["name"] for member in found["members"] if member["leader"]] == [found["leader"]]
    first = found["members"][0]
    assert first["id"] == "15309eb48fb80c71"
    assert first["client_urls"] == ["https://127.0.0.11:2379"]
    assert first["version"] == version
    assert first["db_size_bytes"] > 0
    assert first["raft_term"] == 2


def test_a_cluster_without_authentication_is_told_as_such(look):
    assert look("fresh")["auth_enabled"] is False


def test_no_user_is_needed_to_look_and_authentication_is_noticed(look):
    found = look("without_user", username=None, password=None)
    assert (found["healthy"], found["auth_enabled"]) == (True, True)


def test_a_member_that_is_down_is_named_with_the_reason(look):
    found = look("one_down")
    assert found["problems"] == ["node1 does not answer (Connection refused)."]
    assert found["leader"] is not None
    assert found["healthy"] is False


def test_a_member_whose_turn_it_is_does_not_count(look):
    assert look("one_down", without=["node1"])["healthy"] is True


def test_a_name_that_is_no_member_is_a_problem(look):
    assert look("healthy", expected_members=["node1", "node4"])["problems"] == ["node4 is not a member."]


def test_a_lost_quorum_is_told_first(look):
    found = look("no_quorum")
    assert found["problems"][0] == "No member leads: too few of them are up to form a quorum."
    assert (found["leader"], found["healthy"], found["auth_enabled"]) == (None, False, None)


def test_without_a_quorum_nobody_logs_in(version, monkeypatch, capsys):
    server = Server(version, "no_quorum")
    run(etcd_info, server, monkeypatch, capsys)
    assert server.sent("/v3/auth/authenticate", "/v3/maintenance/alarm") == []


def test_an_announced_member_and_a_learner_are_not_healthy(look):
    announced, learner = look("never_started"), look("learner")
    assert "was added but has never started" in announced["problems"][0]
    assert learner["problems"] == ["node1 is a learner that has not been promoted."]
    assert [member["learner"] for member in learner["members"]] == [True, False, False]


def test_a_member_of_another_cluster_is_told_though_its_address_is_right(look):
    assert look("second_cluster")["problems"] == ["node1 answers as a member of another cluster (e07ff96dc481154f)."]


def test_an_alarm_is_the_problem_of_the_member_that_raised_it_and_can_be_disregarded(look):
    found = look("alarm")
    assert [problem.split()[1:] for problem in found["problems"]] == [["raised", "the", "alarm", "NOSPACE."]]
    assert [alarm["alarm"] for alarm in found["alarms"]] == ["NOSPACE"]
    assert look("alarm", ignore_alarms=True)["healthy"] is True


def test_a_wrong_password_is_a_problem_and_the_members_are_shown_all_the_same(look):
    found = look("wrong_password", password="wrong")
    assert found["problems"] == ["Logging in failed: authentication failed, invalid user ID or password."]
    assert len(found["members"]) == 3


def test_certificates_that_are_not_there_are_a_problem_not_a_crash(version, monkeypatch, capsys):
    def refuse(*files):
        raise OSError("The certificates in /none cannot be used: No such file or directory")

    server = Server(version, "healthy")
    monkeypatch.setattr(server, "open", None)
    original = monkeypatch.setattr
    monkeypatch.setattr = lambda target, name, value: original(target, name, refuse if name == "opener" else value)
    found = run(etcd_info, server, monkeypatch, capsys)
    assert len(found["problems"]) == 3
    assert "/none" in found["problems"][0]
    assert found["leader"] is None


def test_waiting_ends_with_what_was_seen_last(look, monkeypatch):
    clock = iter(range(0, 100, 10))
    monkeypatch.setattr(question.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(question.time, "sleep", lambda seconds: None)
    assert look("no_quorum", wait_for="leader", wait_timeout=30)["leader"] is None
    assert next(clock) == 40


def test_the_cluster_with_a_leader_is_asked_when_endpoints_belong_to_two(version):
    def view(cluster, leader):
        return etcd_cluster.View({"header": {"cluster_id": cluster, "member_id": "1"}, "leader": leader})

    views = {ENDPOINTS[0]: view("7", "0"), ENDPOINTS[1]: view("8", "1"), ENDPOINTS[2]: etcd_cluster.View(error="down")}
    assert etcd_cluster.best_endpoint(views) == ENDPOINTS[1]
    assert etcd_cluster.best_endpoint({ENDPOINTS[2]: views[ENDPOINTS[2]]}) == ""


def test_data_and_an_unfinished_formation_are_seen(version, tmp_path):
    log = tmp_path / "data" / "member" / "wal" / "0000000000000000-0000000000000000.wal"
    first_boot = tmp_path / "data.first-boot"
    assert etcd_data_info.has_data(tmp_path / "data") is False
    assert etcd_data_info.initial_cluster(first_boot) == ""
    log.parent.mkdir(parents=True)
    assert etcd_data_info.has_data(tmp_path / "data") is False
    log.touch()
    assert etcd_data_info.has_data(tmp_path / "data") is True
    first_boot.write_text('# note\nETCD_INITIAL_CLUSTER_STATE="new"\nETCD_INITIAL_CLUSTER="a=https://a:2380"\n')
    assert etcd_data_info.initial_cluster(first_boot) == "a=https://a:2380"
    first_boot.write_text('ETCD_INITIAL_CLUSTER_STATE="existing"\nETCD_INITIAL_CLUSTER="a=https://a:2380"\n')
    assert etcd_data_info.initial_cluster(first_boot) == ""
