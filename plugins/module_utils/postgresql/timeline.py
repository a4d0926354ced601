# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Along which timeline a recovery has to go to reach its target. PostgreSQL's own default is the newest one, and where the target lies on
another branch, as after an earlier restore, it ends well with the wrong rows.

A timeline is born at a promotion: a failover, a switchover, or the end of a restore. It *goes on* where the one before it stopped, or it
*branches off* from it, where that one had written more than it shares. Times are seconds since 1970, positions are bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from . import wal

# Clocks of hosts, and the time until a history is archived, differ by less.
UNCERTAIN_S = 60
TIME, LSN, NAME, XID, LATEST = "time", "lsn", "name", "xid", "latest"
# The reason in a timeline's history where a server was promoted without being stopped before the end of its WAL.
_WITHOUT_TARGET = "no recovery target specified"
_LINE = re.compile(r"^\s*(\d+)\s+([0-9A-F]+/[0-9A-F]+)\s*(.*)$", re.IGNORECASE)

Segments = Mapping[int, Iterable[int]]


@dataclass(frozen=True)
class Choice:
    """A timeline to follow; `others`: those that may be meant as well, where that can't be told."""

    timeline: int
    others: tuple[int, ...] = ()


@dataclass(frozen=True)
class Reach:
    """How far WAL goes without a gap from a backup along a timeline.

    last: the last segment, None where even the first is missing. missing: what comes after it, where more is there beyond the gap.
    """

    last: wal.Segment | None
    missing: tuple[str, ...] = ()

    @property
    def end(self) -> int:
        """The position at which the last segment ends."""
        return (self.last.number + 1) * wal.SEGMENT_BYTES if self.last else 0


@dataclass(frozen=True)
class Tree:
    """All timelines of a repository.

    histories: timeline to the text of its .history file; the first one has none. births: timeline to when it began, as far as that is known.
    segments: timeline to the numbers of its segments.
    """

    histories: Mapping[int, str]
    births: Mapping[int, float] = field(default_factory=dict)
    segments: Segments = field(default_factory=dict)

    @property
    def timelines(self) -> list[int]:
        """Their numbers, oldest first."""
        return sorted(
            {*self.histories, *self.segments, *(old for new in self.histories for old, _end in self.line(new))}
        )

    def line(self, timeline: int) -> list[tuple[int, int | None]]:
        """The timelines that lead to one, oldest first, each with the position at which it was left; itself last, which was not."""
        return [*wal.forks(self.histories.get(timeline, "")), (timeline, None)]

    def parent(self, timeline: int) -> tuple[int, int] | None:
        """The timeline before, and the position of the fork."""
        before = self.line(timeline)[:-1]
        return before[-1] if before else None

    def goes_on(self, timeline: int) -> bool:
        """Whether the timeline before it has nothing that this one lacks."""
        parent = self.parent(timeline)
        lines = [found for line in self.histories.get(timeline, "").splitlines() if (found := _LINE.match(line))]
        if not parent or not lines or lines[-1][3].strip() != _WITHOUT_TARGET:
            return False
        before, fork = parent
        return max(self.segments.get(before, ()), default=-1) <= fork // wal.SEGMENT_BYTES

    def tip(self, timeline: int) -> int:
        """The last timeline of those that go on from one: what was live at its end has all of it, in segments that only they may have."""
        following = [
            one for one in sorted(self.histories) if (self.parent(one) or (0,))[0] == timeline and self.goes_on(one)
        ]
        return self.tip(following[-1]) if following else timeline

    def alive(self, moment: float) -> int:
        """The timeline that was live at a moment: the newest that was born by then. One whose birth nobody knows does not count."""
        born = [one for one in self.timelines if one in self.births and self.births[one] <= moment]
        roots = [one for one in self.timelines if not self.parent(one)]
        return max(born, default=min(roots, default=1))

    def leaves(self) -> list[int]:
        """The timelines that no other goes on from, newest first."""
        return sorted({self.tip(one) for one in self.timelines}, reverse=True)

    def reach(self, start: str, timeline: int) -> Reach | None:
        """How far a recovery from a backup gets along a timeline; start: the segment in which the backup begins.

        None where the backup is of none of the timelines that lead there, or was begun after the fork.
        """
        first = wal.segment(start)
        if first is None:
            raise wal.WalError(f"{start!r} is no name of a segment")
        way = [(own, end) for own, end in self.line(timeline) if own >= first.timeline]
        if not way or way[0][0] != first.timeline:
            return None
        if way[0][1] is not None and way[0][1] // wal.SEGMENT_BYTES < first.number:
            return None
        last, number = None, first.number
        for own, end in way:
            there = set(self.segments.get(own, ()))
            until = end // wal.SEGMENT_BYTES if end is not None else max(there, default=number - 1) + 1
            while number < until:
                if number not in there:
                    return Reach(last, self._missing(own, number, until, there))
                last, number = wal.Segment(own, number), number + 1
        return Reach(last)

    @staticmethod
    def _missing(timeline, number, until, there):
        names = []
        while number < until and number not in there and len(names) < 3:
            names.append(wal.Segment(timeline, number).name())
            number += 1
        return tuple(names)


def births(*sources: Mapping[int, float]) -> dict[int, float]:
    """When timelines began, of several who may have learned of it later: the earliest time counts."""
    found: dict[int, float] = {}
    for source in sources:
        for timeline, moment in source.items():
            found[int(timeline)] = min(moment, found.get(int(timeline), moment))
    return found


def choose(tree: Tree, kind: str, value: float = 0) -> Choice:
    """The timeline for a target; value: seconds of a time, bytes of an LSN.

    A time within UNCERTAIN_S of the birth of a branch may be meant on either side of it. A position, a name or a transaction may be on any
    branch; it is looked for on the newest, and a position that other branches have as well is uncertain.
    """
    if kind == TIME:
        found = tree.tip(tree.alive(value))
        near = [
            one
            for one, birth in sorted(tree.births.items())
            if abs(birth - value) <= UNCERTAIN_S and tree.parent(one) and not tree.goes_on(one)
        ]
        either = {tree.tip(side) for one in near for side in (one, tree.alive(tree.births[one] - 0.001))}
        return Choice(found, tuple(sorted(either - {found})))
    leaves = tree.leaves() or [1]
    if kind == LSN:
        holding = [one for one in leaves if _ends(tree, one) > value] or leaves[:1]
        newest = holding[0]
        others = [one for one in holding[1:] if _common(tree, one, newest) < value]
        return Choice(newest, tuple(sorted(others)))
    return Choice(leaves[0])


def _ends(tree: Tree, timeline: int) -> int:
    numbers = [number for own, _end in tree.line(timeline) for number in tree.segments.get(own, ())]
    return (max(numbers, default=-1) + 1) * wal.SEGMENT_BYTES


def _common(tree: Tree, one: int, other: int) -> int:
    """Up to which position two timelines share their history."""
    mine, theirs = tree.line(one), tree.line(other)
    shared = 0
    for (own, end), (also, until) in zip(mine, theirs):
        if own != also:
            break
        if end != until:
            return min(limit for limit in (end, until) if limit is not None)
        shared = end or shared
    return shared
