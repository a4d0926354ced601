# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the collection's own files know: the settings of the roles' argument specs, and the names that its YAML uses."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from ansible.module_utils.common.yaml import yaml_load

COLLECTION = Path(__file__).resolve().parents[3]
NAME = re.compile(r"[a-z][a-z0-9]*_\w+")
# The entry points whose options are settings. Those of the others are what a caller gives (docs/role-contract.md).
OF_SETTINGS = ("main", "settings", "reboot")


@cache
def settings(collection: Path = COLLECTION) -> dict[str, dict[str, Any]]:
    """Return every setting of every role, by name, as its argument spec describes it."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(collection.glob("roles/*/meta/argument_specs.yml")):
        specs = yaml_load(path.read_text(encoding="utf-8"))["argument_specs"]
        for entry_point in OF_SETTINGS:
            found.update(specs.get(entry_point, {}).get("options", {}))
    return found


@cache
def tags(collection: Path = COLLECTION) -> frozenset[str]:
    """Return the tags by which parts of playbooks/site.yml are chosen."""
    plays = yaml_load((collection / "playbooks" / "site.yml").read_text(encoding="utf-8"))
    return frozenset(tag for play in plays for tag in play.get("tags", []))


@cache
def names_in_use(collection: Path = COLLECTION) -> frozenset[str]:
    """Return every word with an underscore in the YAML of roles and playbooks: variables that are no settings are among them.

    Ansible shows the variables of a play's roles, and what earlier plays have kept, beside those of the inventory.
    """
    files = [path for pattern in ("roles/*/*/**/*.yml", "playbooks/*.yml") for path in collection.glob(pattern)]
    return frozenset(name for path in files for name in NAME.findall(path.read_text(encoding="utf-8")))
