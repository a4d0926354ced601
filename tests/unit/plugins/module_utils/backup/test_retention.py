# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which backups go: nothing good that is the last, nothing that is needed, and nothing because of a clock."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.backup import record as records
from ansible_collections.utmstack.ha.plugins.module_utils.backup import retention
from ansible_collections.utmstack.ha.plugins.module_utils.services.backup import needs

DAY = 86400
NOW = 1_796_000_000


def run(act, ago_days, verdict="ok", **more):
    moment = int(NOW - ago_days * DAY)
    return {
        **records.new("demo", "queue", act, "backup1", moment),
        "verdict": verdict,
        "point": {"time": moment},
        **more,
    }


def take(ago_days, label="", verdict="ok", needed=()):
    return run("take", ago_days, verdict, label=label or f"b{ago_days:g}", needs=list(needed))


def verify(ago_days, label, verdict="ok", reason=""):
    return run("verify", ago_days, verdict, label=label, reason=reason)


def history(days, verified=True, **more):
    """One backup a day, verified two hours later."""
    found = []
    for ago in range(days, -1, -1):
        found.append(take(ago + 0.2))
        found += [verify(ago + 0.1, f"b{ago + 0.2:g}")] if verified else []
    return found


def decide(found, now=NOW, days=7, depends=needs, **more):
    return retention.expire(sorted(found, key=lambda one: one["started"]), now, days, depends, **more)


def test_what_is_older_than_promised_goes_and_nothing_younger():
    assert decide(history(10)) == retention.Decision(["b10.2", "b9.2", "b8.2", "b7.2"])
    assert decide(history(6)) == retention.Decision()


def test_the_last_good_backup_stays_whatever_its_age():
    found = [take(30, "old"), verify(29.9, "old"), take(20, "bad", "failed"), verify(0.1, "old"), verify(1.5, "old")]
    found += [run("copy", ago) for ago in range(1, 30)]
    assert decide(found).remove == []


def test_a_failed_backup_is_none_that_others_may_go_for():
    found = [
        *history(10, verified=False)[:4],
        verify(0.5, "b10.2"),
        *(take(ago, verdict="failed") for ago in (6, 5, 4, 3, 2, 1, 0.1)),
    ]
    assert "b7.2" not in decide(found).remove


def test_nothing_goes_before_a_newer_one_was_verified():
    unverified = decide(history(10, verified=False))
    assert unverified.remove == [] and "newest verification" in unverified.refusal
    damaged = decide([*history(10), verify(0.01, "b0.2", "failed", "it is damaged")])
    assert damaged.remove == [] and "it is damaged" in damaged.refusal
    unknown = decide([*history(10), verify(0.01, "b0.2", "unknown", "no memory")])
    assert unknown.remove == [] and "no memory" in unknown.refusal


def test_what_is_newer_than_the_newest_verified_one_stays():
    """Only an old one is proven, so it and all that came after it stay."""
    found = [take(ago + 0.2) for ago in range(10, -1, -1)] + [verify(ago + 0.1, "b9.2") for ago in range(9, -1, -1)]
    assert decide(found).remove == ["b10.2"]


def test_what_a_kept_one_needs_stays_with_all_that_that_needs():
    found = [take(12, "full0"), take(11, "full"), take(10, "diff0", needed=["full0"]), take(9, "diff", needed=["full"])]
    found += [take(3, "incr", needed=["diff"]), *(verify(ago, "incr") for ago in (2.5, 1.5, 0.5))]
    found += [run("copy", ago) for ago in range(1, 13)]
    assert decide(found).remove == ["full0", "diff0"]


@pytest.mark.parametrize(
    ("shift_days", "told"),
    [(-0.5, "behind the newest record"), (3, "nothing was run for 3.1 days"), (3650, "or the clock has jumped")],
)
def test_a_clock_that_is_behind_or_has_jumped_makes_nothing_old(shift_days, told):
    decision = decide(history(10), now=NOW + shift_days * DAY)
    assert decision.remove == [] and told in decision.refusal


def test_after_a_jump_nothing_goes_until_the_new_time_has_lasted():
    """A run dated by the new clock is no proof of that clock."""
    jumped = [*history(10), take(-3650, "new"), verify(-3650.01, "new")]
    assert decide(jumped, now=NOW + 3650.02 * DAY).remove == []
    lasted = jumped + [run(act, -3650 - ago / 4, label="new") for ago in range(1, 10) for act in ("copy", "verify")]
    assert len(decide(lasted, now=NOW + 3652.26 * DAY).remove) == 11


