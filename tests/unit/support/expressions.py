# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The variables that an expression of Jinja reads, and those that they are made of."""

from __future__ import annotations

from functools import cache

import jinja2
from ansible.module_utils.common.yaml import yaml_load
from checkout import ROOT
from jinja2 import meta


class Everything(dict):
    """Filters and tests of Ansible, which only have to be there."""

    def get(self, _name, _default=None):
        return lambda *_arguments, **_options: None


JINJA = jinja2.Environment(trim_blocks=True)  # noqa: S701 (nothing is rendered)
JINJA.filters, JINJA.tests = Everything(), Everything()


def names(text: str) -> set[str]:
    """The variables that a text with expressions reads."""
    return meta.find_undeclared_variables(JINJA.parse(text)) if "{" in text else set()


@cache
def defined() -> dict[str, str]:
    """The variables of the roles' vars files, each with what it is made of."""
    contents = [yaml_load(path.read_text()) for path in ROOT.glob("roles/*/vars/**/*.yml")]
    return {name: str(value) for content in contents for name, value in content.items()}


@cache
def behind(text: str, known: frozenset[str] = frozenset()) -> frozenset[str]:
    """The variables that a text depends on: those that it reads, and what the roles' files make these of."""
    found = frozenset(names(text)) - known
    return found.union(*(behind(defined()[name], known | found) for name in found & defined().keys()))


def behind_condition(condition: str) -> frozenset[str]:
    """The same for a condition of a task, which is written without braces."""
    return behind(condition if "{{" in condition else f"{{{{ {condition} }}}}")
