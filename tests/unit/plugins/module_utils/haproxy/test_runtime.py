# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.utmstack.ha.plugins.module_utils.haproxy import runtime as haproxy
from ansible_collections.utmstack.ha.plugins.modules import haproxy_server

FIXTURES = Path(__file__).parents[3] / "fixtures"
ANSWER = (FIXTURES / "haproxy_2.6_info_and_stat.txt").read_text()
# With the configuration of role haproxy.
ANSWER_3_0 = (FIXTURES / "haproxy_3.0_info_and_stat.txt").read_text()
# With the states of the servers: of backend api, node2 was set to drain, node3 to maint, and `off` is disabled; websocket tracks it.
VERSIONS = ("2.6", "3.0")
STATES = {version: (FIXTURES / f"haproxy_{version}_states.txt").read_text() for version in VERSIONS}


def divided(text):
    """`show info` and `show stat` of an answer from before the states were asked for, too."""
    info, mark, stat = text.partition("# pxname,")
    return info, mark + stat


@pytest.fixture
def backends():
    stat = divided(ANSWER)[1]
    return {backend["name"]: backend for backend in haproxy.summarise(haproxy.parse_stat(stat), {})[1]}


def test_the_figures_of_the_process_are_read():
    info = divided(ANSWER)[0]
    process = haproxy.process(haproxy.parse_info(info))
    assert process["version"] == "2.6.12-1+deb12u4"
    assert process["node"] == "node1"
    assert process["uptime_seconds"] == 4
    assert process["stopping"] is False
    assert process["connections_max"] == 9978


def test_frontends_are_told_apart_from_backends():
    frontends, backends = haproxy.summarise(haproxy.parse_stat(divided(ANSWER)[1]), {})
    assert [frontend["name"] for frontend in frontends] == ["postgresql_write", "postgresql_read", "static"]
    assert [backend["name"] for backend in backends] == ["postgresql_write", "postgresql_read", "static"]
    assert frontends[0] == {"name": "postgresql_write", "status": "OPEN", "sessions": 0}


@pytest.mark.parametrize(
    ("backend", "server", "up", "check", "seen"),
    [
        ("postgresql_write", "node1", True, "L7OK", "Layer7 check passed"),
        ("postgresql_write", "node2", False, "L7STS", "Service Unavailable"),
        ("postgresql_write", "node3", False, "L4CON", "Connection refused"),
        ("static", "noc", True, "", ""),
        ("static", "bak", True, "", ""),
        ("static", "off", False, "", ""),
    ],
)
def test_a_server_is_up_or_down_with_what_its_check_saw(backends, backend, server, up, check, seen):
    found = {entry["name"]: entry for entry in backends[backend]["servers"]}[server]
    assert (found["up"], found["check"], found["check_seen"]) == (up, check, seen)


def test_a_server_has_its_code_weight_and_address(backends):
    server = backends["postgresql_write"]["servers"][1]
    assert server["check_code"] == 503
    assert server["weight"] == 1
    assert server["address"] == "127.0.0.1:5432"
    assert server["backup"] is False
    assert backends["static"]["servers"][1]["backup"] is True


def test_a_backend_counts_the_servers_that_take_sessions(backends):
    assert backends["postgresql_write"]["servers_up"] == 1
    assert backends["postgresql_write"]["up"] is True
    assert backends["static"]["servers_up"] == 2


@pytest.mark.parametrize(
    ("status", "takes"),
    [
        ("UP", True),
        ("UP 1/2", True),
        ("no check", True),
        ("DOWN", False),
        ("DOWN 1/2", False),
        ("MAINT (via a/b)", False),
        ("DRAIN", False),
        ("NOLB", False),
    ],
)
def test_only_some_statuses_get_new_sessions(status, takes):
    assert haproxy.gets_sessions(status) is takes


def test_a_later_version_with_more_columns_is_read_too():
    info, stat = divided(ANSWER_3_0)
    assert haproxy.process(haproxy.parse_info(info))["version"] == "3.0.11-1+deb13u5"
    backends = haproxy.summarise(haproxy.parse_stat(stat), {})[1]
    assert [backend["name"] for backend in backends] == ["postgresql_write", "postgresql_read"]
    assert [server["backup"] for server in backends[1]["servers"]] == [False] * 3 + [True] * 3
    assert [server["name"] for server in backends[0]["servers"] if server["up"]] == ["node1"]
    assert [server["name"] for server in backends[1]["servers"] if server["up"]] == ["node2", "node3", "node1-primary"]


def test_an_answer_without_statistics_is_refused_with_what_came():
    with pytest.raises(ValueError, match="Permission denied"):
        haproxy.split_answers("Permission denied\n\n")


