# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host tells of its etcd: from the files that the role writes, and only where there are data."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common.deployed import Files
from ansible_collections.utmstack.ha.plugins.module_utils.etcd import deployed
from host_files import ours, write

SETTINGS = {"etcd_data_directory": "/var/lib/etcd/utmstack"}
ETCD = {
    "name": "node1", "data-dir": "/var/lib/etcd/utmstack", "listen-client-urls": "https://10.0.1.11:2379",
    "listen-peer-urls": "https://10.0.1.11:2380", "initial-cluster-token": "utmstack", "trusted-ca-file": "/etc/utmstack-ha/tls/ca.crt",
}  # fmt: skip


@pytest.fixture
def host(tmp_path):
    """A host whose units have our settings."""
    return ours(tmp_path, "etcd")


def etcd_file(**over):
    """As etcd.env.j2 writes it."""
    return "".join(f'ETCD_{name.upper().replace("-", "_")}="{value}"\n' for name, value in (ETCD | over).items())


def test_etcd_is_told_by_its_settings_once_it_has_data(host):
    write(host, "/etc/default/etcd", etcd_file())
    assert deployed.member(Files(host), SETTINGS) == {}
    (host / "var/lib/etcd/utmstack/member").mkdir(parents=True)
    assert deployed.member(Files(host), SETTINGS) == {
        "name": "node1", "cluster": "utmstack", "address": "10.0.1.11", "client_port": 2379, "peer_port": 2380,
        "data_directory": "/var/lib/etcd/utmstack", "tls_directory": "/etc/utmstack-ha/tls",
    }  # fmt: skip


def test_settings_that_a_stopped_run_has_left_say_nothing_of_the_data_in_the_old_place(host):
    write(host, "/etc/default/etcd", etcd_file(**{"data-dir": "/var/lib/etcd/new", "initial-cluster-token": "new"}))
    (host / "var/lib/etcd/utmstack/member").mkdir(parents=True)
    (host / "var/lib/etcd/new").mkdir()
    files = Files(host)
    assert deployed.member(files, SETTINGS) == {"data_directory": "/var/lib/etcd/utmstack"}
    assert deployed.member(files, SETTINGS | {"etcd_data_directory": "/var/lib/etcd/new"}) == {
        "data_directory": "/var/lib/etcd/utmstack"
    }


def test_an_etcd_that_is_not_ours_is_not_told(tmp_path):
    write(tmp_path, "/etc/default/etcd", etcd_file())
    (tmp_path / "var/lib/etcd/default/member").mkdir(parents=True)
    assert deployed.member(Files(tmp_path), SETTINGS) == {}
