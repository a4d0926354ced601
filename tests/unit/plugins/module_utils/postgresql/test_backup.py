# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kind postgresql: when which backup is taken, what of a repository is believed, and what may be removed. pgBackRest's replies are those of 2.45."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common.backup import (
    FAILED,
    NO_ROOM,
    SETTINGS,
    UNVERIFIED,
    BackupError,
)
from ansible_collections.utmstack.ha.plugins.module_utils.common.command import Result
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import backup, pgbackrest, wal
from program_replay import Replay

FIXTURES = Path(__file__).parents[3] / "fixtures" / "postgresql"
INFO = json.loads((FIXTURES / "pgbackrest_2.45" / "info.json").read_text())
FULL, DIFF = INFO[0]["backup"]
SETTINGS_GIVEN = {"stanza": "demo", "config": "/etc/demo.conf", "account": None}
# Of INFO: both backups are of this Monday.
MONDAY = FULL["timestamp"]["start"]
DAY = 86400


def take(label, started=MONDAY, verdict="ok"):
    return {"act": "take", "verdict": verdict, "label": label, "started": started, "manifest": {}}


def verified(label, started, verdict="ok"):
    return {"act": "verify", "verdict": verdict, "label": label, "started": started}


def other(base, label, days):
    """The same backup under another label, so many days later."""
    moved = {name: value + days * DAY for name, value in base["timestamp"].items()}
    reference = [label.partition("_")[0]] if "_" in label else None
    return {**base, "label": label, "timestamp": moved, "reference": reference}


# -- which one is due


@pytest.mark.parametrize(
    ("settings", "backups", "records", "days", "lacking", "kind", "reason"),
    [
        ({}, [], [], 0, [], "full", "no full backup is kept"),
        ({}, [FULL], [], 0.1, [], "diff", "of Sun or later"),
        ({}, [FULL, DIFF], [], 5, [], "diff", "of Sun or later"),
        ({}, [FULL, DIFF], [], 6, [], "full", "none was taken since Sun"),
        # On Sunday itself there is one only.
        ({}, [FULL, other(FULL, "20261206-010000F", 6)], [], 6.2, [], "diff", "of Sun or later"),
        # It was missed on Sunday, so it is taken on Tuesday.
        ({}, [FULL], [], 8, [], "full", "none was taken since Sun"),
        ({"full_day": "Wed"}, [FULL], [], 1, [], "diff", "of Wed or later"),
        ({"full_day": "Wed"}, [FULL], [], 2, [], "full", "none was taken since Wed"),
        ({"type": "full"}, [FULL], [], 0.1, [], "full", "it was asked for"),
        ({"type": "diff"}, [], [], 0.1, [], "full", "no full backup is kept"),
        # A full backup with wrong pages is none.
        ({}, [{**FULL, "error": True}], [], 0.1, [], "full", "no full backup is kept"),
        ({}, [FULL], [{"act": "restore", "verdict": "ok", "started": MONDAY + 3600}], 0.1, [], "full", "was restored since"),
        ({}, [FULL], [{"act": "restore", "verdict": "ok", "started": MONDAY - 3600}], 0.1, [], "diff", "or later"),
        ({}, [FULL], [verified(DIFF["label"], MONDAY + 3600, "failed")], 0.1, [], "full", "was found damaged"),
        # A later verification has found it good.
        (
            {},
            [FULL],
            [verified(FULL["label"], MONDAY + 3600, "failed"), verified(FULL["label"], MONDAY + 7200)],
            0.1,
            [],
            "diff",
            "or later",
        ),
        # Nothing is known, which is no damage.
        ({}, [FULL], [verified(FULL["label"], MONDAY + 3600, "unknown")], 0.1, [], "diff", "or later"),
        ({}, [FULL], [], 0.1, ["000000010000000000000005"], "full", "missing: 000000010000000000000005"),
    ],
)  # fmt: skip
def test_a_full_backup_is_taken_on_its_day_and_where_a_differential_one_would_not_do(
    settings, backups, records, days, lacking, kind, reason
):
    assert datetime.fromtimestamp(MONDAY).weekday() == 0
    found, why = backup.due(settings, backups, records, MONDAY + days * DAY, lacking)
    assert (found, reason in why) == (kind, True), why