def test_the_socket_is_asked_with_one_line(tmp_path):
    path = str(tmp_path / "admin.sock")
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    asked = []

    def serve():
        connection = server.accept()[0]
        asked.append(connection.recv(100))
        connection.sendall(b"an ")
        connection.sendall(b"answer\n")
        connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    assert haproxy.ask(path, "show info", 2) == "an answer\n"
    thread.join()
    server.close()
    assert asked == [b"show info\n"]


# -- administrative states --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_who_was_taken_out_is_told_apart_from_who_follows(version):
    backends = haproxy.look(lambda _command: STATES[version])
    found = {
        f"{name}/{server['name']}": (server["admin"], server["admin_inherited"], server["status"])
        for name in ("api", "websocket")
        for server in backends[name]["servers"]
    }
    assert found == {
        "api/node1": ("ready", False, "UP"),
        "api/node2": ("drain", False, "DRAIN"),
        "api/node3": ("maint", False, "MAINT"),
        "api/off": ("maint", False, "MAINT"),
        "websocket/node1": ("ready", False, "UP"),
        "websocket/node2": ("drain", True, "DRAIN"),
        "websocket/node3": ("maint", True, "MAINT (via api/node3)"),
    }
    assert {server["admin"] for server in backends["postgresql_read"]["servers"]} == {"ready"}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_three_parts_of_an_answer_stay_whole(version):
    info, stat, states = haproxy.split_answers(STATES[version])
    assert haproxy.process(haproxy.parse_info(info))["version"].startswith(version)
    assert haproxy.parse_stat(stat)[-1]["svname"] == "BACKEND"
    assert len(haproxy.parse_states(states)) == 16


@pytest.mark.parametrize(
    ("names", "among", "state", "options", "changes", "absent", "fault"),
    [
        (["node1"], ["api"], "ready", {}, [], [], ""),
        (["node2"], ["api"], "ready", {}, [("api", "node2")], [], ""),
        (["node2"], ["api"], "drain", {}, [], [], ""),
        (["node2"], ["api"], "maint", {}, [("api", "node2")], [], ""),
        (["node3"], ["api", "grpc"], "drain", {}, [("api", "node3")], ["grpc/node3"], ""),
        (["node2", "node3"], ["api"], "ready", {"only_from": ["drain"]}, [("api", "node2")], [], ""),
        # A server that tracks another is left to follow it.
        (["node2"], ["websocket"], "ready", {}, [], [], ""),
        (["node9"], ["api"], "drain", {}, [], ["api/node9"], ""),
        (["node1"], ["api"], "drain", {}, [("api", "node1")], [], "api would have no server left: of node1, node2, node3, off, node1 is up."),
        (["node1"], ["api"], "maint", {"allow_last": True}, [("api", "node1")], [], ""),
        # Those that are down already take nothing away.
        (["node2"], ["postgresql_write"], "drain", {}, [("postgresql_write", "node2")], [], ""),
        (["node2"], ["postgresql_read"], "drain", {}, [("postgresql_read", "node2")], [], ""),
        (["node2", "node3", "node1-primary"], ["postgresql_read"], "drain", {},
         [("postgresql_read", name) for name in ("node2", "node3", "node1-primary")], [],
         "postgresql_read would have no server left"),
    ],
)  # fmt: skip
def test_only_what_differs_is_changed_and_never_the_last_server(names, among, state, options, changes, absent, fault):
    backends = haproxy.look(lambda _command: STATES["3.0"])
    _servers, planned, missing, faults = haproxy.plan(backends, names, among, state, **options)
    assert (planned, missing) == (changes, absent)
    assert " ".join(faults).startswith(fault) and bool(faults) == bool(fault)


@pytest.mark.parametrize(
    ("server", "alone", "there"), [("api/node1", True, True), ("api/node2", False, False), ("web/only", True, False)]
)
def test_a_server_is_not_waited_for_where_nobody_is_up_if_that_is_said(server, alone, there):
    backends = haproxy.look(lambda _command: STATES["3.0"])
    backends["web"] = {"name": "web", "servers": [{"name": "only", "up": False}]}
    assert haproxy.arrived(backends, [tuple(server.split("/"))], "ready", alone=alone) is there
    assert haproxy.arrived(backends, [("web", "only")], "ready", alone=False)


