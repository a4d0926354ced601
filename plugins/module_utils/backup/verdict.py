# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a kind of backups stands, by its records and the clock. Only what a record says is ok counts as good; nothing known is not good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..common.text import shorten, size, span
from . import retention
from .record import EXPIRE, FAILED, OK, RESTORE, TAKE, UNKNOWN, VERIFY, Record, label, moment, of

# How long a safety copy may lie about before it counts as forgotten.
SAFETY_S = 7 * 86400
# How far a clock may be behind the newest record.
SKEW_S = 60


def judge(kind: str, spec: Mapping[str, Any], records: Sequence[Record], now: float, host: str) -> dict[str, Any]:
    """Return how a kind stands.

    spec: its part of the program's settings: title, stale_s, verify_stale_s, retention_days, and whether it is verified by a timer.
    records: newest last.
    """
    takes, checks, expires = of(records, TAKE), of(records, VERIFY), of(records, EXPIRE)
    good = retention.kept(records)
    newest = good[-1] if good else None
    proven = _proven(records, good)
    row: dict[str, Any] = {
        "kind": kind,
        "title": spec["title"],
        "source": newest["source"] if newest else "",
        "point": moment(newest) if newest else None,
        "age_s": _age(now, moment(newest)) if newest else None,
        "verified": moment(proven) if proven else None,
        "verified_age_s": _age(now, _verified_at(records, proven)) if proven else None,
        "bytes": newest["bytes"] if newest else None,
        "seconds": newest["seconds"] if newest else None,
        "verify_seconds": (of(checks, VERIFY, OK) or [{}])[-1].get("seconds"),
        "kept": len(good),
        "take": takes[-1]["verdict"] if takes else UNKNOWN,
        "verify": checks[-1]["verdict"] if checks else UNKNOWN,
    }
    faults = [
        *_clock(records, now),
        *_take(kind, spec, takes, row, host),
        *_verify(kind, spec, checks, row, host),
        *_expire(expires),
    ]
    worst = FAILED if FAILED in (row["take"], row["verify"]) else UNKNOWN if faults else OK
    return {**row, "verdict": worst, "problems": [f"{kind}: {fault}" for fault in faults]}


def _proven(records: Sequence[Record], good: Sequence[Record]) -> Record | None:
    """The newest kept backup that was verified, and found good."""
    found = retention.verified(records)
    return next((one for one in reversed(good) if found.get(label(one), {}).get("verdict") == OK), None)


def _verified_at(records: Sequence[Record], proven: Record) -> int:
    return retention.verified(records)[label(proven)]["started"]


def _age(now: float, then: float) -> int:
    return max(0, int(now - then))


def _clock(records, now):
    ahead = max((record["started"] for record in records), default=0) - now
    if ahead > SKEW_S:
        yield (
            f"its newest record is {span(ahead)} in the future, so ages mean nothing. Set the clock of the host right; a record that a wrong"
            " clock has dated counts again when that time has come"
        )


def _take(kind, spec, takes, row, host):
    if not takes:
        yield f"there is no backup yet. Run playbooks/backup.yml -e kind={kind}"
    elif takes[-1]["verdict"] != OK:
        yield (
            f"the last backup failed ({shorten(takes[-1]['reason'], 300)}). See `journalctl -u utmstack-backup@{kind}` on {host}, and run"
            f" playbooks/backup.yml -e kind={kind}"
        )
    if takes and row["kept"] == 0:
        yield f"no good backup is kept. Run playbooks/backup.yml -e kind={kind}"
    elif takes and row["age_s"] > spec["stale_s"]:
        yield (
            f"the last good backup is {span(row['age_s'])} old, more than {span(spec['stale_s'])}. See `systemctl list-timers"
            f" utmstack-backup@{kind}.timer` on {host}, and run playbooks/backup.yml -e kind={kind}"
        )


def _verify(kind, spec, checks, row, host):
    again = f"playbooks/verify_backup.yml -e kind={kind}"
    if checks and checks[-1]["verdict"] == FAILED:
        yield (
            f"the backup {checks[-1]['label']} is damaged ({shorten(checks[-1]['reason'], 300)}). Run playbooks/backup.yml -e kind={kind}, then"
            f" run {again}"
        )
    elif checks and checks[-1]["verdict"] == UNKNOWN:
        yield f"could not be verified ({shorten(checks[-1]['reason'], 300)}). See `journalctl -u utmstack-backup-verify@{kind}` on {host}, and run {again}"
    if not row["kept"]:
        return
    if row["verified"] is None:
        why = "" if spec["verified"] else ": backup_verify_schedule says never"
        yield f"no kept backup was verified{why}. Run {again}"
    elif row["verified_age_s"] > spec["verify_stale_s"]:
        yield f"the last verification is {span(row['verified_age_s'])} old, more than {span(spec['verify_stale_s'])}. Run {again}"


def _expire(expires):
    if expires and expires[-1]["verdict"] != OK:
        yield f"old backups were not removed: {expires[-1]['reason']}"


def safety(records: Sequence[Record], now: float) -> tuple[list[dict[str, Any]], list[str]]:
    """The safety copies of restores that are left, and those that seem forgotten, as sentences.

    A record of a restore has `safety`, a list of {host, path}, and `removed`, the paths of such copies that it has removed.
    """
    left: dict[tuple[str, str], dict[str, Any]] = {}
    for record in of(records, RESTORE):
        for copy in record.get("safety", []):
            left[copy["host"], copy["path"]] = {
                "host": copy["host"],
                "path": copy["path"],
                "since": record["started"],
                "kind": record["kind"],
            }
        for path in record.get("removed", []):
            left = {key: copy for key, copy in left.items() if copy["path"] != path}
    found = list(left.values())
    return found, [
        f"{copy['kind']}: the safety copy {copy['path']} on {copy['host']} is {span(now - copy['since'])} old. Remove it, once what was restored is"
        " what you want"
        for copy in found
        if now - copy["since"] > SAFETY_S
    ]


def room(free: int, total: int, reserve_percent: float, rows: Sequence[Mapping[str, Any]], directory: str) -> list[str]:
    """What is wrong with the room of a repository: for one more backup of each kind, and the reserve."""
    needed = sum(row["bytes"] or 0 for row in rows) + int(total * reserve_percent / 100)
    if free >= needed:
        return []
    return [
        f"{directory} has {size(free)} free, less than one more backup of each kind and the reserve need ({size(needed)}). Give it a larger volume,"
        " or lower backup_retention_days"
    ]
