# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One run at a time on a host. The kernel releases the lock where its holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PAUSE_S = 0.5


class TakenError(Exception):
    """Another run holds the lock, and has not ended in time."""


@contextmanager
def alone(path: Path, wait_s: float | None = None) -> Iterator[None]:
    """Hold the lock of a directory, or of a file, which is made where it is missing.

    wait_s: for how long another run is waited for, in seconds; None for as long as it runs. Raises TakenError, OSError.
    """
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take(handle, wait_s)
        yield
    finally:
        os.close(handle)


def _take(handle: int, wait_s: float | None) -> None:
    if wait_s is None:
        fcntl.flock(handle, fcntl.LOCK_EX)
        return
    end = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise TakenError(f"another run on this host has not ended within {wait_s:g} s") from None
            time.sleep(PAUSE_S)
