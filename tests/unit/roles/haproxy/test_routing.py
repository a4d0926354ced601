# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real HAProxy with the role's configuration, before servers on loopback addresses that answer like Patroni."""

from __future__ import annotations

import base64
import contextlib
import csv
import http.client
import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest
from loopback import PASSWORD, THREE, VIP, eventually, free, make_certificates
from role_templates import ROLES, render, topology

pytestmark = pytest.mark.skipif(
    not shutil.which("haproxy", path="/usr/sbin:/usr/bin"), reason="HAProxy is not installed"
)


class Member:
    """A PostgreSQL port that answers its name, and a Patroni that tells its role over TLS."""

    def __init__(self, name, ports, directory):
        self.name, self.role, self.address = name, "replica", f"127.0.0.1{name[-1]}"
        # How many answers Patroni could send to the end, and how many not, for each of which it logs a traceback.
        self.sent = self.broken_off = 0
        # A member that has just got the leader's key is not promoted yet.
        self.in_recovery = False
        self.present(directory, name)
        self.sockets = [self._serve(ports["postgresql"], self._postgresql)]
        self.sockets.append(self._serve(ports["patroni_rest"], self._patroni))

    def present(self, directory, name):
        """Show the certificate of `name` from now on, to everyone: who has met the one before can't resume that session."""
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(directory / f"{name}.crt", directory / f"{name}.key")

    def _serve(self, port, answer):
        listener = socket.create_server((self.address, port), backlog=100)

        def accept():
            while True:
                try:
                    connection = listener.accept()[0]
                except OSError:
                    return
                threading.Thread(target=quietly, args=(answer, connection), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return listener

    def _postgresql(self, connection):
        while connection.recv(100):
            connection.sendall(self.name.encode())

    def _patroni(self, connection):
        connection.settimeout(3)
        with self.context.wrap_socket(connection, server_side=True) as secure:
            words = secure.recv(4096).decode().split()
            if not words:
                return
            method, path = words[:2]
            status = "200 OK" if path.startswith(f"/{self.role}") else "503 Service Unavailable"
            body = json.dumps({"state": "running", "role": "replica" if self.in_recovery else self.role})
            head = f"HTTP/1.0 {status}\r\nServer: BaseHTTP/0.6 Python/3.13\r\nContent-Type: application/json\r\n\r\n"
            try:
                # Patroni sends head and body one after the other; of OPTIONS it answers the first line only.
                if method == "OPTIONS":
                    secure.sendall(f"HTTP/1.0 {status}\r\n\r\n".encode())
                else:
                    secure.sendall(head.encode())
                    time.sleep(0.02)
                    secure.sendall(body.encode())
            except OSError:
                self.broken_off += 1
                raise
            self.sent += 1
            secure.unwrap()


def quietly(answer, connection):
    with contextlib.suppress(OSError):
        answer(connection)


class Pool:
    """A pgbouncer of node1, as far as HAProxy sees one: it says no to a request for GSSAPI and else its name."""

    address = "127.0.0.11"

    def __init__(self, port):
        self.port, self.sessions = port, []
        self.start()

    def start(self):
        self.listener = socket.create_server((self.address, self.port), backlog=100)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def _accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                self.sessions.append(listener.accept()[0])
                threading.Thread(target=quietly, args=(self._answer, self.sessions[-1]), daemon=True).start()

    def _answer(self, connection):
        while words := connection.recv(100):
            connection.sendall(b"N" if words == bytes.fromhex("0000000804d21630") else b"pgbouncer")

    def stop(self):
        for one in (self.listener, *self.sessions):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self.sessions.clear()


class Cluster:
    """Three members behind one HAProxy."""

    def __init__(self, directory):
        self.directory = directory
        self.ports = dict(
            zip(
                ("postgresql", "patroni_rest", "postgresql_write", "postgresql_read", "stats", "monitor", "pgbouncer")
                + ("postgresql_direct",),
                free(8),
            )
        )
        self.pool = Pool(self.ports["pgbouncer"])
        make_certificates(directory)
        self.members = {name: Member(name, self.ports, directory) for name in THREE}
        self.members["node1"].role = "primary"
        self._configure()
        command = ["/usr/sbin/haproxy", "-Ws", "-f", directory / "credentials.cfg", "-f", directory / "haproxy.cfg"]
        self.log = open(directory / "log", "w", encoding="utf-8")  # noqa: SIM115
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)

    def _configure(self):
        given = {name: port for name, port in self.ports.items() if name != "monitor"}
        ha = topology({"loadbalancer": THREE, "etcd": THREE, "postgresql": THREE}, "node1", ha_ports=given)
        ha["virtual_ip"]["address"], ha["host"]["address"] = VIP, "127.0.0.11"
        for member in ha["postgresql"]["members"]:
            member["address"] = self.members[member["name"]].address
        files = {"ca": "ca.crt", "certificate": "node1.crt", "key": "node1.key"}
        ha["tls"] = {name: self.directory / file for name, file in files.items()}
        text = render(
            "haproxy", "haproxy.cfg.j2", ha, haproxy_log=["stderr local0"], haproxy_monitor_port=self.ports["monitor"]
        )
        text = re.sub(r"(?m)^    (chroot .*|user haproxy|group haproxy)\n", "", text)
        text = text.replace("/run/haproxy/", f"{self.directory}/")
        (self.directory / "haproxy.cfg").write_text(text)
        (self.directory / "server-state").write_text("1\n")
        secrets = {"haproxy_stats_password": PASSWORD}
        (self.directory / "credentials.cfg").write_text(render("haproxy", "credentials.cfg.j2", ha, ha_secrets=secrets))

    def ask(self, port):
        """The name of the member that answers; empty where the session is closed."""
        try:
            with socket.create_connection((VIP, self.ports[port]), timeout=3) as connection:
                connection.sendall(b"who are you?")
                return connection.recv(100).decode()
        except OSError:
            return ""

    def runtime(self, *arguments):
        script = [
            sys.executable,
            ROLES / "haproxy" / "files" / "haproxy-runtime",
            "--socket",
            self.directory / "admin.sock",
        ]
        return subprocess.run([*script, *arguments], capture_output=True, text=True, check=True).stdout

    def row(self, backend, server):
        rows = csv.DictReader(self.runtime("show", "stat").lstrip("# ").splitlines())
        return next(row for row in rows if (row["pxname"], row["svname"]) == (backend, server))

    def status(self, backend, server):
        return self.row(backend, server)["status"]

    def check(self, backend, server):
        row = self.row(backend, server)
        return row["check_status"].lstrip("* "), row["check_code"]

    def reload(self):
        """What ExecReload= does."""
        self.runtime("--output", str(self.directory / "server-state"), "show", "servers", "state")
        before = self.pid()
        self.process.send_signal(signal.SIGUSR2)
        eventually(lambda: self.pid() != before)

    def pid(self):
        try:
            return next(line for line in self.runtime("show", "info").splitlines() if line.startswith("Pid:"))
        except subprocess.CalledProcessError:
            return None

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        self.log.close()
        self.pool.stop()
        for member in self.members.values():
            for listener in member.sockets:
                listener.close()


