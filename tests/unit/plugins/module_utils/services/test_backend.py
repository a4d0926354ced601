# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What others must know of the application: whether it is deployed at all."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.utmstack.ha.plugins.module_utils.topology.build import Inventory, build
from role_templates import ROLES
from role_vars import variable

ARCHIVE = "/srv/backend.tar"


def told(groups, **settings):
    variables = {"node1": {"ha_address": "10.0.1.11", **settings}, "node2": {"ha_address": "10.0.1.12"}}
    return build(Inventory(groups, variables), {"ha_vip": "10.0.1.100"})["backend"]["wanted"]


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, True),
        ({"backend_image": "registry.example.org/backend:1"}, True),
        ({"backend_image": ""}, False),
        ({"backend_image": "", "backend_image_archive": ARCHIVE}, True),
        ({"backend_image_archive": ARCHIVE}, True),
    ],
)
def test_it_is_deployed_as_role_backend_says(settings, wanted):
    assert told({"swarm_managers": ["node1"]}, **settings) is wanted
    defaults = yaml.safe_load((ROLES / "backend" / "defaults" / "main.yml").read_text())
    given = {name: defaults[name] for name in ("backend_image", "backend_image_archive")} | settings
    assert variable("backend", "backend_wanted", **given) is wanted


def test_without_a_swarm_it_is_not():
    assert told({"etcd": ["node1"]}) is False


def test_what_hosts_of_other_services_say_does_not_count():
    assert told({"etcd": ["node1"], "swarm_managers": ["node2"]}, backend_image="") is True
