# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is read of a host, from what a Debian 13 host said."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.host import facts as host
from ansible_collections.utmstack.ha.plugins.module_utils.host import freshness

FIXTURES = Path(__file__).parents[3] / "fixtures" / "host"


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
    found = {"haproxy": {"status": "installed"}, "etcd-server": {"status": "half-configured"}}
    assert host.missing_packages(["haproxy", "etcd-server", "patroni"], found) == ["etcd-server", "patroni"]


def test_interfaces_come_with_their_addresses_and_without_their_peer():
    links = host.interfaces((FIXTURES / "ip-json-debian13.json").read_text())
    assert links == {"lo": ["127.0.0.1"], "eth0": ["10.0.1.11"]}


def test_a_host_without_the_ip_program_has_no_interfaces():
    assert host.interfaces("") == {}


SYSTEMD_257 = """\
ExecMainStartTimestamp=@1795000000
Id=etcd.service
LoadState=loaded
ActiveState=active

ExecMainStartTimestamp=@1795000001
Id=patroni.service
LoadState=loaded
ActiveState=failed

ExecMainStartTimestamp=
Id=redis-server.service
LoadState=not-found
ActiveState=inactive
"""


def test_units_come_with_their_start_and_those_that_are_not_installed_are_left_out():
    assert host.units(SYSTEMD_257) == {
        "etcd.service": {"state": "active", "started": "2026-11-18T11:06:40.000Z"},
        "patroni.service": {"state": "failed", "started": None},
    }


def test_a_host_has_booted_when_its_first_process_started(tmp_path):
    (tmp_path / "proc/1").mkdir(parents=True)
    (tmp_path / "proc/1/stat").write_text("1 (systemd) S 0 " + "0 " * 17 + "5000 0 0")
    (tmp_path / "proc/1/exe").symlink_to("/usr/lib/systemd/systemd")
    proc = freshness.Proc(str(tmp_path), wall=lambda: 1795000100.0, since_boot=lambda: 100.0, ticks=100)
    assert host.booted(proc) == "2026-11-18T11:07:30.000Z"
