# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The drill's wait for a healthy cluster: it ends when that is healthy or its time is over, tells what it waits for, and never nests.

Real runs of ansible-playbook with the role's own files, in which the look at the platform is one that is made up: no host is asked.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.drill.scenario import plan as drill_scenario
from platform_state import whole

ROOT = Path(__file__).resolve().parents[4]
LOOK = """
- name: Look, and find it healthy after some times
  ansible.builtin.set_fact:
    looks: "{{ looks | default(0) | int + 1 }}"
    status_platform: >-
      {{ whole | combine({'healthy': looks | default(0) | int + 1 >= healthy_at | int,
                          'problems': ['redis: node' ~ (looks | default(0) | int + 1) ~ ' is down']}) }}
"""
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: utmstack.ha.drill, tasks_from: heal, rolespec_validate: false}
    - ansible.builtin.debug: {msg: "LOOKS {{ looks }} LEADERS {{ ansible_facts.drill_state.leaders | length }} HEALTHY {{ status_platform.healthy }}"}
      run_once: true
"""


@pytest.fixture
def heal(tmp_path):
    """Run the wait with three hosts; what it printed."""
    place = tmp_path / "ansible_collections/utmstack/ha"
    look = place / "roles/status/tasks"
    look.mkdir(parents=True)
    (look / "main.yml").write_text(LOOK)
    for name in ("plugins", "meta", "galaxy.yml", "roles/drill"):
        (place / name).symlink_to(ROOT / name)
    (tmp_path / "play.yml").write_text(PLAY)

    def run(**settings):
        given = {"drill_throttle": 0, "drill_heal_s": 600, "whole": whole(), **settings}
        done = subprocess.run(
            [Path(sys.executable).parent / "ansible-playbook", "-i", "node1,node2,node3", "play.yml", "-e", json.dumps(given)],
            cwd=tmp_path, env=os.environ | {"ANSIBLE_COLLECTIONS_PATH": str(tmp_path), "ANSIBLE_CONFIG": str(tmp_path / "none.cfg"), "ANSIBLE_NOCOLOR": "1"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_it_ends_with_the_look_that_finds_the_cluster_healthy_and_tells_what_it_waits_for(heal):
    printed = heal(healthy_at=4, drill_look_again_s=1)
    assert "LOOKS 4 LEADERS 4 HEALTHY True" in printed
    told = re.findall(r"TASK \[.*Wait for recovery after (\d+) s: (.*)\]", printed)
    # The last header is of a task that every host skips.
    assert [what for _seconds, what in told][:3] == [f"redis: node{number} is down" for number in (1, 2, 3)]


def test_it_ends_when_its_time_is_over(heal):
    printed = heal(healthy_at=1000, drill_heal_s=12, drill_look_again_s=1)
    looks, healthy = re.search(r"LOOKS (\d+) .*HEALTHY (\w+)", printed).groups()
    assert healthy == "False"
    assert 2 <= int(looks) <= 13


@pytest.mark.parametrize(("seconds", "pause"), [(600, 2), ("600", 2), (1, 2), (3600, 2), (0, 2)])
def test_there_are_looks_for_all_of_the_time_and_few_too_many(seconds, pause):
    spans = drill_scenario.heal_spans(seconds, pause)
    assert sum(spans) * pause >= float(seconds)
    assert len(spans) <= 13
    # After any of them no more are planned in vain than there were before, but for one in each span.
    for number, span in enumerate(spans):
        assert span <= max(1, sum(spans[:number]))


def included(path: Path) -> set[Path]:
    """The task files of its own role that a task file includes by their names."""
    names = re.findall(r"(?:include|import)_tasks: *\"?([a-z0-9_/]+\.yml)", path.read_text())
    return {path.parent / name for name in names if (path.parent / name).exists()}


@pytest.mark.parametrize("role", sorted(path.parent.name for path in ROOT.glob("roles/*/tasks")))
def test_no_task_file_includes_itself_by_whatever_way(role):
    """Each call keeps all before it: 200 of them took 312 MB."""
    for path in (ROOT / "roles" / role / "tasks").rglob("*.yml"):
        reached, found = set(), included(path)
        while found - reached:
            reached |= found
            found = {further for one in found for further in included(one)}
        assert path not in reached, path
