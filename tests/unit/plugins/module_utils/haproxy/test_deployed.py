# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host tells of its HAProxy and pgbouncer, from their files."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common.deployed import Files, Host
from ansible_collections.utmstack.ha.plugins.module_utils.haproxy import deployed
from host_files import ours, write
from role_templates import render, topology
from role_vars import variable

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"

GROUPS = {
    group: ["node1", "node2", "node3"]
    for group in ("loadbalancer", "etcd", "postgresql", "elasticsearch", "redis", "swarm_managers")
}


@pytest.fixture
def host(tmp_path):
    """A host whose units have our settings."""
    return ours(tmp_path, "haproxy")


def test_haproxy_tells_the_ports_of_its_frontends(host):
    write(host, "/etc/haproxy/haproxy.cfg", render("haproxy", "haproxy.cfg.j2", topology(GROUPS, "node1")))
    found = deployed.ports(Files(host))
    wanted = {"postgresql_write": 5432, "postgresql_direct": 5434, "elasticsearch": 9200, "redis": 6379, "https": 443}
    assert wanted.items() <= found.items()


def test_pgbouncers_users_are_compared_with_its_file(host):
    given = {"postgresql_pgbouncer_password": 'look"up-password', "pgbouncer_admin_password": "admin-password"}
    files = Files(host)
    assert deployed.pgbouncer_rotating(files, given) == []
    write(host, "/etc/pgbouncer/userlist.txt", '"pgbouncer" "look""up-password"\n"pgbouncer_admin" "admin-password"\n')
    assert deployed.pgbouncer_rotating(files, given) == []
    assert deployed.pgbouncer_rotating(files, given | {"pgbouncer_admin_password": "new-password"}) == [
        "pgbouncer_admin_password"
    ]


@pytest.mark.parametrize("version", ["2.6", "3.0"])
def test_haproxy_tells_which_servers_are_drained(version):
    answer = (FIXTURES / f"haproxy_{version}_states.txt").read_text()
    assert deployed.drained(lambda _command: answer) == {"drained": ["node2"]}


def test_a_haproxy_that_does_not_answer_is_not_one_without_drained_servers(host):
    def nobody(_command):
        raise ConnectionRefusedError

    def silent(_command):
        raise TimeoutError("timed out")

    for asked in (nobody, silent, lambda _command: "Unknown command"):
        assert deployed.drained(asked) == {}
    write(host, "/etc/haproxy/haproxy.cfg", render("haproxy", "haproxy.cfg.j2", topology(GROUPS, "node1")))
    passwords = dict.fromkeys(("postgresql_pgbouncer_password", "pgbouncer_admin_password"), "a-password")
    told = deployed.look(Host(Files(host), {"passwords": passwords}, print)).layers
    assert told["haproxy"]["https"] == 443
    assert "drained" not in told["haproxy"]
    assert variable("haproxy", "haproxy_drained", base_deployed={"layers": told}) is None
    assert variable("haproxy", "haproxy_drained", base_deployed={"layers": {}}) is None
    told["haproxy"]["drained"] = []
    assert variable("haproxy", "haproxy_drained", base_deployed={"layers": told}) == []
