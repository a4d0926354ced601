# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the backups of a backup host stand, and what of them can be restored: what the information modules ask."""

from __future__ import annotations

from typing import Any

from ..common.backup import BackupError
from ..common.info import Question, Unanswered
from .program import SETTINGS_FILE, Program, load
from .repository import Repository
from .repository import kept as kept_in

UNKNOWN = {
    "free": None,
    "total": None,
    "kinds": [],
    "remote_copy": {},
    "safety": [],
    "guard": {},
    "estimate": [],
    "used": None,
}


def answer(_module: Any, given: dict) -> dict:
    """Return how all kinds stand. What can't be looked at is a problem, and no kind is then said to be good."""
    try:
        settings = load(given["settings_file"])
        program = Program(settings)
        seen = {"estimate": [], "used": None, **program.look(), **(program.estimate() if given.get("estimate") else {})}
    except BackupError as error:
        return {**UNKNOWN, "directory": "", "problems": [error.reason], "healthy": False}
    except OSError as error:
        return {**UNKNOWN, "directory": "", "problems": [f"the backups can't be read: {error}"], "healthy": False}
    known = {row["kind"] for row in seen["kinds"]}
    rows = [row for row in seen["kinds"] if not given["kinds"] or row["kind"] in given["kinds"]]
    problems = seen["problems"]
    problems += [f"{kind} is not taken here yet. Run site.yml" for kind in given["kinds"] if kind not in known]
    healthy = not problems and not any(row["problems"] for row in rows)
    return {**seen, "kinds": rows, "directory": settings["directory"], "problems": problems, "healthy": healthy}


def kept(_module: Any, given: dict) -> dict:
    """Return the usable backups of a kind. Raises Unanswered where the repository can't be looked at."""
    marker = Repository(given["directory"], given["cluster"])
    try:
        marker.check()
        return {"kept": kept_in(marker, given["kind"])}
    except BackupError as error:
        raise Unanswered(error.reason) from error
    except OSError as error:
        raise Unanswered(f"The backups can't be read: {error}") from error


QUESTION = Question(
    {
        "settings_file": {"type": "path", "default": SETTINGS_FILE},
        "kinds": {"type": "list", "elements": "str", "default": []},
        "estimate": {"type": "bool", "default": False},
    },
    answer,
)
KEPT = Question(
    {
        "directory": {"type": "path", "required": True},
        "cluster": {"type": "str", "default": ""},
        "kind": {"type": "str", "required": True},
    },
    kept,
)
