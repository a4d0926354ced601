# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ways on which an application reaches the platform, and on which the drill writes its records.

What each of them can do is in path.py.
"""

from __future__ import annotations

import re
from importlib import import_module

from .path import Path


def paths(settings: dict) -> dict[str, Path]:
    """Name to path, of those that the settings have. Raises ValueError, KeyError, ImportError or OSError for settings that can't be used."""
    run = settings["run"]
    # Part of the names of a table, an index and a key.
    if not re.fullmatch("[a-z0-9][a-z0-9_-]{0,39}", run):
        raise ValueError(f"run is {run!r}, which is not made of a-z, 0-9, _ and -, 40 at most")
    return {name: _client(own)(own, run, settings["ca"]) for name, own in settings["paths"].items()}


def _client(own: dict) -> type[Path]:
    """The client that a path is written with: that of the module which its settings name."""
    return import_module(f".{own['client']}", __package__).CLIENT
