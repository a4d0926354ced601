# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every fault that a drill knows: those that the services have, and those of the host that leads them all."""

from __future__ import annotations

from typing import Any

from ...services.drill import CUT_OFF, LEADER_OF_ALL, LOSSY, POWER_OFF, Fault
from ...services.registry import faults, ledger_paths


def catalogue() -> dict[str, dict[str, Any]]:
    """The faults by name, as a scenario's file has them."""
    return faults() | {fault.name: fault.plain() for fault in _of_all()}


def _of_all() -> tuple[Fault, ...]:
    lost = {name: path.host_lost_s for name, path in ledger_paths().items() if path.host_lost_s}
    return (
        Fault(
            "leader-of-all-power-off",
            "The host that leads everything loses its power",
            LEADER_OF_ALL,
            POWER_OFF,
            hold_s=60,
            target_s=lost,
        ),
        Fault(
            "leader-of-all-frozen",
            "The host that leads everything is frozen",
            LEADER_OF_ALL,
            {"kind": "frozen"},
            hold_s=60,
        ),
        Fault(
            "leader-of-all-partition",
            "The host that leads everything is cut off from all others",
            LEADER_OF_ALL,
            CUT_OFF,
            hold_s=60,
        ),
        Fault(
            "leader-of-all-lossy",
            "The host that leads everything loses a share of its packets",
            LEADER_OF_ALL,
            LOSSY,
            hold_s=60,
        ),
    )
