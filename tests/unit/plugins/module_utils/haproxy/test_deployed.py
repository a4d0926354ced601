# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host tells of its HAProxy and pgbouncer, from their files."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common.deployed import Files
from ansible_collections.utmstack.ha.plugins.module_utils.haproxy import deployed
from host_files import ours, write
from role_templates import render, topology

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
