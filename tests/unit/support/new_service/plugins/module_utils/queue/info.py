# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the brokers' directories say: one that has a file `started` runs, and the file `controller` beside them names who leads."""

from __future__ import annotations

from pathlib import Path

from ..common.info import Question


def answer(_module, given: dict) -> dict:
    home = Path(given["home"])
    members = [{"name": name, "healthy": (home / name / "started").exists()} for name in given["brokers"]]
    problems = [
        f"{one['name']} does not run" for one in members if not one["healthy"] and one["name"] not in given["without"]
    ]
    leader = (home / "controller").read_text().strip() if (home / "controller").exists() else None
    return {"members": members, "leader": leader, "healthy": not problems, "problems": problems}


QUESTION = Question(
    {
        "home": {"type": "path", "required": True},
        "brokers": {"type": "list", "elements": "str", "required": True},
        "without": {"type": "list", "elements": "str", "default": []},
    },
    answer,
)
