# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A client of etcd's v3 JSON gateway.

The gateway ignores the names in client certificates, and refuses certificates that carry one where `client-cert-auth` is
set (etcd: server/embed/serve.go). So a certificate opens the connection and a user's token gives the rights.
Simple tokens are valid on every member, but a member may hear of one a moment later than the client.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from ..common import https

# What every module that talks to etcd takes; documented in doc_fragments/etcd.py.
ARGUMENTS = {"endpoints": {"type": "list", "elements": "str", "required": True}, **https.ARGUMENTS}
REQUIRED_TOGETHER = https.REQUIRED_TOGETHER

AUTH_DISABLED = "authentication is not enabled"
WRONG_PASSWORD = "authentication failed"
NO_TOKEN = "user name is empty"
STALE_TOKEN = ("invalid auth token", "revision of auth store is old")


class EtcdError(Exception):
    """etcd refused a call, or could not be asked. `status` is the HTTP status, None where there was no answer."""

    def __init__(self, message: str, status: int | None = None):
        super().__init__(message)
        self.status = status

    def says(self, *sentences: str) -> bool:
        """Whether the message contains one of the sentences."""
        return any(sentence in str(self) for sentence in sentences)


def _reason(body: bytes, status: int) -> str:
    """What an error reply says. Both generations of the gateway are understood: `message`, formerly `error`."""
    try:
        reply = json.loads(body)
    except ValueError:
        reply = None
    if isinstance(reply, dict):
        text = reply.get("message") or reply.get("error") or reply.get("reason")
        return str(text).removeprefix("etcdserver: ") if text else f"HTTP status {status}"
    return body.decode(errors="replace").strip() or f"HTTP status {status}"


class Client:
    """Asks the members of one cluster. Each call has a time limit of `timeout` seconds."""

    def __init__(self, endpoints, open_url, username=None, password=None, timeout=5.0, sleep=time.sleep):
        self.endpoints = [endpoint.rstrip("/") for endpoint in endpoints]
        self.username, self.password, self.timeout = username, password, timeout
        self.open_url, self._sleep = open_url, sleep
        self.token: str | None = None
        self._logged_in = False

    @classmethod
    def of(cls, params: dict) -> Client:
        """The client that a module's parameters describe. Raises EtcdError where certificates can't be read."""
        try:
            open_url = https.opener(params["ca_path"], params["client_cert"], params["client_key"])
        except OSError as error:
            raise EtcdError(str(error)) from error
        return cls(params["endpoints"], open_url, params["username"], params["password"], params["timeout"])

    def ask(self, endpoint: str, path: str, body: dict | None = None, token: str | None = None) -> dict:
        """One request, GET without a body. Raises EtcdError."""
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = token
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(endpoint + path, data=data, headers=headers)
        try:
            with self.open_url(request, self.timeout) as response:
                answer = json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                raise EtcdError(_reason(error.read(), error.code), error.code) from error
        except TimeoutError as error:
            raise EtcdError(f"no answer within {self.timeout:g} s") from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise EtcdError(f"no answer within {self.timeout:g} s") from error
            raise EtcdError(getattr(error.reason, "strerror", None) or str(error.reason)) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise EtcdError(str(error) or type(error).__name__) from error
        if not isinstance(answer, dict):
            raise EtcdError(f"{path} answered with something that is not an object")
        return answer

    def authenticate(self, endpoint: str, username: str, password: str) -> str | None:
        """A token, or None where the cluster has no authentication. Raises EtcdError, also for a wrong password."""
        try:
            return self.ask(endpoint, "/v3/auth/authenticate", {"name": username, "password": password})["token"]
        except EtcdError as error:
            if error.says(AUTH_DISABLED):
                return None
            raise

    def log_in(self, endpoint: str) -> bool:
        """Get a token for the client's own user; returns whether authentication is enabled. Raises EtcdError."""
        if self.username:
            self.token = self.authenticate(endpoint, self.username, self.password)
        self._logged_in = True
        return self.token is not None

    def call(self, endpoint: str, path: str, body: dict) -> dict:
        """One request with the client's own rights. Raises EtcdError."""
        if not self._logged_in:
            self.log_in(endpoint)
        for attempt in range(4):
            try:
                return self.ask(endpoint, path, body, self.token)
            except EtcdError as error:
                if attempt == 3 or not error.says(*STALE_TOKEN):
                    raise
                self._sleep(0.1 * attempt)
                self.log_in(endpoint)
        raise AssertionError("unreachable")

    def everywhere(self, endpoints: list[str], look) -> dict:
        """`look(endpoint)` at all endpoints at once; endpoint -> what it returned."""
        if not endpoints:
            return {}
        with ThreadPoolExecutor(max_workers=min(16, len(endpoints))) as pool:
            return dict(zip(endpoints, pool.map(look, endpoints), strict=True))
