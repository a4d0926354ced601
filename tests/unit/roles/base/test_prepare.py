# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is refused is refused before a host is touched."""

from __future__ import annotations

import yaml
from checkout import ROOT


def test_the_place_of_the_backups_is_looked_at_before_a_host_is_touched():
    tasks = yaml.safe_load((ROOT / "roles" / "base" / "tasks" / "prepare.yml").read_text())
    names = [task["name"] for task in tasks]
    place = names.index("Validate the place of the backups")
    assert tasks[place]["ansible.builtin.include_role"] == {
        "name": "utmstack.ha.backup",
        "tasks_from": "check",
        "rolespec_validate": False,
    }
    assert place < names.index("Install packages") and place < names.index("Check earlier services, data and ports")
