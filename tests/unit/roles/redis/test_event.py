# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Sentinel runs at an event, as a real script with real hooks."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[4] / "roles" / "redis" / "files" / "redis-event"
EVENT = ["+sdown", "master utmstack-redis 10.0.1.11 6379"]
CHANGE = ["utmstack-redis", "leader", "start", "10.0.1.11", "6379", "10.0.1.12", "6379"]


@pytest.fixture
def hooks(tmp_path):
    directory = tmp_path / "hooks"
    directory.mkdir()

    def write(name, text, mode=0o755):
        (directory / name).write_text(f"#!/bin/sh\n{text}\n")
        (directory / name).chmod(mode)

    write.directory = directory
    return write


def run(hooks, words):
    environment = {
        "PATH": os.environ["PATH"],
        "REDIS_HOOKS_DIRECTORY": str(hooks.directory),
        "REDIS_HOOK_TIMEOUT_S": "1",
        "REDIS_FOLLOW_FILE": "/nonexistent",
    }
    return subprocess.run(["sh", SCRIPT, *words], env=environment, capture_output=True, text=True, check=False)


def test_hooks_run_in_order_with_the_words_of_the_event(hooks):
    hooks("20-second", 'echo "second: $1 $2"')
    hooks("10-first", 'echo "first: $#"')
    done = run(hooks, EVENT)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "event: +sdown master utmstack-redis 10.0.1.11 6379",
        "first: 3",
        "second: event +sdown",
    ]


def test_a_change_of_the_master_tells_from_whom_to_whom(hooks):
    hooks("hook", 'echo "$1 $5 $7"')
    done = run(hooks, CHANGE)
    assert done.returncode == 0
    assert "reconfig 10.0.1.11 10.0.1.12" in done.stdout


@pytest.mark.parametrize(("text", "rc"), [("exit 3", "3"), ("sleep 30", "124")])
def test_a_hook_that_fails_or_hangs_stops_no_other_and_is_told(hooks, text, rc):
    hooks("1", text)
    hooks("2", "echo reached")
    done = run(hooks, EVENT)
    assert done.returncode == 0
    assert f"{hooks.directory}/1 failed (rc {rc})" in done.stdout
    assert "reached" in done.stdout


def test_what_is_no_program_is_passed_over(hooks):
    hooks("README", "echo never", mode=0o644)
    (hooks.directory / "directory").mkdir()
    assert run(hooks, EVENT).stdout.count("\n") == 1


def test_without_hooks_it_only_logs(hooks):
    assert run(hooks, EVENT).returncode == 0


def test_it_is_for_sentinel_only(hooks):
    assert run(hooks, ["one"]).returncode == 2
