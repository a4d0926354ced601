# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters of role backend; what they do is in module_utils/backend."""

from __future__ import annotations

from ansible_collections.utmstack.ha.plugins.module_utils.backend import role_settings
from ansible_collections.utmstack.ha.plugins.module_utils.backend.stack import stack


def backend_faults(settings):
    """What can't hold in the role's settings."""
    return role_settings.faults(**settings)


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Name to function."""
        return {"backend_faults": backend_faults, "backend_stack": stack}
