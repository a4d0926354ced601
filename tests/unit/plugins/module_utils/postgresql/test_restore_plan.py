# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import copy

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import restore_plan, wal
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql.restore_plan import Target, choose, plan, target
from pgbackrest_restores import BACKUPS, RECORDED, T2, recorded, spread

MINE, GIB = "7712295033673263039", 2**30
MEMBER = {
    "directory": "/var/lib/postgresql/17/demo", "version": "17", "state": "shut down in recovery", "running": True, "system_identifier": MINE,
    "mount": False, "tablespaces": [], "ready": 0, "free_bytes": 20 * GIB, "work": "/var/lib/postgresql/17/demo.restore", "work_bytes": 0,
    "request": {}, "stage": "none", "copies": [], "births": {}, "beside": {},
}  # fmt: skip
ANSWER = {
    "faults": [], "timeline": 3, "options": [], "set": "20261130-010002F", "bytes": 5 * GIB, "segment": "00000003000000000000002A",
    "moment": 1796039126.5, "exact": True, "missing": [], "seconds": 240.0, "system_identifier": MINE, "version": "17", "archive": "17-1",
    "births": {"3": 1796000000.0},
}  # fmt: skip


def members(**changes):
    """Three members, node1 leads; changes by name."""
    found = {name: copy.deepcopy(MEMBER) for name in ("node1", "node2", "node3")}
    found["node1"]["state"] = "in production"
    for name, change in changes.items():
        found[name] = {**found[name], **change} if change else {}
    return found


def planned(seen=None, answer=None, repositories=None, **asked):
    repositories = {"backup1": {**ANSWER, **(answer or {})}} if repositories is None else repositories
    return plan(seen or members(), repositories, {"to": "latest", "cluster": "demo", **asked})


# -- what is asked for -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "kind", "value"),
    [
        ("latest", "latest", 0),
        ("time:2026-11-30T12:00:00Z", "time", 1796040000.0),
        ("time:2026-11-30 13:00:00.25+01:00", "time", 1796040000.25),
        ("time:1796040000.5", "time", 1796040000.5),
        ("lsn:0/A000120", "lsn", 0xA000120),
        ("xid:4711", "xid", 4711),
        ("name:before-upgrade", "name", 0),
    ],
)
def test_a_target(asked, kind, value):
    found = target(asked)
    assert (found.kind, found.value) == (kind, value)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("yesterday", "is no target"),
        ("latest:1", "is no target"),
        ("time:noon", "is no time"),
        ("time:2026-11-30T12:00:00", "has no zone"),
        ("lsn:A000120", "is no target"),
        ("xid:a", "is no target"),
        ("name:it's", "is no target"),
        ("", "is no target"),
    ],
)
def test_what_is_no_target_is_refused_with_the_ways_to_say_it(asked, words):
    with pytest.raises(ValueError, match=words):
        target(asked)
    assert any(words in fault for fault in planned(to=asked)["faults"])


# -- of a repository ---------------------------------------------------------------------------------------------------


def chosen(aim, backups=BACKUPS, tree=None, **options):
    tree = tree or recorded()
    times = {own.name(): entry["time"] for name, entry in RECORDED["files"].items() if (own := wal.segment(name))}
    return choose(aim, tree, backups, times, **options)


def test_the_newest_backup_before_the_target_is_taken():
    later = copy.deepcopy(BACKUPS[0])
    later["label"], later["timestamp"]["stop"] = "20261130-235959F", T2 + 3600
    found = chosen(Target("time", "", T2), [*BACKUPS, later], spread())
    assert (found["set"], found["timeline"], found["faults"]) == (BACKUPS[0]["label"], 1, [])
    assert found["bytes"] == BACKUPS[0]["info"]["size"]


def test_a_backup_that_a_verification_found_damaged_is_not_taken():
    assert "no usable backup" in chosen(Target("latest"), kept=["another"])["faults"][0]


def test_a_moment_before_all_backups_is_gone():
    fault = chosen(Target("time", "long ago", BACKUPS[0]["timestamp"]["start"] - 5))["faults"][-1]
    assert "No backup was finished before" in fault and "earlier moments are gone" in fault


def test_where_two_branches_may_be_meant_both_are_listed_and_the_operator_decides():
    tree = spread()
    aim = Target("time", "near", tree.births[2] + 1)
    found = chosen(aim, tree=tree)
    assert [one["timeline"] for one in found["options"]] == [1, 2]
    assert "-e timeline=1" in found["faults"][0] and "-e timeline=2" in found["faults"][0]
    assert chosen(aim, tree=tree, wanted_timeline=2)["faults"] == []
    assert "timeline=9 is not in the repository. It has: 1, 2, 3, 4, 5" in chosen(aim, wanted_timeline=9)["faults"][0]


def test_a_backup_that_lacks_its_own_wal_is_refused():
    (taken,) = [name for name in RECORDED["files"] if BACKUPS[0]["archive"]["stop"] in name and "backup" not in name]
    assert "lacks WAL of its own" in chosen(Target("latest"), tree=recorded(**{taken: None}))["faults"][0]