@pytest.mark.parametrize("settings", [{"type": "incr"}, {"full_day": "Sunday"}])
def test_other_types_and_days_are_unusable_settings(settings):
    with pytest.raises(BackupError) as told:
        backup.due(settings, [FULL], [], MONDAY + 3600)
    assert told.value.code == SETTINGS


# -- taking it


@pytest.fixture
def program(tmp_path, monkeypatch):
    pauses = []
    monkeypatch.setattr(backup, "pause", pauses.append)
    found = Replay(tmp_path, monkeypatch, "pgbackrest")
    found.pauses = pauses
    return found


def ended(program, *codes):
    for code in codes:
        program.reply(" backup", rc=code, err=f"ERROR: [{code:03}]: said\n", always=False)


@pytest.mark.parametrize(
    ("codes", "standby", "pauses"),
    [
        ((0,), ["yes"], []),
        # The host was busy once.
        ((56, 0), ["yes", "yes"], [20]),
        # No standby: from the primary.
        ((56, 56, 0), ["yes", "yes", "no"], [20, 20]),
        # The primary was lost: another one leads by then.
        ((57, 82, 57, 0), ["yes", "yes", "yes", "yes"], [60, 60, 60]),
    ],
)
def test_a_backup_is_tried_again_where_that_helps(program, codes, standby, pauses):
    ended(program, *codes)
    where = backup._run(pgbackrest.Repository(SETTINGS_GIVEN), "diff", 3600)
    assert ["yes" if "--backup-standby" in call else "no" for call in program.calls] == standby
    assert where == ("standby" if standby[-1] == "yes" else "primary")
    assert program.pauses == pauses
    assert all({"--type=diff", "--no-expire-auto"} <= set(call) for call in program.calls)


@pytest.mark.parametrize(
    ("codes", "tries", "words"),
    [
        ((56, 56, 56, 56), 4, "no primary was found"),
        ((57, 57, 57), 3, "has gone away"),
        # Neither is better after a minute.
        ((64,), 1, "the repository may be full"),
        ((50,), 1, "another run of pgBackRest"),
        ((103,), 1, "another cluster's"),
    ],
)
def test_a_backup_that_fails_says_why(program, codes, tries, words):
    ended(program, *codes)
    with pytest.raises(BackupError, match=words) as told:
        backup._run(pgbackrest.Repository(SETTINGS_GIVEN), "full", 3600)
    assert (len(program.calls), told.value.code) == (tries, FAILED)


class Sizes:
    """A cluster of so many bytes."""

    def __init__(self, size):
        self.size = size

    def ask(self, sql, which):
        return self.size


@pytest.mark.parametrize(
    ("kind", "backups", "total", "free", "fits"),
    [
        # A twentieth of the volume is for WAL alone: 50 of 1000.
        ("full", [FULL], 0, 51 + int(FULL["info"]["repository"]["delta"] * 1.2), True),
        ("full", [FULL], 0, 49 + int(FULL["info"]["repository"]["delta"] * 1.2), False),
        ("diff", [FULL, DIFF], 0, 51 + int(DIFF["info"]["repository"]["delta"] * 1.2), True),
        # The first one: half of what the databases take.
        ("full", [], 4000, 2051, True),
        ("full", [], 4000, 2049, False),
    ],
)
def test_a_backup_leaves_room_for_wal(tmp_path, monkeypatch, kind, backups, total, free, fits):
    class Usage:
        pass

    usage = Usage()
    usage.total, usage.free = 1000, free
    monkeypatch.setattr(backup.shutil, "disk_usage", lambda _path: usage)
    settings = {"repository": str(tmp_path)}
    if fits:
        backup._room(settings, backups, kind, Sizes(total))
    else:
        with pytest.raises(BackupError, match="with the reserve for its WAL") as told:
            backup._room(settings, backups, kind, Sizes(total))
        assert told.value.code == NO_ROOM


def test_a_repository_without_a_directory_of_this_host_is_not_asked_for_room():
    backup._room({"repository": ""}, [], "full", None)


