# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Values as settings give them, and as clients take them."""

from __future__ import annotations

from typing import Any


def number(value: Any) -> float | None:
    """Return value as int or float, also from text (an extra variable arrives as text), or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        figure = float(value)
    except (ValueError, OverflowError):
        return None
    return int(figure) if figure.is_integer() else figure


def url(scheme: str, address: str, port: int) -> str:
    """Return a URL, with the brackets that RFC 3986 wants around IPv6."""
    return f"{scheme}://[{address}]:{port}" if ":" in address else f"{scheme}://{address}:{port}"
