# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The drill's way to the backend: requests that the settings describe, each with an id made of the run and a number.

A request is {method, path, body}. In path and body, {id}, {number} and {run} are filled in; a body's text that is "{ids}"
and nothing else becomes a list of ids. Where an answer tells something, the settings name it by its place: `stores.*.missing`
is the entry `missing` of each entry of `stores`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from . import http_client as drill_http
from .path import Path
from .records import Failed

# An application that asks several stores takes longer than each of them.
ANSWER_S = 8.0
READ_BACK_S = 60.0
PAGE = 500


class Api(Path):
    """settings: url, write, read, and where they exist verify, clean, members name -> url, headers, username, password.

    write: `node` is the place of who answered. read: `found` the places that all have to be true; without it 200 means found,
    404 not found. verify: asks for many ids at once, `missing` are the places of lists of those that are not there.
    """

    def __init__(self, settings: dict, run: str, ca: str, network=drill_http.Network):
        self.members = settings.get("members") or {"api": settings["url"]}
        self._requests = {name: settings.get(name) for name in ("write", "read", "verify", "clean")}
        self._run = run
        headers, to = drill_http.authorization(settings) | settings.get("headers", {}), network(ca)
        self._application = to.connect(settings["url"], headers, settings.get("timeout_s", ANSWER_S))
        self._open = lambda url: to.connect(url, headers, READ_BACK_S)

    def write(self, number: int) -> str:
        """Send one; returns who answered. Raises Failed or Unknown."""
        request = self._requests["write"]
        reply = drill_http.accepted(self._ask(self._application, request, number))
        return ", ".join(str(name) for name in places(reply.body, request.get("node", "")))

    def read(self, number: int) -> bool:
        """Whether the application finds what it acknowledged."""
        return self._found(self._application, number)

    def close(self) -> None:
        """End the connection."""
        self._application.close()

    def present(self, member: str, numbers: Iterator[int]) -> Iterator[tuple[int, int]]:
        """(number, 1) of those that one replica finds, in the order of `numbers`. Raises Failed or Unknown.

        An application is asked for what it should have; what it has beyond that, or twice, cannot be seen this way.
        """
        connection = self._open(self.members[member])
        while page := list(itertools.islice(numbers, PAGE)):
            missing = self._missing(connection, page)
            yield from ((number, 1) for number in page if number not in missing)
        connection.close()

    def clean(self) -> None:
        """Send the request for it, where there is one."""
        request = self._requests["clean"]
        if request:
            drill_http.accepted(self._ask(self._application, request, 0))
            self.close()

    def _missing(self, connection, page: list[int]) -> set[int]:
        request = self._requests["verify"]
        if not request:
            return {number for number in page if not self._found(connection, number)}
        ids = {self._id(number): number for number in page}
        answer = drill_http.accepted(self._ask(connection, request, 0, list(ids))).body
        lists = places(answer, request["missing"])
        if not lists:
            raise Failed(f"the answer has nothing at {request['missing']}")
        return {ids[name] for found in lists for name in found}

    def _found(self, connection, number: int) -> bool:
        request = self._requests["read"]
        reply = self._ask(connection, request, number)
        if reply.status == 404 and reply.body is not None:
            return False
        body = drill_http.accepted(reply).body
        return "found" not in request or (bool(found := places(body, request["found"])) and all(found))

    def _ask(self, connection, request: dict, number: int, ids: list[str] | None = None) -> drill_http.Reply:
        values = {"id": self._id(number), "number": number, "run": self._run}
        return connection.ask(
            request["method"], fill(request["path"], values, ids), fill(request.get("body"), values, ids)
        )

    def _id(self, number: int) -> str:
        return f"{self._run}-{number}"


CLIENT = Api


def fill(template, values: dict, ids: list[str] | None = None):
    """A copy of the template with its {names} replaced, at any depth; other braces stay."""
    if isinstance(template, dict):
        return {name: fill(value, values, ids) for name, value in template.items()}
    if isinstance(template, list):
        return [fill(value, values, ids) for value in template]
    if template == "{ids}":
        return ids
    if isinstance(template, str):
        for name, value in values.items():
            template = template.replace(f"{{{name}}}", str(value))
    return template


def places(body, place: str) -> list:
    """What is at `place` of a JSON value: names and list indexes with dots between them, * for each. Empty where nothing is."""
    found = [body] if place else []
    for name in place.split(".") if place else ():
        found = list(itertools.chain.from_iterable(_entries(value, name) for value in found))
    return found


def _entries(value, name: str) -> list:
    if isinstance(value, dict):
        return list(value.values()) if name == "*" else [value[name]] if name in value else []
    if isinstance(value, list):
        if name == "*":
            return value
        return [value[int(name)]] if name.isdigit() and int(name) < len(value) else []
    return []