@pytest.fixture
def cluster(tmp_path):
    running = Cluster(tmp_path)
    yield running
    running.close()


def test_no_write_session_meets_a_replica_after_the_start(cluster):
    answers = set()
    eventually(lambda: answers.add(cluster.ask("postgresql_direct")) or "node1" in answers)
    end = time.monotonic() + 1
    while time.monotonic() < end:
        answers.add(cluster.ask("postgresql_direct"))
    assert answers <= {"", "node1"}


def test_sessions_follow_the_primary_and_readers_fall_back_to_it(cluster):
    eventually(lambda: cluster.ask("postgresql_direct") == "node1")
    eventually(lambda: {cluster.ask("postgresql_read") for _unused in range(6)} == {"node2", "node3"})
    cluster.members["node1"].role = "stopped"
    eventually(lambda: cluster.ask("postgresql_direct") == "")
    cluster.members["node2"].role = "primary"
    eventually(lambda: cluster.ask("postgresql_direct") == "node2")
    cluster.members["node3"].role = "stopped"
    eventually(lambda: {cluster.ask("postgresql_read") for _unused in range(6)} == {"node2"})


def test_a_leader_that_is_not_promoted_yet_gets_no_session(cluster):
    eventually(lambda: cluster.ask("postgresql_direct") == "node1")
    cluster.members["node1"].role = "stopped"
    cluster.members["node2"].in_recovery = True
    cluster.members["node2"].role = "primary"
    eventually(lambda: cluster.ask("postgresql_direct") == "")
    end = time.monotonic() + 1
    while time.monotonic() < end:
        assert cluster.ask("postgresql_direct") == ""
    cluster.members["node2"].in_recovery = False
    eventually(lambda: cluster.ask("postgresql_direct") == "node2")


