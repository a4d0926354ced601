# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How make bench's users are timed, and what is said where a load cannot be had."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(TESTS / "bench"), str(TESTS / "testinfra")]

import loads  # noqa: E402
from figures import BenchError  # noqa: E402


def test_users_are_timed_one_by_one_and_their_first_request_is_not():
    opened, asked, lock = [], [], threading.Lock()

    def user():
        opened.append(1)

        def ask():
            with lock:
                asked.append(1)
                if len(asked) % 5 == 0:
                    raise OSError("refused")

        return ask

    found = loads.hammer(user, users=3, seconds=0.05, each=10)
    assert len(opened) == 3
    assert found["errors"] > 0
    assert found["rate_per_s"] > 0
    assert 0 <= found["p50_ms"] <= found["max_ms"]


def test_a_user_whose_first_request_fails_ends_the_load_with_the_reason():
    def user():
        raise OSError("no route to host")

    with pytest.raises(BenchError, match="the first request failed: OSError: no route to host"):
        loads.hammer(user, users=3, seconds=5)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["sh", "-c", "echo no such database >&2; exit 2"], "sh ended with 2: no such database"),
        (["/nowhere/pgbench"], "pgbench is not there; molecule/shared/setup.sh bench installs it."),
        (["sleep", "9"], "sleep did not end within 0 s."),
    ],
)
def test_a_program_that_fails_says_why(command, said, monkeypatch):
    monkeypatch.setattr(loads, "PATIENCE_S", 0.1)
    with pytest.raises(BenchError, match=said):
        loads.program(*command)
