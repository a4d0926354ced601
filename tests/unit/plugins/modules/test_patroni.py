# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The modules as Ansible runs them, from arguments to result; only the network is doubled."""

from __future__ import annotations

import json
import time

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import client as patroni_client
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import switchover
from ansible_collections.utmstack.ha.plugins.modules import (
    patroni_config,
    patroni_info,
    patroni_member,
    postgresql_switchover,
)
from patroni_network import URLS, Network, replies, said, switchover_frames


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a module's main() against a network and returns what it prints."""

    def run(module, network, **arguments):
        monkeypatch.setattr(patroni_client, "sender", lambda *_certificates: network.send)
        monkeypatch.setattr(patroni_client.Client.__init__, "__defaults__", (None, 5.0, network.sleep, network.now))
        given = {"url": URLS, "username": "patroni", "password": "very secret", **arguments}
        given = {name: value for name, value in given.items() if value is not None}
        with patch_module_args(given), pytest.raises(SystemExit) as ended:
            module.main()
        result = json.loads(capsys.readouterr().out)
        assert bool(ended.value.code) == bool(result.get("failed"))
        assert "very secret" not in json.dumps({k: v for k, v in result.items() if k != "invocation"})
        return result

    return run


def test_patroni_info_tells_health_and_members(run):
    result = run(patroni_info, Network(replies("4.0.7-healthy")), expected_members=["node1", "node4"])
    assert result["changed"] is False
    assert result["healthy"] is False
    assert result["problems"] == ["node4 is not a member of the cluster."]
    assert [member["name"] for member in result["members"]] == ["node1", "node2", "node3"]


def test_patroni_info_returns_what_it_documents(run):
    import yaml

    result = run(patroni_info, Network(replies("4.0.7-healthy")))
    documented = yaml.safe_load(patroni_info.RETURN)
    assert set(documented) == set(result) - {"changed", "invocation"}
    assert set(documented["members"]["contains"]) == set(result["members"][0])


def test_patroni_info_fails_when_nobody_answers(run):
    result = run(patroni_info, Network({}))
    assert result["failed"] is True
    assert len(result["failures"]) == 3


def test_patroni_info_waits_for_health(run):
    network = Network((0, replies("4.0.7-paused")), (3, replies("4.0.7-healthy")))
    network.start()
    assert run(patroni_info, network, wait_for="healthy")["healthy"] is True


def test_patroni_config_patches_and_names_members_that_are_late(run):
    stored = replies("4.0.7-pending-raised")
    stored[URLS[2]] = {"error": "timed out"}
    network = Network(
        (0, replies("4.0.7-healthy")),
        (0.001, stored),
        acts={"PATCH /config": said("4.0.7", "raise max_connections")},
    )
    config = {"postgresql": {"parameters": {"max_connections": 60}}}
    result = run(patroni_config, network, config=config, wait_timeout=5)
    assert result["changed"] is True
    assert result["unapplied_members"] == ["node3"]
    assert result["diff"]["after"]["postgresql"]["parameters"]["max_connections"] == 60


def test_patroni_config_in_check_mode_only_tells(run):
    network = Network(replies("3.0.2-healthy"))
    result = run(patroni_config, network, config={"loop_wait": 4}, _ansible_check_mode=True, _ansible_diff=True)
    assert (result["changed"], result["patch"], network.sent) == (True, {"loop_wait": 4}, [])


def test_patroni_config_fails_with_every_fault(run):
    result = run(patroni_config, Network(replies("4.0.7-healthy")), config={"ttl": 1, "loop_wait": 0})
    assert result["failed"] is True
    assert len(result["faults"]) == 2


@pytest.mark.parametrize("version", ["3.0.2", "4.0.7"])
def test_the_leader_is_handed_over_without_pgbouncer_and_its_library(run, version, monkeypatch):
    monkeypatch.setattr(switchover, "psycopg2", None)
    network = Network(*switchover_frames(version), acts={"POST /switchover": said(version, "switchover")})
    result = run(postgresql_switchover, network)
    assert result["changed"] is True
    assert result["leader"] != result["old_leader"]
    assert result["pgbouncers"] == []


def test_a_switchover_fails_with_the_reasons(run):
    result = run(postgresql_switchover, Network(replies("4.0.7-healthy")), candidate="node1")
    assert result["msg"].startswith("No switchover: node1 cannot take over")
    assert len(result["faults"]) == 1


def test_a_switchover_with_pgbouncers_needs_the_address_of_their_clients(run):
    pgbouncers = [{"name": "node1", "address": "10.0.1.11"}]
    assert "virtual_ip" in run(postgresql_switchover, Network({}), pgbouncers=pgbouncers)["msg"]


@pytest.mark.parametrize("state", ["restarted", "reloaded", "reinitialized"])
def test_patroni_member_in_check_mode_only_tells(run, state):
    network = Network(replies("4.0.7-healthy"))
    result = run(patroni_member, network, member="node1", state=state, _ansible_check_mode=True)
    assert (result["changed"], network.sent) == (True, [])


def test_patroni_member_is_content_with_a_member_that_waits_for_nothing(run):
    result = run(patroni_member, Network(replies("4.0.7-healthy")), member="node1", only_pending=True)
    assert result["changed"] is False


def test_patroni_member_passes_on_why_it_fails(run):
    network = Network(replies("4.0.7-healthy"), acts={"POST /reload": {"status": 500, "body": "no"}})
    assert run(patroni_member, network, member="node1", state="reloaded")["msg"] == "node1 does not reload: 500 (no)"


def test_patroni_member_refuses_the_leader(run):
    result = run(patroni_member, Network(replies("4.0.7-healthy")), member="node2", state="reinitialized")
    assert result["failed"] is True


def test_a_password_without_a_user_is_refused(run):
    assert "parameters are required together" in run(patroni_info, Network({}), username=None)["msg"]


def test_the_real_clock_is_the_default():
    assert patroni_client.Client(URLS, None).now is time.monotonic
