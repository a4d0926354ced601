# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where managers give their state to backup hosts, and that nothing of it is there without them."""

from __future__ import annotations

import shutil
import subprocess

import pytest
import yaml
from ansible_collections.utmstack.ha.plugins.module_utils.host import conflicts
from ansible_collections.utmstack.ha.plugins.module_utils.services.registry import SERVICES, backups
from ansible_collections.utmstack.ha.plugins.module_utils.services.software import host_software
from role_templates import ROLES, render, topology
from role_vars import evaluated, variable

THREE = ["node1", "node2", "node3"]
GROUPS = {"loadbalancer": THREE, "swarm_managers": THREE, "swarm_workers": ["node4"]}
BACKED_UP = {**GROUPS, "backup": ["node8", "node9"]}
SOCKET, SERVICE = "/etc/systemd/system/utmstack-swarm-state.socket", "/etc/systemd/system/utmstack-swarm-state@.service"


def ha(host="node1", groups=None, **settings):
    return topology(BACKED_UP if groups is None else groups, host, **settings)


def socket_unit(own, service="x"):
    return evaluated((ROLES / "swarm/templates/swarm-state.socket.j2").read_text(), ha=own, swarm_state_service=service)


def test_managers_give_their_state_where_it_is_taken_and_workers_have_none():
    assert [variable("swarm", "swarm_state_given", ha=ha(host)) for host in ("node1", "node4")] == [True, False]
    assert variable("swarm", "swarm_state_given", ha=ha(groups=GROUPS)) is False
    assert variable("swarm", "swarm_state_given", ha=ha(backup_kinds=["configuration"])) is False


def test_a_host_that_gives_its_state_no_more_loses_the_socket():
    wants = "/etc/systemd/system/sockets.target.wants/utmstack-swarm-state.socket"
    assert variable("swarm", "swarm_state_leftovers", ha=ha()) == []
    assert variable("swarm", "swarm_state_leftovers", ha=ha(groups=GROUPS)) == [SOCKET, SERVICE, wants]


def test_only_the_backup_hosts_of_the_inventory_get_it():
    settings = variable("swarm", "swarm_state_settings", ha=ha(), swarm_data_root="/var/lib/docker")
    assert settings["clients"] == ["node8", "node9"]
    assert settings["data_root"] == "/var/lib/docker"
    assert "password" not in str(settings)


@pytest.mark.parametrize(
    ("hosts", "wanted"), [({}, "10.0.1.11:8434"), ({f"node{n}": f"fd00::{n}" for n in range(1, 10)}, "[fd00::1]:8434")]
)
def test_the_socket_is_at_the_hosts_own_address(hosts, wanted):
    own = topology(BACKED_UP, "node1", hosts=hosts, **({"vip": "fd00::100/64"} if hosts else {}))
    assert f"ListenStream={wanted}\n" in socket_unit(own)


def test_a_change_of_the_service_is_one_of_the_socket_too():
    assert socket_unit(ha(), "x") != socket_unit(ha(), "y")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not here")
def test_systemd_takes_the_units(tmp_path):
    text = render("swarm", "swarm-state.service.j2", ha())
    (tmp_path / "utmstack-swarm-state@.service").write_text(
        text.replace("/usr/bin/python3 /usr/local/lib/utmstack-ha/swarm_state.py", "/bin/true")
    )
    (tmp_path / "utmstack-swarm-state.socket").write_text(socket_unit(ha()))
    files = [str(tmp_path / "utmstack-swarm-state.socket"), str(tmp_path / "utmstack-swarm-state@.service")]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, check=False
    )
    assert [line for line in done.stderr.splitlines() if str(tmp_path) in line or "utmstack" in line] == []


def test_packages_are_there_for_backups_alone():
    plain, given = (
        set(host_software(ha(groups=groups), "node1", {}, "13")["packages"]) for groups in (GROUPS, BACKED_UP)
    )
    assert given - plain == {"python3-nacl"}
    assert {"docker.io", "python3-nacl"} <= set(host_software(ha("node8"), "node8", {}, "13")["packages"])


def test_the_key_that_docker_has_not_made_yet_is_none():
    asked = backups()["swarm"].asked(ha(), {})
    assert asked["unlock_key"] == ""
    assert asked["managers"] == [{"name": f"node{n}", "address": f"10.0.1.1{n}"} for n in (1, 2, 3)]
    assert backups()["swarm"].asked(ha(), {"swarm_unlock_key": "SWMKEY-1-x"})["unlock_key"] == "SWMKEY-1-x"


def test_a_platform_made_anew_needs_no_backup_of_the_swarm():
    """site.yml makes all that is declared; the backup has what operators have added."""
    assert "swarm" not in ha()["backup"]["stores"]
    assert SERVICES["swarm"].backups == (backups()["swarm"],)


def test_a_key_of_this_run_reaches_the_backup_host():
    defaults = yaml.safe_load((ROLES / "backup/defaults/main.yml").read_text())
    known = {**defaults, "ha": ha("node8"), "ha_secrets": {"backup_passphrase": "a-password-of-backup"}}

    def key(**more):
        settings = variable("backup", "backup_program_settings", **known, **more)
        return settings["kinds"]["swarm"]["settings"]["unlock_key"]

    assert key(backup_unlock_key="SWMKEY-1-new") == "SWMKEY-1-new"
    assert key() == ""


def test_docker_s_own_packages_are_refused_on_a_backup_host_too_in_whose_place_apt_would_put_debians():
    def barred(host, groups):
        own = ha(host, groups)
        return conflicts.plan(own, host, host_software(own, host, {}, "13")["settings"])["packages"]

    assert {"docker-ce", "containerd.io"} <= set(barred("node8", BACKED_UP))
    assert barred("node8", {**GROUPS, "web": ["node8"]}) == []
