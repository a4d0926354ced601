# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lock of all runs on a backup host, of its program and of Ansible."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..common.backup import BackupError
from ..common.directories import make

PAUSE_S = 0.5


@contextmanager
def alone(path: Path, wait_s: float, remedy: str) -> Iterator[None]:
    """Hold the lock. Raises BackupError, with the remedy, where another run does not end within wait_s seconds, and OSError."""
    make(path.parent)
    end = time.monotonic() + wait_s
    with open(path, "a", encoding="utf-8") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise BackupError(f"another run on this host has not ended within {wait_s:g} s{remedy}") from None
                time.sleep(PAUSE_S)
        yield
