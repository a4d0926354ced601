# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters that show the topology to a person."""

from __future__ import annotations

from collections.abc import Callable

from ..module_utils.topology.plan import plan, ways_in


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, Callable]:
        """Return the filters by name."""
        return {"plan": plan, "ways_in": ways_in}
