# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters of PostgreSQL's restores."""

from __future__ import annotations

from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import restore_plan


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Name to function."""
        return {
            "postgresql_dump": restore_plan.dump,
            "postgresql_restore_record": restore_plan.record,
            "postgresql_restore_removal": restore_plan.removal,
            "postgresql_restore_steps": restore_plan.plan,
        }
