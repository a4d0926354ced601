# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which manager role swarm asks."""

from __future__ import annotations

import pytest
from role_vars import variable

MANAGERS = ["node1", "node2", "node3"]


@pytest.mark.parametrize(
    ("host", "hosts", "other"),
    [
        ("node1", ["node1", "node2", "node3"], "node2"),
        ("node2", ["node1", "node2", "node3"], "node1"),
        ("node2", ["node2", "node3"], "node3"),  # node1 is away, and left out by --limit
        ("node2", ["node2"], "node1"),
    ],
)
def test_a_leader_is_demoted_by_another_manager_of_this_run(host, hosts, other):
    given = {"swarm_manager_names": MANAGERS, "ansible_play_hosts": hosts, "inventory_hostname": host}
    assert variable("swarm", "swarm_other_manager", swarm_excluded=[], **given) == other


@pytest.mark.parametrize(
    ("host", "excluded", "asked"),
    [("node3", [], "node3"), ("node3", ["node3"], "node1"), ("node1", ["node1"], "node2")],
)
def test_a_manager_asks_itself_unless_it_is_the_host_of_the_step(host, excluded, asked):
    given = {"swarm_manager_names": MANAGERS, "ansible_play_hosts": MANAGERS, "inventory_hostname": host}
    assert variable("swarm", "swarm_asked", swarm_excluded=excluded, **given) == asked
