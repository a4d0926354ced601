# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the variables of role base come to."""

from __future__ import annotations

import base64

import pytest
from role_templates import topology
from role_vars import variable

THREE = ["node1", "node2", "node3"]


@pytest.mark.parametrize("hosts, asked, releases", [
    ({"node1": "13", "node2": "12"}, {}, ["13", "12"]),
    ({"node4": "12"}, {"node1": "13", "node2": "13"}, ["13", "13"]),
    ({"node4": "12"}, {}, ["12"]),
], ids=["both are in the run", "neither is, and they were asked", "neither is, nor answers"])  # fmt: skip
def test_the_load_balancers_release_decides_whether_there_is_a_pgbouncer(hosts, asked, releases):
    files = [f'NAME="Debian GNU/Linux"\nVERSION_ID="{version}"\n' for version in asked.values()]
    answers = [{"content": base64.b64encode(file.encode()).decode()} for file in files]
    known = {
        "ansible_play_hosts": ["node4"],
        "ha": topology({"loadbalancer": ["node1", "node2"], "etcd": THREE, "postgresql": THREE}, "node1"),
        "hostvars": {name: {} for name in ("node1", "node2")}
        | {"node4": {"base_asked": {"results": [{"item": "node9", "unreachable": True}, *answers]}}},
        "base_host": {"distribution_version": next(iter(hosts.values()))},
    }  # fmt: skip
    for name, version in hosts.items():
        known["hostvars"][name]["base_host"] = {"distribution_version": version}
    assert variable("base", "base_balancers_releases", **known) == releases
