# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Locking the hosts, by real runs of ansible-playbook with the role's own file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from checkout import COLLECTIONS, ROOT

PLAY = """
- hosts: all
  gather_facts: false
  any_errors_fatal: true
  vars:
    ansible_ssh_timeout: 5
    ha: {cluster: utmstack}
    drill_lock_again: false
    drill_lock_doing: its beginning
  tasks:
    - ansible.builtin.include_role: {name: utmstack.ha.drill, tasks_from: lock, rolespec_validate: false}
    - ansible.builtin.debug: {msg: "GOES ON"}
      when: drill_locked.mine is not defined or drill_locked.mine
"""


def test_the_role_locks_those_that_can_be_reached_and_leaves_the_others_to_the_look_at_the_platform(tmp_path):
    (tmp_path / "play.yml").write_text(PLAY)
    (tmp_path / "hosts").write_text(
        f"here ansible_connection=local ansible_python_interpreter={sys.executable}\naway ansible_host=127.0.0.1 ansible_port=1\n"
    )
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", tmp_path / "hosts", tmp_path / "play.yml", "--check"],
        cwd=ROOT, env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
                                    "ANSIBLE_NOCOLOR": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    printed = done.stdout + done.stderr
    assert printed.count("msg: GOES ON") == 2, printed
