# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
import socket

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import cluster as swarm
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import engine as docker_engine
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import reconcile as swarm_reconcile
from ansible_collections.utmstack.ha.plugins.modules import swarm_cluster, swarm_info, swarm_keys_info, swarm_member
from docker_replay import SCENES, Server, run

KEY = "SWMKEY-1-thekey"
MEMBERS = [
    {"name": f"node{number}", "address": f"10.0.1.1{number}", "role": "manager", "availability": "active"}
    for number in (1, 2, 3)
]


def look(scene, key=KEY):
    return swarm.look(Server(scene).engine(), key)


def test_a_manager_tells_all_of_a_whole_swarm_and_no_secret():
    found = look("whole")
    assert (found["state"], found["manager"], found["engine"]) == ("active", True, "26.1.5+dfsg1")
    assert [(one["hostname"], one["leader"], one["reachability"]) for one in found["nodes"]] == [
        ("node1", False, "reachable"),
        ("node2", True, "reachable"),
        ("node3", False, "reachable"),
    ]
    assert found["gateway"] == {"binding": "10.0.1.11"}
    assert found["settings"]["dispatcher_heartbeat_s"] == 5
    assert found["services"] == [{"name": "utmstack_backend", "running": 3, "desired": 3}]
    assert found["unlock_key_known"] is True
    assert look("whole", "former")["unlock_key_known"] is False
    assert "SWM" not in json.dumps(found)


@pytest.mark.parametrize(
    ("scene", "members", "options", "words"),
    [
        ("whole", MEMBERS, {}, []),
        ("whole", MEMBERS[:2] + [{**MEMBERS[2], "availability": ""}], {"services": True}, []),
        ("whole", [*MEMBERS, {**MEMBERS[0], "name": "node9", "address": "10.0.1.19"}], {}, ["node9 is no node"]),
        ("whole", [{**MEMBERS[0], "role": "worker"}], {}, ["node1 is a manager, not a worker"]),
        ("whole", [{**MEMBERS[0], "availability": "drain"}], {}, ["the availability active, not drain"]),
        ("node3_down", MEMBERS, {}, ["node3 is down (heartbeat failure) and is as a manager unreachable"]),
        ("node3_down", MEMBERS, {"without": ["node3"]}, []),
        ("no_leader", MEMBERS, {}, ["does not have a leader"]),
        ("locked", MEMBERS, {}, ["needs to be unlocked"]),
        ("inactive", MEMBERS, {}, ["state is inactive"]),
    ],
)
def test_problems_are_told_as_sentences(scene, members, options, words):
    problems = swarm.assess(look(scene), members, **options)
    assert bool(problems) == bool(words)
    assert [word for word in words if not any(word in problem for problem in problems)] == []
    assert not any("rpc error" in problem for problem in problems)


@pytest.mark.parametrize(
    ("expected", "away", "words"),
    [
        (["utmstack_backend"], 0, []),
        (["utmstack_other"], 0, ["There is no service utmstack_other."]),
    ],
)
def test_services_that_must_be_there(expected, away, words):
    assert swarm.lacking(look("whole"), expected, away) == words


@pytest.mark.parametrize(("away", "whole"), [(0, False), (1, True)])
def test_a_replica_may_be_away_while_its_host_is_restarted(away, whole):
    found = {"services": [{"name": "a", "running": 2, "desired": 3}]}
    assert (swarm.lacking(found, ["a"], away) == []) == whole


@pytest.mark.parametrize(
    ("scene", "led"),
    [("whole", True), ("no_leader", False), ("locked", True), ("inactive", True), ("node3_down", True)],
)
def test_an_election_is_waited_for_and_nothing_else(scene, led):
    assert swarm.led(look(scene)) is led


@pytest.mark.parametrize(
    ("address", "host"), [("10.0.1.11:2377", "10.0.1.11"), ("[fd00::1]:2377", "fd00::1"), ("10.0.1.11", "10.0.1.11"), ("fd00::1", "fd00::1")]
)  # fmt: skip
def test_hosts_of_addresses(address, host):
    assert swarm.host_of(address) == host


def test_the_info_module_waits_and_tells_what_it_saw_last(monkeypatch, capsys):
    found = run(
        swarm_info,
        Server("node3_down"),
        monkeypatch,
        capsys,
        expected_members=MEMBERS,
        wait_for="healthy",
        wait_timeout=0,
    )
    assert not found["healthy"]
    assert found["problems"] == ["node3 is down (heartbeat failure) and is as a manager unreachable."]


def test_a_gateway_that_binds_elsewhere_is_told(monkeypatch, capsys):
    assert run(swarm_info, Server("whole"), monkeypatch, capsys, gateway_binding="10.0.1.12")["gateway_wrong"]
    assert not run(swarm_info, Server("whole"), monkeypatch, capsys, gateway_binding="10.0.1.11")["gateway_wrong"]


