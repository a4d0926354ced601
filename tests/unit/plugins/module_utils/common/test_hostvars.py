# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

SEEN = {
    "node1": {"seen": {"state": "fresh", "rotating": []}},
    "node2": {"seen": {"state": "restart", "rotating": ["a"]}, "count": trust_as_template("{{ 1 + 1 }}")},
    "node3": {"seen": {"skipped": True}, "count": 3},
}


def evaluated(expression):
    """As a task does it: with Ansible's own hostvars, which evaluate a host's variables when they are asked for."""
    loader = DataLoader()
    inventory = InventoryManager(loader)
    for name, variables in SEEN.items():
        inventory.add_host(name)
        inventory.get_host(name).vars |= variables
    variables = {"hostvars": HostVars(inventory, VariableManager(loader, inventory), loader), "all": list(SEEN)}
    return Templar(loader, variables).template(trust_as_template("{{ " + expression + " }}"))


@pytest.mark.parametrize("arguments, expected", [
    ("'seen'", {name: variables["seen"] for name, variables in SEEN.items()}),
    ("'seen', 'state', default=''", {"node1": "fresh", "node2": "restart", "node3": ""}),
    ("'count', default=none", {"node1": None, "node2": 2, "node3": 3}),
    ("'nothing', 'at all', default=[]", {"node1": [], "node2": [], "node3": []}),
], ids=["a variable", "a key in it", "a template", "one that nobody has"])  # fmt: skip
def test_what_each_host_has_is_collected(arguments, expected):
    found = evaluated(f"all | utmstack.ha.by_host(hostvars, {arguments})")
    assert found == expected
    assert list(found) == ["node1", "node2", "node3"]


def test_the_hosts_keep_the_order_in_which_they_are_given():
    assert list(evaluated("['node3', 'node1'] | utmstack.ha.by_host(hostvars, 'seen')")) == ["node3", "node1"]


@pytest.mark.parametrize("arguments, told", [
    ("'count'", "host node1 has no count"),
    ("'seen', 'state'", "host node3 has no seen.state"),
])  # fmt: skip
def test_a_host_without_it_is_named(arguments, told):
    with pytest.raises(AnsibleError, match=told):
        evaluated(f"all | utmstack.ha.by_host(hostvars, {arguments})")


def test_the_hosts_of_a_value_are_chosen_by_ansibles_own_filters():
    states = "all | utmstack.ha.by_host(hostvars, 'seen', 'state', default='') | dict2items"
    assert evaluated(f"{states} | selectattr('value', 'eq', 'restart') | map(attribute='key') | list") == ["node2"]
