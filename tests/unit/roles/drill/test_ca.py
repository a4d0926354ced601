# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""By which CA clients verify on the controller: with certificates of one's own there is none among the secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.utmstack.ha.plugins.module_utils.topology.build import Inventory, build

ROOT = Path(__file__).resolve().parents[4]


def drill():
    return yaml.safe_load((ROOT / "roles" / "drill" / "defaults" / "main.yml").read_text())["drill_ca"]


def ways_in():
    task = yaml.safe_load((ROOT / "playbooks" / "ways_in.yml").read_text())[0]["tasks"][0]
    return task["vars"]["ways_in_ca"]


@pytest.mark.parametrize("expression", [drill(), ways_in()])
@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({}, "/srv/secrets/ca.crt"),
        ({"tls_source": "local_ca", "tls_ca_file": "/srv/ca.pem"}, "/srv/secrets/ca.crt"),
        ({"tls_source": "files", "tls_ca_file": "/srv/ca.pem"}, "/srv/ca.pem"),
    ],
)
def test_the_ca_is_where_the_inventory_has_it(expression, settings, path):
    inventory = Inventory({"etcd": ["node1"]}, {"node1": {"ha_address": "10.0.1.11", **settings}})
    ha = build(inventory, {"ha_vip": "10.0.1.100", "ha_secrets_dir": "/srv/secrets"})
    known = {"ha": ha | {"host": ha["hosts"]["node1"]}, **settings}
    assert Templar(loader=DataLoader(), variables=known).template(trust_as_template(expression)) == path
