# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which WAL of a repository belongs together. Positions as PostgreSQL 15 and 17 name them, segments of 16 MiB."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import wal

SUM = "0123456789abcdef0123456789abcdef01234567"
# Timeline 2 forked from 1 in the middle of 05, timeline 3 from 2 at the very beginning of 08.
HISTORIES = {
    2: "1\t0/5000120\tno recovery target specified\n",
    3: "1\t0/5000120\tno recovery target specified\n\n2\t0/8000000\tno recovery target specified\n",
}


def names(timeline, first, last):
    return [f"{timeline:08X}00000000{number:08X}" for number in range(first, last + 1)]


WHOLE = [*names(1, 1, 4), *names(2, 5, 7), *names(3, 8, 10)]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("000000010000000000000005", wal.Segment(1, 5)),
        (f"0000000A00000001000000FF-{SUM}.zst", wal.Segment(10, 511)),
        (f"archive/demo/15-1/0000000100000000/000000010000000000000005-{SUM}", wal.Segment(1, 5)),
        ("000000010000000000000005.partial", None),
        (f"000000010000000000000005.partial-{SUM}.zst", None),
        ("000000010000000000000002.00000028.backup", None),
        ("00000002.history", None),
    ],
)
def test_a_segment_is_known_by_its_name(name, found):
    assert wal.segment(name) == found


@pytest.mark.parametrize("name", ["000000010000000000000005", "0000000A00000001000000FF"])
def test_a_segment_gives_its_name_again(name):
    assert wal.segment(name).name() == name


def test_a_larger_segment_has_fewer_of_them_in_4_gib():
    assert wal.segment("00000001000000010000003F", 64 * 2**20) == wal.Segment(1, 127)
    assert wal.Segment(1, 64).name(64 * 2**20) == "000000010000000100000000"


@pytest.mark.parametrize("text", ["0/0", "0/A000120", "1F/FFFFFFFF"])
def test_a_position_is_read_and_written(text):
    assert wal.lsn(wal.position(text)) == text


@pytest.mark.parametrize("text", ["", "5", "0/x", "0/1/2"])
def test_what_is_no_position_is_refused(text):
    with pytest.raises(wal.WalError, match="is no position"):
        wal.position(text)


def test_a_list_of_an_archive_holds_segments_and_histories():
    listed = [
        "15-1",
        "15-1/00000002.history",
        "15-1/0000000200000000",
        f"15-1/0000000200000000/000000020000000000000005-{SUM}.zst",
        f"15-1/0000000100000000/000000010000000000000004-{SUM}.zst",
        "15-1/0000000100000000/000000010000000000000002.00000028.backup",
    ]
    assert wal.listed(listed) == (["000000010000000000000004", "000000020000000000000005"], [2])


def test_a_history_tells_where_each_timeline_was_left():
    assert wal.forks(HISTORIES[3]) == [(1, 0x5000120), (2, 0x8000000)]


def test_a_history_that_is_none_is_refused():
    with pytest.raises(wal.WalError, match="is no line"):
        wal.forks("Nothing of the kind\n")


@pytest.mark.parametrize(
    ("taken", "start", "missing"),
    [
        ([], WHOLE[0], []),
        ([], "000000010000000000000003", []),
        # The segment in which the fork lies is read from the next timeline.
        ([], "000000010000000000000005", []),
        ([WHOLE[2]], WHOLE[0], [WHOLE[2]]),
        # F13: in the middle of a timeline; F14: the last ones before a fork.
        ([WHOLE[8]], WHOLE[0], [WHOLE[8]]),
        (WHOLE[5:7], WHOLE[0], WHOLE[5:7]),
        # The first of a new timeline.
        ([WHOLE[7]], WHOLE[0], [WHOLE[7]]),
        # The backup's own first segment, and what lies before it.
        ([WHOLE[1]], WHOLE[1], [WHOLE[1]]),
        ([WHOLE[0]], WHOLE[1], []),
        # All of a timeline between two others.
        (names(2, 5, 7), WHOLE[0], names(2, 5, 7)),
    ],
)
def test_what_a_recovery_lacks_is_named(taken, start, missing):
    assert wal.gaps([name for name in WHOLE if name not in taken], HISTORIES, start) == missing


def test_the_newest_segment_may_be_any():
    assert wal.gaps(WHOLE[:-1], HISTORIES, WHOLE[0]) == []


def test_a_timeline_that_has_just_begun_lacks_nothing():
    assert wal.gaps(WHOLE[:7], HISTORIES, WHOLE[0]) == []


def test_a_timeline_without_its_history_is_told():
    histories = {2: HISTORIES[2]}
    assert wal.gaps(WHOLE, histories, WHOLE[0]) == ["00000003.history"]
    assert wal.gaps(WHOLE, {}, WHOLE[0]) == ["00000002.history", "00000003.history"]


def test_a_backup_of_an_abandoned_timeline_is_followed_to_its_end():
    """Restored to a time within 05 of timeline 1, once timeline 2 had come to 07: timeline 3 comes from 1 alone."""
    histories = {2: "1\t0/5000120\tbefore\n", 3: "1\t0/5000900\tbefore 2026-11-30\n"}
    there = [*names(1, 1, 4), *names(2, 5, 7), *names(3, 5, 9)]
    assert wal.gaps(there, histories, names(1, 1, 1)[0]) == []
    assert wal.gaps(there, histories, names(2, 6, 6)[0]) == []
    less = [name for name in there if name not in (*names(2, 6, 6), *names(3, 7, 7))]
    assert wal.gaps(less, histories, names(1, 1, 1)[0]) == names(3, 7, 7)
    assert wal.gaps(less, histories, names(2, 5, 5)[0]) == names(2, 6, 6)


def test_wal_beyond_a_fork_is_not_wanted():
    """A lost primary had written, and archived, more than its successor ever had."""
    assert wal.gaps([*WHOLE, *names(1, 6, 7)], HISTORIES, WHOLE[0]) == []
    assert wal.unbroken_end([*WHOLE, *names(1, 6, 7)], HISTORIES, WHOLE[0]) == WHOLE[-1]


@pytest.mark.parametrize(
    ("taken", "end"),
    [([], WHOLE[-1]), ([WHOLE[8]], WHOLE[7]), (WHOLE[5:7], WHOLE[4]), ([WHOLE[4]], WHOLE[3]), ([WHOLE[0]], None)],
)
def test_all_is_there_up_to_the_first_gap(taken, end):
    there = [name for name in WHOLE if name not in taken]
    assert wal.unbroken_end(there, HISTORIES, WHOLE[0]) == end
    assert wal.unbroken_to(there, HISTORIES, WHOLE[0]) == (end and (wal.segment(end).number + 1) * wal.SEGMENT_BYTES)


def test_a_start_that_is_no_segment_is_refused():
    with pytest.raises(wal.WalError, match="is no name of a segment"):
        wal.gaps(WHOLE, HISTORIES, "20261130-010000F")


def test_neighbours_are_told_as_a_range():
    assert wal.ranges([*names(1, 3, 5), *names(2, 6, 6), "00000003.history"]) == [
        "000000010000000000000003 to 000000010000000000000005",
        "000000020000000000000006",
        "00000003.history",
    ]
    assert wal.ranges([]) == []
