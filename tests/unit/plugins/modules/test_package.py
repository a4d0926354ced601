# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module package_upgrade, on a host whose package manager and programs are a stand-in's answers."""

from __future__ import annotations

import json
from contextlib import nullcontext

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.utmstack.ha.plugins.module_utils.host import package_manager as packages_host
from ansible_collections.utmstack.ha.plugins.module_utils.host import packages
from ansible_collections.utmstack.ha.plugins.modules import package_install, package_upgrade


class Host:
    """A host with etcd-server. `interrupted`: what an unfinished dpkg still has to do; `judge`: the code of the validating command."""

    def __init__(self, version="3.5.16-4", status="installed", want="hold", interrupted="", judge=0, stuck=""):
        self.version, self.status, self.want, self.interrupted, self.judge = version, status, want, interrupted, judge
        self.stuck, self.installs, self.ran = stuck, False, []

    def run(self, command, text=None):
        self.ran.append(command[0] if command[0] != "apt-get" else " ".join(command[:2]))
        if command[0] == "dpkg-query":
            return 0, f"{self.want} {self.status} {self.version} etcd-server\n" if "etcd-server" in command else "", ""
        if self.stuck and (command[1] == "--configure" or "install" in command):
            return 1, "", self.stuck
        if self.installs and command[:2] == ["apt-get", "install"]:
            self.status = "installed"
            return 0, "", ""
        if command[:2] == ["dpkg", "--configure"] and self.interrupted:
            done, self.interrupted, self.status = self.interrupted, "", "installed"
            return 0, done, ""
        if command[:2] == ["dpkg", "--set-selections"]:
            self.want = "hold"
        if command[0] == "apt-get":
            self.version, self.want = command[-1].partition("=")[2], "install"
        return 0, "", ""


@pytest.fixture
def act(monkeypatch, capsys):
    """Runs a module on a host; returns its answer."""

    def run(host, module=package_upgrade, check=False, **arguments):
        monkeypatch.setattr(packages_host, "of", lambda _module: packages.Packages(host.run, 1, lambda _seconds: None))
        monkeypatch.setattr(packages, "services_left_alone", lambda _seconds: nullcontext(False))
        monkeypatch.setattr(
            AnsibleModule, "run_command", lambda *_a, **_k: (host.judge, "unknown keyword 'forceclose'", "")
        )
        with patch_module_args({"_ansible_check_mode": check, **arguments}), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return run


NEWER = {"etcd-server": "3.5.17-1"}


def test_a_package_is_upgraded_once_and_stays_held(act):
    host = Host()
    answer = act(host, packages=NEWER)
    assert answer["changed"] is True
    assert answer["packages"] == {"etcd-server": {"from": "3.5.16-4", "to": "3.5.17-1"}}
    assert (host.version, host.want) == ("3.5.17-1", "hold")
    host.ran.clear()
    assert act(host, packages=NEWER)["changed"] is False
    assert "apt-get install" not in host.ran


def test_check_mode_tells_and_touches_nothing(act):
    host = Host()
    answer = act(host, packages=NEWER, check=True)
    assert (answer["changed"], answer["diff"]["after"]) == (True, "etcd-server 3.5.17-1\n")
    assert host.ran == ["dpkg-query"]


def test_what_dpkg_left_half_done_is_finished_first(act):
    host = Host(version="3.5.17-1", status="half-configured", interrupted="Setting up etcd-server (3.5.17-1) ...\n")
    assert act(host, packages=NEWER)["changed"] is True
    assert host.status == "installed"
    assert "apt-get install" not in host.ran


def test_an_older_version_is_refused_and_nothing_is_touched(act):
    host = Host(version="3.5.18-1")
    answer = act(host, packages=NEWER)
    assert "etcd-server 3.5.18-1 is newer than 3.5.17-1" in answer["msg"]
    assert host.ran == ["dpkg-query"]


def test_a_package_that_is_not_there_is_no_upgrade(act):
    assert "haproxy can't be upgraded: not installed" in act(Host(), packages={"haproxy": "3.0.11-1"})["msg"]


def test_a_configuration_that_the_new_program_refuses_is_told_before_any_restart(act):
    answer = act(Host(judge=1), packages=NEWER, validate=[["/usr/sbin/haproxy", "-c"]])
    assert answer["failed"] is True
    assert "`/usr/sbin/haproxy -c` says (rc 1) unknown keyword 'forceclose'" in answer["msg"]
    assert "still runs with its old program" in answer["msg"]


def test_a_hold_that_a_run_lost_when_it_died_comes_back(act):
    host = Host(version="3.5.17-1", want="install")
    assert act(host, packages=NEWER, hold=["etcd-server", "patroni"])["changed"] is True
    assert host.want == "hold"


def test_what_is_installed_is_held_once_in_the_same_call(act):
    """Also what came as a dependency; what is not installed is passed over."""
    host = Host(status="not-installed", want="install")
    host.installs = True
    assert act(host, package_install, packages=["etcd-server"], hold=["etcd-server", "haproxy"])["changed"] is True
    assert host.want == "hold"
    assert act(host, package_install, packages=["etcd-server"], hold=["etcd-server", "haproxy"])["changed"] is False


def test_a_dry_run_holds_nothing(act):
    host = Host(want="install")
    act(host, package_install, packages=["etcd-server"], hold=["etcd-server"], check=True)
    assert host.want == "install"


def test_what_is_missing_is_installed_once(act):
    host = Host(status="not-installed", want="install")
    assert act(host, package_install, packages=["etcd-server"], check=True)["installed"] == ["etcd-server"]
    assert host.ran == ["dpkg-query", "dpkg"]
    host.installs = True
    assert act(host, package_install, packages=["etcd-server"])["changed"] is True
    assert host.status == "installed"
    host.ran.clear()
    assert act(host, package_install, packages=["etcd-server"])["changed"] is False
    assert "apt-get install" not in host.ran


def test_an_installation_that_was_interrupted_is_finished_also_where_nothing_is_missing(act):
    host = Host(interrupted="Setting up openssl ...\n")
    answer = act(host, package_install, packages=["etcd-server"])
    assert (answer["changed"], answer["repaired"], answer["installed"]) == (True, True, [])


def test_a_package_of_somebody_elses_that_can_not_be_finished_is_no_failure_of_ours(act, monkeypatch):
    warned = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _module, text: warned.append(text))
    host = Host(stuck="dpkg: error processing package other (--configure)")
    answer = act(host, package_install, packages=["etcd-server"])
    assert answer["changed"] is False
    assert "other" in warned[0]
    host = Host(status="half-configured", stuck="dpkg: error processing package etcd-server (--configure)")
    assert "etcd-server" in act(host, package_install, packages=["etcd-server"])["msg"]
