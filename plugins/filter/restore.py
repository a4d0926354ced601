# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters of role restore."""

from __future__ import annotations

from ansible_collections.utmstack.ha.plugins.module_utils.backup import restore_all


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        return {"restore_all_before": restore_all.before, "restore_all_plan": restore_all.together}
