# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters of role elasticsearch; what they do is in module_utils."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.utmstack.ha.plugins.module_utils.search import node as elasticsearch_node
from ansible_collections.utmstack.ha.plugins.module_utils.search import role_settings as elasticsearch_settings
from ansible_collections.utmstack.ha.plugins.module_utils.search import schedule as search_schedule
from ansible_collections.utmstack.ha.plugins.module_utils.search.bootstrap import plan_bootstrap


def elasticsearch_heap_mb(ram_mb, share):
    """Heap of a node on a host."""
    try:
        return elasticsearch_node.heap_mb(ram_mb, share)
    except (TypeError, ValueError) as error:
        raise AnsibleFilterError(f"elasticsearch_heap_mb: {error}") from error


def elasticsearch_faults(settings):
    """What can't hold in the role's settings."""
    return elasticsearch_settings.faults(**settings)


def elasticsearch_schedule_faults(policies):
    """What the role's own scheduler can't follow in the policies."""
    return list(search_schedule.faults(policies))


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Name to function."""
        return {
            "elasticsearch_bootstrap_plan": plan_bootstrap,
            "elasticsearch_faults": elasticsearch_faults,
            "elasticsearch_heap_mb": elasticsearch_heap_mb,
            "elasticsearch_schedule_faults": elasticsearch_schedule_faults,
        }