class Runtime:
    """A HAProxy with the servers of the fixture, which does what it is told; `ends` is the question after which sessions end."""

    def __init__(self, ends=0, refuses=""):
        self.text, self.lines, self.questions, self.ends, self.refuses = STATES["3.0"], [], 0, ends, refuses

    def ask(self, _path, command, _seconds):
        if command.startswith("set"):
            self.lines.append(command)
            if not self.refuses:
                self.set(*(part for one in command.split(";") for part in one.split(" ")[2:5:2]))
            return self.refuses + "\n"
        self.questions += 1
        return self.with_sessions(3 if self.questions <= self.ends else 0)

    def set(self, server, state):
        backend, name = server.split("/")
        bits, word = {"ready": ("0", "UP"), "drain": ("8", "DRAIN"), "maint": ("1", "MAINT")}[state]
        lines = self.text.split("\n")
        for number, line in enumerate(lines):
            words, columns = line.split(" "), line.split(",")
            if words[1:2] == [backend] and words[3:4] == [name]:
                lines[number] = " ".join([*words[:6], bits, *words[7:]])
            elif columns[:2] == [backend, name]:
                lines[number] = ",".join([*columns[:17], word, *columns[18:]])
        self.text = "\n".join(lines)

    def with_sessions(self, count):
        lines = [line.split(",") for line in self.text.split("\n")]
        return "\n".join(
            ",".join([*line[:4], str(count), *line[5:]]) if line[1:2] == ["node2"] else ",".join(line) for line in lines
        )


def run(runtime, monkeypatch, capsys, check=False, **options):
    monkeypatch.setattr(haproxy, "ask", runtime.ask)
    monkeypatch.setattr(haproxy_server.time, "sleep", lambda _seconds: None)
    arguments = {"backends": ["api"], "_ansible_check_mode": check, "_ansible_diff": True, **options}
    with patch_module_args(arguments), pytest.raises(SystemExit):
        haproxy_server.main()
    return json.loads(capsys.readouterr().out)


def test_a_server_is_drained_until_its_sessions_have_ended(monkeypatch, capsys):
    runtime = Runtime(ends=4)
    runtime.set("api/node2", "ready")
    answer = run(runtime, monkeypatch, capsys, name=["node2"], state="drain", wait_timeout=60)
    assert (answer["changed"], answer["reached"], answer["set"]) == (True, True, ["api/node2"])
    assert runtime.lines == ["set server api/node2 state drain"]
    assert runtime.questions == 5
    assert answer["servers"] == [
        {"backend": "api", "name": "node2", "admin": "drain", "status": "DRAIN", "sessions": 0}
    ]
    assert (answer["diff"]["before"], answer["diff"]["after"]) == ("api/node2 ready\n", "api/node2 drain\n")
    again = run(runtime, monkeypatch, capsys, name=["node2"], state="drain", wait_timeout=60)
    assert (again["changed"], again["reached"]) == (False, True)
    assert len(runtime.lines) == 1


def test_sessions_that_do_not_end_are_told(monkeypatch, capsys):
    answer = run(Runtime(ends=10**9), monkeypatch, capsys, name=["node2"], state="drain", wait_timeout=0.05)
    assert (answer["changed"], answer["reached"]) == (False, False)
    assert answer["servers"][0]["sessions"] == 3


def test_check_mode_changes_nothing_and_does_not_wait(monkeypatch, capsys):
    runtime = Runtime(ends=99)
    answer = run(runtime, monkeypatch, capsys, True, name=["node2"], state="maint", wait_timeout=60)
    assert (answer["changed"], answer["set"], runtime.lines) == (True, ["api/node2"], [])


def test_what_was_left_alone_is_not_waited_for(monkeypatch, capsys):
    runtime = Runtime()
    answer = run(
        runtime,
        monkeypatch,
        capsys,
        name=["node1", "node2", "node3"],
        state="ready",
        only_from=["drain"],
        wait_timeout=9,
    )
    assert runtime.lines == ["set server api/node2 state ready"]
    assert (answer["reached"], answer["set"]) == (True, ["api/node2"])


def test_what_haproxy_refuses_fails_with_its_words(monkeypatch, capsys):
    answer = run(Runtime(refuses="Permission denied"), monkeypatch, capsys, name=["node2"], state="ready")
    assert answer["failed"] and answer["msg"] == "HAProxy does not do it: Permission denied"


def test_the_last_server_is_kept(monkeypatch, capsys):
    runtime = Runtime()
    answer = run(runtime, monkeypatch, capsys, name=["node1"], state="drain")
    assert answer["failed"] and "would have no server left" in answer["msg"]
    assert runtime.lines == []


def test_where_no_haproxy_runs_there_is_nothing_to_drain(monkeypatch, capsys, tmp_path):
    monkeypatch.undo()
    options = {"name": ["node1"], "backends": ["api"], "state": "drain", "socket": str(tmp_path / "admin.sock")}
    with patch_module_args(options), pytest.raises(SystemExit):
        haproxy_server.main()
    answer = json.loads(capsys.readouterr().out)
    assert (answer["running"], answer["reached"], answer["changed"]) == (False, True, False)
