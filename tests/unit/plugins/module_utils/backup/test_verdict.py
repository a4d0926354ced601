# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What status says of a kind: only what records say is good is green, and each problem has a remedy."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.backup import record as records
from ansible_collections.utmstack.ha.plugins.module_utils.backup import verdict

HOUR, DAY = 3600, 86400
NOW = 1_796_040_000
SPEC = {"title": "Queue", "stale_s": 3 * HOUR, "verify_stale_s": 3 * DAY, "retention_days": 7, "verified": True}


def run(act, ago_s, said="ok", **more):
    moment = NOW - ago_s
    made = records.new("demo", "queue", act, "backup1", moment)
    return {
        **made,
        "verdict": said,
        "point": {"time": moment},
        "label": f"b{ago_s}",
        "bytes": 100,
        "seconds": 2.5,
        "source": "node2",
        **more,
    }


def judged(*found, spec=None, now=NOW):
    return verdict.judge("queue", spec or SPEC, sorted(found, key=lambda one: one["started"]), now, "backup1")


GOOD = (run("take", 2 * HOUR), run("verify", HOUR, label="b7200"))


def test_a_fresh_backup_that_was_verified_is_ok():
    row = judged(*GOOD)
    assert (row["verdict"], row["problems"]) == ("ok", [])
    assert (row["age_s"], row["verified_age_s"], row["kept"], row["bytes"], row["source"]) == (
        2 * HOUR,
        HOUR,
        1,
        100,
        "node2",
    )
    assert (row["point"], row["verified"], row["seconds"], row["verify_seconds"]) == (
        NOW - 2 * HOUR,
        NOW - 2 * HOUR,
        2.5,
        2.5,
    )


BAD = {
    "nothing": ((), {}, "unknown", "there is no backup yet. Run playbooks/backup.yml -e kind=queue"),
    "failed": ((*GOOD, run("take", 60, "failed", reason="no server")), {}, "failed", "the last backup failed (no server)"),
    "failed only": ((run("take", 60, "failed", reason="x"),), {}, "failed", "no good backup is kept"),
    "stale": ((run("take", 4 * HOUR), run("verify", HOUR, label="b14400")), {}, "unknown", "is 4 h old, more than 3 h"),
    "never verified": ((GOOD[0],), {}, "unknown", "no kept backup was verified. Run playbooks/verify_backup.yml -e kind=queue"),
    "not to be verified": ((GOOD[0],), {"verified": False}, "unknown", "backup_verify_schedule says never"),
    "verified long ago": (
        (run("take", 5 * DAY), run("verify", 4 * DAY, label="b432000"), GOOD[0]), {}, "unknown", "verification is 4 days old, more than 3 days",
    ),
    "damaged": ((*GOOD, run("verify", 60, "failed", label="b7200", reason="flipped")), {}, "failed", "the backup b7200 is damaged (flipped)"),
    "could not verify": ((*GOOD, run("verify", 60, "unknown", reason="no memory")), {}, "unknown", "could not be verified (no memory)"),
    "not removed": ((*GOOD, run("expire", 60, "unknown", reason="the clock")), {}, "unknown", "old backups were not removed: the clock"),
    "clock": ((*GOOD, run("copy", -5 * DAY)), {}, "unknown", "its newest record is 5 days in the future"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_whatever_is_wrong_is_told_and_is_never_ok(case):
    found, spec, said, told = BAD[case]
    row = judged(*found, spec=SPEC | spec)
    assert row["verdict"] == said
    assert any(told in text for text in row["problems"]), row["problems"]
    assert all(text.startswith("queue: ") for text in row["problems"])


def test_a_backup_found_damaged_is_not_the_verified_one():
    row = judged(*GOOD, run("verify", 60, "failed", label="b7200", reason="flipped"))
    assert row["verified"] is None


def test_a_verification_that_could_not_be_takes_nothing_from_an_earlier_good_one():
    row = judged(*GOOD, run("verify", 60, "unknown", label="b7200"))
    assert row["verified"] == NOW - 2 * HOUR and row["verdict"] == "unknown"


def test_a_safety_copy_is_told_until_it_is_removed_and_is_a_problem_after_a_week():
    copy = {"host": "node1", "path": "/var/lib/queue.before"}
    fresh = [run("restore", DAY, safety=[copy])]
    assert verdict.safety(fresh, NOW) == ([{**copy, "since": NOW - DAY, "kind": "queue"}], [])
    old = [run("restore", 8 * DAY, safety=[copy])]
    assert "the safety copy /var/lib/queue.before on node1 is 8 days old" in verdict.safety(old, NOW)[1][0]
    assert verdict.safety([*old, run("restore", DAY, removed=[copy["path"]])], NOW) == ([], [])


def test_room_for_one_more_backup_of_each_kind_and_the_reserve_is_wanted():
    rows = [{"bytes": 100}, {"bytes": None}]
    assert verdict.room(150, 1000, 5, rows, "/backups") == []
    assert "/backups has 149 B free" in verdict.room(149, 1000, 5, rows, "/backups")[0]
