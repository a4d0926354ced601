#!/usr/bin/python3
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""housekeeping.py SETTINGS: what the elected master of a search cluster looks after, every few minutes.

A systemd timer runs it on every node that may be master; only the elected one acts. It raises replicas where the application
asked for none, and takes and deletes snapshots where the server has no scheduler of its own (schedule.py of the modules says when).

Ends with 0 when all is well, 1 when something is not, which it says on standard error, 2 when its settings cannot be used.
What it found is also in the file `state` of its settings, for monitoring.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

from utmstack_ha.search import replicas as search_replicas  # noqa: E402
from utmstack_ha.search import schedule as search_schedule  # noqa: E402

# Deleting snapshots answers when it is done.
LONG_SECONDS = 1800
SCHEDULERS = {"elasticsearch": "/_slm/policy", "opensearch": "/_plugins/_sm/policies"}
# The names by which the servers say that there is such a snapshot already.
TAKEN = ("already exists", "snapshot_name_already_in_use_exception")


class Trouble(Exception):
    """What went wrong, as a sentence."""


class Server:
    """The node of this host, over its API."""

    def __init__(self, settings: dict):
        self.url = settings["url"]
        context = ssl.create_default_context(cafile=settings["ca"])
        self.director = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        login = base64.b64encode(f"{settings['username']}:{settings['password']}".encode()).decode()
        self.headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: object = None, timeout: float = 60) -> tuple[int, object]:
        """Status and decoded answer. Raises Trouble when there is none."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=self.headers, method=method)
        try:
            with self.director.open(request, timeout=timeout) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            text = error.read().decode("utf-8", "replace")
            try:
                return error.code, json.loads(text)
            except json.JSONDecodeError:
                return error.code, text
        except (OSError, json.JSONDecodeError) as error:
            raise Trouble(f"{self.url} does not answer: {getattr(error, 'reason', error)}.") from error

    def get(self, path: str) -> object:
        """The answer to a question. Raises Trouble where it is refused."""
        status, answer = self.ask("GET", path)
        if status != 200:
            raise Trouble(f"GET {path} was refused with {status}: {reason(answer)}")
        return answer

    def act(self, method: str, path: str, body: object = None, timeout: float = LONG_SECONDS) -> object:
        """Change something. Raises Trouble where it is refused."""
        status, answer = self.ask(method, path, body, timeout)
        if status >= 300:
            raise Trouble(f"{method} {path} was refused with {status}: {reason(answer)}")
        return answer


def reason(answer: object) -> str:
    """The server's reason, as one line."""
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    if isinstance(error, dict):
        error = error.get("reason") or error.get("type")
    return " ".join(str(error).split())[:300]


def leads(server: Server, name: str) -> bool:
    """Whether the node of this name is the elected master. Raises Trouble, also where there is none."""
    return any(row.get("node") == name for row in server.get("/_cat/master?format=json&h=node"))


def has_scheduler(server: Server, flavor: str) -> bool:
    """Whether the server takes snapshots by itself. One that only refuses to tell us has a scheduler all the same."""
    return server.ask("GET", SCHEDULERS[flavor])[0] not in (400, 405)


def raise_floor(server: Server, minimum: int, patterns: list[str], problems: list[str]) -> list[str]:
    """Raise replicas where there are too few; what was raised, as sentences."""
    done = []
    try:
        state = {}
        for key, path in search_replicas.READS.items():
            status, answer = server.ask("GET", path)
            if status not in (200, 404):
                raise Trouble(f"GET {path.partition('?')[0]} was refused with {status}: {reason(answer)}")
            state[key] = answer if status == 200 else {}
    except Trouble as trouble:
        problems.append(f"Replicas: {trouble}")
        return done
    for step in search_replicas.plan(state, minimum, patterns):
        try:
            server.act(step.method, step.path, step.body, 120)
            done.append(str(step))
        except Trouble as trouble:
            problems.append(f"Replicas: {step}: {trouble}")
    return done


