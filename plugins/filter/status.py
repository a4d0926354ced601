# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters that make one state of what the hosts said, and show it."""

from __future__ import annotations

from collections.abc import Callable

from ..module_utils.operation.screen import screen
from ..module_utils.operation.status import status


class FilterModule:
    """Offers the filters to Ansible."""

    def filters(self) -> dict[str, Callable]:
        """Return the filters by name."""
        return {"status": status, "status_table": screen}
