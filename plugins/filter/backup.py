# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters of backups; what they do is in module_utils/services/backup.py and backup/estimate.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..module_utils.backup import estimate
from ..module_utils.services import backup
from ..module_utils.services.registry import backups


def backup_program_kinds(ha: dict[str, Any], secrets: dict[str, str]) -> dict[str, dict[str, Any]]:
    """What the program of this backup host is told of its kinds."""
    return backup.program_kinds(backups(), ha, secrets, ha["host"]["name"])


class FilterModule:
    """Offers the filters to Ansible."""

    def filters(self) -> dict[str, Callable]:
        """Return the filters by name."""
        return {
            "backup_program_kinds": backup_program_kinds,
            "backup_estimates": estimate.text,
            "backup_timers": backup.timers,
            "backup_former_timers": backup.former_timers,
        }
