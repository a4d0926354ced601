# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What backups will need and how long restores will take, of what was measured: records, and how fast WAL comes in. Nothing is guessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..common.backup import seconds_per_byte
from ..common.text import size, span, table
from . import retention
from .record import OK, TAKE, Record, moment, of

DAY = 86400
# For how long beyond its time a backup stays: until a newer one was verified; one that others need, until these may go.
LATER_DAYS, CHAIN_DAYS = 1, 7
UNKNOWN = "not measured yet"


def estimate(
    kind: str,
    spec: Mapping[str, Any],
    records: Sequence[Record],
    now: float,
    grows: float | None = None,
    elsewhere: bool = False,
) -> dict[str, Any]:
    """Return what one kind has and will need.

    spec: of the program's settings: title, retention_days. records: newest last. grows: bytes a day that come in beside the backups, where there
    are such; None where that is not known yet. elsewhere: whether none of it takes room here.
    """
    good, days = retention.kept(records), spec["retention_days"]
    taken = [one for one in of(records, TAKE, OK) if moment(one) >= now - days * DAY]
    observed = max(1.0, (now - min((moment(one) for one in taken), default=now)) / DAY)
    a_day = sum(one["bytes"] for one in taken) / observed if taken else None
    kept_days = days + (CHAIN_DAYS if any(one.get("needs") for one in records) else LATER_DAYS)
    newest = good[-1] if good else None
    restored = newest and (newest.get("manifest", {}).get("restored_bytes") or newest["bytes"])
    rate = seconds_per_byte(records)
    return {
        "kind": kind,
        "title": spec["title"],
        "newest": newest["bytes"] if newest else None,
        "kept": sum(one["bytes"] for one in good),
        "a_day": None if a_day is None else round(a_day + (grows or 0)),
        "needed": None if a_day is None else round((a_day + (grows or 0)) * kept_days),
        "days": kept_days,
        "restored": restored,
        "restore_s": None if rate is None or restored is None else round(rate * restored, 1),
        "elsewhere": elsewhere,
    }


def text(hosts: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the estimates of all backup hosts for a person. hosts: by name what backup_info returned of each; nothing where it did not answer."""
    rows = [["backup", "on", "newest", "a day", "with all that is kept", "a restore takes"]]
    notes = []
    for name, answer in hosts.items():
        found = answer.get("estimate") or []
        if not found:
            why = "; ".join(answer.get("problems") or ["no answer"])
            notes.append(f"{name}: {UNKNOWN} ({why}).")
            continue
        for one in found:
            needed = f"{size(one['needed'])} in {one['days']} days" if one["needed"] is not None else UNKNOWN
            takes = f"{span(one['restore_s'])} for {size(one['restored'])}" if one["restore_s"] is not None else UNKNOWN
            place = " (elsewhere)" if one["elsewhere"] else ""
            rows.append([one["title"], name, size(one["newest"]), size(one["a_day"]), needed + place, takes])
        notes.append(_room(name, answer, [one for one in found if not one["elsewhere"]]))
    lines = (
        ["Backups, as measured", *(f"  {line}" for line in table(rows))] if len(rows) > 1 else ["Backups, as measured"]
    )
    return "\n".join([*lines, *(f"  {note}" for note in notes)])


def _room(name: str, answer: Mapping[str, Any], here: Sequence[Mapping[str, Any]]) -> str:
    """Whether the repository has room for all that will be kept."""
    needed = sum(one["needed"] or 0 for one in here)
    unknown = [one["title"] for one in here if one["needed"] is None]
    said = f"{name}: {size(needed)} will be kept"
    said += f", and what {', '.join(unknown)} needs, which is {UNKNOWN}" if unknown else ""
    free, present = answer["free"], answer["used"]
    if free + present >= needed:
        return f"{said}; there are {size(free)} free beside {size(present)} that are kept now."
    return f"{said}, MORE THAN FITS: there are {size(free)} free beside {size(present)} that are kept now. Give {answer['directory']} a larger volume."
