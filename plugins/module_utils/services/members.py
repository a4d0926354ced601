# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How many members a service needs, and what a number of them is good for."""

from __future__ import annotations

from typing import Any


def quorum(members: int) -> int:
    """Return how many of the voters must agree: more than half."""
    return members // 2 + 1 if members else 0


def check_voters(group: str, hosts: list[str], found: Any) -> None:
    """Refuse an even number of voters, and more than seven."""
    count = len(hosts)
    if count and count % 2 == 0:
        found.refuse(
            f"group {group}",
            "members",
            f"are {count} ({', '.join(hosts)}), an even number: it survives no more losses than {count - 1}, and "
            "a split in halves stops it",
            f"Have {count + 1} or {count - 1}",
        )
    elif count > 7:
        found.refuse(
            f"group {group}", "members", f"are {count}; each write waits for more than half of them", "Have 3, 5 or 7"
        )


def check_single(group: str, hosts: list[str], what: str, found: Any) -> None:
    """Warn of what the loss of the only member costs."""
    if len(hosts) == 1:
        found.warn(f"group {group}", "members", f"are 1: {what}", "Have three where availability matters")
