# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a member keeps and sends WAL. What is doubled: the programs psql and pgbackrest, by what they printed when a primary was lost with a backlog."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common.command import CommandError, Result
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import archive, wal

RECORDED = json.loads(
    (Path(__file__).resolve().parents[3] / "fixtures" / "postgresql" / "archive_pgbackrest_2.45.json").read_text()
)
LOOK = RECORDED["look"]
BEFORE, AFTER = (list(RECORDED[when]["repo_ls"]) for when in ("before", "after"))
GAP = [f"0000000100000000000000{number:02X}" for number in range(0x11, 0x15)]
SEGMENT = LOOK["segment_bytes"]
NOW = 1_800_000_000.0


class World:
    """A member's server and the repositories behind pgBackRest."""

    def __init__(self, tmp_path, look=None, repositories=None, info=None, members=(), leader=None, locked=0):
        self.look = {**LOOK, **(look or {})}
        self.repositories = {1: list(BEFORE)} if repositories is None else repositories
        self.info = RECORDED["before"]["info"] if info is None else info
        self.members, self.leader, self.locked = list(members), leader, locked
        self.queries, self.pushed, self.answers = [], [], True
        data = tmp_path / "data"
        (data / "pg_wal" / "archive_status").mkdir(parents=True, exist_ok=True)
        (data / "pg_wal" / "00000002.history").write_text(RECORDED["history"])
        for name in GAP:
            (data / "pg_wal" / name).touch()
        self.wal = data / "pg_wal"
        self.settings = {
            "stanza": "demo", "repositories": [f"backup{number}" for number in self.repositories], "data": str(data),
            "socket": "/var/run/postgresql", "port": 5432, "patroni": "https://10.0.1.11:8008", "ca": "/ca.crt",
            "user": "rewind", "password": "secret", "state": str(tmp_path / "state.json"),
        }  # fmt: skip

    def host(self):
        return archive.Host(self.settings, self.run, lambda _url: {"members": self.members}, sleep=lambda _s: None)

    def turn(self, state=None, now=NOW):
        return archive.turn(self.host(), state or {}, now)

    def run(self, arguments, limit_s, environment=None):
        assert 0 < limit_s <= 300
        assert "secret" not in " ".join(arguments), "every account can list what programs are given"
        return self.psql(arguments, environment) if arguments[0] == "psql" else self.pgbackrest(arguments)

    def psql(self, arguments, environment):
        query = arguments[-1]
        if "10.0.1.11" in arguments:
            assert environment["PGPASSWORD"] == "secret" and environment["PGSSLMODE"] == "verify-full"
            return Result(0 if self.leader is not None else 2, f"{self.leader}\n", "", 0.1)
        if not self.answers:
            return Result(2, "", "psql: error: connection to server failed", 0.1)
        self.queries.append(query)
        if query == archive.LOOK:
            return Result(0, json.dumps(self.look) + "\n", "", 0.1)
        if query.startswith("SELECT pg_create_physical"):
            self.look["slot"] = {"position": "0/11000000", "status": "reserved"}
        return Result(0, (self.look["slot"] or {}).get("position", "") if "restart_lsn" in query else "", "", 0.1)

    def pgbackrest(self, arguments):
        words = [word for word in arguments[1:] if not word.startswith("--")]
        assert "--stanza=demo" in arguments
        if words[0] == "info":
            return Result(0, json.dumps(self.info), "", 1.0)
        if words[0] == "repo-ls":
            assert words[1] == "archive/demo/15-1"
            (number,) = [int(word.partition("=")[2]) for word in arguments if word.startswith("--repo=")]
            return Result(0, json.dumps({name: {"type": "file"} for name in self.repositories[number]}), "", 1.0)
        assert words[0] == "archive-push" and "--no-archive-async" in arguments
        if self.locked:
            self.locked -= 1
            return Result(103, "", "ERROR: [103]: …\nHINT: is another pgBackRest process running?", 1.0)
        name = Path(words[1]).name
        self.pushed.append(name)
        for names in self.repositories.values():
            names.append(f"{name[:16]}/{name}-{'0' * 40}.zst")
        return Result(0, "", "", 1.0)

    def advanced(self):
        return [query.split("'")[3] for query in self.queries if "pg_replication_slot_advance" in query]


