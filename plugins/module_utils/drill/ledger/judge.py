# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a ledger and the members' own copies say together: lost, twice, never sent, and for how long nothing was acknowledged.

Both are read as streams in ascending order of number and joined as they come, so that memory does not grow with the drill.
"""

from __future__ import annotations

import heapq
import itertools
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter

from .records import ACKNOWLEDGED, FAILED, OUTCOMES, UNKNOWN, Ledger, LedgerError, Record

# One path's entries in verdict.json. The first ones need the members' copies; all may be null, `problem` then says why.
READ_BACK = (
    "missing", "missing_numbers", "lost_s", "twice", "never_sent", "unknown_present", "failed_present", "members",
    "sum_right",
)  # fmt: skip
NOTED = (
    "sent", *OUTCOMES, "reads", "stale_reads", "read_failed", "outage_s", "longest_at", "slowest_s",
    "lock_wait_s",
)  # fmt: skip
NUMBERS_SHOWN = 100
# How long members may take until all have what one has, in s: a replica follows by some milliseconds.
SETTLE_S = 15
_RECORD = ""


class Unreadable(Exception):
    """A member that could not be read back."""

    def __init__(self, member: str, why: str):
        super().__init__(f"{member} could not be read back: {' '.join(why.split())}")
        self.member = member


class Outage:
    """The longest time between two acknowledgements that reaches into the time after `since`; all in s since the start.

    The start counts as an acknowledgement, and so does the end of the ledger: what never came back lasts until then.
    """

    def __init__(self, since: float):
        self.since, self.seconds, self.at, self._last = since, 0.0, None, 0.0

    def acknowledged(self, at: float) -> None:
        """The next acknowledgement, or the end."""
        if at > self.since and at - self._last > self.seconds:
            self.seconds, self.at = at - self._last, self._last
        self._last = at


class Tally:
    """Counts records and what members have of them, one number after the other."""

    def __init__(self, members: Iterable[str], since: float):
        self.members = dict.fromkeys(members, 0)
        self.outage = Outage(since)
        self.outcomes = dict.fromkeys(OUTCOMES, 0)
        self.present = dict(self.outcomes)
        self.reads = {"ok": 0, "stale": 0, "failed": 0}
        self.missing, self.missing_numbers, self.twice, self.never_sent = 0, [], 0, 0
        self.differing, self.slowest = 0, 0.0
        self.lock_wait: float | None = None
        self._lost_from = self._lost_until = None

    def add(self, number: int, record: Record | None, counts: Mapping[str, int]) -> None:
        """One number: its record if it was sent, and how often each member that has it has it."""
        for member in counts:
            self.members[member] += 1
        self.twice += any(count > 1 for count in counts.values())
        self.differing += 0 < len(counts) < len(self.members)
        if record is None:
            self.never_sent += 1
            return
        self.outcomes[record.outcome] += 1
        self.present[record.outcome] += bool(counts)
        if record.read:
            self.reads[record.read] += 1
        if record.lock_wait is not None:
            self.lock_wait = max(self.lock_wait or 0.0, record.lock_wait)
        if record.outcome == ACKNOWLEDGED:
            self.outage.acknowledged(record.at)
            self.slowest = max(self.slowest, record.at - record.sent)
            if len(counts) < len(self.members):
                self._lose(record)

    def _lose(self, record: Record) -> None:
        self.missing += 1
        if len(self.missing_numbers) < NUMBERS_SHOWN:
            self.missing_numbers.append(record.number)
        if self._lost_from is None:
            self._lost_from = record.at
        self._lost_until = record.at

    def lost_s(self, rate: float) -> float:
        """From the first to the last lost acknowledged write, in s, one of which stands for 1/rate s."""
        return self._lost_until - self._lost_from + 1 / rate if self.missing else 0.0


def tally(records: Iterator[Record], streams: Mapping[str, Iterator[tuple[int, int]]], since: float) -> Tally:
    """Join the records with (number, count) of every member, all ascending. Raises Unreadable."""
    result = Tally(streams, since)
    merged = heapq.merge(
        ((record.number, _RECORD, record) for record in records),
        *(_tagged(member, stream) for member, stream in streams.items()),
        key=itemgetter(0),
    )
    for number, group in itertools.groupby(merged, key=itemgetter(0)):
        record, counts = None, {}
        for _number, member, value in group:
            if member == _RECORD:
                record = value
            else:
                counts[member] = counts.get(member, 0) + value
        result.add(number, record, counts)
    return result


def verdict(ledger: Ledger, since: float, result: Tally | None, problems: Iterable[str]) -> dict:
    """One path's part of verdict.json. Without a result nothing could be read back: what would need that is null."""
    end, ended = ledger.end()
    problems = list(problems)
    if not ended:
        problems.insert(0, f"the ledger breaks off at {end:.1f} s")
    seen = result or tally(ledger.records(), {}, since)
    seen.outage.acknowledged(end)
    if not seen.outcomes[ACKNOWLEDGED]:
        problems.append("nothing was acknowledged")
    if result and result.present[FAILED]:
        problems.append(f"{result.present[FAILED]} writes that were refused are there")
    back = {
        "missing": seen.missing,
        "missing_numbers": seen.missing_numbers,
        "lost_s": round(seen.lost_s(ledger.rate), 3),
        "twice": seen.twice,
        "never_sent": seen.never_sent,
        "unknown_present": seen.present[UNKNOWN],
        "failed_present": seen.present[FAILED],
        "members": seen.members,
        "sum_right": None,
    }
    return {
        "sent": sum(seen.outcomes.values()),
        **seen.outcomes,
        **(back if result else dict.fromkeys(READ_BACK)),
        "reads": sum(seen.reads.values()),
        "stale_reads": seen.reads["stale"],
        "read_failed": seen.reads["failed"],
        "outage_s": round(seen.outage.seconds, 3),
        "longest_at": None if seen.outage.at is None else round(seen.outage.at, 3),
        "slowest_s": round(seen.slowest, 3),
        "lock_wait_s": seen.lock_wait,
        "problem": "; ".join(problems) or None,
    }


