# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plays back what real Elasticsearch and OpenSearch servers answered, in place of the network and the clock.

fixtures/search/NAME.json has scenes; each is the exchanges of one run of a module: what was asked of whom, and the reply, or
why there was none. Every request to an API whose published definition is in fixtures/search/api.json is held against it.
"""

from __future__ import annotations

import base64
import json
import re
import urllib.parse
from collections import defaultdict
from pathlib import Path

from ansible.module_utils.testing import patch_module_args
from ansible_collections.utmstack.ha.plugins.module_utils.common import https
from ansible_collections.utmstack.ha.plugins.module_utils.search import client as search_client

FIXTURES = Path(__file__).parents[1] / "fixtures" / "search"
ELASTICSEARCH = ("elasticsearch-8.19.4", "elasticsearch-9.2.0")
OPENSEARCH = ("opensearch-2.19.4",)
ENGINES = (*ELASTICSEARCH, *OPENSEARCH)
URLS = {
    "elasticsearch-8.19.4": [f"http://127.0.81.{number}:9200" for number in (1, 2, 3)],
    "elasticsearch-9.2.0": ["http://127.0.89.1:9200"],
    "elasticsearch-8.19.4-backup": ["http://127.0.91.1:9200"],
    "opensearch-2.19.4": ["http://127.0.82.1:9200"],
    "opensearch-3.3.0": ["http://127.0.83.1:9200"],
    "elasticsearch-slm": ["http://127.0.81.1:9200"],
    "opensearch-sm": ["http://127.0.82.1:9200"],
}
_API = json.loads((FIXTURES / "api.json").read_text())
_FAMILIES = ("/_slm", "/_snapshot", "/_cluster", "/_plugins/_sm")
_TYPES = {"string": str, "boolean": bool, "object": dict, "integer": int}


def scenes(name):
    """The scenes of a fixture."""
    return json.loads((FIXTURES / f"{name}.json").read_text())["scenes"]


def superuser(name):
    """The user that the scenes were recorded with."""
    return "admin" if name.startswith("opensearch") else "elastic"


def definition(flavor, method, path):
    """(query parameters, body) that the published definition allows; None where it has no such request."""
    for request, allowed in _API[flavor].items():
        wanted, _space, template = request.partition(" ")
        pattern = re.sub(r"\{[^}]+\}", r"[^/]+", template)
        if wanted == method and re.fullmatch(pattern, path):
            return allowed
    return None


def fits(value, wanted):
    """Whether a value of a body has the type of the definition, down to the names in objects."""
    if isinstance(wanted, dict):
        return isinstance(value, dict) and all(
            name in wanted and fits(one, wanted[name]) for name, one in value.items()
        )
    if wanted == "strings":
        return isinstance(value, str) or isinstance(value, list) and all(isinstance(one, str) for one in value)
    return isinstance(value, _TYPES[wanted]) and not (wanted == "integer" and isinstance(value, bool))


def hold_against_definition(flavor, method, path, body):
    """Assert that the request is one that the published definition allows, where there is one of its family."""
    bare, _mark, query = path.partition("?")
    if not bare.startswith(_FAMILIES) or flavor == "opensearch" and not bare.startswith("/_plugins/_sm"):
        return
    allowed = definition(flavor, method, bare)
    assert allowed is not None, f"{flavor} has no {method} {bare}"
    parameters, wanted = allowed
    for name in urllib.parse.parse_qs(query, keep_blank_values=True):
        assert name in (*parameters, "filter_path", "human"), f"{method} {bare} has no parameter {name}"
    if wanted is None:
        assert body is None, f"{method} {bare} takes no body"
    else:
        assert body is None or fits(body, wanted), f"{method} {bare} does not take the body {body}"


class Network:
    """The servers of one scene. The last reply to a question is repeated; a question that was never asked is an error."""

    def __init__(self, fixture, scene):
        self.fixture = fixture
        self.flavor = "opensearch" if fixture.startswith("opensearch") else "elasticsearch"
        self.asked: list[tuple[str, str, object]] = []
        self.users: list[str] = []
        self.time = 0.0
        self._replies = defaultdict(list)
        for exchange in scenes(fixture)[scene]:
            self._replies[self._key(exchange["url"], exchange["request"], exchange.get("body"))].append(exchange)

    @staticmethod
    def _key(url, request, body):
        return url, request, json.dumps(body, sort_keys=True)

    def send(self, method, url, headers, body, timeout):
        """What https.sender's function does."""
        parts = urllib.parse.urlsplit(url)
        base, path = f"{parts.scheme}://{parts.netloc}", parts.path + (f"?{parts.query}" if parts.query else "")
        body = None if body is None else json.loads(body)
        hold_against_definition(self.flavor, method, path, body)
        request = f"{method} {path}"
        self.asked.append((base, request, body))
        if "Authorization" in headers:
            self.users.append(base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode())
        replies = self._replies[self._key(base, request, body)]
        if not replies:
            raise AssertionError(f"never asked when this was recorded: {base} {request} {body}")
        exchange = replies.pop(0) if len(replies) > 1 else replies[0]
        self.time += 0.01
        if "error" in exchange:
            self.time += timeout
            raise TimeoutError() if exchange["error"].startswith("no answer") else OSError(111, exchange["error"])
        reply = exchange["reply"]
        return exchange["status"], reply if isinstance(reply, str) else json.dumps(reply)

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds

    @property
    def changes(self):
        """The requests that were to change something, in order; what only tries or looks is none."""
        return [
            request
            for _url, request, _body in self.asked
            if not request.startswith("GET ") and "/_verify" not in request
        ]

    def body(self, request):
        """The body of the only request of that kind."""
        (found,) = [body for _url, sent, body in self.asked if sent == request]
        return found

    def client(self, **options):
        """A client of this network, as a module would make it."""
        return search_client.Client(
            options.pop("urls", URLS[self.fixture]), self.send, (superuser(self.fixture), "Long-enough-3z"), 5.0,
            self.sleep, self.now,
        )  # fmt: skip


def run(module, network, monkeypatch, capsys, check=False, **options):
    """Run a module as Ansible does, against the network; returns its answer."""
    monkeypatch.setattr(https, "sender", lambda *_certificates: network.send)
    monkeypatch.setattr(search_client.Client.__init__, "__defaults__", (None, 5.0, network.sleep, network.now))
    arguments = {
        "url": URLS[network.fixture],
        "username": superuser(network.fixture),
        "password": "Long-enough-3z",
        "_ansible_check_mode": check,
        "_ansible_diff": True,
        **options,
    }
    with patch_module_args(arguments):
        try:
            module.main()
        except SystemExit:
            answer = json.loads(capsys.readouterr().out)
            answer.pop("invocation", None)
            return answer
    raise AssertionError("the module did not exit")
