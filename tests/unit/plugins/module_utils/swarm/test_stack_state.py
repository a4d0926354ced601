# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import copy

from ansible_collections.utmstack.ha.plugins.module_utils.swarm import stack_state
from ansible_collections.utmstack.ha.plugins.module_utils.swarm.stack_look import look
from ansible_collections.utmstack.ha.plugins.modules import swarm_stack_state
from docker_replay import SCENES, Server, run

SERVICE = "utmstack_backend"
WHOLE = SCENES["stack_whole"]
SERVICES, TASKS = (
    next(path for path in WHOLE if path.startswith(f"/{kind}?filters=")) for kind in ("services", "tasks")
)


def scene(stopped=False, states=("running",) * 3, nodes_down=()):
    """The recorded stack of three replicas, stopped by the module, and with its tasks in these states."""
    made = copy.deepcopy(WHOLE)
    (raw,) = made[SERVICES][1]
    if stopped:
        raw["Spec"] = stack_state.change(raw, "stopped")
    tasks = [task for task in made[TASKS][1] if task["DesiredState"] == "running"]
    for task, state in zip(tasks, states, strict=False):
        task["Status"]["State"] = state
    made[TASKS][1] = tasks[: len(states)]
    for node in made["/nodes"][1]:
        if node["Description"]["Hostname"] in nodes_down:
            node["Status"]["State"] = "down"
    return made


def ask(server, monkeypatch, capsys, state, **options):
    monkeypatch.setattr(swarm_stack_state.time, "sleep", lambda _seconds: None)
    return run(swarm_stack_state, server, monkeypatch, capsys, name="utmstack", state=state, **options)


def test_a_stopped_service_has_no_replicas_and_remembers_how_many_it_had(monkeypatch, capsys):
    server = Server(scene(), scene(stopped=True, states=()))
    answer = ask(server, monkeypatch, capsys, "stopped")
    ((method, path, spec),) = server.changes
    before = WHOLE[SERVICES][1][0]
    assert (method, path) == ("POST", f"/services/{before['ID']}/update?version={before['Version']['Index']}")
    assert spec["Mode"]["Replicated"]["Replicas"] == 0
    assert spec["Labels"] == before["Spec"]["Labels"] | {"utmstack.ha.replicas": "3"}
    assert spec["TaskTemplate"] == before["Spec"]["TaskTemplate"]
    assert (answer["changed"], answer["services"], answer["present"]) == (True, [SERVICE], [SERVICE])


def test_what_was_stopped_is_started_as_it_was(monkeypatch, capsys):
    server = Server(scene(stopped=True, states=()), scene())
    assert ask(server, monkeypatch, capsys, "started")["services"] == [SERVICE]
    ((_method, _path, spec),) = server.changes
    assert spec == WHOLE[SERVICES][1][0]["Spec"]


def test_a_second_stop_and_a_second_start_change_nothing(monkeypatch, capsys):
    for state, before in (("stopped", scene(stopped=True, states=())), ("started", scene())):
        server = Server(before)
        assert not ask(server, monkeypatch, capsys, state)["changed"]
        assert server.changes == []


def test_a_dry_run_tells_what_would_be_stopped(monkeypatch, capsys):
    server = Server(scene())
    answer = ask(server, monkeypatch, capsys, "stopped", check=True)
    assert (answer["changed"], answer["services"], server.changes) == (True, [SERVICE], [])


def test_a_replica_that_does_not_end_is_a_failure(monkeypatch, capsys):
    server = Server(scene(), scene(stopped=True, states=("running",)))
    answer = ask(server, monkeypatch, capsys, "stopped", wait_timeout=0)
    assert answer["failed"]
    assert "1 of utmstack_backend's replicas have not ended" in answer["msg"]


def test_replicas_on_a_lost_host_are_told_and_not_waited_for():
    lost = next(node for node in WHOLE["/nodes"][1] if node["Description"]["Hostname"] == "node3")
    tasks = [task for task in WHOLE[TASKS][1] if task["DesiredState"] == "running"]
    states = ["running" if task["NodeID"] == lost["ID"] else "shutdown" for task in tasks]
    seen = look(Server(scene(stopped=True, states=states, nodes_down=("node3",))).engine(), "utmstack")
    assert (stack_state.lacking(seen, "stopped"), stack_state.unknown(seen)) == ([], ["node3"])


def test_a_service_on_every_node_is_named_and_left_alone():
    made = scene()
    made[SERVICES][1][0]["Spec"]["Mode"] = {"Global": {}}
    seen = look(Server(made).engine(), "utmstack")
    assert stack_state.change(seen.services[SERVICE], "stopped") is None
    assert (stack_state.everywhere(seen), stack_state.lacking(seen, "stopped")) == ([SERVICE], [])
