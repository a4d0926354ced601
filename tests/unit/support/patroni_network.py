# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A network that answers as real Patroni members did, with a clock that only the tests move."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.utmstack.ha.plugins.module_utils.patroni import client as patroni_client

FIXTURES = Path(__file__).parents[1] / "fixtures" / "patroni"
URLS = [f"https://10.0.1.1{number}:8008" for number in (1, 2, 3)]


def fixture(name):
    """The fixture `name`, for example "4.0.7-healthy"."""
    return json.loads((FIXTURES / f"{name}.json").read_text())


def replies(name):
    """{url: {"GET /path": {"status", "body"} or {"error"}}} of a fixture, free to be changed."""
    return fixture(name)["replies"]


def said(version, name):
    """What a member of that version answered to the request that the fixture of actions calls `name`."""
    actions = fixture(f"{version}-actions")["actions"]
    return next(action["reply"] for action in actions if action["name"] == name)


class Network:
    """Stands in for the network and the clock.

    `frames`: [(second, replies)], the replies to GETs from that second after `start()` on. `acts`: {"POST /path": reply,
    or a list of replies to give one after the other, or a function of (network, url, body) that returns one}.
    """

    def __init__(self, *frames, acts=None):
        self.frames = [frame if isinstance(frame, tuple) else (0, frame) for frame in frames]
        self.acts = acts or {}
        self.time, self.zero, self.sent = 0.0, None, []

    def start(self):
        """From now on the later frames come up: the request that changes something has arrived."""
        self.zero = self.time

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds

    def send(self, method, url, headers, body, timeout):
        base, port, path = url.partition(":8008")
        base, request = base + port, f"{method} {path}"
        if method == "GET":
            since = 0 if self.zero is None else self.time - self.zero
            current = [frame for second, frame in self.frames if second <= since][-1]
            reply = current.get(base, {"error": "timed out"}).get(request, current.get(base, {}))
            self.time += 0.01
        else:
            body = json.loads(body)
            self.sent.append((request, base, body, headers, timeout))
            reply = self.acts[request]
            if isinstance(reply, list):
                reply = reply.pop(0)
            if callable(reply):
                reply = reply(self, base, body)
            if self.zero is None:
                self.start()
            self.time += reply.get("seconds", 0.05)
        if "status" not in reply:
            raise OSError(reply.get("error", "timed out"))
        text = reply["body"] if isinstance(reply["body"], str) else json.dumps(reply["body"])
        return reply["status"], text

    def client(self):
        """A client of this network, as a module would make it."""
        return patroni_client.Client(URLS, self.send, ("patroni", "secret"), 5.0, self.sleep, self.now)


def switchover_frames(version):
    """The frames of the recorded switchover, the first being the one before it."""
    steps = fixture(f"{version}-switchover")["steps"]
    first = steps[0]["seconds"]
    frames = [(step["seconds"] - first, step["replies"]) for step in steps]
    healthy = replies(f"{version}-scheduled-switchover")
    for _second, frame in frames:
        for url, answers in frame.items():
            for path in ("GET /config", "GET /history"):
                answers[path] = healthy[url][path]
    return frames
