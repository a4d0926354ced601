# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One turn as a picture: what became of the writes of each path, the fault's marks, and who was leader when.

The bars are SVG, stretched to the width that there is; text is HTML beside and above them, so it keeps its size on any screen.
Each kind of outcome has a row of its own, since colour alone tells not everybody.
"""

from __future__ import annotations

from html import escape

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
    "whole": ("✓", "whole again"),
}
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
# A pause is coloured where so many records would have been due.
NOTABLE = 5
# A label near the right edge is written to the left of its line.
LATE = 60


def timeline(turn: dict, ledgers: dict[str, Ledger]) -> str:
    """HTML of the picture; empty where nothing was written. Times on it count from the fault."""
    if not ledgers:
        return ""
    ends = [ledger.end()[0] for ledger in ledgers.values()]
    length = max([*ends, *(mark["t"] for mark in turn["marks"]), 1.0])
    zero = next((mark["t"] for mark in turn["marks"] if mark["what"] == "injected"), 0.0)
    lanes = [lane(path, ledger, turn["paths"].get(path, {}), length) for path, ledger in ledgers.items()]
    return (
        '<div class="plot">'
        f"{marks(turn['marks'], zero, length)}"
        f"{''.join(lanes)}"
        f"{leaders(turn['leaders'], zero, length)}"
        f"{axis(zero, length)}"
        f"</div>{events(turn['marks'], zero)}"
    )


def lane(path: str, ledger: Ledger, verdict: dict, length: float) -> str:
    """One path: a sentence and its bars."""
    bins = binned(ledger, length)
    shapes = "".join(f'<path class="{kind}" d="{shape(bins[kind], *ROWS[kind])}"/>' for kind in OUTCOMES)
    outage, at = verdict.get("outage_s"), verdict.get("longest_at")
    band = label = ""
    if at is not None and outage > NOTABLE / ledger.rate:
        x, width = 1000 * at / length, max(2.0, 1000 * outage / length)
        band = f'<rect class="outage" x="{x:.1f}" y="0" width="{width:.1f}" height="{HEIGHT}"/>'
        if width > 60:
            label = f'<span class="away" style="left:{x / 10:.1f}%;width:{width / 10:.1f}%">{seconds(outage)}</span>'
    said = sentence(path, verdict)
    return (
        f'<div class="lane"><p><span><b>{TITLES[path]}</b> {escape(said)}</span></p><div class="bars">'
        f'<svg viewBox="0 0 1000 {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{escape(TITLES[path])}: {escape(said)}">'
        f"{band}{shapes}</svg>{label}</div></div>"
    )


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


def marks(found: list[dict], zero: float, length: float) -> str:
    """A line for each mark, and its label in a row of its own."""
    rows, lines = [], []
    for mark in found:
        sign, name = MARKS.get(mark["what"], ("•", mark["what"]))
        left = 100 * max(0.0, mark["t"]) / length
        side = f"right:{100 - left:.2f}%" if left > LATE else f"left:{left:.2f}%"
        text = f"{sign} {name}" + (f" +{seconds(mark['t'] - zero)}" if mark["t"] > zero else "")
        edge = " late" if left > LATE else ""
        rows.append(f'<div><span class="{escape(mark["what"])}{edge}" style="{side}">{escape(text)}</span></div>')
        lines.append(f'<i class="{escape(mark["what"])}" style="left:{left:.2f}%"></i>')
    return f'<div class="marks" aria-hidden="true">{"".join(rows)}</div><div class="lines" aria-hidden="true">{"".join(lines)}</div>'


def axis(zero: float, length: float) -> str:
    """Seconds since the fault below the lanes."""
    step = next((step for step in STEPS if length / step <= 7), STEPS[-1])
    first = -int(zero / step)
    ticks = []
    while zero + first * step <= length:
        left = 100 * (zero + first * step) / length
        if left < 96:
            ticks.append(f'<span style="left:{left:.2f}%">{first * step:g} s</span>')
        first += 1
    return f'<div class="axis" aria-hidden="true">{"".join(ticks)}</div>'


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


def leaders(found: list[dict], zero: float, length: float) -> str:
    """A strip for each service whose leader changed, and a sentence on the others."""
    all_reigns = {service: reigns(found, service) for service in services(found)}
    hosts = sorted({who for changes in all_reigns.values() for _from, who in changes})
    strips, steady = [], []
    for service, changes in all_reigns.items():
        title = escape(TITLES.get(service, service))
        if len(changes) == 1:
            steady.append(f"{title} {escape(changes[0][1] or 'nobody')}")
            continue
        spans, words = [], []
        for (begin, who), (end, _next) in zip(changes, [*changes[1:], (length, "")]):
            left, width = 100 * max(0.0, begin) / length, 100 * (end - max(0.0, begin)) / length
            kind, name = f"host{hosts.index(who) % 4}" if who else "nobody", escape(who or "nobody")
            spans.append(f'<span class="{kind}" style="left:{left:.2f}%;width:{width:.2f}%">{name}</span>')
            words.append(f"from {offset(begin - zero)} {name}" if words else name)
        strips.append(
            f'<div class="reign"><p><span><b>{title}</b> led by {", ".join(words)}</span></p>'
            f'<div aria-hidden="true">{"".join(spans)}</div></div>'
        )
    rest = f"<p><span>Always the same leader: {', '.join(steady)}</span></p>" if steady else ""
    return f'<div class="reigns">{"".join(strips)}{rest}</div>' if strips or rest else ""


def offset(seconds_since: float) -> str:
    """A time before or after the fault."""
    return f"{'−' if seconds_since < 0 else '+'}{seconds(abs(seconds_since))}"


def events(found: list[dict], zero: float) -> str:
    """The marks as a list of sentences."""
    items = "".join(
        f"<li><time>{offset(mark['t'] - zero)}</time> {MARKS.get(mark['what'], ('', mark['what']))[1]}: {escape(mark['text'])}</li>"
        for mark in found
    )
    return f'<ul class="events">{items}</ul>' if items else ""
