# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A directory that has what a program imports, as a host has it."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.utmstack.ha.plugins.module_utils.host import programs


def ship(program: str, home: Path) -> Path:
    """Put the files there, in place of /usr/local/lib/utmstack-ha/python; returns it."""
    for entry in programs.files(program):
        path = home / Path(entry["path"]).relative_to(programs.HOME)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(entry["content"])
    return home
