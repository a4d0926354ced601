# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real HAProxy with the role's configuration, before replicas of the application on loopback addresses that keep connections."""

from __future__ import annotations

import contextlib
import http.client
import re
import shutil
import socket
import ssl
import subprocess
import threading

import pytest
from loopback import PASSWORD, THREE, VIP, eventually, free, make_certificates
from role_templates import render, topology

pytestmark = pytest.mark.skipif(
    not shutil.which("haproxy", path="/usr/sbin:/usr/bin"), reason="HAProxy is not installed"
)


class Replica:
    """Answers its name, and counts its connections and requests; checks, which ask for /actuator, are not counted."""

    def __init__(self, name, port):
        self.name, self.connections, self.requests, self.breaks = name, 0, [], False
        self.listener = socket.create_server((f"127.0.0.2{name[-1]}", port), backlog=100)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self.listener.accept()[0],), daemon=True).start()

    def _serve(self, connection):
        counted = False
        with contextlib.suppress(OSError), connection:
            while read := connection.recv(65536).decode():
                # The two bytes of a body may come by themselves.
                if read == "{}":
                    continue
                method, path = read.split()[:2]
                if not path.startswith("/actuator"):
                    self.connections += not counted
                    counted = True
                    self.requests.append(method)
                    if self.breaks:
                        return
                body = self.name
                connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())


class Front:
    """HAProxy before three replicas."""

    def __init__(self, directory, **variables):
        names = ("https", "http", "backend_http", "stats", "grpc", "monitor", "backend_grpc")
        ports = dict(zip(names, free(len(names)), strict=True))
        make_certificates(directory)
        self.directory, self.port = directory, ports["https"]
        self.replicas = [Replica(name, ports["backend_http"]) for name in THREE]
        given = {name: port for name, port in ports.items() if name != "monitor"}
        ha = topology({"loadbalancer": THREE, "swarm_managers": THREE}, "node1", ha_ports=given)
        ha["virtual_ip"]["address"], ha["host"]["address"] = VIP, "127.0.0.11"
        for member in ha["backend"]["members"]:
            member["address"] = f"127.0.0.2{member['name'][-1]}"
        ha["tls"] = {"ca": directory / "ca.crt", "certificate": directory / "node1.crt", "key": directory / "node1.key"}
        text = render(
            "haproxy",
            "haproxy.cfg.j2",
            ha,
            haproxy_log=["stderr local0"],
            haproxy_monitor_port=ports["monitor"],
            **variables,
        )
        text = re.sub(r"(?m)^    (chroot .*|user haproxy|group haproxy)\n", "", text)
        (directory / "haproxy.cfg").write_text(text.replace("/run/haproxy/", f"{directory}/"))
        (directory / "server-state").write_text("1\n")
        secrets = {"haproxy_stats_password": PASSWORD}
        (directory / "credentials.cfg").write_text(render("haproxy", "credentials.cfg.j2", ha, ha_secrets=secrets))
        command = ["/usr/sbin/haproxy", "-db", "-f", directory / "credentials.cfg", "-f", directory / "haproxy.cfg"]
        with open(directory / "log", "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def open(self):
        context = ssl.create_default_context(cafile=self.directory / "ca.crt")
        context.check_hostname = False
        return http.client.HTTPSConnection(VIP, self.port, timeout=10, context=context)

    def ask(self, connection, method):
        connection.request(method, "/api/events", b"{}" if method == "POST" else None)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def serves(self):
        try:
            return self.ask(self.open(), "GET")[0] == 200
        except OSError:
            return False

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        for replica in self.replicas:
            replica.listener.close()


@pytest.fixture
def front(tmp_path, request):
    running = Front(tmp_path, **getattr(request, "param", {}))
    eventually(running.serves)
    yield running
    running.close()


def connections(front):
    return sum(replica.connections for replica in front.replicas)


@pytest.mark.parametrize("front, kept", [({}, True), ({"haproxy_http_server_close": True}, False)], indirect=["front"])
def test_a_client_s_requests_share_connections_to_the_replicas(front, kept):
    before, client = connections(front), front.open()
    assert [front.ask(client, "GET")[0] for _request in range(30)] == [200] * 30
    opened = connections(front) - before
    assert opened <= 3 if kept else opened == 30


def test_only_what_reads_is_sent_again_when_a_kept_connection_breaks(front):
    broken = front.replicas[0]
    broken.breaks = True
    asked = len(broken.requests)
    answers = [front.ask(front.open(), "GET") for _request in range(12)]
    assert len(broken.requests) > asked, "it was asked, too"
    assert {status for status, _body in answers} == {200}
    assert broken.name not in {body for _status, body in answers}
    everywhere = sum(replica.requests.count("POST") for replica in front.replicas)
    statuses = [front.ask(front.open(), "POST")[0] for _request in range(12)]
    assert sum(replica.requests.count("POST") for replica in front.replicas) - everywhere == 12, "none was sent twice"
    assert set(statuses) == {200, 502}
