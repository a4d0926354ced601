# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import copy
import json

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import stack as stacks
from ansible_collections.utmstack.ha.plugins.modules import swarm_replica_info, swarm_stack
from docker_replay import SCENES, Server, run

SERVICE = "utmstack_backend"
SALT = SCENES["stack_whole"]["/swarm"][1]["ID"]


def seen(scene):
    return swarm_stack.look(Server(scene).engine(), "utmstack")


WHOLE = seen("stack_whole")
(MARK,) = stacks.marks(WHOLE)


def recorded_definition():
    """The definition that the recorded services come from, with the part of their environment that the recording kept."""
    whole = copy.deepcopy(stacks.kept_definition(WHOLE, "utmstack", MARK))
    kept = WHOLE.services[SERVICE]["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"]
    whole["services"]["backend"]["environment"] = dict(line.split("=", 1) for line in kept)
    return whole


# -- the definition ---------------------------------------------------------------------------------------------------


def test_versions_of_secrets_are_named_by_content_and_tell_nothing_of_it():
    name = stacks.version_name("utmstack", "DB_PASS", "secret", "swarm1")
    assert name.startswith("utmstack_DB_PASS_")
    assert name == stacks.version_name("utmstack", "DB_PASS", "secret", "swarm1")
    others = [("utmstack", "DB_PASS", "other", "swarm1"), ("utmstack", "DB_PASS", "secret", "swarm2")]
    assert name not in [stacks.version_name(*other) for other in others]
    assert len(stacks.version_name("a" * 20, "N" * 60, "secret", "swarm1")) <= 64


def test_a_definition_names_the_present_versions_and_loses_what_is_null():
    definition = {
        "services": {
            "app": {"image": "a", "healthcheck": None, "environment": {"A": True, "B": 5, "C": None}, "secrets": ["P"]}
        }
    }
    whole = stacks.compose(definition, "s", {"P": "secret"}, {"c": "text"}, SALT)
    assert whole["services"]["app"] == {"image": "a", "environment": {"A": "true", "B": "5"}, "secrets": ["P"]}
    assert whole["secrets"]["P"] == {"external": True, "name": stacks.version_name("s", "P", "secret", SALT)}
    assert "secret" not in json.dumps(whole).replace('"secrets"', "")
    assert list(whole["configs"]) == ["c"]


def test_dollars_are_taken_literally():
    assert stacks.literal({"a": ["${DB_PASS}", 1, None]}) == {"a": ["$${DB_PASS}", 1, None]}


def test_the_mark_changes_with_the_definition_and_with_a_secret_only():
    def mark(secret, image="a"):
        return stacks.fingerprint(stacks.compose({"services": {"app": {"image": image}}}, "s", {"P": secret}, {}, SALT))

    assert mark("one") == mark("one")
    assert len({mark("one"), mark("two"), mark("one", "b")}) == 3


# -- what runs --------------------------------------------------------------------------------------------------------


def test_a_service_that_comes_from_the_definition_is_left_alone():
    assert stacks.differences(WHOLE, recorded_definition(), "utmstack", MARK) == []


def by_hand(**changes):
    changed = copy.deepcopy(WHOLE)
    spec = changed.services[SERVICE]["Spec"]
    container = spec["TaskTemplate"]["ContainerSpec"]
    container |= {key: value for key, value in changes.items() if key in ("Image", "Env")}
    if "replicas" in changes:
        spec["Mode"]["Replicated"]["Replicas"] = changes["replicas"]
    return changed


@pytest.mark.parametrize(
    ("found", "mark", "words"),
    [
        (stacks.Seen(), MARK, "is not there"),
        (WHOLE, "another", "another definition"),
        (by_hand(Image="other:1"), MARK, "its image is other:1"),
        (by_hand(Env=["A=1"]), MARK, "its environment"),
        (by_hand(replicas=1), MARK, "it has 1 replicas"),
    ],
)
def test_what_differs_is_told(found, mark, words):
    (reason,) = stacks.differences(found, recorded_definition(), "utmstack", mark)
    assert words in reason


