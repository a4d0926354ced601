# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
import ssl

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.search import client as search_client

URLS = ["https://10.0.1.11:9200", "https://10.0.1.12:9200"]
ROOT = {"version": {"number": "8.19.4"}}


class Nodes:
    """Answers by node: (status, body) or an exception. Remembers what was sent."""

    def __init__(self, *answers):
        self.answers, self.sent = dict(zip(URLS, answers)), []

    def send(self, method, url, headers, body, timeout):
        base = "/".join(url.split("/")[:3])
        self.sent.append((method, url, headers, body, timeout))
        answer = self.answers[base]
        if isinstance(answer, Exception):
            raise answer
        status, reply = answer
        return status, reply if isinstance(reply, str) else json.dumps(reply)

    def client(self, **options):
        return search_client.Client(URLS, self.send, ("elastic", "secret"), **options)


def refused(reason, status=400, kind="illegal_argument_exception"):
    return status, {"error": {"type": kind, "reason": reason, "root_cause": [{"type": kind, "reason": reason}]}}


def test_a_node_that_does_not_answer_or_has_no_master_is_passed_over_and_asked_last_from_then_on():
    for first in (OSError(111, "Connection refused"), refused("no master", 503)):
        nodes = Nodes(first, (200, {"a": 1}))
        client = nodes.client()
        assert client.get("/x", "The thing") == {"a": 1}
        client.act("PUT", "/x", {}, "Changing it")
        assert [url for _method, url, *_rest in nodes.sent] == [f"{URLS[0]}/x", f"{URLS[1]}/x", f"{URLS[1]}/x"]


def test_when_none_answers_each_is_named_with_its_reason():
    nodes = Nodes(OSError(111, "Connection refused"), TimeoutError())
    with pytest.raises(search_client.NoAnswer) as error:
        nodes.client(timeout=2).get("/x", "The thing")
    assert "https://10.0.1.11:9200 does not answer: Connection refused" in str(error.value)
    assert "https://10.0.1.12:9200 does not answer: no answer within 2 s" in str(error.value)


def test_a_change_is_sent_once_and_without_an_answer_it_is_said_that_it_may_have_happened():
    nodes = Nodes(TimeoutError(), (200, {}))
    with pytest.raises(
        search_client.NoAnswer, match="may yet succeed: .*no answer within 35 s. Look before trying again"
    ):
        nodes.client().act("POST", "/x", {}, "Doing it")
    assert len(nodes.sent) == 1


def test_an_answer_that_is_an_error_is_not_asked_of_the_next():
    nodes = Nodes(refused("wrong", 401), (200, {}))
    with pytest.raises(search_client.Refused, match="The thing cannot be read: wrong. Is it the password of elastic?"):
        nodes.client().get("/x", "The thing")
    assert len(nodes.sent) == 1


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (
            400,
            {"error": "no handler found for uri [/x] and method [GET]"},
            "no handler found for uri [/x] and method [GET]",
        ),
        (
            500,
            {
                "error": {
                    "type": "repository_verification_exception",
                    "reason": "[r] path  is not accessible on master node",
                    "root_cause": [{"type": "exception", "reason": "failed to create blob container"}],
                    "caused_by": {
                        "type": "exception",
                        "reason": "failed to create blob container",
                        "caused_by": {"type": "access_denied_exception", "reason": "/mnt/x/tests"},
                    },
                }
            },
            "/mnt/x/tests; failed to create blob container; [r] path is not accessible on master node",
        ),
        (
            503,
            {"error": {"type": "master_not_discovered_exception", "reason": None}},
            "master_not_discovered_exception",
        ),
        (400, {"status": "error", "reason": "Weak password"}, "Weak password"),
        (404, {"status": "NOT_FOUND", "message": "role 'x' not found."}, "role 'x' not found."),
        (401, "Unauthorized", "Unauthorized"),
        (502, "<html><h1>502 Bad Gateway</h1></html>", "502 Bad Gateway"),
        (500, "", "HTTP status 500"),
    ],
)
def test_the_servers_reason_is_told_innermost_first_and_once(status, body, reason):
    assert search_client.Reply(URLS[0], status, body).reason == reason


@pytest.mark.parametrize(
    ("root", "flavor", "version"),
    [
        ((200, ROOT), "elasticsearch", "8.19.4"),
        ((200, {"version": {"distribution": "opensearch", "number": "2.19.4"}}), "opensearch", "2.19.4"),
    ],
)
def test_the_engine_is_told_by_the_server(root, flavor, version):
    engine = Nodes(root, root).client().engine()
    assert (engine.flavor, engine.version) == (flavor, version)


def test_a_server_without_its_root_page_is_told_by_the_node():
    class Headless(Nodes):
        def send(self, method, url, headers, body, timeout):
            if url.endswith(":9200/"):
                return 405, json.dumps({"error": "Incorrect HTTP method for uri [/] and method [GET]", "status": 405})
            return 200, json.dumps({"nodes": {"a": {"version": "8.19.4", "build_flavor": "default"}}})

    assert str(Headless().client().engine()) == "Elasticsearch 8.19.4"


def test_something_else_is_no_search_engine():
    with pytest.raises(search_client.SearchError, match="neither Elasticsearch nor OpenSearch"):
        Nodes((200, "hello")).client().engine()


@pytest.mark.parametrize("url", ["10.0.1.11:9200", "ftp://x", "https://", "https://a b"])
def test_what_is_no_url_is_refused(url):
    with pytest.raises(search_client.SearchError, match="is not the URL of a node"):
        search_client.Client([url], None)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(113, "No route to host"), "No route to host"),
        (TimeoutError(), "no answer within 3 s"),
        (ssl.SSLCertVerificationError(1, "certificate verify failed"), "certificate verify failed"),
    ],
)
def test_why_there_was_no_answer_is_told_in_plain_words(error, said):
    assert search_client.why(error, 3.0) == said


def test_waiting_ends_when_the_time_is_over():
    clock = [0.0]
    client = search_client.Client(
        URLS, None, sleep=lambda seconds: clock.__setitem__(0, clock[0] + seconds), now=lambda: clock[0]
    )
    assert client.wait(3, lambda: clock[0] >= 2) is True
    assert client.wait(3, lambda: "") == ""
    assert clock[0] < 6


def test_an_election_is_waited_out_and_a_lasting_silence_told():
    clock = [0.0]
    client = search_client.Client(
        URLS, None, sleep=lambda seconds: clock.__setitem__(0, clock[0] + seconds), now=lambda: clock[0]
    )

    def look():
        if clock[0] < 2:
            raise search_client.NoAnswer("nobody")
        return "there"

    assert client.wait(3, look) == "there"
    clock[0] = -10.0
    with pytest.raises(search_client.NoAnswer, match="nobody"):
        client.wait(3, look)


def test_certificates_that_cannot_be_read_are_named(tmp_path):
    nothing = str(tmp_path / "nothing.crt")
    parameters = {"ca_path": nothing, "client_cert": None, "client_key": None}
    with pytest.raises(search_client.SearchError, match="nothing.crt"):
        search_client.connect(parameters)
