# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter of the roles that declare users of PostgreSQL; what it does is in module_utils/postgresql/scram.py."""

from __future__ import annotations

from collections.abc import Callable

from ..module_utils.postgresql.scram import verifier


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, Callable]:
        """Return the filter by name."""
        return {"scram_verifier": verifier}
