# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ways on which an application reaches the platform, and on which the drill writes its records.

Every path has the same verbs. prepare: before the first write. write(number): the node that acknowledged; raises Failed where
it did not happen, any other error where nobody can say. read(number): whether its newest acknowledged record is there.
settle, present(member, numbers): read back from one member, in ascending order. clean: leave nothing. close.
None repeats anything by itself: a repetition would hide an outcome. Those whose records meet in rows (BANKS) also have
lock_wait, asked after each write, and unbalanced(member).
"""

from __future__ import annotations

import re

from .api import Api
from .bank import Bank
from .postgresql import PostgreSQL
from .redis import Redis
from .search import Search

KINDS = {
    "postgresql": PostgreSQL,
    "elasticsearch": Search,
    "redis": Redis,
    "api": Api,
    "bank": Bank,
    "bank_direct": Bank,
}


def paths(settings: dict) -> dict[str, object]:
    """Name to path, of those that the settings have. Raises ValueError, KeyError or OSError for settings that can't be used."""
    run = settings["run"]
    # Part of the names of a table, an index and a key.
    if not re.fullmatch("[a-z0-9][a-z0-9_-]{0,39}", run):
        raise ValueError(f"run is {run!r}, which is not made of a-z, 0-9, _ and -, 40 at most")
    return {name: kind(settings[name], run, settings["ca"]) for name, kind in KINDS.items() if settings.get(name)}
