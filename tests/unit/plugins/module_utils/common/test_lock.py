# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lock of runs on a host, against other processes."""

from __future__ import annotations

import subprocess
import time

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common import lock


@pytest.fixture(params=["file", "directory"])
def path(request, tmp_path):
    place = tmp_path / "place"
    if request.param == "directory":
        place.mkdir()
    return place


def holding(path, seconds):
    """A process that holds the lock."""
    command = ["flock", "--no-fork", str(path), "sh", "-c", f"echo held; exec sleep {seconds}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_another_run_is_waited_for_as_long_as_it_was_said(path):
    with holding(path, 60) as other:
        with (
            pytest.raises(lock.TakenError, match="another run on this host has not ended within 0.2 s"),
            lock.alone(path, 0.2),
        ):
            pass
        other.kill()
        with lock.alone(path, 5):
            pass


def test_without_a_limit_the_end_of_the_other_run_is_waited_for(path):
    begin = time.monotonic()
    with holding(path, 0.5), lock.alone(path):
        assert time.monotonic() - begin > 0.4


def test_the_lock_is_free_again_after_a_failure(path):
    with pytest.raises(ValueError, match="within"), lock.alone(path):
        raise ValueError("within")
    with lock.alone(path, 0):
        assert subprocess.run(["flock", "--nonblock", str(path), "true"], check=False).returncode == 1
