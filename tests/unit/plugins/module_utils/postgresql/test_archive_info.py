# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is told of WAL archiving: how far behind it is, for how long the disk lasts, and when that is a problem."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import archive_info

LOOK = json.loads(
    (Path(__file__).resolve().parents[3] / "fixtures" / "postgresql" / "archive_pgbackrest_2.45.json").read_text()
)["look"]
NOW = 1_800_000_000.0
SETTINGS = {"repositories": ["backup1"], "archive_timeout_s": 20, "rpo_limit_s": 120}
DISK = {"waiting": 0, "oldest_waiting_s": None, "wal_bytes": 2**30, "free_bytes": 10 * 2**30, "spool_errors": []}
STATE = {"version": 1, "time": NOW - 6, "gaps": [], "samples": [[NOW - 3600, 0], [NOW, 3600 * 1000]], "error": ""}


def seen(archived="000000020000000000000018", ago=8, failed_ago=None, position="0/19000100", **more):
    archiver = {
        "archived": archived, "archived_at": None if ago is None else NOW - ago, "archived_count": 3,
        "failed": None, "failed_at": None if failed_ago is None else NOW - failed_ago, "failed_count": 0,
    }  # fmt: skip
    slot = {"position": "0/19000000", "status": "reserved"}
    return {**LOOK, "archiving": True, "recovery": False, "slot": slot, "position": position, "archiver": archiver, **more}


def told(look, disk=None, state=None, **settings):
    return archive_info.assemble(look, {**DISK, **(disk or {})}, {**STATE, **(state or {})}, {**SETTINGS, **settings}, NOW)


@pytest.mark.parametrize(
    ("look", "disk", "behind"),
    [
        pytest.param(seen(), {}, 8, id="the open segment is as old as the last one's end"),
        pytest.param(seen(ago=4000), {}, 20, id="nothing was written for an hour, but for what closes no segment"),
        pytest.param(seen(position="0/19000000"), {}, 0, id="everything is archived"),
        pytest.param(seen(), {"waiting": 3, "oldest_waiting_s": 50}, 70, id="what waits was begun before it was closed"),
        pytest.param(seen(None, None), {}, None, id="nothing was archived yet"),
    ],
)
def test_how_old_what_no_repository_has_is_at_most(look, disk, behind):
    assert told(look, disk)["behind_s"] == behind


def test_a_standby_says_nothing_of_it_and_is_healthy():
    answer = told(seen(None, None, recovery=True, timeline=None))
    assert (answer["behind_s"], answer["problems"], answer["healthy"]) == (None, [], True)


def test_all_is_well_where_wal_goes_out_even_on_a_small_disk():
    assert told(seen(), {"free_bytes": 2**20})["problems"] == []


def test_the_disk_lasts_as_long_as_the_rate_of_the_last_hour_says():
    answer = told(seen())
    assert (answer["rate_bytes_s"], answer["full_in_s"]) == (1000.0, round(10 * 2**30 / 1000))
    assert told(seen(), state={"samples": [[NOW - 100, 0], [NOW, 5]]})["full_in_s"] is None
    assert told(seen(), state={"samples": [[NOW - 3600, 9], [NOW, 9]]})["full_in_s"] is None


WAITS = {"waiting": 9, "oldest_waiting_s": 300}
REFUSED = "unable to connect to 'backup1:8432': [111] Connection refused"


@pytest.mark.parametrize(
    ("answer", "problem", "remedy"),
    [
        (told(seen(failed_ago=1), {**WAITS, "spool_errors": [REFUSED]}), "of the last 320 s is missing (accepted: 120 s", "on backup1"),
        (told(seen(failed_ago=1), {**WAITS, "spool_errors": [REFUSED]}), REFUSED, "journalctl"),
        (told(seen(None, None)), "no WAL was archived yet", "on backup1"),
        (told(seen(failed_ago=1), {"free_bytes": 80_000_000}), "fills the disk in 22", "more room"),
        (told(seen(), state={"gaps": ["A to B"]}), "missing in a repository, and no member has it any more (A to B)", "full backup"),
        (told(seen(), state={"time": NOW - 1000}), "quarter of an hour", "journalctl"),
        (told(seen(), state={"error": "repository 1: away."}), "can't be looked after (repository 1: away)", "on backup1"),
        (told(seen(slot={"position": None, "status": "lost"})), "slot", "archived again"),
        (told(seen(archiving=False)), "does not archive", "site.yml"),
    ],
)  # fmt: skip
def test_each_problem_says_what_to_do(answer, problem, remedy):
    (text,) = [one for one in answer["problems"] if problem in one]
    assert remedy in text and not answer["healthy"]


def test_without_a_look_of_the_timer_nothing_counts_as_well():
    answer = archive_info.assemble(seen(), DISK, {}, SETTINGS, NOW)
    assert answer["state_s"] is None and not answer["healthy"]


@pytest.mark.parametrize(("free", "red"), [(86_300_000, True), (86_500_000, False)])
def test_status_warns_a_day_before_the_disk_is_full_while_nothing_goes_out(free, red):
    answer = told(seen(failed_ago=1), {"free_bytes": free})
    assert any("fills the disk" in text for text in answer["problems"]) is red


def test_the_disk_is_read_as_it_is(tmp_path):
    status = tmp_path / "data" / "pg_wal" / "archive_status"
    status.mkdir(parents=True)
    for name, age in (("17", 40), ("18", 10)):
        (status / f"0000000200000000000000{name}.ready").touch()
        os.utime(status / f"0000000200000000000000{name}.ready", (NOW - age, NOW - age))
    (status / "000000020000000000000016.done").touch()
    (tmp_path / "data" / "pg_wal" / "000000020000000000000017").write_bytes(b"x" * 100)
    spool = tmp_path / "spool"
    spool.mkdir()
    (spool / "global.error").write_text(f"103\nunable to find a valid repository:\nrepo1: [HostConnectError] {REFUSED}\n")
    found = archive_info.disk(tmp_path / "data", spool, NOW)
    assert (found["waiting"], found["oldest_waiting_s"], found["wal_bytes"]) == (2, 40, 100)
    assert found["free_bytes"] > 0
    assert found["spool_errors"] == [f"unable to find a valid repository: repo1: [HostConnectError] {REFUSED}"]
