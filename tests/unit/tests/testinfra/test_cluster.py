# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests kill does not go on behind their backs, and what a run printed is read right."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "testinfra"))

from cluster import Cluster, assert_unchanged, eventful, family, kill, last_task, until  # noqa: E402


def test_children_in_sessions_of_their_own_are_killed_too():
    script = "setsid sh -c 'sleep 301 & sleep 302; :' & sleep 303; :"
    process = subprocess.Popen(["sh", "-c", script], start_new_session=True, stdout=subprocess.PIPE)
    until(lambda: len(family(process.pid)) == 5, 10, "two shells and what they began")
    kill(process)
    # The end of the pipe is seen when nobody holds its other end any more.
    assert process.communicate(timeout=10)[0] == b""


@pytest.mark.parametrize(("goes_on", "code"), [("sleep 304", -9), ("exit 2", 2)])
def test_a_run_tells_whether_it_was_killed_and_where_it_was(goes_on, code, tmp_path, monkeypatch):
    playbook = tmp_path / "ansible-playbook"
    playbook.write_text(f"#!/bin/sh\necho 'TASK [Look] ***'\necho 'TASK [etcd : Start it] ***'\n{goes_on}\n")
    playbook.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    done = Cluster().kill_after(1, "site.yml")
    assert (done.returncode, last_task(done.stdout)) == (code, "etcd : Start it")


def test_a_run_that_has_printed_no_task_was_at_none():
    assert last_task("PLAY [Everything] ***\n") == "nothing"


RECAP = "PLAY RECAP ***\nnode1 : ok=3 changed={} unreachable=0\nnode2 : ok=3 changed=0 unreachable=0\n"
CALM = "PLAY [All] ***\n\nTASK [etcd : Look] ***\nok: [node1]\nok: [node2]\n\n"


def test_of_a_run_that_changed_something_the_task_is_named_first():
    output = (
        f"{CALM}TASK [etcd : Write it] ***\n--- before\n+++ after\nchanged: [node1]\nok: [node2]\n\n{RECAP.format(1)}"
    )
    with pytest.raises(AssertionError) as raised:
        assert_unchanged(output)
    first, *rest = str(raised.value).splitlines()
    assert first == "{'node1': 1, 'node2': 0}: etcd : Write it"
    assert "+++ after" in rest
    assert "TASK [etcd : Look] ***" not in rest


def test_a_run_without_changes_passes_and_one_without_a_recap_does_not():
    assert_unchanged(CALM + RECAP.format(0))
    with pytest.raises(AssertionError, match="Look"):
        assert_unchanged(CALM)


def test_of_a_run_that_failed_the_task_is_named_first():
    output = f"{CALM}TASK [etcd : Start it] ***\n[ERROR]: no\nfatal: [node2]: FAILED! => no\n"
    assert eventful(output).splitlines()[0] == "etcd : Start it"
