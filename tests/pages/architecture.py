# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The picture in docs/architecture.md: the folders of module_utils by floors, and which imports from which."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "unit" / "support"))

from import_graph import ARROWS, FLOORS  # noqa: E402

PAGE = ROOT / "docs" / "architecture.md"


def drawn(arrows: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the arrows without those that a longer way replaces (a to c, where there is a to b to c)."""
    return sorted((one, other) for one, other in arrows if not _leads(arrows - {(one, other)}, one, other))


def _leads(arrows: set[tuple[str, str]], start: str, end: str) -> bool:
    seen, following = set(), {start}
    while following:
        seen |= following
        following = {other for one, other in arrows if one in following} - seen
    return end in seen


def picture() -> str:
    """Return the graph as a Mermaid flowchart, the floors from top to bottom."""
    lines = ["flowchart TB"]
    for number, names in enumerate(FLOORS, 1):
        boxes = [f'        {_key(name)}["{name}"]' for name in sorted(names)]
        lines += [f'    subgraph floor{number}[" "]', *boxes, "    end"]
    # An invisible arrow keeps the floors in their order, as a folder without imports would else float to the top.
    lines += [f"    floor{number} ~~~ floor{number + 1}" for number in range(1, len(FLOORS))]
    lines += [f"    {_key(one)} --> {_key(other)}" for one, other in drawn(ARROWS)]
    return "```mermaid\n" + "\n".join(lines) + "\n```"


def _key(name: str) -> str:
    return name.replace("/", "_")


def page() -> str:
    """Return docs/architecture.md with the present picture in the place of the one that it has."""
    return re.sub(r"^```mermaid\n.*?^```$", lambda _found: picture(), PAGE.read_text(), count=1, flags=re.M | re.S)
