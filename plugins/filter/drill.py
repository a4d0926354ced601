# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters that plan a drill; what they do is in module_utils/drill/scenario and drill/fault/lock.py."""

from __future__ import annotations

from collections.abc import Callable

from ..module_utils.drill.fault import lock as drill_lock
from ..module_utils.drill.scenario import choice as drill_choice
from ..module_utils.drill.scenario import plan as drill_scenario
from ..module_utils.drill.scenario.left import left
from ..module_utils.drill.scenario.settings import ledger_settings


class FilterModule:
    """Offers the filters to Ansible."""

    def filters(self) -> dict[str, Callable]:
        """Return the filters by name."""
        return {
            "drill_heal_spans": drill_scenario.heal_spans,
            "drill_injection": drill_scenario.injection,
            "drill_leading": drill_scenario.leading,
            "drill_ledger_settings": ledger_settings,
            "drill_left": left,
            "drill_lock_told": drill_lock.told,
            "drill_locked": drill_lock.refusal,
            "drill_plan": drill_scenario.plan,
            "drill_problems": drill_scenario.problems_after,
            "drill_refusals": drill_choice.refusals,
            "drill_restoring": drill_scenario.restoring,
            "drill_run_name": drill_scenario.run_name,
            "drill_scenario": drill_choice.scenario,
            "drill_target": drill_scenario.target,
        }
