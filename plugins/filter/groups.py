# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter over the inventory's groups; what it does is in module_utils/topology/groups.py."""

from __future__ import annotations

from ..module_utils.topology.groups import platform_groups


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Name to function."""
        return {"platform_groups": platform_groups}
