# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the drill's clients take what servers and networks do, and that they read everything back."""

from __future__ import annotations

import http.client
import random
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger import api as drill_api
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger import http_client as drill_http
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger import paths as drill_paths
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger import postgresql as drill_postgresql
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger import redis as drill_redis
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger.records import Failed, Unknown
from ansible_collections.utmstack.ha.plugins.module_utils.redis import client as redis_client
from drill_stores import KINDS, Store, elasticsearch, postgresql, redis
from redis_network import Connection

OPEN = ["elasticsearch", "postgresql", "redis"]


# -- all of them ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OPEN)
def test_reading_back_goes_on_over_all_pages(kind):
    store = Store()
    store.kept = [*range(1, 2001), 2000, 2000, *range(2001, 4001)]
    found = list(KINDS[kind](store).present("node2", iter(())))
    assert len(found) == 4000
    assert [entry for entry in found if entry[1] != 1] == [(2000, 3)]
    assert store.reads > 3


def test_an_application_is_asked_for_all_that_was_sent_in_portions():
    store = Store()
    store.kept = list(range(1, 1801))
    assert list(KINDS["api"](store).present("node2", iter(range(1, 2001)))) == [(number, 1) for number in store.kept]
    assert store.reads == 4


@pytest.mark.parametrize("kind", OPEN)
def test_nothing_is_left_after_cleaning(kind):
    store = Store()
    KINDS[kind](store).clean()
    assert store.cleaned


@pytest.mark.parametrize("kind", ["elasticsearch", "postgresql", "redis"])
def test_the_node_that_leads_is_told_from_the_next_connection_or_read_on(kind):
    store = Store(lambda number: "broken" if number == 2 else "")
    path = KINDS[kind](store)
    path.write(1)
    path.read(1)
    assert path.write(1) == "node1"
    store.leader = "node3"
    with pytest.raises(Unknown):
        path.write(2)
    path.write(3)
    path.read(3)
    assert path.write(4) == "node3"


def test_each_path_that_the_settings_have_is_opened_with_the_client_that_they_name(tmp_path):
    ca = certificate(tmp_path)[0]
    redis = {"client": "redis", "sentinels": [["10.0.1.11", 26379]], "master_name": "m", "members": {}}
    opened = drill_paths.paths({"run": "r1", "ca": ca, "paths": {"redis": redis, "another": redis}})
    assert {name: type(path) for name, path in opened.items()} == dict.fromkeys(("redis", "another"), drill_redis.Redis)


@pytest.mark.parametrize("run", ["", "A", "a b", 'a"; DROP TABLE x; --', "x" * 41])
def test_a_run_that_is_no_name_is_refused(run):
    with pytest.raises(ValueError, match="which is not made of"):
        drill_paths.paths({"run": run, "ca": "/ca.crt"})


# -- PostgreSQL ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("severity", "refused"),
    [("ERROR", True), ("FATAL", False), (None, False)],
)
def test_only_an_error_of_the_server_itself_is_a_refusal(severity, refused):
    error = RuntimeError("said")
    error.diag = SimpleNamespace(severity_nonlocalized=severity)
    assert drill_postgresql.refused(error) == refused
    assert not drill_postgresql.refused(RuntimeError("no diagnosis"))


def test_a_warning_spoils_only_the_write_that_it_came_with():
    path = postgresql(Store(lambda number: "warned" if number == 1 else ""))
    with pytest.raises(Unknown, match="canceling wait"):
        path.write(1)
    assert path.write(2) == "node1"


def test_a_server_that_does_not_answer_is_hung_up_on():
    ours, theirs = socket.socketpair()
    connection = SimpleNamespace(closed=False, fileno=ours.fileno)
    with ours, theirs:
        ours.settimeout(10)
        with drill_postgresql.hanging_up(connection, 0.05):
            assert ours.recv(1) == b""
        theirs.settimeout(10)
        assert theirs.recv(1) == b""


def test_who_answers_in_time_keeps_the_connection():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with drill_postgresql.hanging_up(SimpleNamespace(closed=False, fileno=ours.fileno), 30):
            pass
        theirs.sendall(b"x")
        assert ours.recv(1) == b"x"


# -- Redis ---------------------------------------------------------------------------------------------------------------


def sentinels(replies, refusals=None):
    """A path whose sentinels answer and whose masters refuse as told, with the list of whom it asked."""
    asked = []

    def connect(address, port):
        asked.append(address)
        reply = replies.get(address, ["10.0.1.13", "6379"])
        if isinstance(reply, Exception):
            raise reply
        return Connection(lambda words: reply if words[0] == "SENTINEL" else (refusals or {}).get(address, 1))

    settings = {
        "sentinels": [["10.0.1.11", 26379], ["10.0.1.12", 26379], ["10.0.1.13", 26379]],
        "master_name": "utmstack-redis",
        "members": {"node3": ["10.0.1.13", 6379]},
    }
    return drill_redis.Redis(settings, "r1", "/ca.crt", lambda *login: SimpleNamespace(connect=connect)), asked


