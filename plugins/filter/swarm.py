# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters of role swarm; what they do is in module_utils/swarm, bootstrap.py and restore_plan.py."""

from __future__ import annotations

from ansible_collections.utmstack.ha.plugins.module_utils.swarm.bootstrap import members, plan
from ansible_collections.utmstack.ha.plugins.module_utils.swarm.restore_plan import plan as restore_plan


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Name to function."""
        return {"swarm_members": members, "swarm_plan": plan, "swarm_restore_plan": restore_plan}
