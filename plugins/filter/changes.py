# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter that compares the inventory with what is deployed."""

from __future__ import annotations

from ansible_collections.utmstack.ha.plugins.module_utils.topology.changes import refusal


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Name to function."""
        return {"change_refusal": refusal}
