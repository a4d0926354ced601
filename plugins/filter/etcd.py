# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters of role etcd; what they do is in module_utils/etcd."""

from __future__ import annotations

from ansible_collections.utmstack.ha.plugins.module_utils.etcd.bootstrap import plan_bootstrap
from ansible_collections.utmstack.ha.plugins.module_utils.etcd.restore_plan import plan_restore


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Name to function."""
        return {"etcd_bootstrap_plan": plan_bootstrap, "etcd_restore_plan": plan_restore}
