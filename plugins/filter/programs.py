# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter of the roles that have programs on hosts; what it does is in module_utils/host/programs.py."""

from __future__ import annotations

from collections.abc import Callable

from ansible.errors import AnsibleFilterError

from ..module_utils.host import programs


def program_files(program: str) -> list[dict[str, str]]:
    """The files that a program on a host imports, as file_set takes them."""
    try:
        return programs.files(program)
    except KeyError as error:
        raise AnsibleFilterError(f"program_files: there is no folder {error} in module_utils") from error


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, Callable]:
        """Return the filter by name."""
        return {"program_files": program_files}
