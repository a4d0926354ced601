# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters that plan an operation and show the plan; what they do is in module_utils/operation.py."""

from __future__ import annotations

from collections.abc import Callable

from ..module_utils.operation import plan, stopped, switchover, text


class FilterModule:
    """Offers the filters to Ansible."""

    def filters(self) -> dict[str, Callable]:
        """Return the filters by name."""
        return {
            "operation_plan": plan,
            "operation_text": text,
            "roll_stopped": stopped,
            "switchover_plan": switchover,
        }
