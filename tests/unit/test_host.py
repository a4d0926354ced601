# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is read of a host, from what a Debian 13 host said."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils import host

FIXTURES = Path(__file__).parent / "fixtures" / "host"


def test_the_release_is_read_without_its_quotes():
    system = host.os_release((FIXTURES / "os-release-debian13").read_text())
    assert (system["ID"], system["VERSION_ID"]) == ("debian", "13")


def test_a_bare_host_without_a_release_file_gives_no_fields():
    assert host.os_release("") == {}


def test_memory_is_given_in_mib():
    assert host.memory_mb("MemTotal:       24690000 kB\nMemFree: 1 kB\n") == 24111


def test_memory_that_cannot_be_read_is_an_error():
    with pytest.raises(ValueError, match="MemTotal"):
        host.memory_mb("MemFree: 1 kB\n")


def test_only_packages_that_are_fully_installed_count():
    said = "installed haproxy\nconfig-files keepalived\nhalf-configured etcd-server\n"
    assert host.missing_packages(["haproxy", "keepalived", "etcd-server", "patroni"], said) == [
        "keepalived",
        "etcd-server",
        "patroni",
    ]


def test_interfaces_come_with_their_addresses_and_without_their_peer():
    links = host.interfaces((FIXTURES / "ip-json-debian13.json").read_text())
    assert links == {"lo": ["127.0.0.1"], "eth0": ["10.0.1.11"]}


def test_a_host_without_the_ip_program_has_no_interfaces():
    assert host.interfaces("") == {}
