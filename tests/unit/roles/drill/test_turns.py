# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whole turns of a drill, by a real run of ansible-playbook with the role's own files; what is beyond the role is made up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT
from drill_catalogue import NODES
from platform_state import whole
from role_templates import topology

LAYERS = ("loadbalancer", "etcd", "postgresql", "elasticsearch", "redis", "swarm_managers")
LOOK = """
- ansible.builtin.set_fact:
    looks: "{{ looks | default(0) | int + 1 }}"
    status_platform: "{{ well if looks | default(0) | int + 1 not in ill_at else well | combine({'healthy': false, 'problems': ['redis: down']}) }}"
"""
FACTS = """
- ansible.builtin.set_fact:
    base_host: {distribution_version: "13", memory_mb: 4096, container: true}
"""
LOCK = """
from ansible.plugins.action import ActionBase
class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        return {**super().run(tmp, task_vars), "mine": True, "holder": None}
"""
FAULT = """
from ansible.plugins.action import ActionBase
class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        result, args = super().run(tmp, task_vars), self._task.args
        said = task_vars["faults"].get(args.get("id"), {})
        if args.get("state") == "absent":
            return {**result, "undone": [{"id": args["id"], "at": 1763000020.0}] if "id" in args else []}
        if self._task.check_mode:
            return {**result, "refused": said.get("refused", "")}
        if "fails" in said:
            return {**result, "failed": True, "msg": said["fails"]}
        return {**result, "refused": "", "injected": 1763000010.0, "effect": 1763000010.5}
"""
LEDGER = """
import json, os, sys, time
what, settings, out = sys.argv[1:]
if what == "run":
    os.makedirs(out + "/ledger", exist_ok=True)
    with open(out + "/ledger/redis.jsonl", "w") as file:
        file.write(json.dumps({"what": "start", "at": 1763000000.0, "t": 0.0, "run": "r", "rate": 20}) + "\\n")
        file.write(json.dumps({"n": 1, "t": 0.1, "what": "sent"}) + "\\n" + json.dumps({"n": 1, "t": 0.2, "what": "acknowledged"}) + "\\n")
    while not os.path.exists(out + "/stop"):
        time.sleep(0.1)
elif what == "judge":
    missing = 7 if os.path.basename(out) in os.environ.get("LOSES", "") else 0
    verdict = {"sent": 1, "acknowledged": 1, "failed": 0, "unknown": 0, "unknown_present": 0, "missing": missing, "lost_s": missing / 20,
               "twice": 0, "never_sent": 0, "stale_reads": 0, "read_failed": 0, "outage_s": 1.5, "slowest_s": 0.1}
    with open(out + "/verdict.json", "w") as file:
        json.dump({"redis": verdict}, file)
"""
PLAY = """
- hosts: all
  gather_facts: false
  any_errors_fatal: true
  tasks:
    - ansible.builtin.include_role: {name: utmstack.ha.drill, rolespec_validate: false}
"""