NO_GATEWAY = {
    **SCENES["inactive"],
    "/networks/docker_gwbridge": [404, {"message": "network docker_gwbridge not found"}],
}
INIT = {"state": "initialized", "address": "10.0.1.11", "gateway_binding": "10.0.1.11", "labels": {"a": "b"}}


def test_a_swarm_is_made_with_the_gateway_before_it(monkeypatch, capsys):
    server = Server(NO_GATEWAY, NO_GATEWAY, "whole")
    assert run(swarm_member, server, monkeypatch, capsys, **INIT)["changed"]
    (_method, path, network), (_method, init_path, body) = server.changes
    assert (path, init_path) == ("/networks/create", "/swarm/init")
    assert network["Options"]["com.docker.network.bridge.host_binding_ipv4"] == "10.0.1.11"
    assert body["AdvertiseAddr"] == body["ListenAddr"] == "10.0.1.11:2377"
    assert body["Spec"] == {"Labels": {"a": "b"}}


def test_a_gateway_of_another_binding_is_made_anew_before_the_host_enters(monkeypatch, capsys):
    server = Server("inactive", "inactive", "inactive", "whole")
    options = {"remote_addresses": ["10.0.1.12:2377"], "join_token": "SWMTKN-1-x"}
    run(
        swarm_member,
        server,
        monkeypatch,
        capsys,
        **INIT | {"state": "joined", "gateway_binding": "10.0.1.13"} | options,
    )
    assert [path for _method, path, _body in server.changes] == [
        "/networks/docker_gwbridge",
        "/networks/create",
        "/swarm/join",
    ]


@pytest.mark.parametrize(
    ("scene", "options", "changed"),
    [
        ("whole", INIT, False),
        ("inactive", INIT, True),
        ("inactive", {"state": "left"}, False),
        ("whole", {"state": "left"}, True),
        ("locked", {"state": "unlocked", "unlock_key": KEY}, True),
        ("whole", {"state": "unlocked", "unlock_key": KEY}, False),
    ],
)
def test_a_dry_run_tells_and_touches_nothing(scene, options, changed, monkeypatch, capsys):
    server = Server(scene)
    assert run(swarm_member, server, monkeypatch, capsys, check=True, **options)["changed"] is changed
    assert server.changes == []


def test_a_locked_manager_gets_the_key_in_the_request_only(monkeypatch, capsys):
    server = Server("locked", "whole")
    found = run(swarm_member, server, monkeypatch, capsys, state="unlocked", unlock_key=KEY)
    assert server.changes == [("POST", "/swarm/unlock", {"UnlockKey": KEY})]
    assert found["state"] == "active"
    assert "thekey" not in json.dumps(found)


def test_a_wrong_key_fails_with_dockers_words(monkeypatch, capsys):
    server = Server("locked", refuse={"/swarm/unlock": [(500, "rpc error: code = Unknown desc = invalid key string")]})
    found = run(swarm_member, server, monkeypatch, capsys, state="unlocked", unlock_key="wrong")
    assert found["failed"]
    assert found["msg"] == "This host cannot be unlocked: invalid key string"


def test_a_locked_host_makes_no_swarm(monkeypatch, capsys):
    found = run(swarm_member, Server("locked"), monkeypatch, capsys, **INIT)
    assert "waits for the unlock key" in found["msg"]


def test_keys_are_read_from_a_manager_only(monkeypatch, capsys):
    found = run(swarm_keys_info, Server("whole"), monkeypatch, capsys)
    assert (found["manager_token"], found["worker_token"], found["unlock_key"]) == (
        "SWMTKN-1-manager",
        "SWMTKN-1-worker",
        KEY,
    )
    assert "not a swarm manager" in run(swarm_keys_info, Server("inactive"), monkeypatch, capsys)["msg"]


# -- swarm_cluster ----------------------------------------------------------------------------------------------------


def changed_node(scene, hostname, **spec):
    """The scene as it is after Docker has carried out a change of a node."""
    after = json.loads(json.dumps(SCENES[scene]))
    for node in after["/nodes"][1]:
        if node["Description"]["Hostname"] == hostname:
            node["Spec"] |= spec
            if spec.get("Role") == "worker":
                del node["ManagerStatus"]
    return after


def test_what_is_as_wanted_is_left_alone(monkeypatch, capsys):
    server = Server("whole")
    nodes = [{"name": "node1", "address": "10.0.1.11", "availability": "active", "role": "manager"}]
    found = run(swarm_cluster, server, monkeypatch, capsys, autolock=True, task_history_limit=5, nodes=nodes)
    assert not found["changed"]
    assert server.changes == []


