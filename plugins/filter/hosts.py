# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters over the hosts of a run."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.utmstack.ha.plugins.module_utils.common import hostvars as variables


def by_host(hosts, hostvars, name, *keys, **options):
    """Return what each host has in a variable: host -> value."""
    try:
        return variables.by_host(hosts, hostvars, name, *keys, **options)
    except ValueError as error:
        raise AnsibleFilterError(f"by_host: {error}") from error


def all_fresh(hosts, hostvars, name):
    """Return whether each host's service runs with what is on disk and starts at boot. name: the variable with what file_set told of it."""
    return all(found["enabled"] and found["state"] == "fresh" for found in by_host(hosts, hostvars, name).values())


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Name to function."""
        return {"all_fresh": all_fresh, "by_host": by_host}
