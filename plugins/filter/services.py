# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters over what the services of a host are; the services themselves are in module_utils/services."""

from __future__ import annotations

from ..module_utils.services.questions import deployed_by, questions
from ..module_utils.services.software import host_software


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Name to function."""
        return {"deployed_questions": deployed_by, "host_software": host_software, "service_questions": questions}