def test_a_setting_is_changed_and_all_others_stay(monkeypatch, capsys):
    server = Server("whole")
    found = run(swarm_cluster, server, monkeypatch, capsys, task_history_limit=3, dispatcher_heartbeat_s=2.5)
    ((_method, path, body),) = server.changes
    before = SCENES["whole"]["/swarm"][1]
    assert path == f"/swarm/update?version={before['Version']['Index']}"
    assert body["Orchestration"]["TaskHistoryRetentionLimit"] == 3
    assert body["Dispatcher"]["HeartbeatPeriod"] == 2_500_000_000
    assert {key: body[key] for key in ("Labels", "Raft", "CAConfig", "EncryptionConfig")} == {
        key: before["Spec"][key] for key in ("Labels", "Raft", "CAConfig", "EncryptionConfig")
    }
    assert "task_history_limit: 5" in found["diff"]["before"]
    assert "task_history_limit: 3" in found["diff"]["after"]


def test_someone_else_was_faster_so_the_change_is_made_upon_the_newer_state(monkeypatch, capsys):
    conflict = (500, "rpc error: code = Unknown desc = update out of sequence")
    server = Server("whole", refuse={"/swarm/update": [conflict, conflict]})
    assert run(swarm_cluster, server, monkeypatch, capsys, task_history_limit=3)["changed"]
    assert len(server.changes) == 1


def test_a_node_is_drained_by_its_address(monkeypatch, capsys):
    server = Server("whole", changed_node("whole", "node3", Availability="drain"))
    nodes = [{"name": "node3", "address": "10.0.1.13", "availability": "drain"}]
    found = run(swarm_cluster, server, monkeypatch, capsys, nodes=nodes)
    ((_method, path, body),) = server.changes
    assert "/update?version=" in path
    assert (body["Availability"], body["Role"]) == ("drain", "manager")
    assert found["changed"]


def test_a_manager_that_is_gone_is_made_a_worker_and_removed(monkeypatch, capsys):
    number = next(one["ID"] for one in SCENES["node3_down"]["/nodes"][1] if one["Description"]["Hostname"] == "node3")
    server = Server("node3_down")
    gone = [{"id": number, "name": "node3", "role": "manager"}]
    assert run(swarm_cluster, server, monkeypatch, capsys, remove=gone)["changed"]
    assert [(method, path.split("?")[0]) for method, path, _body in server.changes] == [
        ("POST", f"/nodes/{number}/update"),
        ("DELETE", f"/nodes/{number}"),
    ]
    assert server.changes[0][2]["Role"] == "worker"


def test_a_former_manager_of_a_swarm_that_was_made_anew_is_removed_without_being_demoted(monkeypatch, capsys):
    """What Docker 20.10.24 says of it."""
    number = next(one["ID"] for one in SCENES["node3_down"]["/nodes"][1] if one["Description"]["Hostname"] == "node3")
    said = (404, "rpc error: code = NotFound desc = can't find manager in raft memberlist")
    server = Server("node3_down", refuse={f"/nodes/{number}/update": [said]})
    gone = [{"id": number, "name": "node3", "role": "manager"}]
    assert run(swarm_cluster, server, monkeypatch, capsys, remove=gone)["changed"]
    assert [(method, path.split("?")[0]) for method, path, _body in server.changes] == [("DELETE", f"/nodes/{number}")]


def test_an_unknown_node_is_an_error_that_names_it(monkeypatch, capsys):
    found = run(swarm_cluster, Server("whole"), monkeypatch, capsys, nodes=[{"name": "node9", "availability": "drain"}])
    assert "node9 is no node of the swarm" in found["msg"]


def test_a_change_that_does_not_come_about_says_what_is_missing():
    busy = Server("whole", refuse={"/nodes": [(400, "it is a member of the raft cluster")] * 99})
    times = iter(range(99))
    target = swarm_reconcile.Swarm(busy.engine(), 3, clock=lambda: next(times), sleep=lambda _s: None)
    number = SCENES["whole"]["/nodes"][1][0]["ID"]
    with pytest.raises(docker_engine.EngineError, match="member of the raft cluster"):
        target.remove({"id": number, "name": "node1", "role": "worker"})


# -- the engine itself ------------------------------------------------------------------------------------------------


def test_an_engine_that_does_not_run_is_told_in_plain_words(tmp_path):
    engine = docker_engine.Engine(docker_engine.local(str(tmp_path / "docker.sock")))
    with pytest.raises(docker_engine.EngineError, match="it has no socket"):
        engine.get("/info")


def test_an_engine_that_hangs_costs_no_more_than_the_time_limit(tmp_path):
    path = str(tmp_path / "docker.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        engine = docker_engine.Engine(docker_engine.local(path), timeout=0.2)
        with pytest.raises(docker_engine.EngineError, match=r"no answer within 0\.2 s"):
            engine.get("/info")


def test_an_engine_that_is_down_stops_the_look_with_its_reason(tmp_path):
    found = swarm.look(docker_engine.Engine(docker_engine.local(str(tmp_path / "docker.sock"))))
    assert (found["state"], found["engine"]) == ("stopped", None)
    assert "no socket" in found["error"]
