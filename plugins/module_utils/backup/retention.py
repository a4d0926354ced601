# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which backups of a kind may go, and which of its records: decided on records alone, so that it can be shown for any clock and any history."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from .record import EXPIRE, OK, RESTORE, TAKE, VERIFY, Record, label, moment, of

DAY = 86400
# A clock that has jumped by more than this makes nothing old.
JUMP_S = 2 * DAY
# For how long at least a record stays, by which a jump of the clock is noticed, and how often all WAL was recovered; and how many good ones of each
# act stay whatever their age: how long an act takes is estimated of the last ones.
RECORD_DAYS, MEASURED = 30, 10


@dataclass(frozen=True)
class Decision:
    """Which backups go, by their labels, oldest first; or why none may, though some are old enough."""

    remove: list[str] = field(default_factory=list)
    refusal: str = ""


def kept(records: Sequence[Record]) -> list[Record]:
    """The good backups of a kind that retention has not removed, oldest first."""
    removed = {name for record in of(records, EXPIRE) for name in record.get("removed", [])}
    return sorted((one for one in of(records, TAKE, OK) if label(one) not in removed), key=moment)


def verified(records: Sequence[Record]) -> dict[str, Record]:
    """By backup, the newest verification that came to a result."""
    return {one["label"]: one for one in of(records, VERIFY) if one.get("label") and one["verdict"] != "unknown"}


def expire(
    records: Sequence[Record],
    now: float,
    days: float,
    depends: Callable[[Iterable[Record]], set[str]],
    clock: Iterable[float] = (),
    pause_s: float = JUMP_S,
) -> Decision:
    """Decide which backups are no longer promised to be kept.

    records: of this kind, newest last. days: for how long a backup is kept. depends: which backups these need.
    clock: when each run of any kind began, by which a clock is noticed that has jumped. pause_s: the longest usual time between two of them.

    Kept are, whatever their age: the newest good backup, the newest one that a verification found good with all that is newer, and what these
    and younger ones need.
    """
    good = kept(records)
    by_label = {label(one): one for one in good}
    old = [one for one in good if moment(one) < now - days * DAY]
    if not old:
        return Decision()
    wrong = _clock_fault(now, sorted({*clock, *(record["started"] for record in records)}), max(pause_s, JUMP_S))
    if wrong:
        return Decision(refusal=wrong)
    checks = of(records, VERIFY)
    if not checks or checks[-1]["verdict"] != OK:
        seen = "there is none" if not checks else f"it is {checks[-1]['verdict']}: {checks[-1]['reason']}"
        return Decision(refusal=f"nothing is removed until the newest verification is ok ({seen})")
    proven = [one for one in good if (found := verified(records).get(label(one))) and found["verdict"] == OK]
    if not proven:
        return Decision(refusal="nothing is removed until a kept backup was verified")
    needed = {label(one) for one in good if one not in old or moment(one) >= moment(proven[-1])}
    needed.add(label(good[-1]))
    while True:
        more = {name for name in depends(by_label[name] for name in needed if name in by_label) if name not in needed}
        if not more:
            break
        needed |= more
    return Decision(remove=[label(one) for one in old if label(one) not in needed])


def record_s(days: float) -> float:
    """Return for how many seconds a record stays that nothing needs. days: what the operator wants."""
    return max(days, RECORD_DAYS) * DAY


def superfluous(
    records: Sequence[Record], now: float, days: float, clock: Iterable[float] = (), pause_s: float = JUMP_S
) -> list[str]:
    """Return the names of the records that nobody needs any more, in the order in which they may go: what one that stays refers to stays, wherever it
    is broken off.

    records, clock, pause_s: as expire() takes them. None goes by a clock that is not to be believed. Kept are, whatever their age: those of kept
    backups and of their verifications; the newest of each act, and the last good ones; restores since the oldest kept backup, which know when
    timelines began, and those with safety copies that are left; and what says of an older one that its backup, or its copy, is gone.
    """
    if _clock_fault(now, sorted({*clock, *(one["started"] for one in records)}), max(pause_s, JUMP_S)):
        return []
    good = kept(records)
    labels = {label(one) for one in good}
    oldest = min((moment(one) for one in good), default=now)
    acts = {one["act"] for one in records}
    stay = {found[-1]["name"] for act in acts if (found := of(records, act))}
    stay |= {one["name"] for act in acts for one in of(records, act, OK)[-MEASURED:]}
    stay |= {one["name"] for one in records if one["started"] >= now - record_s(days)}
    stay |= {one["name"] for one in records if one["act"] in (TAKE, VERIFY) and label(one) in labels}
    gone = {path for one in of(records, RESTORE) for path in one.get("removed", [])}
    for one in of(records, RESTORE):
        if one["started"] >= oldest or {copy["path"] for copy in one.get("safety", [])} - gone:
            stay.add(one["name"])
    left = [one for one in records if one["name"] in stay]
    there = {label(one) for one in of(left, TAKE, OK)}
    copies = {copy["path"] for one in of(left, RESTORE) for copy in one.get("safety", [])}
    for one in records:
        told = copies if one["act"] == RESTORE else there if one["act"] == EXPIRE else set()
        if told.intersection(one.get("removed", [])):
            stay.add(one["name"])
    return [
        one["name"]
        for late in (False, True)
        for one in records
        if one["name"] not in stay and bool(one.get("removed")) is late
    ]


def _clock_fault(now: float, runs: list[float], pause_s: float) -> str:
    """Why the clock is not to be believed, by the runs that it dated; empty where it may be.

    After a jump forward all runs have the new time. So what counts is that runs without a long pause between them reach back for longer than
    the longest usual pause.
    """
    if runs and now < runs[-1]:
        return f"the clock is {runs[-1] - now:.0f} s behind the newest record, so nothing is removed"
    later = now
    for moment_of_run in reversed(runs):
        if later - moment_of_run > pause_s:
            return (
                f"nothing was run for {(later - moment_of_run) / DAY:.1f} days, or the clock has jumped by them, so nothing is removed until"
                f" runs reach back {pause_s / DAY:.0f} days"
            )
        if now - moment_of_run > pause_s:
            return ""
        later = moment_of_run
    return ""
