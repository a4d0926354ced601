# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The client on a real socket: what it sends, and how it says that there was no answer."""

from __future__ import annotations

import base64
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import client as patroni_client
from ansible_collections.utmstack.ha.plugins.module_utils.patroni.client import NoAnswer, PatroniError


class Handler(BaseHTTPRequestHandler):
    def answer(self):
        length = int(self.headers.get("Content-Length", 0))
        self.server.seen.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
        if self.path == "/broken":
            self.wfile.write(b"garbage that is no HTTP\r\n\r\n")
            return
        status, body = {"/text": (200, b"reload scheduled"), "/503": (503, b"restart failed")}.get(
            self.path, (200, b'{"scope": "utmstack"}')
        )
        if self.path == "/page":
            self.send_error(502)
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = answer

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def server():
    httpd = HTTPServer(("127.0.0.1", 0), Handler)
    httpd.seen = []
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield httpd
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def client(*urls, **options):
    return patroni_client.Client(urls, patroni_client.sender(), **options)


def url_of(server):
    return f"http://127.0.0.1:{server.server_port}"


def test_a_request_carries_json_and_credentials(server):
    reply = client(url_of(server), credentials=("patroni", "pass:word")).act(
        url_of(server), "PATCH", "/config", {"ttl": None}
    )
    assert (reply.status, reply.body) == (200, {"scope": "utmstack"})
    method, path, headers, body = server.seen[0]
    assert (method, path, json.loads(body)) == ("PATCH", "/config", {"ttl": None})
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == b"patroni:pass:word"
    assert headers["Content-Type"] == "application/json"


def test_without_credentials_none_are_sent(server):
    client(url_of(server)).call(url_of(server), "GET", "/cluster")
    assert "Authorization" not in server.seen[0][2]


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [("/text", 200, "reload scheduled"), ("/503", 503, "restart failed"), ("/page", 502, "Bad Gateway.")],
)
def test_replies_that_are_no_json_are_told_in_one_line(server, path, status, text):
    reply = client(url_of(server)).call(url_of(server), "GET", path)
    assert (reply.status, reply.text) == (status, text)


def test_a_broken_answer_is_no_answer(server):
    with pytest.raises(NoAnswer, match="does not answer: the answer broke off"):
        client(url_of(server)).call(url_of(server), "GET", "/broken")


def test_a_server_without_tls_is_no_answer(server):
    url = url_of(server).replace("http:", "https:")
    with pytest.raises(NoAnswer, match=r"does not answer: .*SSL"):
        client(url).call(url, "GET", "/cluster")


def test_a_closed_port_and_a_silent_one_are_no_answer():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(NoAnswer, match="Connection refused"):
            client(url).call(url, "GET", "/cluster")
        silent.listen()
        with pytest.raises(NoAnswer, match="timed out"):
            client(url, timeout=0.05).call(url, "GET", "/cluster")


def test_proxies_of_the_environment_are_ignored(server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert client(url_of(server)).call(url_of(server), "GET", "/cluster").status == 200


@pytest.mark.parametrize("url", ["10.0.1.11:8008", "ftp://10.0.1.11", "https://", ""])
def test_what_is_no_url_is_refused_with_an_example(url):
    with pytest.raises(PatroniError, match="should read like https://10.0.1.11:8008"):
        client(url)


def test_no_url_at_all_is_refused():
    with pytest.raises(PatroniError, match="No URL"):
        client()


def test_a_trailing_path_makes_no_other_member():
    assert client("https://10.0.1.11:8008/patroni", "https://10.0.1.12:8008/").urls == [
        "https://10.0.1.11:8008",
        "https://10.0.1.12:8008",
    ]


def test_certificates_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(PatroniError, match=r"nothing\.crt cannot be used"):
        patroni_client.sender(ca_path=str(tmp_path / "nothing.crt"))
