# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which WAL of a repository belongs together, and what is missing between: segments, timelines, and where one forked from another.

pgBackRest's own `verify` says nothing of a segment that is missing in the middle of a timeline, nor of one before a fork.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

SEGMENT_BYTES = 16 * 1024 * 1024
# A whole segment as PostgreSQL names it, or as pgBackRest keeps it: with its SHA-1 and how it is compressed. One that is cut off at a
# fork (.partial) and a backup's label file (.backup) are none.
_SEGMENT = re.compile(r"^([0-9A-F]{24})(?:-[0-9a-f]{40}(?:\.\w+)?)?$")
_HISTORY = re.compile(r"^([0-9A-F]{8})\.history$")
_FORK = re.compile(r"^\s*(\d+)\s+([0-9A-F]+/[0-9A-F]+)(?:\s|$)", re.IGNORECASE)


class WalError(Exception):
    """What is no name, no position or no history."""


@dataclass(frozen=True, order=True)
class Segment:
    """A segment by its timeline and its number, counted from the first of all WAL."""

    timeline: int
    number: int

    def name(self, segment_bytes: int = SEGMENT_BYTES) -> str:
        """As PostgreSQL names its file."""
        high, low = divmod(self.number, 2**32 // segment_bytes)
        return f"{self.timeline:08X}{high:08X}{low:08X}"


def segment(name: str, segment_bytes: int = SEGMENT_BYTES) -> Segment | None:
    """The segment of a file's name, without directories; None for any other file."""
    found = _SEGMENT.match(name.rpartition("/")[2])
    if not found:
        return None
    timeline, high, low = (int(found[1][start : start + 8], 16) for start in (0, 8, 16))
    return Segment(timeline, high * (2**32 // segment_bytes) + low)


def position(lsn: str) -> int:
    """The bytes before a position as PostgreSQL writes it (0/A000120). Raises WalError."""
    try:
        high, low = lsn.split("/")
        return (int(high, 16) << 32) + int(low, 16)
    except ValueError as error:
        raise WalError(f"{lsn!r} is no position in WAL") from error


def lsn(value: int) -> str:
    """A position as PostgreSQL writes it."""
    return f"{value >> 32:X}/{value & 0xFFFFFFFF:X}"


def forks(history: str) -> list[tuple[int, int]]:
    """The timelines before one, oldest first, each with the position at which it was left, from the text of its .history file."""
    found = []
    for line in history.splitlines():
        text = line.partition("#")[0].strip()
        if not text:
            continue
        fork = _FORK.match(text)
        if not fork:
            raise WalError(f"{line!r} is no line of a timeline's history")
        found.append((int(fork[1]), position(fork[2])))
    return found


def listed(names: Iterable[str]) -> tuple[list[str], list[int]]:
    """What a list of an archive's files holds: the names of its segments as PostgreSQL has them, in order, and the timelines with a history."""
    segments, histories = set(), set()
    for name in names:
        own = name.rpartition("/")[2]
        found, history = _SEGMENT.match(own), _HISTORY.match(own)
        if found:
            segments.add(found[1])
        elif history:
            histories.add(int(history[1], 16))
    return sorted(segments), sorted(histories)


def gaps(
    segments: Iterable[str], histories: Mapping[int, str], start: str, segment_bytes: int = SEGMENT_BYTES
) -> list[str]:
    """What a recovery that begins at a segment lacks on its way to the newest one: names of segments and .history files, in its order.

    segments: names of what is there, in PostgreSQL's or pgBackRest's form; other files are passed over. histories: timeline to the text of its
    .history file. start: the name of the segment in which the oldest kept backup begins. A backup of a timeline that the newest one does not
    come from, as after a restore to an earlier time, is followed to the end of its own. Raises WalError for what is no name or no history.
    """
    there = _present(segments, segment_bytes)
    return [name for name, present in _way(there, histories, start, segment_bytes) if not present]


def unbroken_end(
    segments: Iterable[str], histories: Mapping[int, str], start: str, segment_bytes: int = SEGMENT_BYTES
) -> str | None:
    """The last segment that a recovery from `start` reaches without a gap; None where even the first is missing. Takes what gaps() takes."""
    there, last = _present(segments, segment_bytes), None
    for name, present in _way(there, histories, start, segment_bytes):
        if not present:
            break
        last = name if segment(name) else last
    return last


def unbroken_to(segments: Iterable[str], histories: Mapping[int, str], start: str) -> int | None:
    """The position up to which everything is there: the end of the segment that unbroken_end() returns."""
    end = unbroken_end(segments, histories, start)
    return None if end is None else (segment(end).number + 1) * SEGMENT_BYTES


def ranges(names: Iterable[str], segment_bytes: int = SEGMENT_BYTES) -> list[str]:
    """The same in few words: neighbours of one timeline as `first to last`, in the given order."""
    found: list[list[str]] = []
    for name in names:
        own, before = segment(name, segment_bytes), segment(found[-1][-1], segment_bytes) if found else None
        if own and before and own == Segment(before.timeline, before.number + 1):
            found[-1] = [found[-1][0], name]
        else:
            found.append([name])
    return [" to ".join(pair) for pair in found]


def _present(segments, segment_bytes) -> dict[int, set[int]]:
    """Timeline to the numbers of its segments."""
    there: dict[int, set[int]] = {}
    for name in segments:
        if own := segment(name, segment_bytes):
            there.setdefault(own.timeline, set()).add(own.number)
    return there


def _way(there, histories, start, segment_bytes) -> Iterator[tuple[str, bool]]:
    """Each file that a recovery from start needs, in its order, and whether it is there."""
    first = segment(start, segment_bytes)
    if first is None:
        raise WalError(f"{start!r} is no name of a segment")
    # A timeline without its history can't be followed to from another one: it is asked for, and left at that.
    orphans = sorted(
        timeline for timeline in there if timeline > max(first.timeline, *histories, 1) and timeline not in histories
    )
    begin, timeline = first.number, first.timeline
    for after, fork in _line(first, histories, segment_bytes):
        own = there.get(timeline, set())
        for number in range(begin, fork // segment_bytes):
            yield Segment(timeline, number).name(segment_bytes), number in own
        yield f"{after:08X}.history", True
        begin, timeline = max(begin, fork // segment_bytes), after
    own = there.get(timeline, set())
    if timeline == first.timeline and first.number not in own:
        yield first.name(segment_bytes), False
        begin += 1
    for number in range(begin, max(own, default=-1) + 1):
        yield Segment(timeline, number).name(segment_bytes), number in own
    for timeline in orphans:
        yield f"{timeline:08X}.history", False


def _line(first, histories, segment_bytes) -> list[tuple[int, int]]:
    """From the timeline of a segment to the newest that comes from it after this segment: the next timeline and where it forked, in order."""
    for newest in sorted(histories, reverse=True):
        way = forks(histories[newest])
        later = [(before, fork) for before, fork in way if before >= first.timeline]
        if newest <= first.timeline or not later or later[0][0] != first.timeline:
            continue
        # The segment with the fork is read from the next timeline, so a backup that begins in it still leads over.
        if later[0][1] // segment_bytes >= first.number:
            following = [before for before, _fork in later[1:]] + [newest]
            return [(after, fork) for after, (_before, fork) in zip(following, later)]
    return []
