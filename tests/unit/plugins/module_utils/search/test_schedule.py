# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.search import schedule

DAILY = {"name": "daily", "schedule": "0 30 1 * * ?", "repository": "backup", "snapshot_name": "<daily-snap-{now/d}>"}


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NOW = at("2026-11-24T10:44:00")
TODAY = at("2026-11-24T01:30:00")


def snapshot(name, scheduled, state="SUCCESS", policy="daily"):
    """As the server lists it."""
    return {
        "snapshot": name,
        "state": state,
        "start_time_in_millis": int(scheduled.timestamp() * 1000) + 4000,
        "end_time_in_millis": int(scheduled.timestamp() * 1000) + 9000,
        "metadata": {"policy": policy, "scheduled": schedule.iso(scheduled)},
    }


@pytest.mark.parametrize(
    ("text", "now", "expected"),
    [
        ("0 30 1 * * ?", "2026-11-24T10:44:00", "2026-11-24T01:30:00"),
        ("0 30 1 * * ?", "2026-11-24T01:30:00", "2026-11-24T01:30:00"),
        ("0 30 1 * * ?", "2026-11-24T01:29:59", "2026-11-23T01:30:00"),
        ("0 0/15 * * * ?", "2026-11-24T10:44:00", "2026-11-24T10:30:00"),
        ("30 0 8-18/2 ? * MON-FRI", "2026-11-22T12:00:00", "2026-11-20T18:00:30"),  # a Sunday
        ("0 0 0 ? * 1", "2026-11-24T10:44:00", "2026-11-22T00:00:00"),  # Sunday is 1
        ("0 0 0 1 JAN,JUL ?", "2026-11-24T10:44:00", "2026-07-01T00:00:00"),
        ("0 0 0 L * ?", "2026-11-24T10:44:00", "2026-10-31T00:00:00"),
        ("0 0 0 29 2 ?", "2026-11-24T10:44:00", "2024-02-29T00:00:00"),
        ("0 0 0 1 1 ? 2025", "2026-11-24T10:44:00", "2025-01-01T00:00:00"),
        ("6h", "2026-11-24T10:44:00", "2026-11-24T06:00:00"),
        ("30m", "2026-11-24T10:44:00", "2026-11-24T10:30:00"),
    ],
)
def test_the_last_time_of_a_schedule_is_found(text, now, expected):
    assert schedule.schedule(text).last(at(now)) == at(expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("30 1 * * *", "has 5 fields"),
        ("0 60 1 * * ?", "not within 0 to 59"),
        ("0 0 1 ? * MON#1", "cannot be followed here"),
        ("0 0 1 ? * FRIDAY", "is no number"),
        ("10s", "shorter than a minute"),
    ],
)
def test_a_schedule_that_is_not_understood_is_said_to_be_so(text, words):
    with pytest.raises(schedule.ScheduleError, match=words):
        schedule.schedule(text)


@pytest.mark.parametrize(
    ("situation", "snapshots", "expected"),
    [
        ("a new policy takes its first one at once", [], "daily-snap-2026.11.24-20261124013000"),
        ("that of today is there", [snapshot("x", TODAY)], None),
        ("that of today is being taken", [snapshot("x", TODAY, "IN_PROGRESS")], None),
        ("an incomplete one counts, too", [snapshot("x", TODAY, "PARTIAL")], None),
        ("the master was away at the time", [snapshot("x", TODAY - timedelta(days=1))], "daily-snap-2026.11.24-20261124013000"),
        ("it was away for days: only the last one", [snapshot("x", TODAY - timedelta(days=9))], "daily-snap-2026.11.24-20261124013000"),
        ("it failed: once more", [snapshot("x", TODAY, "FAILED")], "daily-snap-2026.11.24-20261124013000-2"),
        ("it failed three times: no more", [snapshot(f"x{n}", TODAY, "FAILED") for n in range(3)], None),
        ("another policy's is none of ours", [snapshot("x", TODAY, policy="weekly")], "daily-snap-2026.11.24-20261124013000"),
        ("one without a policy is none of ours", [{**snapshot("x", TODAY), "metadata": None}], "daily-snap-2026.11.24-20261124013000"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_due_follows_from_what_the_repository_has(situation, snapshots, expected):
    found = schedule.due(DAILY, snapshots, NOW)
    assert (found and found[0]) == expected
    assert found is None or found[1] == TODAY


def test_two_masters_ask_for_the_same_name():
    later = NOW + timedelta(hours=5)
    assert schedule.due(DAILY, [], NOW) == schedule.due(DAILY, [], later)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("<snap-{now/d}>", "snap-2026.11.24-20261124013000"),
        ("<snap-{now/M{yyyy.MM}}>", "snap-2026.11-20261124013000"),
        ("<snap-{now{HH-mm}}>", "snap-01-30-20261124013000"),
        ("plain", "plain-20261124013000"),
    ],
)
def test_names_take_date_math(pattern, expected):
    assert schedule.snapshot_name(pattern, TODAY, 1) == expected


@pytest.mark.parametrize("pattern", ["<snap-{now-1d}>", "Snap", "sn ap", "_snap"])
def test_a_name_that_no_server_accepts_is_refused(pattern):
    with pytest.raises(schedule.ScheduleError, match="no server accepts"):
        schedule.snapshot_name(pattern, TODAY, 1)


def days(count, *states):
    """So many daily snapshots, s1 the newest; `states` of the newest ones."""
    kinds = [*states, *["SUCCESS"] * count]
    return [snapshot(f"s{n}", TODAY - timedelta(days=n - 1), kinds[n - 1]) for n in range(1, count + 1)]


@pytest.mark.parametrize(
    ("situation", "retention", "snapshots", "expected"),
    [
        ("no retention: all stay", {}, days(40), []),
        ("the oldest expire", {"expire_after": "3d"}, days(5), ["s5", "s4"]),
        ("but so many stay", {"expire_after": "3d", "min_count": 4}, days(5), ["s5"]),
        ("above the most, even the young go", {"max_count": 3}, days(5), ["s5", "s4"]),
        ("the newest complete one stays", {"expire_after": "1h"}, days(1), []),
        ("one that failed goes when a newer one is complete", {}, days(3, "SUCCESS", "FAILED"), ["s2"]),
        ("one that failed stays while it is the newest", {}, days(2, "FAILED"), []),
        ("failed ones are not counted", {"max_count": 2}, days(3, "FAILED"), []),
        ("an incomplete one goes when it expires", {"expire_after": "1d"}, days(3, "SUCCESS", "PARTIAL"), ["s3", "s2"]),
        ("others' are left alone", {"max_count": 1}, [*days(1), snapshot("theirs", TODAY, policy="weekly")], []),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_retention_deletes_as_slm_does(situation, retention, snapshots, expected):
    assert schedule.surplus({**DAILY, "retention": retention}, snapshots, NOW) == expected


def test_what_is_asked_for_tells_policy_and_time():
    policy = {**DAILY, "indices": ["a", "b"], "config": {"include_global_state": False, "metadata": {"site": "one"}}}
    assert schedule.request_body(policy, TODAY) == {
        "indices": "a,b",
        "include_global_state": False,
        "metadata": {"site": "one", "policy": "daily", "scheduled": "2026-11-24T01:30:00Z"},
    }


def test_faults_name_the_policy():
    wrong = [{**DAILY, "schedule": "never"}, {**DAILY, "retention": {"expire_after": "a month"}}, DAILY]
    found = list(schedule.faults(wrong))
    assert len(found) == 2
    assert all(one.startswith("Policy daily: ") for one in found)