def test_a_record_has_what_info_says_of_the_backup():
    info = pgbackrest.judge(json.dumps(INFO), "demo")
    found = backup.facts(DIFF, info, {"from": "standby", "databases": {}})
    assert found == {
        "label": "20261130-185436F_20261130-185442D",
        "source": "standby",
        "point": {"time": 1796064888, "lsn": "0/6000100", "timeline": 1},
        "bytes": 87472,
        "files": {},
        "needs": ["20261130-185436F"],
        "manifest": {
            "restored_bytes": 30808335,
            "system_identifier": "7714039628423273303",
            "wal": ["000000010000000000000006", "000000010000000000000006"],
            "from": "standby",
            "databases": {},
        },
        "software": {"pgbackrest": "2.45", "postgresql": "15"},
    }
    assert backup.facts(FULL, info)["needs"] == []


# -- what is believed of a repository


def test_files_are_compared_with_their_copies(program):
    program.reply("20261130-185436F/backup.manifest.copy", "whole").reply("20261130-185436F/backup.manifest", "flipped")
    program.reply("backup.info.copy", rc=55, err="ERROR: [055]: unable to open missing file\n").reply(
        "repo-get", "the same"
    )
    assert backup._copies(pgbackrest.Repository(SETTINGS_GIVEN), [FULL, DIFF]) == [
        "backup/demo/backup.info.copy can't be read: pgbackrest repo-get ended with 55: a file is missing: unable to open missing file",
        "backup/demo/20261130-185436F/backup.manifest and its copy differ: one of them is damaged",
    ]


def archive(program, numbers, once=False):
    names = {f"0000000100000000/0000000100000000{number:08X}-{'0' * 40}.zst": {"type": "file"} for number in numbers}
    program.reply("repo-ls", json.dumps(names), always=not once)


def test_a_gap_counts_when_it_is_there_after_a_minute_as_well(program):
    archive(program, [3, 4, 6, 7])
    info = pgbackrest.judge(json.dumps(INFO), "demo")
    lacking, ends = backup._settled(pgbackrest.Repository(SETTINGS_GIVEN), info, info["backups"])
    assert lacking == ["000000010000000000000005"]
    assert ends == {FULL["label"]: "000000010000000000000004", DIFF["label"]: "000000010000000000000007"}
    assert program.pauses == [60]


def test_a_gap_before_the_newest_full_backup_is_told_and_is_no_fault_of_it(program):
    """As after the loss of a backup host, whose newest WAL was not copied anywhere."""
    archive(program, [3, 4, 6, 7, 8])
    newer = {
        **FULL,
        "label": "20261206-010000F",
        "archive": {"start": "0" * 7 + "1" + "0" * 15 + "7", "stop": "0" * 7 + "1" + "0" * 15 + "8"},
    }
    info = pgbackrest.judge(json.dumps(INFO), "demo")
    info["backups"] = [*info["backups"], newer]
    repository = pgbackrest.Repository(SETTINGS_GIVEN)
    lacking, older, ends = backup._missing(repository, info, newer)
    assert (lacking, older, ends[newer["label"]]) == ([], ["000000010000000000000005"], "000000010000000000000008")
    assert backup._missing(repository, info, DIFF)[:2] == (["000000010000000000000005"], [])


def test_wal_that_arrives_late_is_no_gap(program):
    archive(program, [4, 6], once=True)
    archive(program, [4, 5, 6])
    info = pgbackrest.judge(json.dumps(INFO), "demo")
    lacking, ends = backup._settled(pgbackrest.Repository(SETTINGS_GIVEN), info, info["backups"])
    assert (lacking, set(ends.values())) == ([], {"000000010000000000000006"})


def test_an_archive_that_is_not_there_lacks_the_backups_own_wal(program):
    info = pgbackrest.judge(json.dumps(INFO), "demo") | {"archives": {}}
    assert backup._settled(pgbackrest.Repository(SETTINGS_GIVEN), info, [FULL])[0] == [FULL["archive"]["start"]]


def test_the_newest_backup_with_a_record_is_tried():
    assert backup.newest([FULL, DIFF], [take(FULL["label"])])[0] == FULL
    assert backup.newest([FULL, DIFF], [take(FULL["label"]), take(DIFF["label"])])[0] == DIFF
    assert backup.newest([FULL, DIFF], [take(FULL["label"]), take(DIFF["label"])], FULL["label"])[0] == FULL


