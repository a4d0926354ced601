# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils import haproxy

FIXTURES = Path(__file__).parent / "fixtures"
ANSWER = (FIXTURES / "haproxy_2.6_info_and_stat.txt").read_text()
# With the configuration of role haproxy.
ANSWER_3_0 = (FIXTURES / "haproxy_3.0_info_and_stat.txt").read_text()


@pytest.fixture
def backends():
    stat = haproxy.split_answers(ANSWER)[1]
    return {backend["name"]: backend for backend in haproxy.summarise(haproxy.parse_stat(stat))[1]}


def test_the_figures_of_the_process_are_read():
    info = haproxy.split_answers(ANSWER)[0]
    process = haproxy.process(haproxy.parse_info(info))
    assert process["version"] == "2.6.12-1+deb12u4"
    assert process["node"] == "node1"
    assert process["uptime_seconds"] == 4
    assert process["stopping"] is False
    assert process["connections_max"] == 9978


def test_frontends_are_told_apart_from_backends():
    frontends, backends = haproxy.summarise(haproxy.parse_stat(haproxy.split_answers(ANSWER)[1]))
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
    info, stat = haproxy.split_answers(ANSWER_3_0)
    assert haproxy.process(haproxy.parse_info(info))["version"] == "3.0.11-1+deb13u5"
    backends = haproxy.summarise(haproxy.parse_stat(stat))[1]
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
