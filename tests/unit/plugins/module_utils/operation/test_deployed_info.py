# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is deployed on a host, of what each component tells of itself."""

from __future__ import annotations

import json

import pytest
import yaml
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.utmstack.ha.plugins.module_utils.common.deployed import Deployed, Files, Host
from ansible_collections.utmstack.ha.plugins.module_utils.common.info import Question
from ansible_collections.utmstack.ha.plugins.module_utils.host import conflicts_look
from ansible_collections.utmstack.ha.plugins.module_utils.host.conflicts import plan as host_plan
from ansible_collections.utmstack.ha.plugins.module_utils.host.conflicts_look import Look
from ansible_collections.utmstack.ha.plugins.module_utils.operation import deployed_info
from ansible_collections.utmstack.ha.plugins.module_utils.operation.infos import QUESTIONS
from ansible_collections.utmstack.ha.plugins.module_utils.services.passwords import kept, passwords
from ansible_collections.utmstack.ha.plugins.module_utils.services.software import settings
from ansible_collections.utmstack.ha.plugins.module_utils.topology import changes
from ansible_collections.utmstack.ha.plugins.modules import deployed_info as module
from ansible_collections.utmstack.ha.plugins.modules import host_conflicts_info
from role_templates import ROLES, topology
from role_vars import evaluated

HA = topology({"etcd": ["node1"]}, "node1")
UNITS = {name: one["units"] for name, one in HA["services"].items()}
GIVEN = {
    "settings": settings(HA, HA["releases"]["13"], {}),
    "units": UNITS,
    "tls_directory": "/none",
    "passwords": dict.fromkeys((*passwords(), *kept()), "a-password"),
}
# Defaults of the module's options.
OPTIONS = {"backend_secrets": {}, "services": {}}


def test_a_service_counts_as_enabled_that_starts_with_the_host(tmp_path):
    wants = tmp_path / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    (wants / "valkey-server.service").symlink_to("/usr/lib/systemd/system/valkey-server.service")
    assert deployed_info.enabled(Files(tmp_path), UNITS) == ["redis"]


def test_the_units_of_all_services_are_given_to_it():
    (task,) = (one for one in yaml.safe_load((ROLES / "base/tasks/changes.yml").read_text()) if "register" in one)
    assert evaluated(task["utmstack.ha.deployed_info"]["units"], ha=HA) == UNITS


def test_conflicts_are_detected_in_the_same_call_and_as_by_a_module_of_their_own(monkeypatch, capsys, tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "var/lib/utmstack-ha").mkdir(parents=True)
    (tmp_path / "var/lib/utmstack-ha/units").write_text("patroni.service\netcd.service\n")
    monkeypatch.setattr(conflicts_look, "Look", lambda run: Look(run, str(tmp_path)))
    monkeypatch.setattr(AnsibleModule, "run_command", lambda *_command, **_options: (0, "", ""))
    plan = host_plan(HA, "node1", GIVEN["settings"])
    conflicts = {"plan": plan, "interfaces": {"eth0": [HA["hosts"]["node1"]["address"]]}, "take_over": []}
    alone = asked(monkeypatch, capsys, tmp_path, host_conflicts_info, conflicts)
    assert alone["claimed"] == ["etcd.service", "patroni.service"]
    assert alone["conflicts"] == []
    together = asked(monkeypatch, capsys, tmp_path, conflicts=conflicts)["conflicts"]
    assert together == {name: value for name, value in alone.items() if name not in ("changed", "invocation")}


def test_what_components_tell_is_put_together_and_a_copy_counts_only_where_its_own_component_tells_nothing():
    told = [
        Deployed({"etcd": {}}, {"a": True, "b": False}, rotating=("z", "y"), noted=("n",)),
        Deployed({"postgresql": {"port": 1}}, copies={"a": False, "c": False}, rotating=("y",)),
    ]
    for given in (told, reversed(told)):
        assert deployed_info.together(given) == {
            "layers": {"postgresql": {"port": 1}},
            "passwords": {"a": True, "b": False, "c": False},
            "rotating": ["y", "z"],
            "noted": ["n"],
        }


def asked(monkeypatch, capsys, root, asks=module, options=None, **given):
    monkeypatch.setattr(deployed_info, "Files", lambda: Files(root))
    with patch_module_args((GIVEN if options is None else options) | given), pytest.raises(SystemExit):
        asks.main()
    return json.loads(capsys.readouterr().out)


def test_a_bare_host_has_nothing(monkeypatch, capsys, tmp_path):
    found = asked(monkeypatch, capsys, tmp_path)
    assert {name: found[name] for name in ("layers", "enabled", "passwords", "rotating", "noted")} == {
        "layers": {}, "enabled": [], "passwords": {}, "rotating": [], "noted": [],
    }  # fmt: skip


def test_a_new_component_is_asked_by_its_line_in_the_list(monkeypatch, capsys, tmp_path):
    def look(host):
        port = int(host.files.text("/etc/queue/port"))
        same = host.given["passwords"]["queue_admin_password"] == "another"
        return Deployed({"queue": {"port": port}}, {"queue_admin_password": same})

    monkeypatch.setitem(QUESTIONS, "utmstack.ha.queue_info", Question({}, lambda _module, _given: {}, deployed=look))
    (tmp_path / "etc/queue").mkdir(parents=True)
    (tmp_path / "etc/queue/port").write_text("9092")
    found = asked(
        monkeypatch, capsys, tmp_path, passwords=GIVEN["passwords"] | {"queue_admin_password": "a-queues-password"}
    )
    assert (found["layers"], found["passwords"]) == ({"queue": {"port": 9092}}, {"queue_admin_password": False})


def test_what_is_compared_of_a_layer_is_told_by_a_component(tmp_path):
    host = Host(Files(tmp_path), GIVEN | OPTIONS, print)
    told = [question.deployed(host).layers for question in QUESTIONS.values() if question.deployed]
    assert {name for layers in told for name in layers} == set(changes.layers())