def snapshots_of(server: Server, repository: str) -> list[dict]:
    """All snapshots of a repository. Raises Trouble."""
    listed = server.get(f"/_snapshot/{urllib.parse.quote(repository, safe='')}/_all?ignore_unavailable=true")
    return listed["snapshots"]


def take(server: Server, policy: dict, snapshots: list[dict], now: datetime) -> str:
    """Begin the snapshot that is due, if one is; its name. Raises Trouble, ScheduleError."""
    found = search_schedule.due(policy, snapshots, now)
    if found is None:
        return ""
    name, moment = found
    path = f"/_snapshot/{urllib.parse.quote(policy['repository'], safe='')}/{urllib.parse.quote(name, safe='')}"
    try:
        server.act("PUT", path, search_schedule.request_body(policy, moment), 120)
    except Trouble as trouble:
        if not any(text in str(trouble) for text in TAKEN):
            raise
    return name


def follow(server: Server, policy: dict, scheduled_here: bool, now: datetime, problems: list[str]) -> dict:
    """Do what a policy asks for, where that is our business, and tell how it stands."""
    told = {"repository": policy["repository"], "last_success": None, "last_snapshot": None, "taken": "", "deleted": []}
    try:
        snapshots = snapshots_of(server, policy["repository"])
        if scheduled_here:
            told["taken"] = take(server, policy, snapshots, now)
            for name in search_schedule.surplus(policy, snapshots, now):
                repository, snapshot = (urllib.parse.quote(part, safe="") for part in (policy["repository"], name))
                server.act("DELETE", f"/_snapshot/{repository}/{snapshot}")
                told["deleted"].append(name)
    except (Trouble, search_schedule.ScheduleError) as trouble:
        problems.append(f"Policy {policy['name']}: {trouble}")
        return told
    own = search_schedule.of_policy(snapshots, policy["name"])
    complete = [one for one in own if one["state"] == "SUCCESS"]
    if complete:
        ended = datetime.fromtimestamp(complete[-1]["end_time_in_millis"] / 1000, UTC)
        told |= {"last_success": search_schedule.iso(ended), "last_snapshot": complete[-1]["snapshot"]}
    if own and own[-1]["state"] in ("FAILED", "PARTIAL"):
        problems.append(f"Policy {policy['name']}: the snapshot {own[-1]['snapshot']} is {own[-1]['state']}.")
    return told | {"kept": len(own) - len(told["deleted"])}


def keep_house(settings: dict, now: datetime) -> dict:
    """Look after everything once. Returns what was found and done."""
    state = {"checked": search_schedule.iso(now), "master": False, "problems": [], "raised": [], "policies": {}}
    server = Server(settings)
    try:
        state["master"] = leads(server, settings["node"])
        if not state["master"]:
            return state
        scheduled_here = not has_scheduler(server, settings["flavor"])
        state["scheduler"] = "housekeeping" if scheduled_here else settings["flavor"]
    except Trouble as trouble:
        state["problems"].append(str(trouble))
        return state
    state["raised"] = raise_floor(server, settings["replicas"], settings["replicated"], state["problems"])
    for policy in settings["policies"]:
        state["policies"][policy["name"]] = follow(server, policy, scheduled_here, now, state["problems"])
    return state


def write(path: Path, state: dict) -> None:
    """Replace the file in one piece, readable for monitoring."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
    fresh.chmod(0o644)
    os.replace(fresh, path)


def main() -> int:
    try:
        settings = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    except (IndexError, OSError, json.JSONDecodeError) as error:
        print(f"The settings cannot be read: {error}. Usage: housekeeping.py SETTINGS", file=sys.stderr)
        return 2
    began = time.monotonic()
    state = keep_house(settings, datetime.now(UTC))
    write(Path(settings["state"]), state | {"seconds": round(time.monotonic() - began, 3)})
    for line in state["raised"]:
        print(f"Raised: {line}")
    for problem in state["problems"]:
        print(problem, file=sys.stderr)
    return 1 if state["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