def unjudged(problem: str) -> dict:
    """The part of a path that could not be judged at all."""
    return dict.fromkeys((*NOTED, *READ_BACK)) | {"problem": problem}


def judge(path, ledger: Ledger, injected: float, sleep=time.sleep) -> dict:
    """Read one path back from every member, and judge. injected: when the fault was, in s since 1970."""
    found = judge_records(path, ledger, injected, sleep)
    return with_accounts(path, found) if path.has_accounts else found


def with_accounts(path, found: dict) -> dict:
    """The verdict and whether the accounts of every member that was read are right; null where none was.

    Each member is asked in one statement, so it need not have come to the end yet.
    """
    problems, right = [found["problem"]] if found["problem"] else [], None
    for member in found["members"] or ():
        try:
            wrong = path.unbalanced(member)
        except Exception as error:  # whatever a client's library raises
            problems.append(str(Unreadable(member, str(error) or type(error).__name__)))
            continue
        right = right is not False and not wrong
        problems += [f"on {member} {text}" for text in wrong]
    return found | {"sum_right": right, "problem": "; ".join(problems) or None}


def judge_records(path, ledger: Ledger, injected: float, sleep) -> dict:
    """As judge(), of the records alone. Members that differ are read again until they agree or SETTLE_S has passed."""
    since, members, problems = injected - ledger.began, list(path.members), []
    try:
        path.settle()
    except Exception as error:  # whatever a client's library raises
        return verdict(ledger, since, None, [f"could not be read back: {error}"])
    waited = 0
    while members:
        try:
            result = tally(ledger.records(), {name: path.present(name, ledger.numbers()) for name in members}, since)
        except Unreadable as error:
            problems.append(str(error))
            members.remove(error.member)
            continue
        if not result.differing or waited >= SETTLE_S:
            return verdict(ledger, since, result, problems)
        sleep(1)
        waited += 1
    return verdict(ledger, since, None, problems)


def injected_at(marks: Iterable[str]) -> float:
    """When the first fault was injected, in s since 1970, of the lines of marks.jsonl; the beginning of time where none was."""
    times = [mark["at"] for mark in map(json.loads, filter(str.strip, marks)) if mark["what"] == "injected"]
    return min(times, default=0.0)


def _tagged(member: str, stream: Iterator[tuple[int, int]]) -> Iterator[tuple[int, str, int]]:
    try:
        for number, count in stream:
            yield number, member, count
    except LedgerError:
        raise
    except Exception as error:  # whatever a client's library raises
        raise Unreadable(member, str(error) or type(error).__name__) from error