def test_runs_of_other_kinds_prove_the_clock_as_well():
    weekly = [take(30, "a"), take(16, "b"), take(9, "c"), verify(8.9, "c"), take(1, "d"), verify(0.1, "d")]
    assert "nothing was run for 7.9 days" in decide(weekly).refusal
    hourly = [NOW - hours * 3600 for hours in range(1, 24 * 40)]
    assert decide(weekly, clock=hourly).remove == ["a", "b", "c"]


def test_what_was_removed_counts_no_more_even_where_the_rest_of_that_run_failed():
    found = [*history(10), run("expire", 0.05, "unknown", removed=["b10.2", "b9.2"])]
    assert decide(found).remove == ["b8.2", "b7.2"]


def test_the_newest_is_the_one_with_the_newest_content_not_the_one_recorded_last():
    late = take(0.05, "late") | {"point": {"time": int(NOW - 9 * DAY)}}
    assert [records.label(one) for one in retention.kept([take(1, "new"), late])] == ["late", "new"]


# -- records --------------------------------------------------------------------------------------------------------------


def named(found):
    """As they are read: newest last, each with the name of its file."""
    ordered = sorted(found, key=lambda one: one["started"])
    return [{**one, "name": f"{number}-{one['act']}-{one['label']}"} for number, one in enumerate(ordered)]


def old(found, days=40, **more):
    return retention.superfluous(named(found), NOW, days, **more)


def years(days):
    """As a host has them that keeps a backup for a week."""
    found = []
    for ago in range(days, -1, -1):
        found += [take(ago + 0.5), verify(ago + 0.3, f"b{ago + 0.5:g}")]
        found += [run("expire", ago + 0.4, label="", removed=[f"b{ago + 8.5:g}"])] if ago + 8 <= days else []
    return found


def test_records_that_are_older_than_asked_go_and_what_is_left_tells_the_same():
    found = years(120)
    gone = old(found)
    left = [one for one in named(found) if one["name"] not in gone]
    assert len(gone) > 200 and min(one["started"] for one in left) >= NOW - 41 * DAY
    assert [records.label(one) for one in retention.kept(left)] == [records.label(one) for one in retention.kept(found)]
    assert decide(left) == decide(found)


@pytest.mark.parametrize("number", range(0, 340, 17))
def test_what_is_removed_never_comes_back_as_kept_wherever_it_is_broken_off(number):
    found = named(years(120))
    gone = retention.superfluous(found, NOW, 40)[:number]
    left = [one for one in found if one["name"] not in gone]
    assert retention.kept(left) == retention.kept(found)


def test_records_of_kept_backups_and_what_says_that_they_are_good_stay_for_ever():
    found = [
        take(900, "last"),
        verify(899, "last"),
        *(run("take", ago, "failed", label="") for ago in range(800, -1, -1)),
    ]
    left = {one["label"] for one in named(found) if one["name"] not in old(found)}
    assert "last" in left and [records.label(one) for one in retention.kept(found)] == ["last"]
    assert not {name for name in old(found) if name.endswith("last")}


def test_the_last_runs_by_which_durations_are_estimated_stay_whatever_their_age():
    restores = [run("restore", 500 - ago, label=f"r{ago}") for ago in range(20)]
    gone = old([*years(60), *restores])
    assert [name.rpartition("-")[2] for name in gone if "-restore-" in name] == [f"r{ago}" for ago in range(10)]


def test_a_restore_whose_safety_copy_is_left_stays_and_what_removed_one_stays_as_long_as_that():
    def restore(ago, label, **more):
        return run("restore", ago, label=label, **more)

    found = [
        restore(400, "left", safety=[{"host": "node1", "path": "/a"}]),
        restore(390, "done", safety=[{"host": "node1", "path": "/b"}]),
        restore(380, "removal", removed=["/b"]),
        *(restore(300 - ago, f"later{ago}") for ago in range(10)),
    ]
    gone = [name.rpartition("-")[2] for name in old([*years(60), *found]) if "-restore-" in name]
    assert gone == ["done", "removal"]


def test_no_record_goes_by_a_clock_that_has_jumped():
    assert retention.superfluous(named(years(120)), NOW + 3650 * DAY, 40) == []


def test_a_shorter_time_than_a_month_is_taken_for_a_month():
    assert old(years(120), days=1) == old(years(120), days=retention.RECORD_DAYS)
