# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Programs with a limit, with real programs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common.command import CommandError, Result, run, running


def ended(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_what_a_program_said_and_how_it_ended_comes_back():
    found = run(["sh", "-c", "cat; echo bad >&2; exit 3"], 10, stdin="good\n")
    assert (found.rc, found.stdout, found.stderr, found.said) == (3, "good\n", "bad\n", "bad")
    assert found.seconds < 10


def test_the_environment_is_added_to_and_output_that_is_no_text_is_taken(tmp_path):
    found = run(["sh", "-c", r"printf '\377'; echo $SECRET$HOME; pwd"], 10, {"SECRET": "x"}, cwd=tmp_path)
    assert found.stdout == f"\ufffdx{os.environ['HOME']}\n{tmp_path}\n"


def test_a_program_that_does_not_end_is_killed_with_all_that_it_started(tmp_path):
    note, began = tmp_path / "pid", time.monotonic()
    with pytest.raises(CommandError, match="sh did not end within 1 s"):
        run(["sh", "-c", f"sleep 60 & echo $! > {note}; wait"], 1)
    assert time.monotonic() - began < 20
    assert ended(int(note.read_text()))


def test_one_that_is_not_there_is_told():
    with pytest.raises(CommandError, match="no-such-program can't be started"):
        run(["/no-such-program"], 1)
    with (
        pytest.raises(CommandError, match="no-such-program can't be started"),
        running(["/no-such-program"], os.devnull),
    ):
        pass


def test_an_account_that_is_not_there_is_told():
    with pytest.raises(CommandError, match="can't be started"):
        run(["true"], 1, user="nobody-at-all")


def test_root_runs_it_as_another_account_with_its_groups():
    if os.geteuid() != 0:
        pytest.skip("only root becomes another account")
    assert run(["id", "-u"], 10, user="nobody").stdout == "65534\n"


def test_a_server_runs_for_as_long_as_the_block_lasts(tmp_path):
    log = tmp_path / "log"
    with running(["sh", "-c", "echo begun; sleep 60"], log) as server:
        end = time.monotonic() + 10
        while not log.read_text() and time.monotonic() < end:
            time.sleep(0.02)
        assert server.poll() is None and log.read_text() == "begun\n"
    assert server.poll() is not None and ended(server.pid)


def test_what_was_said_is_the_last_line_of_errors_else_of_output():
    assert Result(1, "a\nb\n", "\n", 0).said == "b" and Result(1, "", "", 0).said == ""
