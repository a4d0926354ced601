# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The variables that an expression of Jinja reads."""

from __future__ import annotations

import jinja2
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
