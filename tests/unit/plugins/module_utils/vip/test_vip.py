# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.vip import vip

IP_ADDRESS = (Path(__file__).parents[3] / "fixtures" / "ip_address_iproute2_6.1.json").read_text()
VIP = "10.0.1.100"


def test_the_holder_finds_the_address_with_its_interface_and_prefix():
    places = vip.places_of(vip.parse_addresses(IP_ADDRESS), "10.0.1.100/24")
    assert places == [
        {
            "interface": "eth0",
            "address": VIP,
            "prefix": 24,
            "label": "eth0",
            "scope": "global",
            "up": True,
            "mac": "02:42:0a:00:01:0b",
            "duplicate": False,
        }
    ]


@pytest.mark.parametrize(("address", "held"), [("10.0.1.10", False), ("fd00:0::100", True), ("10.0.1.11", True)])
def test_an_address_is_compared_whole_and_in_any_notation(address, held):
    assert bool(vip.places_of(vip.parse_addresses(IP_ADDRESS), address)) is held


def test_a_host_without_addresses_holds_none():
    assert vip.parse_addresses("") == []


# iproute2 6.1 (Debian 12)
@pytest.mark.parametrize(
    ("text", "route"),
    [
        (
            '[{"type":"local","dst":"10.0.1.100","dev":"lo","prefsrc":"10.0.1.11","flags":[],"uid":0,"cache":["local"]}]',
            {"interface": "lo", "local": True, "direct": False},
        ),
        (
            '[{"dst":"10.0.1.55","dev":"eth0","prefsrc":"10.0.1.11","flags":[],"uid":0,"cache":[]}]',
            {"interface": "eth0", "local": False, "direct": True},
        ),
        (
            '[{"dst":"8.8.8.8","gateway":"10.0.1.1","dev":"eth0","prefsrc":"10.0.1.11","flags":[],"uid":0,"cache":[]}]',
            {"interface": "eth0", "local": False, "direct": False},
        ),
        ("", None),
    ],
)
def test_a_route_tells_whether_the_address_can_be_asked_by_arp(text, route):
    assert vip.parse_route(text) == route


@pytest.mark.parametrize(
    ("text", "macs"),
    [
        (
            '[{"dst":"10.0.1.77","dev":"eth0","lladdr":"02:42:0A:00:01:4d","state":["REACHABLE"]}]',
            ["02:42:0a:00:01:4d"],
        ),
        ('[{"dst":"10.0.1.77","dev":"eth0","lladdr":"02:42:0a:00:01:4d","state":["STALE"]}]', []),
        ('[{"dst":"10.0.1.78","dev":"eth0","state":["INCOMPLETE"]}]', []),
        ("[]", []),
    ],
)
def test_only_confirmed_neighbours_count(text, macs):
    assert vip.parse_neighbours(text) == macs


LOG = [
    "(VI_1) Entering BACKUP STATE (init)",
    "Script `haproxy` now returning 0",
    "(VI_1) Entering MASTER STATE",
    "(VI_2) Entering FAULT STATE",
    "(VI_1) Sending/queueing gratuitous ARPs on eth0 for 10.0.1.100",
]


@pytest.mark.parametrize(
    ("lines", "instance", "state"),
    [(LOG, "VI_1", "MASTER"), (LOG, "VI_2", "FAULT"), (LOG, None, "FAULT"), (LOG, "VI_3", None), ([], None, None)],
)
def test_the_last_state_that_keepalived_logged_counts(lines, instance, state):
    assert vip.vrrp_state_in_log(lines, instance) == state


@pytest.mark.parametrize(
    ("text", "state"), [("master\n", "MASTER"), ("INSTANCE VI_1 BACKUP 150", "BACKUP"), ("", None), ("nonsense", None)]
)
def test_a_notify_script_may_write_the_state_its_own_way(text, state):
    assert vip.vrrp_state_in_file(text) == state


PLACE = {"interface": "eth0", "up": True, "duplicate": False}
RUNS = {"running": True, "state": "MASTER"}


