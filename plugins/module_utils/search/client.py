# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A small client of the search engine: Elasticsearch 8 and 9, OpenSearch 2 and 3.

The network is handed in: `send` (method, url, headers, body, timeout in s) -> (status, text), raising OSError when there
was no answer. So is the clock. Tests double these two and nothing else.
"""

from __future__ import annotations

import base64
import json
import re
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..common import https

# What every module that talks to the search engine takes; documented in doc_fragments/search.py.
ARGUMENTS = {"url": {"type": "list", "elements": "str", "required": True}, **https.ARGUMENTS}
REQUIRED_TOGETHER = https.REQUIRED_TOGETHER

ELASTICSEARCH, OPENSEARCH = "elasticsearch", "opensearch"

# The server waits up to 30 s for its nodes to follow a change; s.
PATIENCE = 35.0


class SearchError(Exception):
    """Something that the operator must know. `facts` go into the module's result beside the message."""

    def __init__(self, message: str, **facts):
        super().__init__(message)
        self.facts = facts


class NoAnswer(SearchError):
    """Nobody answered."""


class Refused(SearchError):
    """The server answered with an error."""

    def __init__(self, message: str, reply: Reply):
        super().__init__(message)
        self.reply = reply


@dataclass(frozen=True)
class Reply:
    """What a node answered. `body` is decoded JSON, or text where it was none."""

    url: str
    status: int
    body: object

    @property
    def causes(self) -> list[dict]:
        """The errors in the body, innermost first: each with `type` and `reason`."""
        error = self.body.get("error") if isinstance(self.body, dict) else None
        if isinstance(error, str):
            return [{"type": "", "reason": error}]
        found = []
        while isinstance(error, dict):
            found += [one for one in (*error.get("root_cause", []), *error.get("suppressed", [])) if "reason" in one]
            found.append(error)
            error = error.get("caused_by")
        return list(reversed(found))

    @property
    def types(self) -> set[str]:
        """The names of the errors."""
        return {str(cause.get("type", "")) for cause in self.causes}

    @property
    def reason(self) -> str:
        """What the server says, as one line: its innermost reason, and the outer ones that add something."""
        said: list[str] = []
        for cause in self.causes:
            text = " ".join(str(cause.get("reason") or cause.get("type") or "").split())
            text = re.sub(r" for REST request \[.*\]", "", text)
            if text and not any(text in known for known in said) and "RemoteTransportException" not in text:
                said.append(text)
        if not said and isinstance(self.body, dict):  # OpenSearch's security plugin
            said = [
                f"{name}: {text}" if name not in ("message", "reason") else str(text)
                for name, text in self.body.items()
                if name != "status"
            ]
        if not said:
            said = [" ".join(re.sub(r"<[^>]*>", " ", str(self.body)).split())[:300] or f"HTTP status {self.status}"]
        return "; ".join(said)[:2000]

    @property
    def has_no_handler(self) -> bool:
        """Whether the server has not got this API at all, as a module or plugin is missing."""
        return self.status in (400, 405) and bool(re.search("no handler found|Incorrect HTTP method", self.reason))


@dataclass(frozen=True)
class Engine:
    """Which server it is."""

    flavor: str
    version: str

    @property
    def opensearch(self) -> bool:
        return self.flavor == OPENSEARCH

    @property
    def master_timeout(self) -> str:
        """The query parameter that bounds how long a node waits for a master. OpenSearch renamed it in 2.0."""
        return "cluster_manager_timeout" if self.opensearch else "master_timeout"

    def __str__(self) -> str:
        return f"{'OpenSearch' if self.opensearch else 'Elasticsearch'} {self.version}"


def part(name: str) -> str:
    """A name as part of a path."""
    return urllib.parse.quote(name, safe=",*")


