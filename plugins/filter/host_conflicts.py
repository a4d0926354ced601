# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters of role base on what hosts have already; what they do is in module_utils/host/conflicts.py."""

from __future__ import annotations

from collections.abc import Callable

from ..module_utils.host import conflicts as host_conflicts


class FilterModule:
    """Offers the filters to Ansible."""

    def filters(self) -> dict[str, Callable]:
        """Return the filters by name."""
        return {"host_plan": host_conflicts.plan, "host_conflicts_report": host_conflicts.report}
