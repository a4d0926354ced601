# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who holds the lock is a run of Ansible, which may have died."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from ansible_collections.utmstack.ha.plugins.module_utils.drill.fault import lock as drill_lock
from ansible_collections.utmstack.ha.plugins.module_utils.drill.fault.lock import holder_of

ROOT = Path(__file__).resolve().parents[4]
NOON = 1772366400


def run(notes, arguments=""):
    """The module as a run of Ansible has it, on this machine."""
    done = subprocess.run(
        [
            Path(sys.executable).parent / "ansible", "all", "-i", "here,", "-c", "local", "-m", "utmstack.ha.drill_lock",
            "-a", f"notes={notes} doing=a-turn {arguments}", "-e", f"ansible_python_interpreter={sys.executable}", "-o",
        ],
        cwd=ROOT, env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    printed = done.stdout + done.stderr
    return json.loads(printed[printed.index("=> ") + 3 : printed.rindex("}") + 1])


def test_a_run_that_has_died_here_is_followed_at_once_and_one_that_lives_is_not(tmp_path):
    first = run(tmp_path)
    assert (first["mine"], first["holder"]["doing"]) == (True, "a-turn")
    # That run is over, and it has not ended its lock.
    second = run(tmp_path)
    assert second["mine"]
    assert second["holder"]["id"] != first["holder"]["id"]
    alive = {**holder_of(os.getpid()), "doing": "02-etcd"}
    drill_lock.write(tmp_path / drill_lock.FILE, {**alive, "since": NOON, "until": NOON * 2})
    third = run(tmp_path)
    assert (third["mine"], third["holder"]["id"]) == (False, alive["id"])
    assert run(tmp_path, "state=absent anyone=true")["holder"]["id"] == alive["id"]
