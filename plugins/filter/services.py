# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters over what the services of a host are; the services themselves are in module_utils/services."""

from __future__ import annotations

from ..module_utils.services.questions import deployed_by, questions
from ..module_utils.services.software import host_software


def application_secrets(ha, passwords):
    """Return the secrets of the application that come of the services: by its names, their passwords."""
    return {
        name: passwords[password]
        for service in ha["services"].values()
        for name, password in service["secrets"].items()
    }


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Name to function."""
        return {
            "application_secrets": application_secrets,
            "deployed_questions": deployed_by,
            "host_software": host_software,
            "service_questions": questions,
        }
