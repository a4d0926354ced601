# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Computes the topology on the controller, from the inventory alone: no host is asked or connected to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ..module_utils.controller import check_job
from ..module_utils.secrets import PASSWORDS
from ..module_utils.topology import build
from ..module_utils.topology_faults import Findings, TopologyError
from ..module_utils.topology_groups import GROUPS
from ..module_utils.topology_settings import DEFAULTS, VARIABLES, Inventory


class ActionModule(ActionBase):
    """Gathers what `build` wants from Ansible's variables."""

    _requires_connection = False
    _VALID_ARGS = frozenset(("settings",))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the topology, or fail with the list of faults."""
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        inventory = read_inventory(variables["groups"], variables["hostvars"])
        settings, broken = self._settings(variables)
        inventory.broken.setdefault(variables["inventory_hostname"], {}).update(broken)
        settings.update(self._task.args.get("settings", {}))
        try:
            topology = build(inventory, settings, found=self._controller(variables, inventory))
        except TopologyError as error:
            return {**result, "failed": True, "msg": str(error)}
        return {**result, "changed": False, "topology": topology, "warnings": topology["warnings"]}

    def _controller(self, variables: Mapping[str, Any], inventory: Inventory) -> Findings:
        """Return what is wrong with the place that this runs at."""
        found = Findings()
        known, _broken = readable(variables, lambda name: self._templar.template(variables[name]), ["ha_secrets_dir"])
        sources = {str(variables["hostvars"][host].get("tls_source", "local_ca")) for host in inventory.hosts}
        check_job({**variables, **known}, sources, found)
        return found

    def _settings(self, variables: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the cluster's settings as this task sees them, so that role defaults and play variables count."""
        return readable(variables, lambda name: self._templar.template(variables[name]), (*DEFAULTS, *PASSWORDS))


def read_inventory(groups: Mapping[str, list[str]], hostvars: Mapping[str, Mapping[str, Any]]) -> Inventory:
    """Return the inventory as `build` takes it: all groups, and the variables of the hosts that are in one of ours."""
    hosts: dict[str, dict[str, Any]] = {}
    broken: dict[str, dict[str, str]] = {}
    for name in dict.fromkeys(host for group in GROUPS for host in groups.get(group, [])):
        variables = hostvars[name]
        wanted = [key for key in variables if key in VARIABLES or key.startswith("ha_")]
        hosts[name], broken[name] = readable(variables, variables.__getitem__, wanted)
    ours = {key: list(members) for key, members in groups.items() if key not in ("all", "ungrouped")}
    return Inventory(ours, hosts, broken)


def readable(
    variables: Iterable[str], read: Callable[[str], Any], wanted: Iterable[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values of those wanted variables that can be templated, and why the others can't."""
    values, broken = {}, {}
    for name in wanted:
        if name not in variables:
            continue
        try:
            values[name] = read(name)
        except AnsibleError as error:
            # The reason of a password's failure may quote the password.
            broken[name] = "its template fails" if name in PASSWORDS else " ".join(str(error).split())
    return values, broken
