# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One turn as a picture: what became of the writes of each path, the fault's marks, and who was leader when, as numbers and words.

Each kind of outcome has a row of its own, since colour alone tells not everybody.
"""

from __future__ import annotations

from ..ledger.records import ACKNOWLEDGED, FAILED, OUTCOMES, UNKNOWN, Ledger
from .result import TITLES, seconds

BINS = 300
# Rows of the drawing, from its top: (y, height).
ROWS = {ACKNOWLEDGED: (0, 26), FAILED: (29, 7), UNKNOWN: (38, 7)}
HEIGHT = 45
MARKS = {
    "injected": ("▼", "fault"),
    "effect": ("◆", "effect seen"),
    "undone": ("▲", "fault ended"),
    "whole": ("✓", "healthy again"),
}
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
# A pause is coloured where so many records would have been due.
NOTABLE = 5
# A label near the right edge is written to the left of its line.
LATE = 60
# An outage wider than this has its length written on it.
WIDE = 60


def picture(turn: dict, ledgers: dict[str, Ledger]) -> dict | None:
    """The picture for the template; None where nothing was written. Times on it count from the fault, places from the left in percent."""
    if not ledgers:
        return None
    ends = [ledger.end()[0] for ledger in ledgers.values()]
    length = max([*ends, *(mark["t"] for mark in turn["marks"]), 1.0])
    zero = next((mark["t"] for mark in turn["marks"] if mark["what"] == "injected"), 0.0)
    return {
        "height": HEIGHT,
        "lanes": [lane(path, ledger, turn["paths"].get(path, {}), length) for path, ledger in ledgers.items()],
        "marks": [mark_of(mark, zero, length) for mark in turn["marks"]],
        "ticks": ticks(zero, length),
        "events": [
            {
                "at": offset(mark["t"] - zero),
                "name": MARKS.get(mark["what"], ("", mark["what"]))[1],
                "text": mark["text"],
            }
            for mark in turn["marks"]
        ],
        **leaders(turn["leaders"], zero, length),
    }


def lane(path: str, ledger: Ledger, verdict: dict, length: float) -> dict:
    """One path: a sentence and its bars. Places of SVG are thousandths."""
    bins = binned(ledger, length)
    outage, at = verdict.get("outage_s"), verdict.get("longest_at")
    band = None
    if at is not None and outage > NOTABLE / ledger.rate:
        width = max(2.0, 1000 * outage / length)
        band = {"x": 1000 * at / length, "width": width, "wide": width > WIDE, "label": seconds(outage)}
    return {
        "title": TITLES[path],
        "said": sentence(path, verdict),
        "shapes": {kind: shape(bins[kind], *ROWS[kind]) for kind in OUTCOMES},
        "outage": band,
    }


def sentence(path: str, verdict: dict) -> str:
    """What the bars of a path show, in words."""
    if verdict.get("sent") is None:
        return verdict.get("problem") or "not judged"
    lost = "losses not known" if verdict["missing"] is None else f"{verdict['missing']} lost"
    return (
        f"{verdict['acknowledged']} acknowledged, {verdict['failed']} failed, {verdict['unknown']} unknown; {lost};"
        f" longest pause {seconds(verdict['outage_s'])}"
    )


def binned(ledger: Ledger, length: float) -> dict[str, list[float]]:
    """Outcome -> for each of BINS parts of the length, from 0 to 1 of what the rate has for it (failed, unknown: 0 or 1)."""
    bins = {kind: [0.0] * BINS for kind in OUTCOMES}
    for record in ledger.records():
        moment = record.sent if record.at is None else record.at
        bins[record.outcome][min(BINS - 1, int(BINS * moment / length))] += 1
    # One record more or less is a matter of where a part begins.
    full = max(1.0, ledger.rate * length / BINS - 1)
    bins[ACKNOWLEDGED] = [min(1.0, count / full) for count in bins[ACKNOWLEDGED]]
    for kind in (FAILED, UNKNOWN):
        bins[kind] = [float(count > 0) for count in bins[kind]]
    # Where a part is shorter than the time between two records, each stands for the parts until the next one.
    steps = max(1, round(BINS / (ledger.rate * length)))
    if steps > 1:
        bins[ACKNOWLEDGED] = [max(bins[ACKNOWLEDGED][max(0, i - steps + 1) : i + 1]) for i in range(BINS)]
    return bins


def shape(values: list[float], top: int, height: int) -> str:
    """The values as one SVG path of bars that stand on the row's lower edge."""
    drawn, width, start = [], 1000 / BINS, 0
    for index in range(1, BINS + 1):
        if index < BINS and values[index] == values[start]:
            continue
        if values[start]:
            high = height * values[start]
            drawn.append(f"M{start * width:.1f} {top + height}v{-high:.1f}h{(index - start) * width:.1f}v{high:.1f}z")
        start = index
    return "".join(drawn)


def mark_of(mark: dict, zero: float, length: float) -> dict:
    """A mark's line, and its label, which near the right edge counts from there."""
    sign, name = MARKS.get(mark["what"], ("•", mark["what"]))
    left = 100 * max(0.0, mark["t"]) / length
    late = left > LATE
    label = f"{sign} {name}" + (f" +{seconds(mark['t'] - zero)}" if mark["t"] > zero else "")
    return {"what": mark["what"], "label": label, "left": left, "late": late, "edge": 100 - left if late else left}


def ticks(zero: float, length: float) -> list[dict]:
    """Seconds since the fault below the lanes."""
    step = next((step for step in STEPS if length / step <= 7), STEPS[-1])
    first = -int(zero / step)
    found = []
    while zero + first * step <= length:
        left = 100 * (zero + first * step) / length
        if left < 96:
            found.append({"left": left, "at": first * step})
        first += 1
    return found


def reigns(found: list[dict], service: str) -> list[tuple[float, str]]:
    """(from when, who) of a service's leaders, each time that it is another one; nobody is an empty name."""
    changes: list[tuple[float, str]] = []
    for seen in found:
        who = seen.get(service) or ""
        if not changes or changes[-1][1] != who:
            changes.append((seen["t"], who))
    return changes


def services(found: list[dict]) -> list[str]:
    """The services that were looked at, in the order of TITLES."""
    names = {name for seen in found for name in seen if name not in ("at", "t")}
    return [name for name in TITLES if name in names] + sorted(names - TITLES.keys())


def leaders(found: list[dict], zero: float, length: float) -> dict:
    """A strip for each service whose leader changed, and a few words on each of the others."""
    all_reigns = {service: reigns(found, service) for service in services(found)}
    hosts = sorted({who for changes in all_reigns.values() for _from, who in changes})
    strips, steady = [], []
    for service, changes in all_reigns.items():
        title = TITLES.get(service, service)
        if len(changes) == 1:
            steady.append(f"{title} {changes[0][1] or 'nobody'}")
            continue
        spans, words = [], []
        for (begin, who), (end, _next) in zip(changes, [*changes[1:], (length, "")]):
            left, width = 100 * max(0.0, begin) / length, 100 * (end - max(0.0, begin)) / length
            kind, name = f"host{hosts.index(who) % 4}" if who else "nobody", who or "nobody"
            spans.append({"kind": kind, "left": left, "width": width, "who": name})
            words.append(f"from {offset(begin - zero)} {name}" if words else name)
        strips.append({"title": title, "words": words, "spans": spans})
    return {"reigns": strips, "steady": steady}


def offset(seconds_since: float) -> str:
    """A time before or after the fault."""
    return f"{'−' if seconds_since < 0 else '+'}{seconds(abs(seconds_since))}"