def test_a_position_beyond_the_wal_is_refused():
    assert "is beyond the WAL" in chosen(Target("lsn", "F/0", wal.position("F/0")))["faults"][0]


def test_a_set_by_name_has_to_lead_to_the_target():
    label = BACKUPS[0]["label"]
    assert chosen(Target("latest"), wanted_set=label)["set"] == label
    assert "can't be reached from the backup" in chosen(Target("time", "", 1.0), wanted_set=label)["faults"][-1]
    assert "is not in the repository. It has" in chosen(Target("latest"), wanted_set="another")["faults"][0]


# -- of the members ----------------------------------------------------------------------------------------------------


def test_a_new_restore_begins_with_the_primary_and_has_all_steps():
    found = planned(members(node1={"state": "in archive recovery"}, node2={"state": "in production"}))
    assert found["faults"] == []
    assert (found["host"], found["steps"]) == ("node2", list(restore_plan.STEPS))
    assert found["move"] == found["stop"] == ["node1", "node2", "node3"]
    assert (found["type"], found["timeline"], found["set"], found["archive"]) == (
        "latest",
        3,
        "20261130-010002F",
        "17-1",
    )
    assert found["request"] == {"to": "latest", "timeline": 3, "set": "20261130-010002F", "repository": "backup1"}


def test_the_plan_says_the_moment_the_room_and_how_long_it_takes():
    text = "\n".join(planned(to="time:2026-11-30T11:00:00Z")["lines"])
    for words in (
        "20261130-010002F, 5.0 GiB", "time 2026-11-30 11:00:00.000 UTC, everything before and nothing after", "about 4 min",
        "demo.before-restore-TIME; 20.0 GiB are free", "2026-11-30 11:45:26.500 UTC",
    ):  # fmt: skip
        assert words in text
    assert "not measured yet" in "\n".join(planned(answer={"seconds": None})["lines"])


def test_a_time_after_the_last_commit_is_the_last_commit():
    found = planned(to="time:1796039200")
    assert found["type"] == "latest"
    assert "nothing was committed between that and" in "\n".join(found["lines"])
    assert planned(to="time:1796039200", answer={"exact": False})["type"] == "time"


def test_that_from_which_most_comes_back_is_the_repository():
    both = {"backup1": ANSWER, "backup2": {**ANSWER, "moment": ANSWER["moment"] + 5}}
    assert planned(repositories=both)["repository"] == "backup2"
    assert planned(repositories=both, repository="backup1")["repository"] == "backup1"
    assert planned(repositories={**both, "backup2": {}})["repository"] == "backup1"
    assert (
        planned(repositories={**both, "backup2": {**both["backup2"], "faults": ["broken."]}})["repository"] == "backup1"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"seen": members(node3={})}, "node3 can't be reached"),
        (
            {"seen": members(node2={"free_bytes": 5 * GIB})},
            "node2 needs 5.5 GiB for the restored data, and has 5.0 GiB free",
        ),
        ({"seen": members(node1={"mount": True})}, "is a mount point"),
        ({"seen": members(node1={"tablespaces": ["16400"]})}, "has tablespaces (16400)"),
        (
            {"seen": members(node1={"version": "15"})},
            "configured for PostgreSQL 15, and the repository has backups of 17",
        ),
        ({"repositories": {}}, "group backup has no hosts"),
        ({"repositories": {"backup1": {}}}, "backup1 can't be reached"),
        ({"repository": "backup9"}, "repository=backup9 is no host of group backup, which are backup1"),
        ({"answer": {"faults": ["The repository can't be read: no marker."]}}, "no marker"),
    ],
)
def test_what_stands_in_the_way_is_refused(arguments, words):
    found = planned(**arguments)
    assert any(words in fault for fault in found["faults"]), found["faults"]
    assert found["lines"] == []


def test_all_refusals_are_in_one_list():
    seen = members(node1={"mount": True}, node2={"free_bytes": 0}, node3={"tablespaces": ["1"]})
    assert len(planned(seen, answer={"faults": ["No WAL."]})["faults"]) == 4


# -- a run that died ---------------------------------------------------------------------------------------------------

BEGIN = "20261130T120000Z"
REQUEST = {"to": "latest", "begin": BEGIN, "timeline": 3, "set": "20261130-010002F", "repository": "backup1"}
GONE = {"state": "", "running": False, "copies": [BEGIN], "system_identifier": ""}


def interrupted(stage, host=None, others=None):
    return members(
        node1={**GONE, "request": REQUEST, "stage": stage, **(host or {})},
        node2={**GONE, **(others or {})},
        node3={**GONE, **(others or {})},
    )


@pytest.mark.parametrize(
    ("stage", "steps"),
    [
        ("none", ["stop", "move", "reset", "recover", "promote", "adopt", "start"]),
        ("partial", ["stop", "move", "reset", "recover", "promote", "adopt", "start"]),
        ("recovering", ["stop", "move", "reset", "recover", "promote", "adopt", "start"]),
        ("promoted", ["stop", "move", "reset", "promote", "adopt", "start"]),
        ("whole", ["stop", "move", "reset", "adopt", "start"]),
    ],
)
def test_a_run_that_died_is_continued_by_what_lies_there(stage, steps):
    found = planned(interrupted(stage))
    assert (found["steps"], found["faults"], found["begin"], found["host"]) == (steps, [], BEGIN, "node1")
    assert found["move"] == []


