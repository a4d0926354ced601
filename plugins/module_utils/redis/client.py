# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A small client of Redis, Valkey and Sentinel over verified TLS: RESP2, one command after the other.

It needs nothing but Python, because role redis also installs it on the hosts, for what decides there how Redis starts.
"""

from __future__ import annotations

import socket
import ssl
from concurrent.futures import ThreadPoolExecutor


class RedisError(Exception):
    """The server refused a command, or could not be asked. `answered` tells the two apart."""

    def __init__(self, message: str, answered: bool = False):
        super().__init__(message)
        self.answered = answered


def encode(words) -> bytes:
    """A command as the server takes it."""
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def decode(stream):
    """The next reply of a binary stream: str, int, None or a list of these. Raises RedisError for an error reply."""
    reply = read(stream)
    if isinstance(reply, RedisError):
        raise reply
    return reply


def read(stream):
    """Like decode, but an error reply is returned, as inside a list it has to be."""
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise RedisError("the connection was closed")
    kind, rest = line[:1], line[1:-2]
    if kind == b"+":
        return rest.decode(errors="replace")
    if kind == b"-":
        return RedisError(rest.decode(errors="replace"), answered=True)
    if kind == b":":
        return int(rest)
    if kind == b"$":
        if rest == b"-1":
            return None
        body = stream.read(int(rest) + 2)
        if len(body) != int(rest) + 2:
            raise RedisError("the connection was closed")
        return body[:-2].decode(errors="replace")
    if kind == b"*":
        return None if rest == b"-1" else [read(stream) for number in range(int(rest))]
    raise RedisError(f"no reply of Redis: {line[:40]!r}")


def pairs(reply) -> dict:
    """A flat list of names and values, as many commands return, as a dict."""
    return dict(zip(reply[::2], reply[1::2]))


def info(text: str) -> dict[str, str]:
    """The reply to INFO as a dict."""
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#"))


class Connection:
    """One connection to one server, logged in within connect_timeout seconds a step. Raises RedisError where that fails."""

    def __init__(self, address, port, context, username=None, password=None, timeout=5.0, connect_timeout=None):
        self._timeout = connect_timeout or timeout
        try:
            plain = socket.create_connection((address, port), timeout=self._timeout)
            try:
                self._socket = context.wrap_socket(plain, server_hostname=address)
            except BaseException:
                plain.close()
                raise
        except OSError as error:
            raise RedisError(_reason(error, self._timeout)) from error
        self._stream = self._socket.makefile("rb")
        try:
            if username:
                self.call("AUTH", username, password or "")
        except RedisError:
            self.close()
            raise
        self._timeout = timeout
        self._socket.settimeout(timeout)

    def call(self, *words):
        """The reply to a command. Raises RedisError, also for a refusal."""
        try:
            self._socket.sendall(encode(words))
            return decode(self._stream)
        except OSError as error:
            raise RedisError(_reason(error, self._timeout)) from error

    def close(self):
        self._stream.close()
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


class Network:
    """Opens connections as one user, with one CA, to any server. What tests replace."""

    def __init__(self, ca_path=None, username=None, password=None, timeout=5.0, connect_timeout=None):
        """Seconds for an answer, and where it is another number for each step of connecting.

        Raises RedisError where the CA's certificate can't be read.
        """
        self._login = (username, password, timeout, connect_timeout)
        try:
            self._context = ssl.create_default_context(cafile=ca_path)
        except OSError as error:
            raise RedisError(f"{ca_path} cannot be used: {error}") from error

    def connect(self, address: str, port: int) -> Connection:
        """A connection. Raises RedisError."""
        return Connection(address, port, self._context, *self._login)


def everywhere(look, keys) -> dict:
    """`look(key)` for all keys at once; key -> what it returned."""
    keys = list(keys)
    if not keys:
        return {}
    with ThreadPoolExecutor(max_workers=min(16, len(keys))) as pool:
        return dict(zip(keys, pool.map(look, keys)))


def _reason(error: OSError, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
