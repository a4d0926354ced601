# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One drill at a time: who comes second is told whose turn it is, and a drill that died locks out nobody for ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.drill.fault import keeper as drill_fault
from ansible_collections.utmstack.ha.plugins.module_utils.drill.fault import lock as drill_lock
from ansible_collections.utmstack.ha.plugins.module_utils.drill.fault.lock import Lock, dead, holder_of, refusal

ROOT = Path(__file__).resolve().parents[6]
NOON = 1772366400


def holder(name, **own):
    return {
        "id": name,
        "user": "root",
        "controller": name,
        "kernel": "",
        "pid": 4711,
        "start": 1,
        "doing": "its beginning",
        **own,
    }


@pytest.fixture
def host(tmp_path):
    """The lock of a host, whose clock is `host.clock`."""
    lock = Lock(str(tmp_path / "notes"), lambda: lock.clock)
    lock.clock = NOON
    return lock


def test_a_second_drill_is_refused_and_told_whose_the_lock_is(host):
    assert host.take(holder("ctl1"), 600)["mine"]
    host.clock += 60
    said = host.take(holder("ctl2"), 600)
    assert not said["mine"]
    assert refusal("utmstack", {"node1": {"mine": True, "holder": None}, "node2": said, "node3": said}) == (
        "Another drill of utmstack is under way, and there is one at a time: node2, node3 held by root on ctl1 (process 4711) since "
        "2026-03-01 12:00:00 UTC, by now at its beginning, until 2026-03-01 12:10:00 UTC at the latest. Wait until it has ended. If it has died, "
        "playbooks/drill.yml -e scenario=cleanup undoes what it has left and ends its lock."
    )


def test_a_drill_keeps_its_lock_and_tells_what_it_is_at(host):
    host.take(holder("ctl1"), 600)
    host.clock += 500
    kept = host.take(holder("ctl1", doing="03-redis-sigkill"), 600, again=True)
    assert (kept["mine"], kept["holder"]["since"], kept["holder"]["until"]) == (True, NOON, NOON + 1100)
    assert "by now at 03-redis-sigkill" in refusal("utmstack", {"node1": host.take(holder("ctl2"), 600)})
    # Late, and nobody else wanted it meanwhile.
    host.clock += 5000
    assert host.take(holder("ctl1"), 600, again=True)["mine"]


def test_a_lock_ends_by_itself(host):
    host.take(holder("ctl1"), 600)
    host.clock += 601
    assert host.take(holder("ctl2"), 600)["mine"]
    # The first one finds out at its next turn.
    assert not host.take(holder("ctl1"), 600, again=True)["mine"]


def test_a_lock_that_cleanup_has_ended_ends_that_drill(host):
    host.take(holder("ctl1"), 600)
    assert host.free()["controller"] == "ctl1"
    said = host.take(holder("ctl1"), 600, again=True)
    assert said == {"mine": False, "holder": None}
    assert refusal("utmstack", {"node1": said}).startswith("The lock of this drill is gone from node1: somebody ran")


def test_a_drill_ends_its_own_lock_only(host):
    host.take(holder("ctl1"), 600)
    assert host.free("ctl2") is None
    assert host.free("ctl1")["id"] == "ctl1"
    assert host.free("ctl1") is None


def test_who_is_known_to_be_dead_is_followed_and_nobody_else(host):
    host.take(holder("ctl1"), 600)
    assert not host.take(holder("ctl2"), 600, instead_of="ctl3")["mine"]
    assert host.take(holder("ctl2"), 600, instead_of="ctl1")["mine"]


def test_only_to_ask_changes_nothing(host):
    assert host.take(holder("ctl1"), 600, only_ask=True)["mine"]
    assert host.take(holder("ctl2"), 600)["mine"]
    assert host.free(only_ask=True)["id"] == "ctl2"
    assert host.free()["id"] == "ctl2"


def test_where_nothing_may_be_touched_no_directory_is_made(tmp_path):
    lock = Lock(str(tmp_path / "notes"))
    assert lock.take(holder("ctl1"), 600, only_ask=True)["mine"]
    assert lock.free(only_ask=True) is None
    assert list(tmp_path.iterdir()) == []


def test_a_host_that_fails_is_named_and_one_that_is_away_is_left_to_the_look_at_the_platform():
    assert refusal("utmstack", {"node1": {"unreachable": True, "msg": "no route"}, "node2": {"mine": True}}) == ""
    told = refusal("utmstack", {"node1": {"failed": True, "msg": "The lock of this host can't be kept: no space."}})
    assert told == "No fault was injected: node1 can't be locked: The lock of this host can't be kept: no space."


def test_a_process_is_dead_when_it_ended_or_its_number_is_anothers(tmp_path):
    process = subprocess.Popen(["sleep", "60"])
    own = holder_of(process.pid)
    assert own["id"] == holder_of(process.pid)["id"]
    assert not dead(own)
    assert dead({**own, "start": own["start"] + 1})
    process.kill()
    process.wait()
    assert dead(own)
    # Of another machine, or another container, nothing is known.
    assert not dead({**own, "kernel": "other"})
    assert not dead({**own, "kernel": ""})


def test_undoing_everything_by_hand_ends_the_lock_too(tmp_path, monkeypatch):
    monkeypatch.setattr(drill_fault.Keeper.__init__, "__defaults__", (str(tmp_path), "package", None))
    lock = Lock(str(tmp_path))
    lock.take(holder("ctl1"), 600)
    assert drill_fault.main(["undo", "01-redis"]) == 0
    assert not lock.take(holder("ctl2"), 600)["mine"]
    assert drill_fault.main(["undo"]) == 0
    assert lock.take(holder("ctl2"), 600)["mine"]


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
        cwd=ROOT, env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
                                    "ANSIBLE_NOCOLOR": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    printed = done.stdout + done.stderr
    assert printed.count("msg: GOES ON") == 2, printed
