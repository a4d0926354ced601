# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A service that is added as docs/add-a-service.md says is deployed, shown, rolled and drilled by the collection's playbooks.

A real run of ansible-playbook, with the queue of support/new_service, whose brokers are directories. Made up is only what makes a Debian host
of each: roles base and tls.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import yaml
from checkout import ROOT
from collection_with import build

BROKERS = ["node1", "node2"]
FACTS = """
- name: Gather host facts
  ansible.builtin.set_fact:
    base_host: {distribution: debian, distribution_version: "13", memory_mb: 4096, container: true, texts: {}}
    base_done: true
"""
STAND_INS = {
    "roles/base/tasks/main.yml": FACTS,
    "roles/base/tasks/facts.yml": FACTS,
    "roles/tls/tasks/main.yml": "- name: Note that it was done\n  ansible.builtin.set_fact: {tls_done: true}\n",
}
DRILL = """
- hosts: "{{ groups | utmstack.ha.platform_groups }}"
  gather_facts: false
  roles: [utmstack.ha.topology]
  tasks:
    - {name: Select, ansible.builtin.include_role: {name: utmstack.ha.drill, tasks_from: choice, rolespec_validate: false}}
    - {name: Plan, ansible.builtin.include_role: {name: utmstack.ha.drill, tasks_from: plan, rolespec_validate: false}}
  vars: {drill_scenario: all, drill_ca: "{{ inventory_file }}"}
"""


def run(home, *names, **extra):
    """Run playbooks on the brokers: the lines that were printed, and what was done to brokers, in order."""
    playbooks = build(home, STAND_INS) / "playbooks"
    (home / "drill.yml").write_text(DRILL)
    here = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
    hosts = {name: {"ha_address": f"10.0.1.{number}"} for number, name in enumerate(BROKERS, 11)}
    settings = {"ha_vip": "10.0.1.100/24", "ha_drill_allowed": True, "queue_home": str(home / "brokers"), **here}
    (home / "hosts.yml").write_text(yaml.safe_dump({"queue": {"hosts": hosts, "vars": settings}}))
    files = [home / "drill.yml" if name == "drill" else playbooks / f"{name}.yml" for name in names]
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", "hosts.yml", *files, "-e", json.dumps(extra)],
        cwd=home, env=os.environ | {"ANSIBLE_COLLECTIONS_PATH": f"{home}:{ROOT / 'collections'}", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_PIPELINING": "1",
                                    "ANSIBLE_CONFIG": str(home / "none.cfg"), "ANSIBLE_INJECT_FACT_VARS": "False"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    said = [" ".join(line.split()) for line in done.stdout.splitlines()]
    return said, (home / "brokers/log").read_text().splitlines()


def lines_from(said, begin, count):
    """So many lines from the first one that begins so."""
    first = next(number for number, line in enumerate(said) if line.startswith(begin))
    return said[first : first + count]


def test_it_is_deployed_in_its_place_shown_rolled_and_drilled(tmp_path):
    said, did = run(tmp_path, "site", "status", "rolling_restart", "drill", service="queue")
    plays = [play for line in said for play in re.findall(r"^PLAY \[(Deploy .*?)\]", line)]
    assert plays[3:6] == ["Deploy Redis with Sentinel", "Deploy the queue", "Deploy the Docker swarm"]

    assert lines_from(said, "queue, 2 of 2 healthy", 4) == [
        "queue, 2 of 2 healthy", "member role health", "node1 leader ok", "node2 member ok",
    ]  # fmt: skip

    assert lines_from(said, "Rolling restart", 4) == [
        "Rolling restart, 2 steps, one host at a time", "step service host", "1 queue node2",
        "2 queue node1 hands over the queue's controller",
    ]  # fmt: skip
    assert sorted(did[:2]) == ["node1 start", "node2 start"]
    assert did[2:] == ["node2 restart", "node2 undrain", "node1 drain", "node1 restart", "node1 undrain"]

    assert "3 queue-sigkill node2 10 s - The queue's controller is killed" in said
    assert "Skipped: etcd-sigkill: etcd has no leader" in said
