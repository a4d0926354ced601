# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What backups will need, by records alone: what was not measured is not known."""

from __future__ import annotations

import re

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.backup import record as records
from ansible_collections.utmstack.ha.plugins.module_utils.backup.estimate import estimate, text

DAY = 86400
NOW = 1_796_000_000
SPEC = {"title": "Queue", "retention_days": 7}


def run(act, ago_days, verdict="ok", **more):
    moment = int(NOW - ago_days * DAY)
    return {
        **records.new("demo", "queue", act, "backup1", moment),
        "verdict": verdict,
        "point": {"time": moment},
        **more,
    }


def daily(days, size=100, **more):
    return [run("take", ago, label=f"b{ago}", bytes=size, seconds=2, **more) for ago in range(days, -1, -1)]


def test_without_a_backup_nothing_is_known():
    found = estimate("queue", SPEC, [], NOW)
    assert (found["newest"], found["a_day"], found["needed"], found["restore_s"]) == (None, None, None, None)


@pytest.mark.parametrize(
    ("found", "a_day"),
    [
        # Eight within a week and its first moment.
        (daily(30), round(800 / 7)),
        # Of a day at least: the first backups of a new platform are no rate.
        ([run("take", 0.001, label="a", bytes=100), run("take", 0, label="b", bytes=100)], 200),
        (daily(2), 150),
        ([*daily(30), run("take", 0.5, "failed", bytes=10**6)], round(800 / 7)),
    ],
)
def test_what_comes_in_a_day_is_that_of_the_kept_time(found, a_day):
    assert estimate("queue", SPEC, found, NOW)["a_day"] == a_day


def test_what_will_be_kept_is_for_a_day_longer_and_for_a_chain_a_week():
    assert (estimate("queue", SPEC, daily(7), NOW)["days"], estimate("queue", SPEC, daily(7), NOW)["needed"]) == (
        8,
        914,
    )
    chain = [*daily(7), run("take", 0, label="diff", bytes=0, needs=["b7"])]
    assert (estimate("queue", SPEC, chain, NOW)["days"], estimate("queue", SPEC, chain, NOW)["needed"]) == (14, 1600)


def test_wal_counts_beside_the_backups():
    assert estimate("queue", SPEC, daily(7), NOW, grows=1000.0)["a_day"] == round(800 / 7 + 1000)


def test_a_restore_takes_as_long_as_the_last_ones_of_what_it_makes():
    restores = [run("restore", 1, bytes=1000, seconds=50)]
    assert estimate("queue", SPEC, [*daily(7), *restores], NOW)["restore_s"] == 5.0
    made = daily(7, manifest={"restored_bytes": 4000})
    assert estimate("queue", SPEC, [*made, *restores], NOW)["restore_s"] == 200.0
    assert estimate("queue", SPEC, daily(7), NOW)["restore_s"] is None


def answer(found, free=10**6, used=800):
    return {"estimate": found, "used": used, "free": free, "directory": "/var/backups/utmstack", "problems": []}


def test_the_text_has_a_row_of_each_and_says_what_does_not_fit():
    one = estimate("queue", SPEC, [*daily(7), run("restore", 1, bytes=1000, seconds=50)], NOW)
    shown = text({"backup1": answer([one])})
    assert ["Queue", "backup1", "100 B", "114 B", "914 B in 8 days", "5 s for 100 B"] in [
        re.split(r"\s{2,}", line.strip()) for line in shown.splitlines()
    ]
    assert "backup1: 914 B will be kept; there are 977 KiB free beside 800 B that are kept now." in shown
    full = text({"backup1": answer([one], free=100)})
    assert "914 B will be kept, MORE THAN FITS" in full and "Give /var/backups/utmstack a larger volume" in full


def test_what_lies_elsewhere_takes_no_room_here_and_what_is_not_known_is_told():
    away = estimate("queue", SPEC, daily(7, 10**12), NOW, elsewhere=True)
    shown = text({"backup1": answer([away, estimate("queue", SPEC, [], NOW)]), "backup2": {}})
    assert "(elsewhere)" in shown and "MORE THAN FITS" not in shown
    assert "backup1: 0 B will be kept, and what Queue needs, which is not measured yet;" in shown
    assert "backup2: not measured yet (no answer)." in shown
