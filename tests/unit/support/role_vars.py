# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Evaluates variables of the roles' vars files."""

from __future__ import annotations

import re

import jinja2
import yaml
from ansible.plugins.filter.core import FilterModule
from role_templates import ROLES

FILTERS = FilterModule().filters()


def variable(role, name, **known):
    """A variable of a role's vars file, evaluated; those that it refers to are looked up there, too."""
    expressions = yaml.safe_load((ROLES / role / "vars" / "main.yml").read_text())
    environment = jinja2.nativetypes.NativeEnvironment(undefined=jinja2.StrictUndefined)
    environment.filters |= FILTERS
    needed = {key for key in expressions if re.search(rf"\b{key}\b", expressions[name])}
    found = {key: variable(role, key, **known) for key in needed}
    return environment.from_string(expressions[name]).render(found | known)
