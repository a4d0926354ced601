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


AS_WANTED = {
    "base_kernel_file": "k", "base_needrestart_file": "n", "base_apt_file": "a",
    "base_kernel_text": "kernel", "base_needrestart_text": "needrestart", "base_apt_text": "apt", "base_python_text": "python",
    "base_hosts_text": "10.0.1.11 node1", "base_manage_hosts_file": True, "base_kernel_settings": {"net.ipv4.tcp_retries2": 5},
}  # fmt: skip
TEXTS = {
    "k": "kernel",
    "n": "needrestart",
    "a": "apt",
    "p": "python",
    "/etc/hosts": "127.0.0.1 localhost\n10.0.1.11 node1\n",
}


@pytest.mark.parametrize(
    ("found", "kernel", "differs"),
    [
        ({}, "5", False),
        ({}, "15", True),
        ({"k": ""}, "5", True),
        ({"n": ""}, "5", True),
        ({"a": "other"}, "5", True),
        ({"p": ""}, "5", True),
        ({"/etc/hosts": "127.0.0.1 localhost\n"}, "5", True),
    ],
)
def test_a_host_is_left_alone_where_nothing_of_its_system_differs(found, kernel, differs):
    host = {"texts": TEXTS | found, "kernel_settings": {"net.ipv4.tcp_retries2": kernel}}
    given = {"ha": {"host": {"groups": ["postgresql"]}, "postgresql": {"python": "p"}}, "base_host": host}
    assert variable("base", "base_system_differs", **AS_WANTED, **given) is differs


@pytest.mark.parametrize(
    ("held", "missing", "wanted"),
    [
        (["etcd-server"], [], []),
        ([], [], ["etcd-server"]),
        ([], ["etcd-server"], []),
        (["patroni"], [], ["etcd-server"]),
    ],
)
def test_what_was_installed_before_is_held_and_what_is_missing_is_held_by_its_installation(held, missing, wanted):
    host = {"held_packages": held, "missing_packages": missing}
    given = {"base_held_packages": ["etcd-server"], "base_hold_packages": True, "base_host": host}
    assert variable("base", "base_unheld", **given) == wanted
