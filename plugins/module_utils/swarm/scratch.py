# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A Docker engine for a trial, which reaches nothing and which nobody reaches: namespaces of its own for network, mounts and processes.

Its only address is its own loopback, so it finds no member of any swarm and can fetch no image: no container is ever started by it. With its first
process all others, its mounts and its network end.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from ..common.backup import UNVERIFIED, BackupError
from ..common.command import CommandError, running
from .engine import Engine, EngineError, local

ADDRESS = "127.0.0.1"
START_S, CALL_S = 90.0, 60.0
_PROGRAMS = {"dockerd": "docker.io", "containerd": "containerd", "unshare": "util-linux", "ip": "iproute2"}
# An engine of the host has its sockets in /run.
_SCRIPT = """
set -eu
ip link set lo up
mount -t tmpfs -o mode=0755 none /run
mkdir -p /run/docker
exec dockerd --config-file="$1/daemon.json" --data-root="$1/data" --exec-root=/run/docker --pidfile=/run/docker.pid --host="unix://$1/docker.sock" \
  --bridge=none --iptables=false --ip6tables=false --ip-forward=false --storage-driver=vfs
"""


def version() -> str:
    """The version of the host's engine. Raises BackupError where it has none, or lacks what a trial needs."""
    lacking = [package for program, package in _PROGRAMS.items() if not shutil.which(program)]
    if lacking:
        raise BackupError(f"no engine can prove the backup on this host. Install {', '.join(lacking)}", UNVERIFIED)
    said = subprocess.run(["dockerd", "--version"], capture_output=True, text=True, check=False, timeout=CALL_S).stdout
    return said.removeprefix("Docker version ").partition(",")[0].strip()


@contextlib.contextmanager
def engine(place: Path) -> Iterator[Engine]:
    """Run an engine with the data in `place`/data for as long as the block lasts. Raises BackupError (could not verify) where it does not start."""
    version()
    (place / "daemon.json").write_text("{}\n", encoding="utf-8")
    words = [
        "unshare",
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--",
        "sh",
        "-c",
        _SCRIPT,
        "sh",
        str(place),
    ]
    log = place / "log"
    try:
        with running(words, log, cwd=place) as process:
            one = Engine(local(str(place / "docker.sock")), CALL_S)
            _await(one, process, log)
            yield one
    except CommandError as error:
        raise BackupError(error.reason, UNVERIFIED) from error


def said(log: Path) -> str:
    """The last line of an engine's log that is no note."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    grave = [line for line in lines if "level=info" not in line and "level=warning" not in line and line.strip()]
    return (grave or lines or ["it said nothing"])[-1]


def _await(one: Engine, process: subprocess.Popen, log: Path) -> None:
    end, last = time.monotonic() + START_S, ""
    while time.monotonic() < end:
        if process.poll() is not None:
            raise BackupError(f"an engine of its own has ended: {said(log)}", UNVERIFIED)
        try:
            one.get("/info")
            return
        except EngineError as error:
            last = str(error)
        time.sleep(0.2)
    raise BackupError(f"an engine of its own did not start within {START_S:g} s: {last}", UNVERIFIED)
