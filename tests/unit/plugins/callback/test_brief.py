# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A run shows what it does, not which files it reads; a table stands beneath its task."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import COLLECTIONS, ROOT

PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Prepare all
      ansible.builtin.include_tasks: one.yml
    - name: Show the table
      utmstack.ha.report: {text: "host   state\\nnode1  ok"}
      run_once: true
    - name: Show nothing
      utmstack.ha.report: {text: hidden}
      when: false
"""


@pytest.fixture(name="run")
def _run(tmp_path):
    def run(*arguments, play=PLAY, **environment):
        (tmp_path / "play.yml").write_text(play)
        (tmp_path / "one.yml").write_text("- name: Change it\n  ansible.builtin.debug: {msg: changed}\n")
        done = subprocess.run(
            [Path(sys.executable).parent / "ansible-playbook", "-i", "a,b,", "-c", "local", "play.yml", *arguments],
            env=os.environ | {
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
                "ANSIBLE_PYTHON_INTERPRETER": sys.executable, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0",
            } | environment,
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "DEPRECATION" not in done.stderr, done.stderr
        return done.stdout

    return run


def test_an_include_is_not_shown_and_what_it_includes_is(run):
    shown = run()
    assert "TASK [Change it]" in shown
    assert "Prepare all" not in shown and "included:" not in shown


def test_an_include_is_shown_by_a_verbose_run(run):
    shown = run("-v")
    assert "TASK [Prepare all]" in shown and "\nincluded: " in shown


def test_an_include_that_fails_is_shown(run):
    shown = run(play=PLAY.replace("one.yml", "none.yml"))
    assert "TASK [Prepare all]" in shown and "Could not find" in shown


def test_a_table_stands_beneath_its_task_once(run):
    shown = run()
    assert shown.count("node1  ok") == 1
    assert shown.index("TASK [Show the table]") < shown.index("\nhost   state\nnode1  ok\n")
    assert "hidden" not in shown


def test_a_table_is_shown_once_by_another_output_too(run):
    assert run(ANSIBLE_STDOUT_CALLBACK="default").count("node1  ok") == 1


def test_a_playbook_elsewhere_needs_no_collection_for_its_output(run):
    play = "- hosts: all\n  gather_facts: false\n  tasks:\n    - name: Say\n      ansible.builtin.debug: {msg: hello}\n"
    shown = run(play=play, ANSIBLE_COLLECTIONS_PATH="/nonexistent")
    assert "TASK [Say]" in shown and "hello" in shown
