# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an earlier drill has left, by what the modules drill_fault and drill_lock returned when they ended it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Results = Mapping[str, Mapping[str, Any]]


def left(controller: Mapping[str, Any], faults: Results, locks: Results) -> dict[str, Any]:
    """What was undone, and who could not be asked.

    controller: what drill_fault returned there. faults, locks: host to what drill_fault and drill_lock returned on it.
    Returns {undone: the faults' ids, unasked: hosts that said nothing of their faults, holder: who held the first lock, or None}.
    """
    undone = [*controller["undone"], *(one for said in faults.values() for one in said.get("undone", []))]
    holders = [said.get("holder") for said in locks.values()]
    return {
        "undone": [one["id"] for one in undone],
        "unasked": [host for host, said in faults.items() if "undone" not in said],
        "holder": next(filter(None, holders), None),
    }