def test_data_that_have_their_name_are_left_alone_and_only_started():
    whole = {"state": "shut down", "copies": [BEGIN]}
    found = planned(interrupted("none", host=whole))
    assert (found["steps"], found["stop"]) == (["start"], [])


def test_a_member_whose_former_data_were_not_set_aside_is_still_moved():
    seen = interrupted("recovering")
    seen["node3"] = {**MEMBER}
    assert planned(seen)["move"] == ["node3"]


def test_another_target_meanwhile_is_refused():
    found = planned(interrupted("recovering"), to="time:2026-11-30T11:00:00Z")
    assert "A restore to latest was begun on node1 and is not finished" in found["faults"][0]
    assert "-e to=latest" in found["faults"][0]


def test_what_was_chosen_first_stays_when_the_repository_has_more_by_now():
    found = planned(interrupted("partial"), answer={"timeline": 4, "set": "20261130-130002F"})
    assert (found["timeline"], found["set"]) == (3, "20261130-010002F")


def test_restored_data_count_as_room_and_a_finished_member_needs_none():
    tight = {"free_bytes": GIB, "work_bytes": 5 * GIB}
    assert planned(interrupted("recovering", host=tight))["faults"] == []
    done = {"free_bytes": GIB, "state": "in archive recovery"}
    assert planned(interrupted("none", host={"state": "in production"}, others=done))["faults"] == []


# -- beside, afterwards ------------------------------------------------------------------------------------------------


def test_beside_nothing_of_the_cluster_is_touched():
    there = {"beside": {"empty": True, "free_bytes": 20 * GIB, "port_taken": False}}
    asked = {"beside_directory": "/srv/look", "beside_port": 5499, "beside_host": "node2"}
    found = planned(members(node1=there, node2=there, node3={}), **asked)
    assert (found["faults"], found["steps"], found["host"]) == ([], [], "node2")
    assert "node2:/srv/look, port 5499" in found["lines"][0]
    full = {"beside": {"empty": False, "free_bytes": 0, "port_taken": True}}
    assert len(planned(members(node2=full), **asked)["faults"]) == 3
    assert "is no host of group postgresql" in planned(**{**asked, "beside_host": "other"})["faults"][0]


def test_the_record_names_the_safety_copies_and_when_timelines_began():
    found = restore_plan.record(members(), planned(), BEGIN, databases={"demo": {"tables": {"public.t": [3, 3]}}})
    assert found["safety"][0] == {"host": "node1", "path": f"/var/lib/postgresql/17/demo.before-restore-{BEGIN}"}
    assert (found["births"], found["bytes"], found["label"]) == ({"3": 1796000000.0}, 5 * GIB, "20261130-010002F")
    assert "seconds" not in found
    assert restore_plan.record(members(), planned(), BEGIN, measured=False)["seconds"] == 0


def kept(started, verified=True, **more):
    return {
        "label": "x",
        "verified": verified,
        "point": {"time": started},
        "record": {"started": started, "host": "backup1", **more},
    }


def test_a_safety_copy_goes_only_after_a_newer_backup_was_verified():
    seen = members(**{name: {"copies": [BEGIN]} for name in ("node1", "node2", "node3")})
    since = 1796040000
    good = restore_plan.removal(seen, BEGIN, [kept(since + 60)])
    assert (good["faults"], len(good["paths"])) == ([], 1)
    for backups in ([], [kept(since - 60)], [kept(since + 60, verified=False)]):
        assert (
            "No backup since 2026-11-30 12:00:00 UTC was verified"
            in restore_plan.removal(seen, BEGIN, backups)["faults"][0]
        )
    assert f"There are: {BEGIN}" in restore_plan.removal(seen, "20200101T000000Z", [])["faults"][0]
    seen["node1"]["request"] = REQUEST
    assert "is not finished" in restore_plan.removal(seen, BEGIN, [kept(since + 60)])["faults"][0]


def test_the_newest_dump_that_has_the_database_is_taken_with_its_file_alone():
    databases = {
        "manifest": {"databases": {"app": {"file": "app.dump"}}},
        "files": {"app.dump": "1", "globals.sql": "2"},
        "bytes": 7,
    }
    old, new = kept(100, **databases), {**kept(200, **databases), "label": "y"}
    found = restore_plan.dump([new, old], "app")
    assert (found["label"], found["host"], found["file"]) == ("y", "backup1", "app.dump")
    assert found["kept"]["record"]["files"] == {"app.dump": "1"}
    assert restore_plan.dump([new, old], "app", label="x")["label"] == "x"
    assert "has a database other. There are x, y, of app" in restore_plan.dump([new, old], "other")["faults"][0]
    assert "No repository" in restore_plan.dump([], "app")["faults"][0]
