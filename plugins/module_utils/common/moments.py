# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Moments as people write them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def epoch(value: Any) -> int:
    """Return a moment in seconds since 1970: of a number of these, or of a time such as 2026-11-30T12:00:00Z, in UTC where it names no zone. An empty
    one is 0. Raises ValueError with a sentence.

    >>> epoch("2026-11-30 11:45:26"), epoch("2026-11-30T12:45:26+01:00"), epoch(1796039126.5), epoch("")
    (1796039126, 1796039126, 1796039126, 0)
    """
    text = str(value or "").strip()
    try:
        return int(float(text or 0))
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time. Write it like 2026-11-30T12:00:00Z.") from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


def clock(moment: float) -> str:
    """Return a moment as plans and messages have it: UTC, to the second."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
