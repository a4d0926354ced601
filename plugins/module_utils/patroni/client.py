# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A small client of Patroni's REST API (https://patroni.readthedocs.io/en/latest/rest_api.html), 3.0.2 to 4.1.

The network is handed in: `send` (method, url, headers, body, timeout in s) -> (status, text), raising OSError when there
was no answer. So is the clock. Tests double these two and nothing else.
"""

from __future__ import annotations

import base64
import html
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..common import https

# What every module that talks to Patroni takes; documented in doc_fragments/patroni.py.
ARGUMENTS = {"url": {"type": "list", "elements": "str", "required": True}, **https.ARGUMENTS}
REQUIRED_TOGETHER = https.REQUIRED_TOGETHER


class PatroniError(Exception):
    """Something that the operator must know. `facts` go into the module's result beside the message."""

    def __init__(self, message, **facts):
        super().__init__(message)
        self.facts = facts


class NoAnswer(PatroniError):
    """Nobody answered, or not in a way that says anything about the cluster."""


@dataclass(frozen=True)
class Reply:
    """What a member answered. `body` is decoded JSON, or text where it was none."""

    url: str
    status: int
    body: object

    @property
    def text(self):
        """The body as one line for a message; of an error page only what it says."""
        if not isinstance(self.body, str):
            return json.dumps(self.body)
        said = re.search(r"Message: (.*?)</p>", self.body)
        return html.unescape(said.group(1)) if said else " ".join(self.body.split())[:300]


class Client:
    """One cluster, reached through any of its members.

    `urls`: base URLs of the members, tried in this order. `credentials`: (user, password) or None. `timeout` in s.
    """

    def __init__(self, urls, send, credentials=None, timeout=5.0, sleep=time.sleep, now=time.monotonic):
        self.urls = [base_url(url) for url in urls]
        if not self.urls:
            raise PatroniError("No URL of a member was given")
        self.send, self.timeout, self.sleep, self.now = send, timeout, sleep, now
        self.headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if credentials:
            pair = ":".join(credentials).encode()
            self.headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()

    def call(self, url, method, path, body=None, timeout=None):
        """The reply of the one member at `url`. Raises NoAnswer when there is none."""
        data = None if body is None else json.dumps(body).encode()
        try:
            status, text = self.send(method, url + path, self.headers, data, timeout or self.timeout)
        except OSError as error:
            raise NoAnswer(f"{url} does not answer: {reason(error)}") from error
        try:
            return Reply(url, status, json.loads(text))
        except ValueError:
            return Reply(url, status, text)

    def ask_any(self, path, first=None):
        """A GET's reply from the first member that answers it with 200, `first` before the others.

        Raises NoAnswer, naming what each of them did, when none does.
        """
        failures = []
        for url in dict.fromkeys(([first] if first else []) + self.urls):
            try:
                reply = self.call(url, "GET", path)
            except NoAnswer as error:
                failures.append(str(error))
                continue
            if reply.status == 200:
                return reply
            failures.append(f"{url} answers {path} with {reply.status} ({reply.text})")
        raise NoAnswer("No Patroni member could say how the cluster is: " + "; ".join(failures), failures=failures)

    def ask_each(self, urls, path):
        """{url: Reply or NoAnswer} of a GET to all `urls` at the same time."""

        def ask(url):
            try:
                return self.call(url, "GET", path)
            except NoAnswer as error:
                return error

        urls = list(dict.fromkeys(urls))
        with ThreadPoolExecutor(max_workers=max(len(urls), 1)) as pool:
            return dict(zip(urls, pool.map(ask, urls), strict=True))

    def act(self, url, method, path, body=None, timeout=None):
        """The reply to a request that changes something; raises PatroniError when access to it is refused."""
        reply = self.call(url, method, path, body, timeout)
        if reply.status == 401:
            raise PatroniError(
                f"{url} refuses the user name or password ({reply.text}):"
                " set username and password to those of restapi.authentication in Patroni's configuration"
            )
        if reply.status == 403:
            remedy = (
                "set client_cert and client_key: with verify_client optional or required, Patroni changes nothing"
                " for a client that shows no certificate of its CA"
                if "certificate" in reply.text
                else "add this host to restapi.allowlist in Patroni's configuration, or run on a host that is in it"
            )
            raise PatroniError(f"{url} refuses access ({reply.text}): {remedy}")
        return reply


def base_url(url):
    """`url` without a path, so that a member's `api_url` (which ends in /patroni) and a bare one are the same."""
    found = re.match(r"^(https?://[^/\s]+)(?:/.*)?$", url.strip())
    if not found:
        raise PatroniError(f"'{url}' is not the URL of a Patroni member: it should read like https://10.0.1.11:8008")
    return found.group(1)


def reason(error):
    """Why there was no answer, without the wrapping of urllib."""
    return str(getattr(error, "reason", None) or error) or type(error).__name__


def sender(ca_path=None, client_cert=None, client_key=None):
    """The real `send`: trusts only `ca_path` (the system's CAs by default), ignores proxies of the environment."""
    try:
        return https.sender(ca_path, client_cert, client_key)
    except OSError as error:
        raise PatroniError(str(error)) from error


def connect(parameters):
    """The client for a module's parameters, see ARGUMENTS."""
    send = sender(parameters["ca_path"], parameters["client_cert"], parameters["client_key"])
    credentials = (parameters["username"], parameters["password"]) if parameters["username"] else None
    return Client(parameters["url"], send, credentials, parameters["timeout"])
