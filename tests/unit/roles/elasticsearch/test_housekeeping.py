# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The timer's program as it runs on a host, against a server that replays what Elasticsearch 8.19.4 answered."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from host_programs import ship

ROOT = Path(__file__).resolve().parents[4]
RECORDED = json.loads((Path(__file__).parents[2] / "fixtures" / "elasticsearch_8.19.4_housekeeping.json").read_text())
NO_TEMPLATES = {
    "/_all/_settings": {},
    "/_template": {},
    "/_index_template": {"index_templates": []},
    "/_component_template": {"component_templates": []},
}
NOTHING = {"snapshots": [], "total": 0, "remaining": 0}
POLICY = {
    "name": "daily_snapshots",
    "schedule": "0 0 1 24 11 ? 2026",
    "snapshot_name": "<daily-snap-{now/d}>",
    "repository": "backup",
}
SNAPSHOT = "daily-snap-2026.11.24-20261124010000"


class Replay:
    """A server with the recorded answers; `other` answers come first."""

    def __init__(self, other):
        self.asked = []
        answers = {f"{method} {path}": (status, body) for method, path, status, body in RECORDED} | other

        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                asked.append((self.command, self.path, body))
                bare = self.path.partition("?")[0]
                status, reply = answers.get(f"{self.command} {self.path}") or (200, NO_TEMPLATES.get(bare, {}))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(reply).encode())

            do_GET = do_PUT = do_DELETE = answer

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def changes(self):
        return [asked[:2] for asked in self.asked if asked[0] != "GET"]


@pytest.fixture
def home(tmp_path):
    """The program with its parts, as the role installs it."""
    ship("search", tmp_path / "python")
    place = tmp_path / "elasticsearch"
    place.mkdir()
    (place / "housekeeping.py").write_text((ROOT / "roles/elasticsearch/files/housekeeping.py").read_text())
    return place


def run(home, url, **settings):
    """Run the program; its return code, what it said, and the state that it left."""
    given = {
        "node": "node1",
        "url": url,
        "ca": None,
        "flavor": "elasticsearch",
        "username": "utmstack-snapshots",
        "password": "geheim",
        "replicas": 0,
        "replicated": ["*"],
        "policies": [POLICY],
        "state": str(home / "state.json"),
    }
    (home / "settings.json").write_text(json.dumps(given | settings))
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(home)!r}); import housekeeping; sys.exit(housekeeping.main())",
         str(home / "settings.json")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "geheim" not in done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr, json.loads((home / "state.json").read_text())


def test_the_elected_master_finds_that_nothing_is_to_be_done(home):
    replay = Replay({})
    code, said, state = run(home, replay.url)
    assert (code, said) == (0, "")
    assert replay.changes() == []
    policy = state["policies"]["daily_snapshots"]
    assert (policy["last_success"], policy["last_snapshot"], policy["kept"]) == ("2026-11-24T10:41:55Z", SNAPSHOT, 1)
    assert state["scheduler"] == "housekeeping"


def test_another_node_does_nothing(home):
    replay = Replay({})
    code, said, state = run(home, replay.url, node="node2")
    assert (code, state["master"], len(replay.asked)) == (0, False, 1)


def test_a_snapshot_that_is_due_is_begun_and_tells_its_policy(home):
    listing = f"GET {RECORDED[2][1]}"
    replay = Replay({listing: (200, NOTHING), f"PUT /_snapshot/backup/{SNAPSHOT}": (200, {"accepted": True})})
    code, said, state = run(home, replay.url)
    assert code == 0
    assert state["policies"]["daily_snapshots"]["taken"] == SNAPSHOT
    assert replay.asked[-1][2]["metadata"] == {"policy": "daily_snapshots", "scheduled": "2026-11-24T01:00:00Z"}


def test_one_that_another_master_has_begun_meanwhile_is_no_problem(home):
    replay = Replay({f"GET {RECORDED[2][1]}": (200, NOTHING)})
    code, said, state = run(home, replay.url)
    assert (code, said) == (0, "")
    assert replay.changes() == [("PUT", f"/_snapshot/backup/{SNAPSHOT}")]


@pytest.mark.parametrize(("status", "scheduler"), [(200, "elasticsearch"), (403, "elasticsearch")])
def test_a_server_with_a_scheduler_is_left_to_it(home, status, scheduler):
    replay = Replay({"GET /_slm/policy": (status, {}), f"GET {RECORDED[2][1]}": (200, NOTHING)})
    code, said, state = run(home, replay.url)
    assert (code, state["scheduler"], replay.changes()) == (0, scheduler, [])


def test_surplus_snapshots_are_deleted(home):
    listed = json.loads(json.dumps(RECORDED[2][3]))
    old = json.loads(json.dumps(listed["snapshots"][0]))
    old |= {"snapshot": "old", "metadata": {"policy": "daily_snapshots", "scheduled": "2026-11-23T01:00:00Z"}}
    listed["snapshots"].append(old)
    replay = Replay({f"GET {RECORDED[2][1]}": (200, listed)})
    code, said, state = run(home, replay.url, policies=[{**POLICY, "retention": {"max_count": 1}}])
    assert (code, replay.changes()) == (0, [("DELETE", "/_snapshot/backup/old")])
    assert state["policies"]["daily_snapshots"]["deleted"] == ["old"]


def test_what_is_wrong_is_said_and_ends_with_1(home):
    replay = Replay({})
    code, said, state = run(
        home, replay.url, policies=[{**POLICY, "repository": "none"}, {**POLICY, "schedule": "never"}]
    )
    assert code == 1
    assert (
        "Policy daily_snapshots: GET /_snapshot/none/_all?ignore_unavailable=true was refused with 404: [none] missing"
        in said
    )
    assert "has 1 fields" in said
    assert len(state["problems"]) == 2


def test_a_server_that_does_not_answer_is_said_and_ends_with_1(home):
    code, said, state = run(home, "http://127.0.0.1:9")
    assert code == 1
    assert "http://127.0.0.1:9 does not answer" in said
    assert state["master"] is False


def test_replicas_are_raised(home):
    template = {
        "name": "log",
        "index_template": {"index_patterns": ["log-*"], "template": {"settings": {"index.number_of_replicas": "0"}}},
    }
    replay = Replay({"GET /_index_template?flat_settings=true": (200, {"index_templates": [template]})})
    code, said, state = run(home, replay.url, replicas=1, policies=[])
    assert code == 0
    assert "Raised: index template log: 1 replica instead of 0" in said
    assert ("PUT", "/_index_template/log") in replay.changes()