@pytest.mark.parametrize(
    ("backups", "records", "label", "code"),
    [
        ([FULL], [], "", UNVERIFIED),
        ([FULL], [take(FULL["label"], verdict="failed")], "", UNVERIFIED),
        ([FULL], [take(DIFF["label"])], FULL["label"], UNVERIFIED),
        # The record says that there is one.
        ([FULL], [take(DIFF["label"])], DIFF["label"], FAILED),
    ],
)
def test_without_backup_and_record_nothing_is_verified(backups, records, label, code):
    with pytest.raises(BackupError) as told:
        backup.newest(backups, records, label)
    assert told.value.code == code


def test_a_damaged_repository_ends_the_verification_with_all_that_is_wrong(program, tmp_path):
    program.reply(" info", json.dumps(INFO))
    program.reply(" verify", (FIXTURES / "pgbackrest_2.45" / "verify_flipped.txt").read_text())
    program.reply("archive.info.copy", "another").reply("repo-get", "the same")
    archive(program, [4, 6])
    settings = {**SETTINGS_GIVEN, "records": [take(FULL["label"]), take(DIFF["label"])]}
    with pytest.raises(BackupError) as told:
        backup.verify(settings, None, tmp_path)
    assert told.value.code == FAILED
    for words in (
        "checksum invalid 1",
        "archive/demo/archive.info and its copy differ",
        "WAL is missing: 000000010000000000000005",
    ):
        assert words in told.value.reason
    assert not any("restore" in call for call in program.calls)


def test_the_version_of_a_backup_is_that_of_its_archive():
    info = {"archives": {1: "15-1", 2: "17-2"}, "version": "17"}
    assert backup.repository_version(info, FULL) == "15"


# -- what is removed

WEEK = [
    FULL,
    DIFF,
    other(FULL, "20261206-010000F", 6),
    other(DIFF, "20261206-010000F_20261207-010000D", 7),
    other(FULL, "20261213-010000F", 13),
]
CHECKED = [verified("20261213-010000F", MONDAY + 14 * DAY)]


def test_backups_go_by_their_names_and_then_the_wal_before_the_oldest_full_one(program):
    left = [{**INFO[0], "backup": WEEK[2:]}]
    program.reply(" info", json.dumps([{**INFO[0], "backup": WEEK}]), always=False)
    program.reply(" info", json.dumps(left)).reply(" expire")
    found = backup.expire({**SETTINGS_GIVEN, "records": CHECKED}, [FULL["label"], DIFF["label"]])
    assert found == {"removed": [FULL["label"], DIFF["label"]], "kept": [one["label"] for one in WEEK[2:]]}
    calls = [call for call in program.calls if call[-1] == "expire"]
    assert [word for call in calls for word in call if word.startswith("--set")] == [
        f"--set={DIFF['label']}",
        f"--set={FULL['label']}",
    ]
    assert all("--repo1-retention-full=9999999" in call for call in calls)
    assert "--repo1-retention-archive=2" in calls[-1] and "--repo1-retention-archive-type=full" in calls[-1]


def test_more_that_went_than_was_named_is_a_failure(program):
    program.reply(" info", json.dumps([{**INFO[0], "backup": WEEK}]), always=False)
    program.reply(" info", json.dumps([{**INFO[0], "backup": WEEK[4:]}])).reply(" expire")
    with pytest.raises(BackupError, match="has also removed 20261206-010000F"):
        backup.expire({**SETTINGS_GIVEN, "records": CHECKED}, [FULL["label"], DIFF["label"]])


@pytest.mark.parametrize(
    ("records", "labels", "words"),
    [
        ([], [FULL["label"], DIFF["label"]], "the last verification was not ok"),
        ([*CHECKED, verified("20261213-010000F", MONDAY + 15 * DAY, "failed")], [DIFF["label"]], "was not ok"),
        ([*CHECKED, verified("20261213-010000F", MONDAY + 15 * DAY, "unknown")], [DIFF["label"]], "was not ok"),
        (CHECKED, ["20261213-010000F"], "is not kept"),
        ([verified("20261220-010000F", MONDAY)], [DIFF["label"]], "is not kept"),
        ([verified(DIFF["label"], MONDAY)], ["20261206-010000F"], "no newer one was verified"),
        (CHECKED, [FULL["label"]], f"{DIFF['label']} needs it"),
    ],
)
def test_what_is_needed_or_not_proven_otherwise_stays(records, labels, words):
    with pytest.raises(BackupError, match=words):
        backup.refuse_expire(WEEK, records, labels)


