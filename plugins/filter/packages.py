# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter that plans upgrades; what it does is in module_utils/operation/upgrade_plan.py."""

from __future__ import annotations

from collections.abc import Callable

from ..module_utils.operation.upgrade_plan import plan


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, Callable]:
        """Return the filter by name."""
        return {"upgrade_plan": plan}
