# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter of role base on clocks; what it does is in module_utils/host/clocks.py."""

from __future__ import annotations

from collections.abc import Callable

from ..module_utils.host import clocks


class FilterModule:
    """Offers the filters to Ansible."""

    def filters(self) -> dict[str, Callable]:
        """Return the filters by name."""
        return {"clock_faults": clocks.faults}
