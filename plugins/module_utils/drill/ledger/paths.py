# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ways on which an application reaches the platform, and on which the drill writes its records.

What each of them can do is in path.py.
"""

from __future__ import annotations

import re

from .api import Api
from .bank import Bank
from .path import Path
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


def paths(settings: dict) -> dict[str, Path]:
    """Name to path, of those that the settings have. Raises ValueError, KeyError or OSError for settings that can't be used."""
    run = settings["run"]
    # Part of the names of a table, an index and a key.
    if not re.fullmatch("[a-z0-9][a-z0-9_-]{0,39}", run):
        raise ValueError(f"run is {run!r}, which is not made of a-z, 0-9, _ and -, 40 at most")
    return {name: kind(settings[name], run, settings["ca"]) for name, kind in KINDS.items() if settings.get(name)}
