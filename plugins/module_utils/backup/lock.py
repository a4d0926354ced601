# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lock of all runs on a backup host, of its program and of Ansible."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..common import lock
from ..common.backup import BackupError
from ..common.directories import make


@contextmanager
def alone(path: Path, wait_s: float, remedy: str) -> Iterator[None]:
    """Hold the lock. Raises BackupError, with the remedy, where another run does not end within wait_s seconds, and OSError."""
    make(path.parent)
    with ExitStack() as held:
        try:
            held.enter_context(lock.alone(path, wait_s))
        except lock.TakenError as error:
            raise BackupError(f"{error}{remedy}") from None
        yield
