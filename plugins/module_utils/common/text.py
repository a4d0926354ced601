# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Text that a person reads, as several parts write it."""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterable
from typing import Any


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the remedy for an unknown name: the known one with the nearest spelling, or all that there are."""
    known = sorted(known)
    spelt = {word.lower(): word for word in known}
    close = difflib.get_close_matches(name.lower(), spelt, n=1, cutoff=0.6)
    return f"Did you mean {spelt[close[0]]}?" if close else f"Known are {', '.join(known)}"


def shorten(text: str, width: int) -> str:
    """The text, cut to the width with an ellipsis where it is longer."""
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def table(rows: Iterable[Iterable[Any]], width: int | None = None) -> list[str]:
    """Return the rows as lines with aligned columns; the last column is cut at the width, or may be as long as it likes."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = ["  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip() for row in cells]
    return lines if width is None else [shorten(line, width) for line in lines]


def size(count: int | None) -> str:
    """A number of bytes with a binary unit, as in `1.5 MiB`; `-` where it is not known."""
    if count is None:
        return "-"
    value, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def span(seconds: float | None) -> str:
    """A time in the unit that says most of it, as in `90 s`, `3 h` or `2.5 days`; `-` where it is not known."""
    if seconds is None:
        return "-"
    for name, length, least in (("days", 86400, 2 * 86400), ("h", 3600, 2 * 3600), ("min", 60, 2 * 60)):
        if seconds >= least:
            return f"{seconds / length:.1f}".removesuffix(".0") + f" {name}"
    return f"{seconds:.0f} s"


def moment_text(seconds: float | None) -> str:
    """A time of the clock in UTC, to the second; `-` where there is none."""
    return "-" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(seconds))
