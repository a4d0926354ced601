# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the variables of role redis come to."""

from __future__ import annotations

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from role_templates import ROLES, role_variables
from role_vars import variable


@pytest.mark.parametrize(("asked", "end"), [(False, " -@scripting"), ("false", " -@scripting"), (True, "+keys")])
def test_the_application_runs_no_scripts_unless_it_is_asked_for(asked, end):
    defaults = yaml.safe_load((ROLES / "redis" / "defaults" / "main.yml").read_text())
    rules = {user["name"]: user["rules"] for user in role_variables("redis")["redis_users"]}["utmstack"]
    variables = {**defaults, "redis_application_scripting": asked}
    rendered = Templar(DataLoader(), variables).template(trust_as_template(rules))
    assert rendered.endswith(end) and rendered.startswith(defaults["redis_application_rules"])


SEEN = {"quorum": "2", "down-after-milliseconds": "1500", "failover-timeout": "10000", "parallel-syncs": "1"}


@pytest.mark.parametrize(
    ("sentinels", "differs"),
    [
        ([{"name": "node1", "settings": {}}, {"name": "node2", "settings": SEEN}], False),
        ([{"name": "node2", "settings": SEEN | {"quorum": "3"}}], True),
        ([{"name": "node2", "settings": SEEN | {"down-after-milliseconds": "30000"}}], True),
        ([{"name": "node2", "settings": {}}], True),  # it does not watch it, or was not reached
        ([{"name": "node1", "settings": SEEN}], True),
    ],
)
def test_a_sentinel_is_told_its_settings_where_it_was_not_seen_to_have_them_all(sentinels, differs):
    wanted = {"down-after-milliseconds": 1500, "failover-timeout": 10000, "parallel-syncs": 1}
    given = {
        "ha": {"host": {"name": "node2"}, "sentinel": {"quorum": 2}},
        "redis_monitor_settings": wanted,
        "redis_cluster": {"sentinels": sentinels},
    }
    assert variable("redis", "redis_monitor_differs", **given) is differs


def test_servers_are_restarted_in_the_order_that_was_found_the_master_last():
    """Ansible's intersect has no order: another one in each run."""
    hosts = [f"node{number}" for number in range(1, 10)]
    order = [*hosts[4:], *hosts[:3], hosts[3]]
    given = {"redis_cluster": {"restart_order": order}, "redis_outdated": hosts[1:], "redis_waiting": ["node5"]}
    assert variable("redis", "redis_stale", **given) == [host for host in order if host != "node1"]


@pytest.mark.parametrize(
    ("layers", "directory"),
    [
        ({}, "/var/lib/redis/utmstack"),
        (
            {"redis": {"data_directory": "/var/lib/redis"}, "sentinel": {"data_directory": "/var/lib/redis"}},
            "/var/lib/redis",
        ),
        ({"sentinel": {"data_directory": "/var/lib/redis"}}, "/var/lib/redis"),
        ({"redis": {"flavor": "redis"}}, "/var/lib/redis/utmstack"),
    ],
)
def test_data_stay_where_a_host_was_deployed_with_them(layers, directory):
    given = {"redis_data_directory": "/var/lib/redis/utmstack"}
    assert variable("redis", "redis_directory", base_deployed={"layers": layers}, **given) == directory


def test_an_operation_that_looks_at_no_deployment_has_the_inventory_s_directory():
    assert variable("redis", "redis_directory", redis_data_directory="/srv/redis") == "/srv/redis"
