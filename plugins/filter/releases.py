# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters over what differs between Debian's releases."""

from __future__ import annotations

from ansible_collections.utmstack.ha.plugins.module_utils.topology.releases import release_faults


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Name to function."""
        return {"release_faults": release_faults}