def test_the_next_sentinel_is_asked_where_one_is_silent_or_knows_no_master():
    path, asked = sentinels({"10.0.1.11": redis_client.RedisError("no answer within 1 s"), "10.0.1.12": None})
    assert path.write(1) == "node3"
    assert asked == ["10.0.1.11", "10.0.1.12", "10.0.1.13", "10.0.1.13"]
    path.close()
    path.write(2)
    assert asked[4:] == ["10.0.1.13", "10.0.1.13"]


def test_without_a_sentinel_that_names_a_master_nothing_is_sent():
    silent = redis_client.RedisError("no answer within 1 s")
    path, _asked = sentinels({"10.0.1.11": silent, "10.0.1.12": None, "10.0.1.13": silent})
    with pytest.raises(Failed, match="10.0.1.12: knows no utmstack-redis"):
        path.write(1)


def test_a_refusal_makes_the_client_ask_for_the_master_again():
    store = Store(lambda number: "refused" if number == 1 else "")
    path = redis(store)
    with pytest.raises(Failed, match="NOREPLICAS"):
        path.write(1)
    store.leader = "node2"
    assert path.write(2) == "node2"


@pytest.mark.parametrize(
    "trouble", [redis_client.RedisError("NOREPLICAS", True), redis_client.RedisError("no answer within 3 s")]
)
def test_a_sentinel_that_is_cut_off_with_its_master_is_not_believed_for_ever(trouble):
    path, asked = sentinels({"10.0.1.11": ["10.0.1.11", "6379"]}, {"10.0.1.11": trouble})
    with pytest.raises((Failed, Unknown)):
        path.write(1)
    assert path.write(2) == "node3"
    assert asked == ["10.0.1.11", "10.0.1.11", "10.0.1.12", "10.0.1.13"]


def test_a_list_out_of_order_is_read_in_order():
    numbers = list(range(1, 5001))
    for start in range(0, 5000, 50):
        portion = numbers[start : start + 50]
        random.Random(start).shuffle(portion)
        numbers[start : start + 50] = portion
    assert list(drill_redis.ascending(numbers, 100)) == list(range(1, 5001))


def test_a_number_that_is_much_too_late_is_no_silent_error():
    with pytest.raises(ValueError, match="1 comes after"):
        list(drill_redis.ascending([*range(2, 50), 1], 10))


# -- Elasticsearch -------------------------------------------------------------------------------------------------------


def test_a_shard_that_is_not_refreshed_is_not_read():
    path = elasticsearch(Store())
    reply = drill_http.Reply(200, {"_shards": {"total": 2, "successful": 1, "failed": 1}})
    path._open = lambda url: SimpleNamespace(ask=lambda *request: reply, close=lambda: None)
    with pytest.raises(Unknown, match="a shard was not refreshed"):
        path.settle()


def test_a_document_that_is_there_already_may_be_this_one_by_a_try_of_the_servers():
    path = elasticsearch(Store())
    error = {"type": "version_conflict_engine_exception", "reason": "document already exists"}
    path._application = SimpleNamespace(ask=lambda *request: drill_http.Reply(409, {"error": error}))
    with pytest.raises(Unknown, match="409"):
        path.write(1)


# -- the application -----------------------------------------------------------------------------------------------------


def test_placeholders_are_filled_in_at_any_depth_and_other_braces_stay():
    template = {"id": "{id}", "tags": ["{run}", 1], "all": "{ids}", "text": "{} {number} {other}"}
    assert drill_api.fill(template, {"id": "r1-5", "run": "r1", "number": 5}, ["a"]) == {
        "id": "r1-5", "tags": ["r1", 1], "all": ["a"], "text": "{} 5 {other}",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("stores.*.missing", [["a"], []]),
        ("stores.redis.missing", [[]]),
        ("list.1", [8]),
        ("list.*", [7, 8]),
        ("list.x", []),
        ("nothing.here", []),
        ("", []),
    ],
)
def test_a_place_in_an_answer_is_a_name_after_the_other(place, found):
    body = {"stores": {"postgresql": {"missing": ["a"]}, "redis": {"missing": []}}, "list": [7, 8]}
    assert drill_api.places(body, place) == found


def application(request, reply):
    connection = SimpleNamespace(ask=lambda *question: reply, close=lambda: None)

    def network(ca):
        return SimpleNamespace(connect=lambda *how: connection)

    get = {"method": "GET", "path": "/events/{id}"}
    settings = {"url": "https://vip", "write": get, "read": get, **request}
    return drill_api.Api(settings, "r1", "/ca.crt", network)


@pytest.mark.parametrize(
    ("reply", "found"), [(drill_http.Reply(200, {}), [(1, 1), (2, 1)]), (drill_http.Reply(404, {}), [])]
)
def test_without_a_request_for_many_ids_each_is_asked_for(reply, found):
    assert list(application({}, reply).present("api", iter([1, 2]))) == found