def test_what_is_gone_already_needs_nothing(program):
    program.reply(" info", json.dumps(INFO))
    assert backup.expire({**SETTINGS_GIVEN, "records": []}, ["20261101-010000F"])["removed"] == []
    assert not any("expire" in call for call in program.calls)


# -- each minute


@pytest.fixture
def psql(tmp_path, monkeypatch):
    return Replay(tmp_path, monkeypatch, "psql", reads=True)


CLUSTER = {
    "members": [{"name": "node1", "address": "192.0.2.1"}, {"name": "node2", "address": "192.0.2.2"}],
    "port": 5432,
    "user": "utmstack_backup",
    "password": "of:the\\lab",
    "ca": "/etc/ca.crt",
    "account": None,
}


def test_a_missed_witness_is_a_problem_after_the_third_minute(psql):
    psql.reply("", rc=2, err='psql: error: connection to server at "192.0.2.1", port 5432 failed\n')
    found = {}
    told = []
    for _minute in range(5):
        found = backup.guard(CLUSTER, found)
        told.append(len(found["problems"]))
    assert told == [0, 0, 0, 1, 1]
    assert "no witness was written for 5 minutes" in found["problems"][0]


@pytest.mark.parametrize(
    ("said", "metrics"), [("17\n", {"metrics": {"rpo_seconds": {"": 17}}}), ("", {})], ids=["archived", "nothing yet"]
)
def test_a_witness_ends_the_count_and_tells_how_old_the_newest_archived_wal_is(psql, said, metrics):
    psql.reply("to_regclass", "true\n").reply("INSERT").reply("count(*)", '{"rows": 5, "last": 5, "broken": null}\n')
    psql.reply("pg_stat_archiver", said)
    assert backup.guard(CLUSTER, {"missed": 7}) == {"witness": 5, "missed": 0, "problems": [], **metrics}


def test_a_password_is_on_no_command_line_and_in_no_environment(psql, tmp_path, monkeypatch):
    seen = {}

    def run(words, limit, environment=None, stdin=None, user=None):
        path = Path(environment["PGPASSFILE"])
        seen.update(words=words, environment=environment, line=path.read_text(), mode=path.stat().st_mode & 0o777)
        return Result(0, "true\n", "", 0.1)

    monkeypatch.setattr("ansible_collections.utmstack.ha.plugins.module_utils.postgresql.access.run", run)
    with backup.cluster(CLUSTER) as access:
        access.ask("SELECT true")
    assert (seen["line"], seen["mode"]) == ("*:*:*:utmstack_backup:of\\:the\\\\lab\n", 0o600)
    assert not any("of:the" in text for text in [*seen["words"], *seen["environment"].values()])
    assert seen["environment"]["PGSSLMODE"] == "verify-full"
    assert seen["environment"]["PGHOST"] == "192.0.2.1,192.0.2.2"
    assert not Path(seen["environment"]["PGPASSFILE"]).exists()


def test_all_wal_is_a_position_of_its_last_segment():
    assert wal.unbroken_to(["000000010000000000000006"], {}, "000000010000000000000006") == wal.position("0/7000000")


def archived(place, ages_h, size=1000):
    """Segments as pgBackRest keeps them, of so many hours ago."""
    for number, hours in enumerate(ages_h):
        path = place / "archive/demo/17-1/0000000100000000" / f"{wal.Segment(1, number).name()}-{'a' * 40}.zst"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
        os.utime(path, (MONDAY - hours * 3600,) * 2)
    (place / "archive/demo/archive.info").write_text("no WAL")


@pytest.mark.parametrize(
    ("ages_h", "a_day"),
    [([0.1, 0.5], None), ([0.5, 2], 24_000), ([1, 11, 23, 25, 200], 3000), ([30, 40], 0)],
    ids=["too young", "two hours", "a day", "nothing came"],
)
def test_wal_that_comes_in_is_that_of_the_last_day(tmp_path, ages_h, a_day):
    archived(tmp_path, ages_h)
    assert backup.grows({"repository": str(tmp_path)}, MONDAY) == a_day


def test_a_repository_without_wal_says_nothing_of_it(tmp_path):
    assert backup.grows({"repository": str(tmp_path)}, MONDAY) is None
