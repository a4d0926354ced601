# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What role drill's variables come to, whichever host evaluates them."""

from __future__ import annotations

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from drill_catalogue import CATALOGUE, NODES, ROLE
from role_templates import topology


@pytest.mark.parametrize("host", NODES)
def test_every_host_has_the_certificate_that_was_made_on_the_one_that_is_meant(host):
    """The first host of a play decides for all: it passed the fault over where the certificate was made on another one."""
    expressions = DataLoader().load_from_file(str(ROLE / "vars/main/main.yml"), trusted_as_template=True)
    given = {
        "ha": topology({"postgresql": NODES, "etcd": NODES}, host), "inventory_hostname": host, "drill_volumes": {},
        "drill_fill_limit_gb": 20, "drill_loss_percent": 25, "drill_loss_direction": "both", "drill_power_off": [], "drill_power_on": [],
        "drill_freeze": [], "drill_thaw": [], "drill_turn": {"fault": CATALOGUE["certificate-expired"]},
        "ansible_facts": {"drill_state": {"target": {"host": "node2"}}},
        "hostvars": {name: {"drill_expired": {"skipped": True}} for name in NODES} | {"node2": {"drill_expired": {"certificate": "PEM"}}},
    }  # fmt: skip
    injection = Templar(loader=DataLoader(), variables=expressions | given).template(expressions["drill_injection"])
    assert (injection["why"], injection["fault"]["content"]) == ("", "PEM")