def test_the_recorded_archive_lacks_what_the_lost_primary_had_not_sent_and_no_more():
    names, history = list(RECORDED["before"]["repo_ls"]), RECORDED["history"]
    start = archive.newest_full(RECORDED["before"]["info"])[1]
    assert start == "000000010000000000000006"
    assert archive.missing(names, 2, history, start, SEGMENT) == GAP
    assert archive.missing(list(RECORDED["after"]["repo_ls"]), 2, history, start, SEGMENT) == []


def test_without_a_backup_the_archive_begins_with_its_first_segment_and_an_empty_one_lacks_nothing():
    names = [name for name in BEFORE if "000000010000000000000003-" not in name]
    assert archive.missing(names, 2, RECORDED["history"], "", SEGMENT) == ["000000010000000000000003", *GAP]
    assert archive.missing([], 2, RECORDED["history"], "", SEGMENT) == []


def test_a_new_primary_sends_what_the_lost_one_had_not_and_only_then_lets_wal_go(tmp_path):
    world = World(tmp_path, {"archiver": {**LOOK["archiver"], "archived": "000000020000000000000018"}})
    state = world.turn()
    assert world.pushed == GAP
    assert (state["filled"], state["gaps"], state["pushed"]["segments"]) == (2, [], [f"{GAP[0]} to {GAP[-1]}"])
    assert world.advanced() == ["0/19000000"]


def test_what_nobody_has_any_more_is_a_gap_and_holds_no_wal(tmp_path):
    world = World(tmp_path, {"archiver": {**LOOK["archiver"], "archived": "000000020000000000000018"}})
    for name in GAP[:2]:
        (world.wal / name).unlink()
    state = world.turn()
    assert world.pushed == GAP[2:]
    assert (state["filled"], state["gaps"]) == (2, [f"{GAP[0]} to {GAP[1]}"])
    assert world.advanced() == ["0/19000000"]


def test_what_the_archiver_has_before_itself_is_left_to_it_and_waited_for(tmp_path):
    world = World(tmp_path, {"archiver": {**LOOK["archiver"], "archived": "000000020000000000000018"}})
    for name in GAP:
        (world.wal / "archive_status" / f"{name}.ready").touch()
    state = world.turn()
    assert (world.pushed, state["gaps"], "filled" in state, world.advanced()) == ([], [], False, [])


def test_a_repository_that_is_away_is_told_and_keeps_all_wal(tmp_path):
    world = World(tmp_path, info=RECORDED["away"]["info"])
    state = world.turn()
    assert "unable to connect to 'localhost:18432'" in state["error"]
    assert (world.pushed, "filled" in state, world.advanced()) == ([], False, [])


def test_each_repository_gets_what_it_alone_lacks(tmp_path):
    world = World(tmp_path, repositories={1: list(AFTER), 2: [name for name in AFTER if GAP[1] not in name]})
    state = world.turn()
    assert (world.pushed, state["gaps"]) == ([GAP[1]], [])


def test_a_push_waits_for_the_archivers_own_lock(tmp_path):
    world = World(tmp_path, locked=3)
    assert world.turn()["error"] == "" and world.pushed == GAP
    world = World(tmp_path, locked=archive.PUSH_TRIES)
    assert "could not be pushed" in world.turn()["error"] and world.pushed == []


def test_the_archive_is_looked_at_again_every_ten_minutes_and_at_a_new_timeline(tmp_path):
    world = World(tmp_path)
    first = world.turn()
    world.repositories[1] = [name for name in AFTER if "000000020000000000000016" not in name]
    assert world.turn(first, NOW + archive.LOOK_S - 1)["gaps"] == []
    # As where archive-push-queue-max has thrown it away.
    later = world.turn(first, NOW + archive.LOOK_S)
    assert later["gaps"] == ["000000020000000000000016"]
    assert world.turn({**first, "filled": 1}, NOW + 1)["gaps"] == ["000000020000000000000016"]


@pytest.mark.parametrize(
    ("archived", "position"),
    [
        ("000000020000000000000018", 0x19000000),
        ("0000000200000001000000FF", 0x2_0000_0000),
        ("000000010000000000000010", None),  # of the timeline before, from when this member led last
        ("00000002.history", None),
        ("000000020000000000000018.00000028.backup", None),
        (None, None),
    ],
)
def test_how_far_a_timeline_is_archived_is_said_by_its_own_segments_only(archived, position):
    assert archive.archived_to({"archived": archived}, 2, SEGMENT) == position


