# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters of role redis."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.utmstack.ha.plugins.module_utils.redis import acl as redis_acl
from ansible_collections.utmstack.ha.plugins.module_utils.redis import bootstrap as redis_bootstrap
from ansible_collections.utmstack.ha.plugins.module_utils.redis import restore_plan as redis_restore_plan
from ansible_collections.utmstack.ha.plugins.module_utils.redis import settings as redis_settings


def redis_memory(ram_mb, share=1.0):
    """Memory settings of Redis for a host."""
    try:
        return redis_settings.memory(ram_mb, share)
    except (TypeError, ValueError) as error:
        raise AnsibleFilterError(f"redis_memory: {error}") from error


def redis_acl_file(own, extra=(), setting="users", former=""):
    """The ACL file of Redis or of Sentinel."""
    try:
        return redis_acl.acl_file(own, extra, setting, former)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        return {
            "redis_acl_file": redis_acl_file,
            "redis_memory": redis_memory,
            "redis_restore_plan": redis_restore_plan.plan,
            "redis_setting_lines": redis_settings.lines,
            "redis_start_plan": redis_bootstrap.plan_master,
        }
