# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host of a fault, as the drill looks at it: its commands and its processes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND_TIMEOUT_S = 120

Fault = Mapping[str, Any]
Memory = dict[str, Any]


class Refused(Exception):
    """This host can't have this fault; the text says why and what to do. Nothing was done."""


class FaultError(Exception):
    """Something went wrong; the text says what was seen."""


def command(argv: Sequence[str], text: str = "") -> str:
    """What a command printed. Raises FaultError where it fails or takes too long."""
    try:
        done = subprocess.run(
            [str(part) for part in argv],
            input=text, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FaultError(f"{argv[0]}: {error}") from error
    if done.returncode:
        raise FaultError(f"{' '.join(map(str, argv))} ended with {done.returncode}: {' '.join(done.stderr.split())}")
    return done.stdout


@dataclass
class Host:
    """The outside, as far as tests put something else in its place."""

    run: Callable[..., str] = command
    kill: Callable[[int, int], None] = os.kill
    ioctl: Callable[..., object] = fcntl.ioctl
    proc: Path = Path("/proc")

    def process(self, pid: int) -> tuple[str, int, int, str] | None:
        """State, parent, start time in ticks and name of a process; None where there is none."""
        try:
            before, _bracket, after = (self.proc / str(pid) / "stat").read_text().rpartition(")")
        except OSError:
            return None
        fields = after.split()
        return fields[0], int(fields[1]), int(fields[19]), before.partition("(")[2]

    def of_cgroup(self, name: str) -> list[int]:
        """The processes of a control group with that last name, or below it; of a unit by its full name."""
        found = []
        for entry in self.proc.iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    paths = (entry / "cgroup").read_text().splitlines()
                    if any(f"/{name}/" in f"{path}/" for path in paths):
                        found.append(int(entry.name))
        return sorted(found)


def in_container() -> bool:
    """Whether this host is a container, which shares its clock and perhaps its disks with others."""
    return Path("/run/systemd/container").exists() or Path("/.dockerenv").exists()


def processes(fault: Fault, host: Host) -> dict[int, int]:
    """The processes that a fault means, with their start times.

    units: of these systemd units; only: `main` for a unit's main process, a process's name for the topmost ones with that name, or
    empty for all. container: of the Docker container whose name has this in it.
    """
    pids: list[int] = []
    if fault.get("container"):
        for ident in host.run(
            ["docker", "ps", "--quiet", "--no-trunc", "--filter", f"name={fault['container']}"]
        ).split():
            pids.append(int(host.run(["docker", "inspect", "--format", "{{.State.Pid}}", ident])))
            # As Docker names it with systemd, and without.
            pids += [*host.of_cgroup(f"docker-{ident}.scope"), *host.of_cgroup(ident)]
    only = fault.get("only", "")
    for unit in fault.get("units", ()):
        if only == "main":
            pids.append(int(host.run(["systemctl", "show", "--property=MainPID", "--value", unit]).strip() or 0))
        else:
            pids += host.of_cgroup(unit)
    seen = {pid: host.process(pid) for pid in pids if pid > 1}
    if only not in ("", "main"):
        seen = {
            pid: own
            for pid, own in seen.items()
            if own and own[3] == only and (host.process(own[1]) or ("", 0, 0, ""))[3] != only
        }
    return {pid: own[2] for pid, own in seen.items() if own and own[0] != "Z"}