STANDBY = {"recovery": True, "timeline": None, "position": "0/1A000000"}
MEMBERS = [
    {"name": "node1", "role": "leader", "state": "running", "host": "10.0.1.11", "port": 5432},
    {"name": "node2", "role": "replica", "state": "running", "host": "10.0.1.12", "port": 5432},
]


@pytest.mark.parametrize(
    ("leader", "advanced"),
    [
        ("0/19000000", ["0/19000000"]),
        ("0/1F000000", ["0/1A000000"]),  # it has not replayed so far
        ("0/11000000", []),
        ("", []),  # the leader has no slot, or lost it
        (None, []),  # it does not answer
    ],
)
def test_a_standby_lets_go_what_the_leader_has_archived_and_sends_nothing(tmp_path, leader, advanced):
    look = {**STANDBY, "slot": {"position": "0/11000000", "status": "reserved"}}
    world = World(tmp_path, look, members=MEMBERS, leader=leader)
    state = world.turn()
    assert (world.advanced(), world.pushed, "filled" in state) == (advanced, [], False)


def test_a_standby_without_a_leader_lets_nothing_go(tmp_path):
    world = World(tmp_path, {**STANDBY, "slot": {"position": "0/11000000", "status": "reserved"}}, leader="0/19000000")
    world.turn()
    assert world.advanced() == []


@pytest.mark.parametrize(
    ("slot", "made", "dropped"),
    [
        (None, True, False),
        ({"position": None, "status": "lost"}, True, True),
        ({"position": "0/11000000", "status": "extended"}, False, False),
    ],
)
def test_each_member_has_the_slot_and_a_lost_one_is_made_anew(tmp_path, slot, made, dropped):
    world = World(tmp_path, {**STANDBY, "slot": slot})
    world.turn()
    text = " ".join(world.queries)
    assert (("pg_create_physical" in text), ("pg_drop" in text)) == (made, dropped)


@pytest.mark.parametrize(
    ("state", "idle", "woken"),
    [("starting", True, True), ("starting", False, False), ("running", True, False), ("stopped", True, False)],
)
def test_an_idle_leader_writes_only_where_a_member_waits_for_its_next_record(tmp_path, state, idle, woken):
    members = [MEMBERS[0], {**MEMBERS[1], "state": state}]
    world = World(tmp_path, members=members)
    before = {"position": wal.position(LOOK["position"]) - (0 if idle else 80), "timeline": 2}
    world.turn(before)
    assert (archive.WAKE in world.queries) is woken


def test_a_server_that_does_not_archive_yet_is_left_alone_but_for_the_rate(tmp_path):
    world = World(tmp_path, {"archiving": False, "slot": None})
    state = world.turn()
    assert world.queries == [archive.LOOK] and len(state["samples"]) == 1


def test_positions_are_kept_for_an_hour_one_a_minute_and_begin_anew_where_the_clock_goes_back():
    samples: list = []
    for second in range(0, 2 * 3600, 10):
        samples = archive.sampled(samples, NOW + second, second)
    assert len(samples) == 60 and samples[-1][0] - samples[0][0] == 59 * 60
    assert archive.sampled(samples, NOW - 10, 7) == [[NOW - 10, 7]]


def test_the_state_of_another_cluster_is_forgotten(tmp_path):
    world = World(tmp_path)
    state = world.turn({"identifier": "1", "filled": 2, "looked": NOW, "gaps": ["of former data"]})
    assert state["gaps"] == [] and state["identifier"] == LOOK["identifier"]


def test_a_turn_writes_its_state_and_says_what_is_wrong(tmp_path):
    world = World(tmp_path)
    assert archive.main(world.settings, world.run, lambda _url: {}) == ""
    kept = archive.read(world.settings["state"])
    assert kept["filled"] == 2
    world.info = RECORDED["away"]["info"]
    Path(world.settings["state"]).write_text(json.dumps({**kept, "looked": 0}))
    assert "unable to connect" in archive.main(world.settings, world.run, lambda _url: {})
    assert archive.read(world.settings["state"])["gaps"] == []
    world.answers = False
    assert archive.main(world.settings, world.run, lambda _url: {}) == ""


def test_a_program_that_does_not_end_is_told(tmp_path):
    world = World(tmp_path)

    def hangs(arguments, limit_s, environment=None):
        raise CommandError("psql did not end within 20 s, and was killed")

    assert "did not end" in archive.main(world.settings, hangs, lambda _url: {})
    assert archive.read(world.settings["state"])["error"]