def test_an_answer_that_does_not_say_what_is_missing_proves_nothing():
    verify = {"method": "POST", "path": "/verify", "body": {"ids": "{ids}"}, "missing": "stores.*.missing"}
    with pytest.raises(Failed, match="nothing at"):
        list(application({"verify": verify}, drill_http.Reply(200, {"stores": {}})).present("api", iter([1])))


@pytest.mark.parametrize("reply", [drill_http.Reply(404, None, "not this one"), drill_http.Reply(503, {})])
def test_a_load_balancer_that_finds_nobody_says_nothing_about_the_record(reply):
    with pytest.raises((Failed, Unknown)):
        application({}, reply).read(1)


# -- HTTP, by a real server ----------------------------------------------------------------------------------------------


def certificate(directory):
    """A certificate for 127.0.0.1 that is its own CA: (certificate, key)."""
    names = str(directory / "cert.pem"), str(directory / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=drill", "-addext", "subjectAltName=IP:127.0.0.1", "-out", names[0], "-keyout", names[1]],
        check=True, capture_output=True,
    )  # fmt: skip
    return names


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("tls"))


def request_line(line) -> str:
    """Read one whole request: a server that closes with something unread resets the connection, and its answer may be lost."""
    with line.makefile("rb") as stream:
        first = stream.readline().split(b" HTTP")[0].decode()
        headers = http.client.parse_headers(stream)
        stream.read(int(headers.get("Content-Length", 0)))
    return first


@contextmanager
def serving(tls, *scripts):
    """A server that answers the requests of each connection with the next script; yields its URL and what it was asked.

    A script is a list of answers; after the last one the connection is closed. None: no answer for as long as the test runs.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls)
    asked, over = [], threading.Event()

    def serve():
        for script in scripts:
            plain, _address = listener.accept()
            # A client that does not accept the certificate ends the connection.
            with suppress(ssl.SSLError), context.wrap_socket(plain, server_side=True) as line:
                for answer in script:
                    asked.append(request_line(line))
                    if answer is None:
                        over.wait(30)
                    else:
                        line.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}", asked
        over.set()


def answer(status="200 OK", body=b'{"ok": true}', headers=b""):
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status.encode(), len(body), headers, body)


def test_a_connection_is_kept_and_made_anew_when_the_server_ends_it(tls):
    with serving(tls, [answer(), answer(headers=b"Connection: close\r\n")], [answer()]) as (url, asked):
        connection = drill_http.Network(tls[0]).connect(url, {}, 10)
        assert [connection.ask("GET", f"/{number}").body for number in (1, 2, 3)] == [{"ok": True}] * 3
        assert asked == ["GET /1", "GET /2", "GET /3"]


def test_a_connection_that_breaks_before_the_answer_is_unknown_and_nothing_is_sent_again(tls):
    with serving(tls, [b""], [answer()]) as (url, asked):
        connection = drill_http.Network(tls[0]).connect(url, {}, 10)
        with pytest.raises(Unknown):
            connection.ask("POST", "/1", {})
        assert connection.ask("POST", "/2", {}).status == 200
        assert asked == ["POST /1", "POST /2"]


def test_a_server_that_does_not_answer_in_time_is_unknown(tls):
    with serving(tls, [None]) as (url, _asked), pytest.raises(Unknown, match="no answer in time"):
        drill_http.Network(tls[0]).connect(url, {}, 0.2).ask("POST", "/", {})


def test_half_an_answer_is_unknown(tls):
    with serving(tls, [answer()[:-3]]) as (url, _asked), pytest.raises(Unknown):
        drill_http.Network(tls[0]).connect(url, {}, 10).ask("POST", "/", {})


def test_where_nobody_listens_nothing_was_sent(tls):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(Failed):
        drill_http.Network(tls[0]).connect(url, {}, 10).ask("POST", "/", {})


def test_a_certificate_of_another_ca_is_not_accepted(tls, tmp_path):
    with serving(tls, []) as (url, _asked), pytest.raises(Failed, match="certificate verify failed"):
        drill_http.Network(certificate(tmp_path)[0]).connect(url, {}, 10).ask("POST", "/", {})


def test_passwords_are_not_sent_without_tls(tls):
    with pytest.raises(ValueError, match="no https URL"):
        drill_http.Network(tls[0]).connect("http://10.0.1.100", {}, 10)


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, {}, None),
        (201, {}, None),
        (400, {}, Failed),
        (429, {}, Failed),
        (503, None, Failed),  # HAProxy found no server.
        (503, {}, Unknown),  # The application says that it could not do all of it.
        (500, {}, Unknown),
        (502, None, Unknown),
        (504, None, Unknown),
    ],
)
def test_an_answer_is_a_success_a_refusal_or_neither(status, body, outcome):
    reply = drill_http.Reply(status, body)
    if outcome is None:
        assert drill_http.accepted(reply) is reply
    else:
        with pytest.raises(outcome):
            drill_http.accepted(reply)