class Client:
    """One cluster, reached through any of its nodes.

    `urls`: base URLs, tried in this order. `credentials`: (user, password) or None. `timeout` in s.
    """

    def __init__(self, urls, send, credentials=None, timeout=5.0, sleep=time.sleep, now=time.monotonic):
        self.urls = [base_url(url) for url in urls]
        if not self.urls:
            raise SearchError("No URL of a node was given.")
        self.send, self.credentials, self.timeout, self.sleep, self.now = send, credentials, timeout, sleep, now
        self._engine: Engine | None = None

    @property
    def patience(self) -> float:
        """The time limit, in s, of what may take longer than a question: changes, and lists of all indices."""
        return max(self.timeout, PATIENCE)

    def call(self, url, method, path, body=None, credentials=None, timeout=None) -> Reply:
        """The reply of the one node at `url`, also when it is an error. Raises NoAnswer when there is none."""
        headers = {"Accept": "application/json"}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        credentials = credentials or self.credentials
        if credentials:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(credentials).encode()).decode()
        timeout = timeout or self.timeout
        try:
            status, text = self.send(method, url + path, headers, data, timeout)
        except OSError as error:
            raise NoAnswer(f"{url} does not answer: {why(error, timeout)}") from error
        try:
            return Reply(url, status, json.loads(text))
        except ValueError:
            return Reply(url, status, text)

    def ask(self, path, timeout=None) -> Reply:
        """A GET's reply from the first node that can give one, also when it is an error.

        Nodes that do not answer, or have no master or no quorum to ask (503), are passed over. The node that answered is
        asked first from now on. Raises NoAnswer, naming what each of them did.
        """
        failures = []
        for url in list(self.urls):
            try:
                reply = self.call(url, "GET", path, timeout=timeout)
            except NoAnswer as error:
                failures.append(str(error))
                continue
            if reply.status == 503:
                failures.append(f"{url} answers {path} with 503: {reply.reason}")
                continue
            self.urls.remove(url)
            self.urls.insert(0, url)
            return reply
        raise NoAnswer("No node can answer: " + "; ".join(failures), failures=failures)

    def get(self, path, what, missing=(), timeout=None):
        """The body of a GET. `what` completes the sentence "... cannot be read" for people.

        `missing`: statuses for which None is returned. Raises Refused for other errors, NoAnswer.
        """
        reply = self.ask(path, timeout)
        if reply.status in missing:
            return None
        if reply.status >= 400:
            raise self.refusal(f"{what} cannot be read", reply)
        return reply.body

    def act(self, method, path, body, what, allowed=(), timeout=None) -> Reply:
        """The reply to a request that changes something, sent once, to the node that answered last.

        `what` completes the sentence "... failed" for people. Raises Refused for errors whose status is not in `allowed`;
        NoAnswer, when the request may or may not have been carried out.
        """
        try:
            reply = self.call(self.urls[0], method, path, body, timeout=timeout or self.patience)
        except NoAnswer as error:
            raise NoAnswer(f"{what} failed, or may yet succeed: {error}. Look before trying again.") from error
        if reply.status >= 400 and reply.status not in allowed:
            raise self.refusal(f"{what} failed", reply)
        return reply

    def refusal(self, sentence, reply) -> Refused:
        """The error for a reply, with a remedy where credentials or rights are the cause."""
        user = self.credentials[0] if self.credentials else "nobody"
        remedy = {
            401: f" Is it the password of {user}? While the index that keeps the users has no primary, nobody can log in.",
            403: f" Has {user} the right to do this?",
        }.get(reply.status, "")
        return Refused(f"{sentence}: {reply.reason.rstrip('.;')}.{remedy}", reply)

    def engine(self) -> Engine:
        """Which server it is, asked once. Raises SearchError."""
        if self._engine is None:
            reply = self.ask("/")
            if reply.status == 200:
                self._engine = engine_of(reply.body)
            elif reply.has_no_handler:  # Elasticsearch without its module rest-root
                self._engine = engine_of_node(self.get(LOCAL_NODE, "The node's version"))
            else:
                raise self.refusal("The server's version cannot be read", reply)
        return self._engine

    def everywhere(self, urls, look) -> dict:
        """`look(url)` for all URLs at once; url -> what it returned."""
        urls = list(dict.fromkeys(urls))
        with ThreadPoolExecutor(max_workers=min(16, max(1, len(urls)))) as pool:
            return dict(zip(urls, pool.map(look, urls), strict=True))

    def wait(self, seconds, look, pause=0.5):
        """Repeat `look()` until it returns something true or the time is over; returns what it returned last.

        That nobody answers for a while, as when another master is elected, is waited out. Raises NoAnswer when it lasts.
        """
        end = self.now() + seconds
        while True:
            failure = None
            try:
                found = look()
            except NoAnswer as error:
                found, failure = None, error
            if found or self.now() >= end:
                break
            self.sleep(pause)
        if failure:
            raise failure
        return found


LOCAL_NODE = (
    "/_nodes/_local?filter_path=cluster_name,nodes.*.name,nodes.*.version,nodes.*.build_flavor,nodes.*.build_type,"
    "nodes.*.roles,nodes.*.transport_address"
)


def engine_of(root: object) -> Engine:
    """What `GET /` tells. Raises SearchError where it is something else."""
    version = root.get("version") if isinstance(root, dict) else None
    if not isinstance(version, dict) or "number" not in version:
        raise SearchError("What answers is neither Elasticsearch nor OpenSearch. Is it the right address and port?")
    return Engine(OPENSEARCH if version.get("distribution") == OPENSEARCH else ELASTICSEARCH, str(version["number"]))


def engine_of_node(nodes: dict) -> Engine:
    """What a node says of itself. OpenSearch has no `build_flavor`."""
    node = next(iter(nodes["nodes"].values()))
    return Engine(ELASTICSEARCH if "build_flavor" in node else OPENSEARCH, node["version"])


def base_url(url: str) -> str:
    """`url` without a slash at its end. Raises SearchError where it is none."""
    if not re.fullmatch(r"https?://[^/\s]+(/[^\s?#]*)?", url.strip()):
        raise SearchError(f"'{url}' is not the URL of a node: it should read like https://10.0.1.11:9200.")
    return url.strip().rstrip("/")


def why(error: OSError, timeout: float) -> str:
    """Why there was no answer, without the wrapping of urllib."""
    cause = getattr(error, "reason", None) or error
    if isinstance(cause, TimeoutError):
        return f"no answer within {timeout:g} s"
    return str(getattr(cause, "strerror", None) or cause) or type(cause).__name__


def connect(parameters: dict) -> Client:
    """The client for a module's parameters, see ARGUMENTS. Raises SearchError."""
    try:
        send = https.sender(parameters["ca_path"], parameters["client_cert"], parameters["client_key"])
    except OSError as error:
        raise SearchError(str(error)) from error
    credentials = (parameters["username"], parameters["password"]) if parameters["username"] else None
    return Client(parameters["url"], send, credentials, parameters["timeout"])


def shown(before: object, after: object) -> dict:
    """A module's diff of two plain values."""
    texts = ["" if value is None else json.dumps(value, indent=2, sort_keys=True) + "\n" for value in (before, after)]
    return {"before": texts[0], "after": texts[1]}
