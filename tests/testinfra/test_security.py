# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""No secret where others can read it, no port without TLS and authentication but the public ones and SSH."""

from __future__ import annotations

import base64
import contextlib
import http.client
import re
import socket
import ssl
import struct
import urllib.error
import urllib.request

import psycopg
import pytest
from cluster import BOOKWORM, until

LOOPBACK = re.compile(r"^(127\.|\[::1\]|\[::ffff:127\.)")


@pytest.fixture(scope="module", autouse=True)
def _whole(cluster):
    until(cluster.whole, 120, "a whole cluster")


def secrets(cluster) -> dict[str, str]:
    key = (cluster.secrets_directory / "ca.key").read_text().splitlines()[1]
    return cluster.passwords | {"the key of the local CA": key}


def context(cluster, certificate: bool = True) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(cluster.ca))


def test_no_secret_is_printed_at_the_highest_verbosity(cluster):
    # Without its configuration a standby has it written again, so the tasks that carry secrets really act.
    standby = next(host for host in cluster.hosts if host != cluster.primary())
    cluster.ssh(standby, "rm /etc/patroni/config.yml; truncate -s 0 /etc/haproxy/haproxy.cfg")
    for arguments in (["--check", "--diff"], []):
        output = cluster.playbook("site.yml", "-vvv", *arguments).stdout
        found = [name for name, secret in secrets(cluster).items() if secret in output]
        assert not found, f"printed with {arguments}: {found}"


def test_no_secret_is_readable_by_everyone_on_a_host(cluster):
    patterns = "\n".join(secrets(cluster).values())
    for host in cluster.hosts:
        cluster.ssh(host, f"umask 077; cat > /run/patterns <<'EOF'\n{patterns}\nEOF")
        try:
            files = cluster.ssh(
                host,
                "find /etc /home /root /run /tmp /usr/local /var -xdev -type f -perm -o=r -size -4096k -print0"
                " | xargs -0 grep -lsF -f /run/patterns",
                check=False,
            ).stdout
            processes = cluster.ssh(host, "cat /proc/[0-9]*/cmdline | grep -acF -f /run/patterns", check=False).stdout
            keys = cluster.ssh(
                host,
                "find /etc /var/lib -xdev -type f -perm -o=r -print0 | xargs -0 grep -ls -e '-----BEGIN.*PRIVATE KEY'",
                check=False,
            ).stdout
        finally:
            cluster.ssh(host, "rm -f /run/patterns")
        assert not files.strip(), f"{host}: {files}"
        assert processes.strip() == "0", f"{host}: a command line carries a secret"
        assert not keys.strip(), f"{host}: {keys}"


def test_the_controller_keeps_its_secrets_to_itself(cluster):
    assert cluster.secrets_directory.stat().st_mode & 0o077 == 0
    for name in ("passwords.yml", "ca.key"):
        assert (cluster.secrets_directory / name).stat().st_mode & 0o077 == 0, name
    for host in cluster.hosts:
        assert cluster.ssh(host, "find / -xdev -name ca.key", check=False).stdout == ""


def needs_client_certificate(cluster, address, port):
    """TLS, and nothing answers to a client without a certificate of our CA."""
    with (
        socket.create_connection((address, port), timeout=5) as raw,
        pytest.raises((ssl.SSLError, OSError)),
        context(cluster).wrap_socket(raw, server_hostname=address) as secured,
    ):
        secured.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
        if not secured.recv(100):
            raise ssl.SSLError("closed without an answer")


def refuses_changes(cluster, address, port):
    """TLS, and nothing can be changed without the password."""
    for method, path in (("PATCH", "/config"), ("POST", "/restart"), ("POST", "/switchover")):
        request = urllib.request.Request(f"https://{address}:{port}{path}", data=b"{}", method=method)
        with pytest.raises(urllib.error.HTTPError) as answer:
            urllib.request.urlopen(request, timeout=5, context=context(cluster))
        assert answer.value.code in (401, 403), f"{method} {path}: {answer.value.code}"


def asks_for_a_password(cluster, address, port):
    """TLS, and every page asks for a password."""
    for path in ("/", "/stats", "/metrics"):
        connection = http.client.HTTPSConnection(address, port, timeout=5, context=context(cluster))
        connection.request("GET", path)
        assert connection.getresponse().status == 401, path


def wants_tls_and_scram(cluster, address, port):
    """PostgreSQL: TLS offered, plain text refused, wrong passwords refused, the superuser refused."""
    with socket.create_connection((address, port), timeout=5) as raw:
        raw.sendall(struct.pack("!ii", 8, 80877103))
        assert raw.recv(1) == b"S"
    good = cluster.conninfo(port, address)
    password = cluster.passwords["postgresql_application_password"]
    superuser = cluster.passwords["postgresql_superuser_password"]
    for conninfo, why in (
        (good.replace("sslmode=verify-full", "sslmode=disable"), "plain text"),
        (good.replace(password, "wrong"), "a wrong password"),
        (good.replace("user=utmstack", "user=postgres").replace(password, superuser), "the superuser from outside"),
    ):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(conninfo).close()
            pytest.fail(f"{address}:{port} accepted {why}")