def test_a_digest_that_docker_added_is_no_difference():
    image = WHOLE.services[SERVICE]["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]
    assert (
        stacks.differences(by_hand(Image=f"{image}@sha256:{'0' * 64}"), recorded_definition(), "utmstack", MARK) == []
    )


def test_a_service_that_is_not_defined_any_more_is_told():
    whole = recorded_definition()
    whole["services"] = {}
    assert stacks.differences(WHOLE, whole, "utmstack", MARK) == [f"{SERVICE} is not defined any more"]


# -- progress ---------------------------------------------------------------------------------------------------------


def test_a_whole_stack_lacks_nothing():
    assert stacks.progress(WHOLE, MARK) == ([], [])
    assert stacks.settled(WHOLE)


def test_an_update_under_way_is_waited_for():
    updating = seen("stack_updating")
    (mark,) = stacks.marks(updating)
    lacking, failed = stacks.progress(updating, mark)
    assert lacking[0].startswith(f"{SERVICE} runs 0 of 3 replicas.")
    assert failed == []
    assert not stacks.settled(updating)


def test_a_rolled_back_update_has_failed_with_what_the_task_said():
    former = {task["ID"] for tasks in WHOLE.tasks.values() for task in tasks}
    back = seen("stack_rolled_back")
    lacking, failed = stacks.progress(back, "wanted", former)
    assert lacking == []
    assert "back to its former definition (rollback completed)" in failed[0]
    assert "utmstack_backend.2 on node2: task: non-zero exit (1) (`docker service logs " in failed[0]
    assert stacks.settled(back)
    assert stacks.standing(back) == ["utmstack_backend serves with 3 of 3 replicas."]


def test_former_failures_are_old_news():
    back = seen("stack_rolled_back")
    former = {task["ID"] for tasks in back.tasks.values() for task in tasks}
    assert "exit" not in stacks.progress(back, "wanted", former)[1][0]


def test_the_definition_that_docker_went_back_to_is_no_failure():
    assert stacks.progress(seen("stack_rolled_back"), MARK) == ([], [])


def test_an_update_that_was_paused_goes_no_further():
    paused = copy.deepcopy(WHOLE)
    paused.services[SERVICE]["UpdateStatus"] = {"State": "paused", "Message": "update paused due to failure"}
    assert "has stopped (update paused due to failure)" in stacks.progress(paused, MARK)[1][0]


@pytest.mark.parametrize(
    ("state", "availability", "label", "places"),
    [
        ("ready", "active", "true", 3),
        ("down", "active", "true", 2),
        ("ready", "drain", "true", 2),
        ("ready", "active", "false", 2),
    ],
)
def test_replicas_are_expected_where_a_node_can_carry_them(state, availability, label, places):
    nodes = copy.deepcopy(WHOLE.nodes)
    nodes[0]["Status"]["State"] = state
    nodes[0]["Spec"] |= {"Availability": availability, "Labels": {"utmstack.ha.backend": label}}
    assert stacks.places(WHOLE.services[SERVICE], nodes) == places


def test_a_host_that_is_away_is_not_waited_for():
    away = copy.deepcopy(WHOLE)
    lost = away.nodes[0]["ID"]
    away.nodes[0]["Status"]["State"] = "down"
    for task in away.tasks[SERVICE]:
        if task["NodeID"] == lost and task["DesiredState"] == "running":
            task["Status"]["State"] = "pending"
    assert stacks.progress(away, MARK) == ([], [])


def test_a_stack_that_no_node_can_carry_is_not_whole():
    nowhere = copy.deepcopy(WHOLE)
    for node in nowhere.nodes:
        node["Status"]["State"] = "down"
    assert stacks.progress(nowhere, MARK)[0]


@pytest.mark.parametrize(
    ("constraint", "fits"),
    [
        ("node.role == manager", True),
        ("node.role!=manager", False),
        ("node.hostname == nowhere", False),
        ("node.labels.missing != x", True),
        ("something else entirely", True),
    ],
)
def test_constraints(constraint, fits):
    assert stacks._fits(WHOLE.nodes[0], constraint) is fits


# -- versions that nobody uses ----------------------------------------------------------------------------------------


def test_versions_stay_as_long_as_a_service_uses_them_or_would_after_a_rollback():
    updating = seen("stack_updating")
    used = stacks.referenced(updating.services)
    assert {item["ID"] for item in updating.secrets} <= used
    secret = {"ID": "old", "Spec": {"Name": "utmstack_DB_PASS_old"}}
    assert stacks.superfluous([*updating.secrets, secret], used, set()) == [secret]
    assert stacks.superfluous([secret], used, {"utmstack_DB_PASS_old"}) == []


# -- the module -------------------------------------------------------------------------------------------------------


class Client:
    """Docker's own client, as far as the module calls it: what it was given, and what it says."""

    def __init__(self, monkeypatch, server, code=0, err=""):
        self.given, self._server, self._answer = [], server, (code, "", err)
        monkeypatch.setattr(AnsibleModule, "get_bin_path", lambda module, name, required: f"/usr/bin/{name}")
        monkeypatch.setattr(AnsibleModule, "run_command", lambda module, command, data=None: self.run(command, data))

    def run(self, command, data):
        if "--help" in command:
            return 0, "--detach", ""
        self.given.append((command, json.loads(data)))
        self._server.changes.append(("CLI", "deploy", None))
        return self._answer


OPTIONS = {
    "name": "utmstack",
    "definition": {"services": {"backend": {"image": "a:1", "environment": {"A": "${B}"}, "secrets": ["DB_PASS"]}}},
    "secrets": {"DB_PASS": "a-very-secret-text"},
}
EMPTY = {
    **SCENES["stack_whole"],
    **{path: [200, []] for path in SCENES["stack_whole"] if path.startswith("/services")},
}


def test_a_stack_is_deployed_with_its_secrets_before_it(monkeypatch, capsys):
    server = Server(EMPTY)
    client = Client(monkeypatch, server, code=1, err="invalid mount config")
    found = run(swarm_stack, server, monkeypatch, capsys, **OPTIONS)
    assert found["failed"]
    assert "invalid mount config" in found["msg"]
    assert [path for _method, path, _body in server.changes] == ["/secrets/create", "/configs/create", "deploy"]
    ((command, definition),) = client.given
    assert command[-4:] == ["--resolve-image", "always", "--detach=true", "utmstack"]
    backend = definition["services"]["backend"]
    assert backend["environment"] == {"A": "$${B}"}
    assert backend["deploy"]["labels"][stacks.DEFINITION]
    assert "a-very-secret-text" not in json.dumps(found) + json.dumps(definition)


def as_deployed():
    """The whole scene with the environment that the recording left out."""
    scene = copy.deepcopy(SCENES["stack_whole"])
    wanted = stacks.kept_definition(WHOLE, "utmstack", MARK)["services"]["backend"]["environment"]
    for path, (_status, items) in scene.items():
        for item in items if path.startswith(("/services", "/tasks")) else []:
            spec = item["Spec"].get("TaskTemplate") or item["Spec"]
            spec["ContainerSpec"]["Env"] = [f"{name}={value}" for name, value in wanted.items()]
    return scene


def test_a_stack_that_serves_as_defined_is_left_alone_also_through_an_election(monkeypatch, capsys):
    server = Server(as_deployed())
    answer, asked = server.request, []

    def request(method, target, body, timeout):
        asked.append(target)
        if target.startswith("/services") and sum(one.startswith("/services") for one in asked) == 2:
            return SCENES["no_leader"]["/nodes"][0], json.dumps(SCENES["no_leader"]["/nodes"][1]).encode()
        return answer(method, target, body, timeout)

    monkeypatch.setattr(server, "request", request)
    definition = stacks.kept_definition(WHOLE, "utmstack", MARK)
    found = run(swarm_stack, server, monkeypatch, capsys, name="utmstack", definition=definition)
    assert (found["changed"], found["healthy"], found["reasons"]) == (False, True, [])
    assert sum(one.startswith("/services") for one in asked) == 3
    assert server.changes == []


def test_a_dry_run_shows_the_definition_and_no_secret(monkeypatch, capsys):
    server = Server("stack_whole")
    found = run(swarm_stack, server, monkeypatch, capsys, check=True, **OPTIONS)
    assert found["changed"]
    assert found["reasons"] == [f"{SERVICE} comes from another definition"]
    assert '"image": "a:1"' in found["diff"]["after"]
    assert '"replicas": 3' in found["diff"]["before"]
    assert "a-very-secret-text" not in json.dumps(found)
    assert server.changes == []


def test_a_dry_run_before_there_is_a_swarm_says_so(monkeypatch, capsys):
    found = run(swarm_stack, Server("inactive"), monkeypatch, capsys, check=True, **OPTIONS)
    assert found["changed"]
    assert found["reasons"] == ["there is no swarm yet"]
    assert "not a swarm manager" in run(swarm_stack, Server("inactive"), monkeypatch, capsys, **OPTIONS)["msg"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("1970-01-01T00:01:00.5Z", 60.5), ("1970-01-01T00:00:01.123456789Z", 1.123456789)]
)
def test_dockers_times_are_read(text, seconds):
    assert swarm_replica_info.seconds(text) == pytest.approx(seconds)


def test_a_container_that_started_before_its_certificate_changed_is_stale():
    container = {"id": "0123456789abcdef", "started": "1970-01-01T00:01:00Z"}
    assert swarm_replica_info.stale([container], {"/new": 61.0, "/old": 59.0}) == [
        "/new is newer than the container 0123456789ab"
    ]
