# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Computes the topology on the controller, from the inventory alone: no host is asked or connected to."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError, AnsibleTemplateSyntaxError
from ansible.plugins.action import ActionBase

from ..module_utils.services.passwords import kept, passwords
from ..module_utils.topology import role_specs
from ..module_utils.topology.build import build
from ..module_utils.topology.certificates import own_files
from ..module_utils.topology.components import FORMER_NAMES
from ..module_utils.topology.controller import check_job
from ..module_utils.topology.faults import Findings, TopologyError
from ..module_utils.topology.groups import groups as known_groups
from ..module_utils.topology.settings import UNDECRYPTABLE, Inventory, secrets_dir, shared_settings, variables_seen
from ..module_utils.topology.tags import check_tags
from ..plugin_utils import preload as _preload  # noqa: F401  every play has this action first


class ActionModule(ActionBase):
    """Gathers what `build` wants from Ansible's variables."""

    _requires_connection = False
    _VALID_ARGS = frozenset(("settings",))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the topology, or fail with the list of faults."""
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        inventory = read_inventory(
            variables["groups"], variables["hostvars"], self._loader.get_text_file_contents, variables
        )
        settings, broken = self._settings(variables)
        inventory.broken.setdefault(variables["inventory_hostname"], {}).update(broken)
        settings.update(self._task.args.get("settings", {}))
        found = command_line(variables)
        inventory_dirs = [str(own.get("inventory_dir") or "") for own in inventory.hosts.values()]
        settings["ha_secrets_dir"] = secrets_dir(settings.get("ha_secrets_dir"), inventory_dirs, os.path.isdir, found)
        tls_sources = {str(own.get("tls_source", "local_ca")) for own in inventory.hosts.values()}
        playbooks = Path(variables.get("playbook_dir", "/")).resolve()
        project = role_specs.COLLECTION if playbooks.is_relative_to(role_specs.COLLECTION) else playbooks
        check_job({**variables, **settings}, [*inventory_dirs, str(project)], tls_sources, found)
        try:
            topology = build(inventory, settings, role_specs.settings(), found)
        except TopologyError as error:
            return {**result, "failed": True, "msg": str(error)}
        return {**result, "changed": False, "topology": topology, "warnings": topology["warnings"]}

    def _settings(self, variables: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the cluster's settings as this task sees them, so that role defaults and play variables count."""
        return readable(
            variables, lambda name: self._templar.template(variables[name]), (*shared_settings(), *passwords())
        )


def command_line(variables: Mapping[str, Any]) -> Findings:
    """Return what is wrong with the options of this run."""
    found = Findings()
    given = {"--tags": variables.get("ansible_run_tags", ()), "--skip-tags": variables.get("ansible_skip_tags", ())}
    # The collection's own playbooks, and site.yml beside them in a checkout.
    ours = Path(variables.get("playbook_dir", "/")).resolve() in (
        role_specs.COLLECTION,
        role_specs.COLLECTION / "playbooks",
    )
    check_tags(given, role_specs.tags(), ours, found)
    return found


def read_inventory(
    groups: Mapping[str, list[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    read_file: Callable[[str], str],
    seen: Iterable[str] = (),
) -> Inventory:
    """Return the inventory as `build` takes it: all groups, and the variables of the hosts that are in one of ours.

    seen: names of variables that the play has beside them.
    """
    hosts: dict[str, dict[str, Any]] = {}
    broken: dict[str, dict[str, str]] = {}
    others: dict[str, frozenset[str]] = {}
    files: dict[str, dict[str, str | OSError]] = {}
    contents = cache(partial(text_of, read_file))
    known, own = {*role_specs.settings(), *FORMER_NAMES, *passwords(), *kept()}, set(variables_seen())
    for name in dict.fromkeys(host for group in known_groups() for host in groups.get(group, [])):
        variables = hostvars[name]
        ours = [key for key in variables if key in own or key.startswith("ha_")]
        hosts[name], broken[name] = readable(variables, variables.__getitem__, ours)
        for key in sorted(known.intersection(variables) - set(ours)):
            try:
                hosts[name][key] = variables[key]
            except AnsibleError as error:
                # Others may refer to what is only known once the roles run, a password for instance; they judge it then.
                if fails_always(error, seen):
                    broken[name][key] = why(error)
        # One that could not be templated yet is judged by role tls.
        named = [key for key in own_files(hosts[name]) if key in hosts[name] or key not in variables]
        files[name] = {key: contents(str(hosts[name].get(key, ""))) for key in named}
        others[name] = frozenset(variables) - set(ours) - known - role_specs.names_in_use()
    members = {key: list(names) for key, names in groups.items() if key not in ("all", "ungrouped")}
    return Inventory(members, hosts, broken, others, files)


def fails_always(error: AnsibleError, seen: Iterable[str]) -> bool:
    """Whether a template will fail in every run: its syntax, its vault, or a name that neither the play nor any role of ours has."""
    text = why(error)
    undefined = re.match(r"'(\w+)' is undefined", text)
    if undefined is None:
        return isinstance(error, AnsibleTemplateSyntaxError) or "Omit scalar" in text or UNDECRYPTABLE in text
    name = undefined.group(1)
    return not name.startswith("ansible_") and name not in {*seen, *role_specs.names_in_use(), "ha"}


def why(error: AnsibleError) -> str:
    """Return the reason of a failure in one line, the same for all hosts."""
    text = " ".join(str(error).split()).rstrip(".")
    # What Python says of a recursion depends on where it stops.
    return re.sub(r"(Recursive loop detected in template).*", r"\1", text)


def text_of(read_file: Callable[[str], str], path: str) -> str | OSError:
    """Return a file's text, or why it can't be read."""
    try:
        with open(path, "rb"):
            return read_file(os.path.abspath(path))
    except OSError as error:
        return error
    except (AnsibleError, ValueError) as error:
        return OSError(0, " ".join(str(error).split()))


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
            secret = name in passwords() and UNDECRYPTABLE not in str(error)
            broken[name] = "its template fails" if secret else why(error)
    return values, broken
