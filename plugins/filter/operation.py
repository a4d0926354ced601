# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters that plan an operation and show the plan; what they do is in module_utils/operation/plan.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..module_utils.operation.own_address import is_own
from ..module_utils.operation.plan import plan, stopped, switchover, text


def plan_from_here(
    topology: Mapping[str, Any], state: Mapping[str, Any], seen: Mapping[str, Any], verb: str, **options: Any
) -> dict[str, Any]:
    """Return the plan of an operation that this machine, the controller, runs; it may be one of the hosts."""
    controller = [host for host, own in topology["hosts"].items() if is_own(own["address"])]
    return plan(topology, state, seen, verb, controller=controller, **options)


class FilterModule:
    """Offers the filters to Ansible."""

    def filters(self) -> dict[str, Callable]:
        """Return the filters by name."""
        return {
            "operation_plan": plan_from_here,
            "operation_text": text,
            "roll_stopped": stopped,
            "switchover_plan": switchover,
        }
