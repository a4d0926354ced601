# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When the roles of a load balancer leave out all that starts, reloads or restarts."""

from __future__ import annotations

import pytest
from role_vars import variable

RUNS = {"state": "fresh", "enabled": True}


@pytest.mark.parametrize("role", ["haproxy", "keepalived", "pgbouncer"])
@pytest.mark.parametrize(
    ("other", "settled"),
    [
        ({}, True),
        ({"enabled": False}, False),
        ({"state": "stopped"}, False),
        ({"state": "reload"}, False),
        ({"state": "restart"}, False),
    ],
)
def test_one_host_that_does_not_run_with_its_files_is_enough_for_all_to_look(role, other, settled):
    hostvars = {"node1": {f"{role}_freshness": RUNS}, "node2": {f"{role}_freshness": RUNS | other}}
    assert variable(role, f"{role}_settled", ansible_play_hosts=["node1", "node2"], hostvars=hostvars) is settled
