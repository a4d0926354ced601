# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs other programs, each with a limit of time, and ends all that it has started when the limit is over."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class CommandError(Exception):
    """A program could not be started, or did not end in time."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Result:
    """How a program ended: its exit code (negative: the signal that ended it), what it printed, and for how many seconds it ran."""

    rc: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def said(self) -> str:
        """The last line that it printed, of its errors where there are some."""
        lines = [line.strip() for text in (self.stderr, self.stdout) for line in reversed(text.splitlines())]
        return next((line for line in lines if line), "")


def run(
    arguments: Sequence[str],
    limit_s: float,
    environment: Mapping[str, str] | None = None,
    stdin: str | None = None,
    cwd: str | Path | None = None,
    user: str | None = None,
) -> Result:
    """Run a program to its end.

    arguments: no secret may be among them, since every account of the host can list them. environment: in addition to the present one.
    user: the account that it runs as, with its groups; only root may say another one.
    Raises CommandError where it can't be started, and where it does not end within limit_s: then its whole process group is killed.
    """
    name = os.path.basename(str(arguments[0]))
    begin = time.monotonic()
    try:
        process = subprocess.Popen(
            [str(word) for word in arguments],
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=None if cwd is None else str(cwd),
            env={**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})},
            text=True,
            errors="replace",
            start_new_session=True,
            **_account(user),
        )
    except (OSError, KeyError) as error:
        raise CommandError(f"{name} can't be started: {error}") from error
    try:
        out, err = process.communicate(stdin, timeout=limit_s)
    except subprocess.TimeoutExpired:
        end_group(process.pid)
        process.communicate()
        raise CommandError(f"{name} did not end within {limit_s:g} s, and was killed") from None
    except BaseException:
        # This process is being ended itself: what it has started must not go on.
        end_group(process.pid)
        raise
    return Result(process.returncode, out, err, round(time.monotonic() - begin, 3))


@contextlib.contextmanager
def running(
    arguments: Sequence[str],
    log: str | Path,
    environment: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
) -> Iterator[subprocess.Popen]:
    """Have a server run for as long as the block lasts; then it is killed, with all that it has started. What it prints goes to the file `log`.

    Raises CommandError where it can't be started.
    """
    with open(log, "wb") as output:
        try:
            process = subprocess.Popen(
                [str(word) for word in arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=None if cwd is None else str(cwd),
                env={**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})},
                start_new_session=True,
            )
        except OSError as error:
            raise CommandError(f"{os.path.basename(str(arguments[0]))} can't be started: {error}") from error
        try:
            yield process
        finally:
            end_group(process.pid)
            process.wait()


def end_group(leader: int) -> None:
    """Kill a process that leads a group, with all that is in it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _account(user: str | None) -> dict:
    if user is None:
        return {}
    entry = pwd.getpwnam(user)
    if entry.pw_uid == os.geteuid():
        return {}
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": os.getgrouplist(user, entry.pw_gid)}
