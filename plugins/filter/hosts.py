# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter over the hosts of a run; what it does is in module_utils/common/hostvars.py."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.utmstack.ha.plugins.module_utils.common import hostvars as variables


def by_host(hosts, hostvars, name, *keys, **options):
    """Return what each host has in a variable: host -> value."""
    try:
        return variables.by_host(hosts, hostvars, name, *keys, **options)
    except ValueError as error:
        raise AnsibleFilterError(f"by_host: {error}") from error


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Name to function."""
        return {"by_host": by_host}