def test_a_reload_keeps_sessions_and_states_and_what_an_operator_took_out(cluster):
    eventually(lambda: cluster.ask("postgresql_direct") == "node1")
    eventually(lambda: cluster.status("postgresql_write", "node3") == "DOWN")
    cluster.runtime("set", "server", "postgresql_read/node3", "state", "maint")
    with socket.create_connection((VIP, cluster.ports["postgresql_direct"]), timeout=3) as session:
        session.sendall(b"before")
        assert session.recv(100) == b"node1"
        cluster.reload()
        assert cluster.status("postgresql_write", "node2") == "DOWN"
        assert cluster.status("postgresql_write", "node3") == "DOWN"
        assert cluster.status("postgresql_read", "node3") == "MAINT"
        session.sendall(b"after")
        assert session.recv(100) == b"node1"


def test_a_patroni_with_a_certificate_of_another_name_is_not_believed(cluster):
    eventually(lambda: cluster.ask("postgresql_direct") == "node1")
    cluster.members["node1"].present(cluster.directory, "node2")
    eventually(lambda: cluster.status("postgresql_write", "node1").startswith("DOWN"))


def test_writes_go_through_pgbouncer_and_around_it_while_it_is_away(cluster):
    eventually(lambda: cluster.ask("postgresql_write") == "pgbouncer")
    cluster.pool.stop()
    eventually(lambda: cluster.ask("postgresql_write") == "node1")
    cluster.pool.start()
    eventually(lambda: cluster.ask("postgresql_write") == "pgbouncer")


def test_no_check_ends_before_patroni_has_answered(cluster):
    eventually(lambda: cluster.ask("postgresql_direct") == "node1")
    before = {member: (member.sent, member.broken_off) for member in cluster.members.values()}
    time.sleep(3)
    for member, (sent, broken_off) in before.items():
        # Each is asked twice in 500 ms, once for each backend.
        assert member.sent - sent > 6
        assert member.broken_off == broken_off, "Patroni could not send its answer, and logs a traceback"


def test_the_status_tells_what_patroni_has_answered(cluster):
    eventually(cluster.pid)
    eventually(lambda: cluster.status("postgresql_write", "node2") == "DOWN")
    eventually(lambda: cluster.check("postgresql_write", "node1") == ("L7OK", "200"))
    eventually(lambda: cluster.check("postgresql_write", "node2") == ("L7STS", "503"))


@pytest.mark.parametrize("password, status", [(PASSWORD, 200), ("guessed", 401)])
def test_the_statistics_are_for_who_knows_the_password(cluster, password, status):
    eventually(cluster.pid)
    login = base64.b64encode(f"operator:{password}".encode()).decode()
    context = ssl.create_default_context(cafile=cluster.directory / "ca.crt")
    context.check_hostname = False
    page = http.client.HTTPSConnection("127.0.0.11", cluster.ports["stats"], timeout=5, context=context)
    page.request("GET", "/metrics", headers={"Authorization": f"Basic {login}"})
    assert page.getresponse().status == status