def asks_for_a_user(cluster, address, port):
    """Elasticsearch: TLS, and nothing is told to a client without a password or with a wrong one."""
    wrong = base64.b64encode(b"elastic:wrong").decode()
    for headers in ({}, {"Authorization": f"Basic {wrong}"}):
        connection = http.client.HTTPSConnection(address, port, timeout=5, context=context(cluster))
        connection.request("GET", "/", headers=headers)
        assert connection.getresponse().status == 401
    refuses_plain_text(address, port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"200")


def wants_a_redis_user(cluster, address, port):
    """Redis and Sentinel: TLS, and nothing is done for a client without a user or with a wrong password."""
    with (
        socket.create_connection((address, port), timeout=5) as raw,
        context(cluster).wrap_socket(raw, server_hostname=address) as secured,
    ):
        for command in (b"PING\r\n", b"AUTH admin wrong\r\n", b"AUTH wrong\r\n", b"INFO\r\n"):
            secured.sendall(command)
            assert secured.recv(200).startswith((b"-NOAUTH", b"-WRONGPASS")), command
    refuses_plain_text(address, port, b"PING\r\n", b"PONG")


def refuses_plain_text(address, port, words, answer):
    with socket.create_connection((address, port), timeout=5) as raw, contextlib.suppress(OSError):
        raw.sendall(words)
        assert answer not in raw.recv(200)


def leads_to_https(cluster, address, port):
    """Plain HTTP does nothing but send the client to HTTPS."""
    connection = http.client.HTTPConnection(address, port, timeout=5)
    connection.request("GET", "/api/events")
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"].split(":")[0]) == (301, "https")


def speaks_tls(cluster, address, port):
    """The application over TLS, by HAProxy's or by the host's certificate; who may use it is the application's matter."""
    with (
        socket.create_connection((address, port), timeout=5) as raw,
        context(cluster).wrap_socket(raw, server_hostname=address),
    ):
        pass
    refuses_plain_text(address, port, b"GET /api/ping HTTP/1.1\r\nHost: x\r\n\r\n", b" 200 ")


def is_encrypted_gossip(cluster, address, port):
    """Swarm's gossip and overlay: datagrams and streams under keys that only nodes have; strangers get no answer."""
    with socket.create_connection((address, port), timeout=5) as raw:
        raw.settimeout(1)
        raw.sendall(b"hello\r\n\r\n")
        answer = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            answer = raw.recv(100)
        # Of what memberlist sends, 10 is the type of an encrypted message: it may tell so that it did not understand.
        assert not answer or answer[0] == 10, answer


def is_public(cluster, address, port):
    """SSH, which this collection does not manage."""


RULES = {
    22: is_public,
    80: leads_to_https,
    443: speaks_tls,
    2377: needs_client_certificate,
    6379: wants_a_redis_user,
    7946: is_encrypted_gossip,
    8080: speaks_tls,
    9200: asks_for_a_user,
    9300: needs_client_certificate,
    26379: wants_a_redis_user,
    50051: speaks_tls,
    2379: needs_client_certificate,
    2380: needs_client_certificate,
    5432: wants_tls_and_scram,
    5433: wants_tls_and_scram,
    5434: wants_tls_and_scram,
    6432: wants_tls_and_scram,
    8008: refuses_changes,
    8404: asks_for_a_password,
}


def listening(cluster, host) -> list[tuple[str, str, int, str]]:
    """Protocol, address, port and process of every socket that is open beyond the host itself."""
    rows = [line.split() for line in cluster.ssh(host, "ss -H -lntup").stdout.splitlines()]
    found = []
    for row in rows:
        address, port = row[4].rsplit(":", 1)
        if not LOOPBACK.match(address):
            found.append((row[0], address.split("%")[0], int(port), row[-1]))
    return found


def test_every_open_port_wants_tls_and_authentication(cluster):
    probed = 0
    for host, own in cluster.hosts.items():
        sockets = listening(cluster, host)
        wanted = {2379, 2380, 5432, 5434, 6379, 8008, 8080, 8404, 9200, 9300} | (set() if BOOKWORM else {6432})
        assert {entry[2] for entry in sockets} >= wanted, sockets
        for protocol, address, port, process in sockets:
            if protocol == "udp":
                assert port in (4789, 7946), f"{host}: udp {address}:{port} by {process}"
                continue
            assert port in RULES, f"{host}: nobody said what listens on {address}:{port}: {process}"
            RULES[port](cluster, own if address in ("0.0.0.0", "[::]", "*") else address, port)
            probed += 1
    assert probed > 3 * 12


def test_clients_that_verify_certificates_are_content_and_others_are_warned(cluster):
    with psycopg.connect(cluster.conninfo()) as connection:
        assert connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone() == (True,)
    strangers = cluster.conninfo().replace(
        f"sslrootcert={cluster.ca}", "sslrootcert=/etc/ssl/certs/ca-certificates.crt"
    )
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        psycopg.connect(strangers)
