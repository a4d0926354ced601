# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""By what a real repository had after four restores of one cluster (PostgreSQL 15, pgBackRest 2.45): see `about` of the fixture."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import timeline as timelines
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import wal
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql.timeline import (
    LATEST,
    LSN,
    TIME,
    Choice,
    Tree,
    choose,
)
from pgbackrest_restores import BACKUPS, RECORDED, T1, T2, T3, recorded, spread

START = BACKUPS[0]["archive"]["start"]


@pytest.mark.parametrize(
    ("moment", "timeline"),
    [
        (T1, 1),
        # The second restore went to a time before the first restore, and after its target: the rows are on the first timeline.
        (T2, 1),
        # The fourth of the trials that PostgreSQL's default got wrong: an abandoned branch, with newer ones beside it.
        (T3, 2),
    ],
)
def test_a_time_is_looked_for_on_the_timeline_that_was_live_then(moment, timeline):
    assert choose(recorded(), TIME, moment).timeline == timeline


def test_the_newest_timeline_would_have_other_rows_than_the_abandoned_branch():
    tree = recorded()
    assert choose(tree, LATEST).timeline == 5
    assert 2 in dict(tree.line(5)) and 3 not in dict(tree.line(5))


def test_a_time_near_the_birth_of_a_branch_may_be_meant_on_either_side():
    tree = spread()
    birth = tree.births[2]
    assert choose(tree, TIME, birth + 1) == Choice(2, (1,))
    assert choose(tree, TIME, birth - 1) == Choice(1, (2,))
    assert choose(tree, TIME, birth - timelines.UNCERTAIN_S - 1).others == ()


def test_a_failover_is_no_branch_and_the_timeline_after_it_has_what_the_former_one_did_not_archive():
    """The segment that was being written when the primary was lost is archived by the new one alone."""
    tree = Tree({2: "1\t0/4001000\tno recovery target specified\n"}, {2: 1000.0}, {1: {1, 2, 3}, 2: {4, 5}})
    assert tree.goes_on(2)
    assert choose(tree, TIME, 900.0) == Choice(2)
    assert choose(tree, TIME, 999.0) == Choice(2)
    assert tree.reach("000000010000000000000002", 2) == timelines.Reach(wal.Segment(2, 5))


def test_a_restore_within_the_segment_that_was_being_written_is_a_branch():
    """Its fork lies in a segment that both timelines have."""
    text = "1\t0/4001000\tbefore 2026-11-30 19:18:15.028688+00\n"
    tree = Tree({2: text}, {2: 1000.0}, {1: {1, 2, 3, 4}, 2: {4, 5}})
    assert not tree.goes_on(2)
    assert choose(tree, TIME, 900.0) == Choice(1)


def test_a_former_primary_that_went_on_writing_is_a_branch():
    tree = Tree({2: "1\t0/4001000\tno recovery target specified\n"}, {2: 1000.0}, {1: {3, 4, 5}, 2: {4}})
    assert not tree.goes_on(2)


def test_a_position_on_several_branches_is_uncertain_and_one_that_they_share_is_not():
    tree = recorded()
    fork = wal.position("0/301BDD8")
    assert choose(tree, LSN, fork - 1).others == ()
    found = choose(tree, LSN, fork + 64)
    assert {found.timeline, *found.others} > {1, found.timeline}
    assert found.timeline == 5


def test_births_are_the_earliest_that_anybody_knows():
    assert timelines.births({2: 30.0}, {2: 10.0, 3: 40.0}, {}) == {2: 10.0, 3: 40.0}


def test_without_births_the_first_timeline_is_taken():
    assert choose(recorded(births={}), TIME, T3).timeline == 1


# -- how far -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("timeline", "last"), [(1, (1, 4)), (2, (2, 4)), (3, (3, 3)), (5, (5, 6))])
def test_wal_reaches_along_each_branch_to_its_own_end(timeline, last):
    reach = recorded().reach(START, timeline)
    assert reach.last.timeline == last[0]
    assert reach.missing == ()


def test_a_missing_segment_ends_what_can_be_restored():
    (taken,) = [name for name in RECORDED["files"] if "/000000020000000000000003" in name]
    reach = recorded(**{taken: None}).reach(START, 2)
    assert reach.last == wal.Segment(1, 2)
    assert reach.missing == ("000000020000000000000003",)


def test_a_backup_of_another_branch_leads_nowhere():
    tree = recorded()
    assert tree.reach("000000030000000000000003", 5) is None
    assert tree.reach("000000010000000000000009", 2) is None
