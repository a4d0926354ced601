# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A client of the Docker Engine's API on its local socket. No library is needed on the host.

Paths carry no API version: each engine then answers by its own newest one, which every engine accepts.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Callable

SOCKET = "/run/docker.sock"

# What every module that talks to the engine takes; documented in doc_fragments/docker_engine.py.
ARGUMENTS = {"docker_socket": {"type": "path", "default": SOCKET}}

# (method, path, body or None, time limit in seconds) -> (HTTP status, body)
Request = Callable[..., tuple[int, bytes]]


class EngineError(Exception):
    """The engine refused a call, or could not be asked. `status` is the HTTP status, None where there was no answer."""

    def __init__(self, message: str, status: int | None = None):
        super().__init__(message)
        self.status = status


def plain(message: str) -> str:
    """What Docker says without the words of its inner workings."""
    return re.sub(r"^(rpc error: code = \w+ desc = )+", "", str(message))


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float):
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def local(path: str) -> Request:
    """Requests to the engine whose socket is at `path`."""

    def request(method: str, target: str, body: bytes | None, timeout: float) -> tuple[int, bytes]:
        connection = _SocketConnection(path, timeout)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, target, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    return request


class Engine:
    """One Docker engine. Each call has a time limit of `timeout` seconds, unless it is given another."""

    def __init__(self, request: Request, timeout: float = 10.0):
        self._request = request
        self.timeout = timeout

    @classmethod
    def of(cls, params: dict) -> Engine:
        """The engine that a module's parameters name."""
        return cls(local(params["docker_socket"]))

    def call(self, method: str, path: str, body: object = None, timeout: float | None = None):
        """One request; returns the decoded reply, None where it is empty. Raises EngineError."""
        limit = timeout or self.timeout
        data = None if body is None else json.dumps(body).encode()
        try:
            status, reply = self._request(method, path, data, limit)
        except TimeoutError as error:
            raise EngineError(f"Docker gave no answer within {limit:g} s") from error
        except FileNotFoundError as error:
            raise EngineError("Docker does not run: it has no socket") from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise EngineError(f"Docker does not answer: {reason}") from error
        try:
            answer = json.loads(reply) if reply.strip() else None
        except ValueError:
            answer = {"message": reply.decode(errors="replace").strip()}
        if status >= 400:
            message = answer.get("message") if isinstance(answer, dict) else None
            raise EngineError(plain(message or f"HTTP status {status}"), status)
        return answer

    def get(self, path: str):
        """GET; the decoded reply. Raises EngineError."""
        return self.call("GET", path)

    def find(self, path: str):
        """GET of what may be missing: the decoded reply, or None. Raises EngineError for everything else."""
        try:
            return self.get(path)
        except EngineError as error:
            if error.status == 404:
                return None
            raise

    def post(self, path: str, body: object = None, timeout: float | None = None):
        """POST; the decoded reply. Raises EngineError."""
        return self.call("POST", path, body if body is not None else {}, timeout)

    def delete(self, path: str) -> None:
        """DELETE. Raises EngineError."""
        self.call("DELETE", path)
