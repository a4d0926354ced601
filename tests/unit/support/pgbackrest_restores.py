# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a real repository had after four restores of one cluster (PostgreSQL 15, pgBackRest 2.45): see `about` of the fixture."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import wal
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql.timeline import Tree

RECORDED = json.loads((Path(__file__).parents[1] / "fixtures" / "pgbackrest_2.45_restores.json").read_text())
BACKUPS = RECORDED["info"][0]["backup"]
T1, T2, T3 = (RECORDED["targets"][name] for name in ("T1", "T2", "T3"))


def recorded(births=None, **files):
    """The recorded timelines; files: name to its entry, or None for one that is taken out."""
    present = {name: entry for name, entry in (RECORDED["files"] | files).items() if entry}
    segments: dict[int, set[int]] = {}
    for name in present:
        if own := wal.segment(name):
            segments.setdefault(own.timeline, set()).add(own.number)
    histories = {int(name[:8], 16): text for name, text in RECORDED["histories"].items()}
    known = {int(name[:8], 16): present[name]["time"] for name in RECORDED["histories"]}
    return Tree(histories, known if births is None else births, segments)


def spread():
    """The same with restores hours apart: the recorded ones were within a minute."""
    first = RECORDED["files"]["00000002.history"]["time"] + 200
    return recorded(births={2: first, 3: first + 5000, 4: first + 9000, 5: first + 13000})
