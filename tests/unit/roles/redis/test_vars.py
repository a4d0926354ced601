# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the variables of role redis come to."""

from __future__ import annotations

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from role_templates import ROLES, role_variables


@pytest.mark.parametrize(("asked", "end"), [(False, " -@scripting"), ("false", " -@scripting"), (True, "+keys")])
def test_the_application_runs_no_scripts_unless_it_is_asked_for(asked, end):
    defaults = yaml.safe_load((ROLES / "redis" / "defaults" / "main.yml").read_text())
    rules = {user["name"]: user["rules"] for user in role_variables("redis")["redis_users"]}["utmstack"]
    variables = {**defaults, "redis_application_scripting": asked}
    rendered = Templar(DataLoader(), variables).template(trust_as_template(rules))
    assert rendered.endswith(end) and rendered.startswith(defaults["redis_application_rules"])
