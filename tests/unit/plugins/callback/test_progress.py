# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A run says what it waits for, and is silent where it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ansible_collections.utmstack.ha.plugins.callback.progress import Waiting
from checkout import COLLECTIONS, ROOT

PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Answer at once
      ansible.builtin.command: "true"
    - name: Take a while on one host
      ansible.builtin.command: sleep {{ 2 if inventory_hostname == 'slow' else 0 }}
    - name: Be left out
      ansible.builtin.command: "false"
      when: false
"""


def test_a_wait_is_told_after_a_while_and_again_until_it_ends():
    waiting = Waiting(5)
    waiting.start("Wait for the cluster", 100)
    waiting.add("node1")
    waiting.add("node2")
    shown = [waiting.line(100 + second) for second in range(30)]
    assert {second: line for second, line in enumerate(shown) if line} == {
        5: "    ... Wait for the cluster: running for 5 s on node1, node2",
        15: "    ... Wait for the cluster: running for 15 s on node1, node2",
        25: "    ... Wait for the cluster: running for 25 s on node1, node2",
    }
    waiting.end("node1", 130)
    assert not waiting.line(134)
    assert waiting.line(135) == "    ... Wait for the cluster: running for 35 s on node2"
    waiting.end("node2", 136)
    assert not waiting.line(1000)


def test_items_of_a_loop_are_a_sign_of_life_by_themselves():
    waiting = Waiting(5)
    waiting.start("Take one after the other", 0)
    waiting.add("node1")
    for second in range(0, 40, 4):
        waiting.seen(second)
        assert not waiting.line(second + 3)


def test_a_real_run_tells_the_task_and_the_host_that_it_waits_for_and_nothing_else(tmp_path):
    (tmp_path / "play.yml").write_text(PLAY)
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", "fast,slow,", "-c", "local", tmp_path / "play.yml"],
        env=os.environ | {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0",
            "UTMSTACK_HA_PROGRESS_AFTER_S": "0.6",
        },
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    told = [line for line in done.stdout.splitlines() if line.startswith("    ...")]
    assert any(
        line.startswith("    ... Take a while on one host: running for ") and line.endswith(" s on slow")
        for line in told
    ), done.stdout
    # The checkout's settings leave out what was skipped.
    assert "Be left out" not in done.stdout
