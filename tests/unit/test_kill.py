# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests kill does not go on behind their backs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "testinfra"))

from cluster import family, kill, until  # noqa: E402


def test_children_in_sessions_of_their_own_are_killed_too():
    script = "setsid sh -c 'sleep 301 & sleep 302; :' & sleep 303; :"
    process = subprocess.Popen(["sh", "-c", script], start_new_session=True, stdout=subprocess.PIPE)
    until(lambda: len(family(process.pid)) == 5, 10, "two shells and what they began")
    kill(process)
    # The end of the pipe is seen when nobody holds its other end any more.
    assert process.communicate(timeout=10)[0] == b""
