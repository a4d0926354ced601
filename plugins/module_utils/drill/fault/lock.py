# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One drill at a time: a lock on every host, with who holds it, since when, and until when at most.

It is a file, so that a drill from another controller sees it. A drill renews it at each turn; one that died does not, so its lock
ends by itself. A holder is {id, user, controller, kernel, pid, start, doing, since, until}, times in seconds since 1970 by the host's clock.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .host import Host

NOTES = "/var/lib/utmstack-ha/drill"
# Beside the notes of faults, and none of them.
FILE = ".holder"

Holder = Mapping[str, Any]


@contextlib.contextmanager
def alone(notes: Path) -> Iterator[None]:
    """Nobody else on this host looks at these notes, or changes them, meanwhile."""
    notes.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(notes / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a note in one piece, which is there also after a loss of power."""
    new = path.with_name(f".{path.name}.new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)


class Lock:
    """The lock of this host."""

    def __init__(self, notes: str = NOTES, now: Callable[[], float] = time.time):
        self.notes, self.now = Path(notes), now

    def take(
        self, holder: Holder, seconds: float, again: bool = False, instead_of: str = "", only_ask: bool = False
    ) -> dict[str, Any]:
        """Lock this host, or keep it locked.

        seconds: when the lock ends by itself. again: it has to be there already. instead_of: the id of a holder that is known to be dead.
        only_ask: change nothing. Returns {mine: whether it is ours, holder: whoever has it then, or None}.
        """
        with contextlib.nullcontext() if only_ask else alone(self.notes):
            held = self._read()
            mine = bool(held and held["id"] == holder["id"])
            if not mine and (again or held and held["until"] > self.now() and held["id"] != instead_of):
                return {"mine": False, "holder": held}
            now = self.now()
            new = {**holder, "since": held["since"] if mine and held else now, "until": now + seconds}
            if not only_ask:
                write(self.notes / FILE, new)
            return {"mine": True, "holder": new}

    def free(self, ident: str = "", only_ask: bool = False) -> dict[str, Any] | None:
        """End the lock of that holder, or whoever has it. Returns who had it."""
        with contextlib.nullcontext() if only_ask else alone(self.notes):
            held = self._read()
            if not held or ident not in ("", held["id"]):
                return None
            if not only_ask:
                (self.notes / FILE).unlink()
            return held

    def _read(self) -> dict[str, Any] | None:
        try:
            return json.loads((self.notes / FILE).read_text())
        except (FileNotFoundError, ValueError):
            return None


def holder_of(pid: int, host: Host | None = None) -> dict[str, Any]:
    """The holder that a process on this machine is: of a run of Ansible, its main process."""
    host = host or Host()
    own = host.process(pid)
    start = own[2] if own else 0
    controller = socket.gethostname()
    return {
        "id": f"{controller} {_kernel(host)} {pid} {start}",
        "user": _user(),
        "controller": controller,
        "kernel": _kernel(host),
        "pid": pid,
        "start": start,
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # An account without a name, as containers have.
        return str(os.geteuid())


def _kernel(host: Host) -> str:
    """Where a process's number means the same process: this boot, and this container. Empty where that can't be known."""
    try:
        boot = (host.proc / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink(host.proc / 'self/ns/pid')}"
    except OSError:
        return ""


def dead(holder: Holder, host: Host | None = None) -> bool:
    """Whether a holder is a process of this very machine that lives no more. False also where that can't be known."""
    host = host or Host()
    if not holder["kernel"] or holder["kernel"] != _kernel(host):
        return False
    own = host.process(holder["pid"])
    return own is None or own[0] == "Z" or own[2] != holder["start"]


def told(holder: Holder) -> str:
    """Who holds a lock, since when and until when at most, for a person."""
    since, until = (time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(holder[key])) for key in ("since", "until"))
    return (
        f"{holder['user']} on {holder['controller']} (process {holder['pid']}) since {since}, by now at {holder['doing']}, "
        f"until {until} at the latest"
    )


def refusal(cluster: str, answers: Mapping[str, Mapping[str, Any]]) -> str:
    """Why a drill may not go on, with the remedy; empty where all hosts are locked for it. answers: what the module returned, by host.

    A host that can't be reached is none of this: a drill is refused for it, or ends, as soon as the platform is looked at.
    """
    failed = [
        f"{host} can't be locked: {said.get('msg', 'no reason was given')}"
        for host, said in answers.items()
        if said.get("failed")
    ]
    if failed:
        return f"No fault was injected: {'; '.join(failed)}"
    foreign = {host: said["holder"] for host, said in answers.items() if said.get("mine") is False}
    if not foreign:
        return ""
    held = {host: holder for host, holder in foreign.items() if holder}
    if held:
        first = next(iter(held.values()))
        return (
            f"Another drill of {cluster} is under way, and there is one at a time: {', '.join(held)} held by {told(first)}. Wait until it has "
            "ended. If it has died, playbooks/drill.yml -e scenario=cleanup undoes what it has left and ends its lock."
        )
    return (
        f"The lock of this drill is gone from {', '.join(foreign)}: somebody ran playbooks/drill.yml -e scenario=cleanup, which ends a drill. "
        "Start it again."
    )