@pytest.fixture
def drill(tmp_path):
    """Run a drill of three hosts: its exit code, what it printed, and drill.json and the turns' turn.json and marks."""
    place = tmp_path / "ansible_collections/utmstack/ha"
    for folder, name, text in (
        ("roles/status/tasks", "main.yml", LOOK), ("roles/rolling/tasks", "switchover.yml", "[]"),
        ("roles/base/tasks", "facts.yml", FACTS), ("plugins/action", "drill_lock.py", LOCK), ("plugins/action", "drill_fault.py", FAULT),
        (".", "ledger.py", LEDGER),
    ):  # fmt: skip
        (place / folder).mkdir(parents=True, exist_ok=True)
        (place / folder / name).write_text(text)
    for path in (ROOT / "plugins").iterdir():
        for one in path.iterdir() if path.name == "action" else [path]:
            if not (place / one.relative_to(ROOT)).exists():
                (place / one.relative_to(ROOT)).symlink_to(one)
    for name in ("meta", "galaxy.yml", "roles/drill"):
        (place / name).symlink_to(ROOT / name)
    (tmp_path / "play.yml").write_text(PLAY)
    (tmp_path / "ca.crt").write_text("")
    (tmp_path / "hosts").write_text(
        "".join(f"{host} ansible_connection=local ansible_python_interpreter={sys.executable}\n" for host in NODES)
    )
    hosts = [{"name": name, "reachable": True, "error": "", "maintenance": ""} for name in NODES]
    well = {**whole(), "hosts": hosts, "problems": [], "healthy": True}
    ha = topology({layer: NODES for layer in LAYERS}, "node1", ha_drill_allowed=True, ha_secrets_dir=str(tmp_path))

    def run(scenario, *, loses="", ill_at=(), **faults):
        given = {
            "ha": ha, "well": well, "ill_at": ill_at, "faults": faults, "drill_scenario": scenario,
            "drill_output": str(tmp_path / "out"), "drill_before_s": 0, "drill_heal_s": 2, "drill_look_again_s": 1,
            "drill_ledger_program": [sys.executable, str(place / "ledger.py")], "drill_ledger_settings": {"paths": {"redis": {}}},
            "drill_undo_files": [], "drill_former_undo": str(tmp_path / "former"), "ansible_playbook_python": sys.executable,
        }  # fmt: skip
        (tmp_path / "given.json").write_text(json.dumps(given))
        done = subprocess.run(
            [Path(sys.executable).parent / "ansible-playbook", "-i", "hosts", "play.yml", "-e", "@given.json"],
            cwd=tmp_path, env=os.environ | {"ANSIBLE_COLLECTIONS_PATH": f"{tmp_path}:{ROOT / 'collections'}", "ANSIBLE_NOCOLOR": "1", "LOSES": loses,
                                            "ANSIBLE_CONFIG": str(tmp_path / "none.cfg"), "ANSIBLE_INJECT_FACT_VARS": "False", "ANSIBLE_PIPELINING": "True"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        out = next((tmp_path / "out").iterdir(), None) if (tmp_path / "out").exists() else None
        turns = (
            {path.parent.name: json.loads(path.read_text()) for path in sorted(out.glob("*/turn.json"))} if out else {}
        )
        marks = (
            {
                path.parent.name: [json.loads(line) for line in path.read_text().splitlines() if line]
                for path in out.glob("*/marks.jsonl")
            }
            if out
            else {}
        )
        return done, json.loads((out / "drill.json").read_text()) if out else {}, turns, marks

    return run


SHORT = """
text: three turns
faults:
  - {name: redis-sigkill, hold_s: 1}
  - {name: haproxy-sigkill, hold_s: 1}
  - {name: etcd-sigkill, hold_s: 1}
  - {name: postmaster-sigkill, hold_s: 1}
"""


def test_without_the_ca_by_which_clients_verify_nothing_is_injected(drill, tmp_path):
    (tmp_path / "own.yml").write_text(SHORT)
    (tmp_path / "ca.crt").unlink()
    done, _told, turns, _marks = drill(str(tmp_path / "own.yml"))
    assert done.returncode == 2, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert "No fault was injected" in said
    assert f"{tmp_path}/ca.crt, which is no file on the controller. Set drill_ca" in said
    assert turns == {}


def test_a_drill_goes_through_its_turns_and_ends_where_one_fails(drill, tmp_path):
    """Losses are found, a turn that a host refuses is skipped, and after a failure the fault is undone and no other one is injected."""
    (tmp_path / "own.yml").write_text(SHORT)
    refusal, failure = {"refused": "no such process"}, {"fails": "timed out"}
    done, told, turns, marks = drill(
        str(tmp_path / "own.yml"),
        loses="01-redis-sigkill",
        **{"02-haproxy-sigkill": refusal, "03-etcd-sigkill": failure},
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "02-haproxy-sigkill is skipped: node3: no such process." in done.stdout
    assert told["passed_over"] == [{"fault": "haproxy-sigkill", "why": "node3: no such process"}]
    assert turns.keys() == {"01-redis-sigkill", "03-etcd-sigkill"}
    assert turns["01-redis-sigkill"]["target"] == {"role": "leader", "service": "redis", "host": "node1"}
    assert turns["01-redis-sigkill"]["leaders_before"]["redis"] == "node1"
    assert len(turns["01-redis-sigkill"]["leaders"]) == 3
    assert [mark["what"] for mark in marks["01-redis-sigkill"]] == ["injected", "effect", "undone", "whole"]
    assert turns["03-etcd-sigkill"]["stopped"].startswith("03-etcd-sigkill failed at ")
    assert turns["03-etcd-sigkill"]["stopped"].endswith(": timed out")
    assert marks["03-etcd-sigkill"] == []
    (told,) = [line for line in done.stdout.splitlines() if line.startswith("fatal") and "drill_state" in line]
    assert "01-redis-sigkill: 7 acknowledged writes of redis are missing (0.35 s of them)." in told
    assert turns["03-etcd-sigkill"]["stopped"] in told
    assert "01-redis-sigkill: Redis lost 7 acknowledged writes" in done.stdout
