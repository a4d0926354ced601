# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Evaluates variables of the roles' vars files."""

from __future__ import annotations

import re

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from role_templates import role_variables


def variable(role, name, **known):
    """A variable of a role's vars file, evaluated; those that it refers to are looked up there, too.

    By Ansible itself, not by Jinja: it doubles each backslash within an expression first.
    """
    expressions = role_variables(role)
    needed = {key for key in expressions.keys() - known if re.search(rf"\b{key}\b", str(expressions[name]))}
    found = {key: variable(role, key, **known) for key in needed}
    return evaluated(expressions[name], **(found | known))


def evaluated(value, **known):
    """A value with templates, such as an option of a task."""
    return Templar(loader=DataLoader(), variables=known).template(_trusted(value))


def _trusted(value):
    """A value of a vars file, with templates anywhere in it."""
    if isinstance(value, dict):
        return {key: _trusted(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_trusted(inner) for inner in value]
    return trust_as_template(value) if isinstance(value, str) else value
