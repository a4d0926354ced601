# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Renders the roles' templates as Ansible does, from the real topology of small inventories."""

from __future__ import annotations

import base64
from pathlib import Path

import jinja2
import yaml
from ansible_collections.utmstack.ha.plugins.module_utils.topology.build import Inventory, build
from ansible_collections.utmstack.ha.plugins.module_utils.topology.values import boolean

ROLES = Path(__file__).resolve().parents[3] / "roles"


def topology(groups, host, vip="10.0.1.100/24", hosts=None, own=None, **settings):
    """Return `ha` as a host sees it; `hosts` are addresses, node1 to node9 have 10.0.1.11 to 10.0.1.19. own: further variables, by host."""
    addresses = {f"node{number}": f"10.0.1.{10 + number}" for number in range(1, 10)} | (hosts or {})
    variables = {name: {"ha_address": address, **(own or {}).get(name, {})} for name, address in addresses.items()}
    result = build(Inventory(groups=groups, hosts=variables), {"ha_vip": vip, **settings})
    return result | {"host": result["hosts"][host]}


def role_variables(role):
    """Return the variables of a role's vars as they are written, whether they are one file or several."""
    place = ROLES / role / "vars"
    files = sorted((place / "main").glob("*.yml")) or [place / "main.yml"]
    assert not ((place / "main").is_dir() and (place / "main.yml").exists()), f"one of them hides the other: {place}"
    return {name: value for file in files for name, value in yaml.safe_load(file.read_text()).items()}


def render(role, template, ha, **variables):
    """Return a role's template with the role's defaults, the constant ones of its vars, and the variables given."""
    known = yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text()) | role_variables(role)
    loader = jinja2.FileSystemLoader(ROLES / role / "templates")
    environment = jinja2.Environment(
        loader=loader, trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined, autoescape=False
    )
    # Ansible's filters of these names.
    environment.filters["bool"] = boolean
    environment.filters["b64encode"] = lambda text: base64.b64encode(text.encode()).decode()
    return environment.get_template(template).render(known | {"ha": ha} | variables)