@pytest.mark.parametrize(
    ("places", "keepalived", "macs", "problem"),
    [
        ([PLACE], RUNS, [], None),
        ([], {"running": True, "state": "BACKUP"}, ["aa"], None),
        ([], {"running": True, "state": None}, [], None),
        ([PLACE], {"running": False, "state": None}, [], "although keepalived is not running"),
        ([], {"running": False, "state": None}, [], "cannot take the address over"),
        ([], RUNS, [], "MASTER but 10.0.1.100 is on no interface"),
        ([PLACE], {"running": True, "state": "BACKUP"}, [], "although keepalived is BACKUP"),
        ([], {"running": True, "state": "FAULT"}, [], "is in FAULT"),
        ([PLACE, {**PLACE, "interface": "eth1"}], RUNS, [], "on this host 2 times (eth0, eth1)"),
        ([{**PLACE, "up": False}], RUNS, [], "eth0, which is down"),
        ([{**PLACE, "duplicate": True}], RUNS, [], "as a duplicate"),
        ([PLACE], RUNS, ["aa"], "another host answers for 10.0.1.100 too (aa)"),
        ([], {"running": True, "state": "BACKUP"}, ["aa", "bb"], "2 hosts answer for 10.0.1.100 (aa, bb)"),
    ],
)
def test_a_host_sees_what_is_wrong_with_the_address(places, keepalived, macs, problem):
    problems = vip.host_problems(VIP, places, keepalived, macs)
    if problem is None:
        assert problems == []
    else:
        assert len(problems) == 1
        assert problem in problems[0]


def answer(**known):
    return {"reachable": True, "method": "arp", "local": False, "macs": ["aa"], "seen": "", **known}


GOOD = {"name": "write", "ok": True, "seen": "PostgreSQL answers"}
BAD = {"name": "write", "ok": False, "seen": "connection refused"}


@pytest.mark.parametrize(
    ("holders", "answered", "checks", "problems"),
    [
        (None, answer(), [GOOD], []),
        (["node1"], answer(), [GOOD], []),
        ([], answer(), [GOOD], ["no host holds 10.0.1.100"]),
        (["b", "a"], answer(), [], ["2 hosts hold 10.0.1.100: a, b"]),
        (None, answer(macs=["aa", "bb"]), [], ["more than one host answers for 10.0.1.100: aa, bb"]),
        (None, answer(local=True), [], ["more than one host answers for 10.0.1.100: aa besides this host"]),
        (None, answer(local=True, macs=[]), [], []),
        (None, answer(reachable=False, macs=[], seen="no answer to ARP"), [],
         ["nobody answers for 10.0.1.100 (no answer to ARP)"]),
        (None, answer(reachable=False, macs=[]), [GOOD], []),
        (None, answer(), [GOOD, BAD], ["write: connection refused"]),
    ],
)  # fmt: skip
def test_the_verdict_names_all_that_is_wrong(holders, answered, checks, problems):
    assert vip.verdict(VIP, holders, answered, checks) == problems


def test_an_arp_probe_has_no_sender_address_and_asks_for_the_virtual_one():
    frame = vip.arp_request(bytes.fromhex("02420a00010b"), VIP)
    assert (
        frame.hex() == "ffffffffffff02420a00010b08060001080006040001" + "02420a00010b00000000" + "0000000000000a000164"
    )


def test_only_a_reply_from_the_address_is_an_answer():
    reply = "02420a00010b02420a00010c08060001080006040002" + "02420a00010c0a000164" + "02420a00010b00000000"
    assert vip.arp_answer(bytes.fromhex(reply), VIP) == "02:42:0a:00:01:0c"
    assert vip.arp_answer(bytes.fromhex(reply), "10.0.1.101") is None
    assert vip.arp_answer(vip.arp_request(bytes(6), VIP), VIP) is None
    assert vip.arp_answer(b"short", VIP) is None


def test_a_check_gets_its_protocols_port_and_a_name():
    done = vip.complete_check({"type": "postgresql", "port": None, "name": None})
    assert (done["port"], done["name"]) == (5432, "postgresql port 5432")
    with pytest.raises(ValueError, match="type tls needs a port"):
        vip.complete_check({"type": "tls"})


