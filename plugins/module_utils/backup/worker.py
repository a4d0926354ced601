# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Has a function done by another account in a process of its own, with a limit of time and, where it is asked for, without any network.

What goes wrong in it, and whatever it starts, ends with that process. Its result comes back as JSON.
"""

from __future__ import annotations

import ctypes
import grp
import json
import os
import pwd
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from ..common.backup import SETTINGS, UNVERIFIED, BackupError
from ..common.command import CommandError, end_group

# How long a worker that was told to end has for ending what it has started.
GRACE_S = 10.0
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1


def do(work: Callable[[], Any], name: str, limit_s: float, isolated: bool = False) -> Any:
    """Return what `work` returns.

    name: the account that does it, where this process is root's. isolated: it has no network but its own loopback, which is down.
    Raises BackupError: its own, for any other exception, and where it does not end within limit_s.
    """
    if os.geteuid() == 0:
        account(name)
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    worker = os.fork()
    if not worker:
        os.close(reader)
        _work(work, name, isolated, writer)
    os.close(writer)
    try:
        said = _read(reader, time.monotonic() + limit_s)
    except BaseException:
        _end(worker)
        raise
    finally:
        os.close(reader)
    if said is None:
        _end(worker)
        raise BackupError(f"it did not end within {limit_s:g} s, and was ended")
    status = os.waitpid(worker, 0)[1]
    # What it has started and left behind ends with it.
    end_group(worker)
    try:
        answer = json.loads(said)
    except ValueError:
        how = (
            f"signal {os.WTERMSIG(status)}"
            if os.WIFSIGNALED(status)
            else f"exit code {os.waitstatus_to_exitcode(status)}"
        )
        raise BackupError(f"its process ended without a result, by {how}") from None
    if "error" in answer:
        raise BackupError(answer["error"], answer["code"])
    return answer["result"]


def account(name: str) -> pwd.struct_passwd:
    """Return an account of this host. Raises BackupError where there is none of this name."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise BackupError(f"there is no account {name} on this host. Run site.yml", SETTINGS) from None


def _work(work: Callable[[], Any], name: str, isolated: bool, writer: int) -> None:
    """The worker's process, which ends here."""
    code = 0
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, _told_to_end)
        os.umask(0o077)
        if isolated and os.geteuid() == 0:
            _leave_network()
        if os.geteuid() == 0:
            _become(account(name))
        # Where the run is killed, this ends, too. A change of the account would take it back.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        answer = {"result": work()}
    except BackupError as error:
        answer = {"error": error.reason, "code": error.code}
    except CommandError as error:
        answer = {"error": error.reason, "code": 1}
    except Exception as error:
        traceback.print_exc()
        answer = {"error": f"{type(error).__name__}: {error}", "code": 1}
    except BaseException:
        os._exit(1)
    try:
        with os.fdopen(writer, "w", encoding="utf-8") as file:
            json.dump(answer, file)
        sys.stdout.flush()
        sys.stderr.flush()
    except Exception:
        code = 1
    os._exit(code)


def _told_to_end(*_unused: Any) -> None:
    raise SystemExit(1)


def _become(entry: pwd.struct_passwd) -> None:
    groups = {group.gr_gid for group in grp.getgrall() if entry.pw_name in group.gr_mem}
    os.setgroups(sorted({entry.pw_gid, *groups}))
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.environ["HOME"] = entry.pw_dir


def _leave_network() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        raise BackupError(f"it can't be kept from the network: {os.strerror(ctypes.get_errno())}", UNVERIFIED)


def _read(reader: int, end: float) -> str | None:
    """What the worker wrote; None where it did not in time."""
    said = b""
    while True:
        left = end - time.monotonic()
        if left <= 0 or not select.select([reader], [], [], left)[0]:
            return None
        block = os.read(reader, 1 << 16)
        if not block:
            return said.decode("utf-8", "replace")
        said += block


def _end(worker: int) -> None:
    """Tell a worker to end, so that it can end what it has started, and kill it where it does not."""
    os.kill(worker, signal.SIGTERM)
    end = time.monotonic() + GRACE_S
    while time.monotonic() < end:
        if os.waitpid(worker, os.WNOHANG)[0]:
            end_group(worker)
            return
        time.sleep(0.05)
    end_group(worker)
    os.waitpid(worker, 0)
