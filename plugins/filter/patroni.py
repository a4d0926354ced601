# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters of role postgresql."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import cluster as patroni
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import positions
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import content
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import parameters as postgresql
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import upgrade_plan as postgresql_upgrade


def postgresql_memory(ram_mb, share=1.0, max_connections=100):
    """Memory settings of PostgreSQL for a host."""
    try:
        return postgresql.memory(ram_mb, share, max_connections)
    except (TypeError, ValueError) as error:
        raise AnsibleFilterError(f"postgresql_memory: {error}") from error


def patroni_restart_order(members, lowered=(), raised=(), only_pending=False):
    """Names of members in the order in which to restart them."""
    try:
        return patroni.restart_order(members, lowered, raised, only_pending)
    except (AttributeError, KeyError, TypeError) as error:
        raise AnsibleFilterError(
            f"patroni_restart_order wants the members that utmstack.ha.patroni_info returns: {error!r}"
        ) from error


def patroni_strays(members, given, hosts):
    """Names of members that a run has left streaming from another than the leader."""
    return patroni.strays(members, given, hosts)


def patroni_positions(members, seen, synchronous, wanted=""):
    """Who leads a cluster that Patroni knows nothing of any more, by the members' data."""
    try:
        return positions.choose(members, seen, synchronous, wanted)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise AnsibleFilterError(
            f"patroni_positions wants what utmstack.ha.postgresql_position_info returns: {error!r}"
        ) from error


def postgresql_content_faults(found, users, memberships, databases, kept=""):
    """What PostgreSQL lacks of the users, memberships and databases that the role declares."""
    try:
        return content.differences(found, users, memberships, databases, kept)
    except (AttributeError, KeyError, TypeError) as error:
        raise AnsibleFilterError(
            f"postgresql_content_faults wants what roles/postgresql/files/content.sql selects: {error!r}"
        ) from None


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        return {
            "postgresql_content_faults": postgresql_content_faults,
            "postgresql_memory": postgresql_memory,
            "postgresql_upgrade_plan": postgresql_upgrade.plan,
            "patroni_positions": patroni_positions,
            "patroni_restart_order": patroni_restart_order,
            "patroni_strays": patroni_strays,
        }