@contextlib.contextmanager
def server(reply):
    """A server on a free port that answers one connection with what `reply` makes of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with contextlib.suppress(OSError):
                connection = listener.accept()[0]
                with connection:
                    connection.settimeout(5)
                    reply(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
    thread.join(5)


def says(data):
    def reply(connection):
        connection.recv(4096)
        connection.sendall(data)

    return reply


def check(kind, port, **more):
    return vip.run_check("127.0.0.1", vip.complete_check({"type": kind, "port": port, **more}), 1)


@pytest.mark.parametrize(
    ("kind", "reply", "more", "ok", "seen"),
    [
        ("tcp", b"", {}, True, "accepts connections"),
        ("postgresql", b"S", {}, True, "PostgreSQL answers, TLS offered"),
        ("postgresql", b"N", {}, True, "PostgreSQL answers, without TLS"),
        ("postgresql", b"N", {"tls": True}, False, "offers no TLS"),
        ("postgresql", b"", {}, False, "no server behind it"),
        ("postgresql", b"HTTP/1.1 400", {}, False, "not PostgreSQL"),
        ("http", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", {}, True, "HTTP 200 for /"),
        ("http", b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", {"path": "/x", "status": [200, 401]}, False,
         "HTTP 503 for /x, expected 200 or 401"),
        ("http", b"gibberish\r\n\r\n", {}, False, "no valid HTTP answer"),
        ("tls", b"gibberish", {}, False, "TLS failed"),
    ],
)  # fmt: skip
def test_a_service_is_checked_in_its_own_protocol(kind, reply, more, ok, seen):
    with server(says(reply)) as port:
        result = check(kind, port, **more)
    assert result["ok"] is ok
    assert seen in result["seen"]


def test_a_closed_port_is_told_as_such():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    result = check("tcp", port)
    assert (result["ok"], result["seen"]) == (False, "connection refused")
    assert vip.tcp_probe("127.0.0.1", port, 1) == (True, f"port {port} refused the connection")


def test_a_silent_service_does_not_hold_the_check_up():
    with server(lambda connection: connection.recv(4096) and connection.recv(4096)) as port:
        result = vip.run_check("127.0.0.1", vip.complete_check({"type": "postgresql", "port": port}), 0.2)
    assert (result["ok"], result["seen"]) == (False, "no answer in time")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1, and its key, in one file."""
    return make_certificate(tmp_path_factory.mktemp("tls") / "host.pem")


def make_certificate(path):
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.timezone.utc)  # noqa: UP017
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    return str(path)


def encrypted(certificate, before=b"", after=b""):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def reply(connection):
        if before:
            connection.recv(8)
            connection.sendall(before)
        with context.wrap_socket(connection, server_side=True) as secure:
            if after:
                secure.recv(4096)
                secure.sendall(after)
            else:
                secure.recv(1)

    return reply


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


@pytest.mark.parametrize(
    ("kind", "before", "after", "more", "seen"),
    [
        ("tls", b"", b"", {}, "with a valid certificate"),
        ("https", b"", OK, {"path": "/api/ping"}, "HTTP 200 for /api/ping"),
        ("postgresql", b"S", b"", {"tls": True}, "PostgreSQL answers over TLSv1."),
    ],
)
def test_a_certificate_of_the_given_authority_is_accepted(certificate, kind, before, after, more, seen):
    with server(encrypted(certificate, before, after)) as port:
        result = check(kind, port, ca_path=certificate, **more)
    assert seen in result["seen"]
    assert result["ok"] is True


@pytest.mark.parametrize("more", [{}, {"server_name": "siem.example.org", "trusted": True}])
def test_another_authority_or_another_name_is_refused(certificate, more):
    authority = {"ca_path": certificate} if more.pop("trusted", False) else {}
    with server(encrypted(certificate)) as port:
        result = check("tls", port, **authority, **more)
    assert result["ok"] is False
    assert result["seen"].startswith("certificate refused: ")


def test_without_validation_any_certificate_will_do(certificate):
    with server(encrypted(certificate)) as port:
        result = check("tls", port, validate_certs=False)
    assert (result["ok"], "not verified" in result["seen"]) == (True, True)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(113, "No route to host"), "nobody has it"),
        (ConnectionResetError(), "closed by the other side"),
        (http.client.BadStatusLine("x"), "no valid HTTP answer"),
        (FileNotFoundError(2, "No such file or directory", "/ca.crt"), "/ca.crt"),
    ],
)
def test_an_error_is_told_in_words(error, words):
    assert words in vip.explain(error)
