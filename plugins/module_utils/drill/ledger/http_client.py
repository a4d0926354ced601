# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""HTTP as the drill's clients use it: one kept connection, no repetition, and what an answer says of a write."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import urllib.parse
from dataclasses import dataclass

from .records import Failed, Unknown

CONNECT_S = 2.0


@dataclass(frozen=True)
class Reply:
    """An answer: its status, and its JSON, or None where it was none (a load balancer's own, for example)."""

    status: int
    body: object = None
    text: str = ""

    def __str__(self) -> str:
        return f"{self.status} {' '.join(self.text.split())[:250]}".strip()


class Network:
    """Opens connections that trust one CA. What tests replace."""

    def __init__(self, ca: str | None):
        """Raises OSError where the CA's certificate can't be read."""
        self._context = ssl.create_default_context(cafile=ca)

    def connect(self, url: str, headers: dict, timeout: float) -> Connection:
        """The connection, which is made with the first question. timeout: of an answer, in s."""
        return Connection(url, self._context, headers, timeout)


class Connection:
    """One connection to one address, kept between questions and made anew after it broke."""

    def __init__(self, url: str, context: ssl.SSLContext, headers: dict, timeout: float):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "https":
            raise ValueError(f"{url} is no https URL")
        self._host, self._port, self._base = parts.hostname, parts.port or 443, parts.path.rstrip("/")
        self._context, self._headers, self._timeout = context, headers, timeout
        self._line: http.client.HTTPSConnection | None = None

    def ask(self, method: str, path: str, body: object = None) -> Reply:
        """The answer, whatever it says. Raises Failed where nothing was sent, Unknown where no answer came."""
        try:
            line = self._connected()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Failed(_said(error)) from error
        headers = self._headers | ({"Content-Type": "application/json"} if body is not None else {})
        try:
            line.request(method, self._base + path, None if body is None else json.dumps(body), headers)
            answer = line.getresponse()
            text = answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unknown(_said(error)) from error
        try:
            return Reply(answer.status, json.loads(text), text)
        except ValueError:
            return Reply(answer.status, None, text)

    def close(self) -> None:
        """End the connection."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def _connected(self) -> http.client.HTTPSConnection:
        # http.client drops a connection that the server wants to end, and would make a new one by itself.
        if self._line is None or self._line.sock is None:
            self._line = http.client.HTTPSConnection(self._host, self._port, context=self._context, timeout=CONNECT_S)
            self._line.connect()
            self._line.sock.settimeout(self._timeout)
        return self._line


def authorization(settings: dict) -> dict:
    """Headers that log in, where there is a `username`."""
    if not settings.get("username"):
        return {}
    login = f"{settings['username']}:{settings['password']}".encode()
    return {"Authorization": f"Basic {base64.b64encode(login).decode()}"}


def accepted(reply: Reply) -> Reply:
    """The reply, where it is a success. Raises Failed for a refusal, Unknown for what may have been done in part.

    A load balancer answers 503 where it found no server to ask (HAProxy's configuration manual, "Errors processing"); a 5xx
    of the server itself, or a 502 or 504, comes after the request was taken on.
    """
    if 200 <= reply.status < 300:
        return reply
    refused = 400 <= reply.status < 500 or (reply.status == 503 and reply.body is None)
    raise (Failed if refused else Unknown)(str(reply))


def _said(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
