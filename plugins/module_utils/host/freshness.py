# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a running service runs with what is on disk.

A file counts by its ctime: unlike its mtime it cannot be set by a tool that copies times along. A process counts by its
start in ticks since boot, turned into wall-clock time by today's clock. Where the clock has been stepped since the service
started, a file's time and a process's time come from different clocks; the earlier of the two possible start times is used
then, so that a change is never missed and the price is at most one restart too many.

`judge` decides on plain values; the functions below it read them from /proc and the file system, both below a `root` so
that tests can bring their own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

FRESH, RELOAD, RESTART, STOPPED = "fresh", "reload", "restart", "stopped"
# Start times have a resolution of one tick (10 ms), file times one of a timer interrupt (up to 10 ms).
TICK_SECONDS = 0.02
# systemd tells its time stamps in whole seconds.
STEP_SECONDS = 2.0
# Written anew at each daemon-reload or each boot, and applied by systemd without a restart.
TRANSIENT_UNIT_FILES = ("/run/systemd/", "/etc/systemd/system.control/", "/dev/null")
IGNORED_DIRECTORIES = {"__pycache__"}
# What is asked of `systemctl show`.
PROPERTIES = (
    "LoadState,ActiveState,UnitFileState,MainPID,FragmentPath,DropInPaths,NeedDaemonReload,ControlGroup,EnvironmentFiles,"
    "ExecMainStartTimestamp,ActiveEnterTimestamp"
)


@dataclass(frozen=True)
class File:
    """A file and the time of its last change, in seconds since 1970; None where it does not exist (yet)."""

    path: str
    changed: float | None


@dataclass(frozen=True)
class Process:
    """A process of the unit. started is the earliest time that it can have been started at, in seconds since 1970."""

    pid: int
    parent: int
    started: float
    executable: str = ""
    deleted: bool = False
    replaced: float | None = None


@dataclass(frozen=True)
class Service:
    """What is known about a unit. main is None where it does not run; loaded is the last proof of a reload, if any."""

    unit: str
    active_state: str
    enabled: bool = False
    main: Process | None = None
    loaded: float | None = None
    # Stamp and files are times of the same clock, which can be compared exactly.
    loaded_exact: bool = False
    daemon_reload: bool = False
    unit_files: list[File] = field(default_factory=list)
    restart_files: list[File] = field(default_factory=list)
    reload_files: list[File] = field(default_factory=list)
    executables: list[tuple[File, Process]] = field(default_factory=list)


@dataclass(frozen=True)
class Verdict:
    """state: fresh, reload, restart or stopped. reasons, warnings: sentences."""

    state: str
    reasons: list[str]
    warnings: list[str]


def iso(seconds):
    """A time in ISO 8601 with milliseconds, UTC, as in 2026-03-01T12:00:00.123Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(seconds)) + f"{int(seconds % 1 * 1000):03d}Z"


def judge(service: Service, now: float) -> Verdict:
    """Decide what the service needs. now is the wall clock, in seconds since 1970."""
    if service.main is None:
        return Verdict(STOPPED, [f"{service.unit} is {service.active_state}"], [])
    warnings: list[str] = []
    started = service.main.started
    restart = []
    if service.daemon_reload:
        restart.append(f"systemd has not read the changed unit files of {service.unit} yet")
    for file in (*service.unit_files, *service.restart_files):
        if _newer(file, started + TICK_SECONDS, now, warnings):
            restart.append(_sentence(file, "started", started))
    for file, process in ((File(service.main.executable, service.main.replaced), service.main), *service.executables):
        name = f"process {process.pid}" if process.pid else service.unit
        if process.deleted:
            restart.append(f"{name} runs a deleted {file.path}")
        elif file.changed is not None and _newer(file, process.started + TICK_SECONDS, now, warnings):
            restart.append(f"{name} runs an older {file.path}: " + _sentence(file, "started", process.started))
    if restart:
        return Verdict(RESTART, list(dict.fromkeys(restart)), warnings)
    loaded, verb, tolerance = started, "started", TICK_SECONDS
    if service.loaded is not None and service.loaded > started:
        loaded, verb, tolerance = service.loaded, "loaded", 0.0 if service.loaded_exact else TICK_SECONDS
    reload = [
        _sentence(file, verb, loaded)
        for file in service.reload_files
        if _newer(file, loaded + tolerance, now, warnings)
    ]
    return Verdict(RELOAD if reload else FRESH, reload, warnings)


def _newer(file: File, than: float, now: float, warnings: list[str]) -> bool:
    if file.changed is None:
        return True
    if file.changed > now + 1:
        # A restart would not cure this: the file would still be newer.
        warnings.append(f"{file.path} was changed in the future ({iso(file.changed)}): has the clock been set back?")
        return False
    return file.changed > than


def _sentence(file: File, verb: str, moment: float) -> str:
    if file.changed is None:
        return f"{file.path} is going to be created"
    return f"{file.path} changed at {iso(file.changed)}, {verb} at {iso(moment)}"


def parse_show(text):
    """Turn the output of `systemctl show` into a dict of texts."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def parse_timestamp(text):
    """A time stamp of `systemctl show --timestamp=unix`, such as `@1700000000`, as seconds; None for `n/a` or none."""
    return float(text[1:]) if text.startswith("@") and text[1:].isdigit() and text != "@0" else None


def unit_files(show):
    """The paths of the unit's own files: fragment and drop-ins, without what systemd makes up at run time."""
    paths = [show.get("FragmentPath", ""), *show.get("DropInPaths", "").split()]
    return [path for path in paths if path and not path.startswith(TRANSIENT_UNIT_FILES)]


def environment_files(text):
    """The paths in the lines of the property EnvironmentFiles, such as `/etc/default/haproxy (ignore_errors=yes)`."""
    return [
        line.partition("=")[2].rpartition(" (")[0]
        for line in text.splitlines()
        if line.startswith("EnvironmentFiles=") and " (" in line
    ]


def main_process(show, proc):
    """The unit's main process, from `systemctl show`; None where the unit does not run.

    A unit that is active without one (`RemainAfterExit=`) counts from the time it became active, with process number 0.
    """
    state, pid = show.get("ActiveState"), show.get("MainPID", "0")
    if state == "active" and pid == "0":
        return Process(pid=0, parent=0, started=parse_timestamp(show.get("ActiveEnterTimestamp", "")) or 0.0)
    if state not in ("active", "reloading", "activating", "refreshing") or pid == "0":
        return None
    found = proc.process(pid)
    if found is None:
        return None
    # After a clock step, all processes of the unit are dated by the earlier of the two clocks.
    recorded = parse_timestamp(show.get("ExecMainStartTimestamp", ""))
    if recorded is not None and found.started - recorded > STEP_SECONDS:
        proc.boot -= found.started - recorded
        found = proc.process(pid)
    return found


def of_programs(unit, show, binaries, proc):
    """A service of which only the programs and the unit's files count, as after an upgrade of its packages.

    show: what `systemctl show` said of PROPERTIES. binaries: what it executes besides its main program; those that a host does not
    have are passed over. None where there is no such unit.
    """
    if show.get("LoadState") == "not-found":
        return None
    state, main = show.get("ActiveState", "unknown"), main_process(show, proc)
    if main is None:
        return Service(unit=unit, active_state=state)
    present = [path for path in binaries if os.path.exists(path)]
    group = show.get("ControlGroup")
    files = [File(path, changed(path)) for path in unit_files(show)]
    return Service(
        unit=unit,
        active_state=state,
        main=main,
        daemon_reload=show.get("NeedDaemonReload") == "yes",
        unit_files=[file for file in files if file.changed is not None],
        executables=executables(present, main, list(proc.members(group)) if group and present else []),
    )


# -- /proc and files --------------------------------------------------------------------------------------------------


class Proc:
    """Reads processes. root is where the file system begins; the clocks are handed in by tests."""

    def __init__(self, root="/", wall=time.time, since_boot=None, ticks=None):
        self.root = root
        self.ticks = ticks or os.sysconf("SC_CLK_TCK")
        # CLOCK_BOOTTIME is what /proc/PID/stat counts by. /proc/uptime may be the container's own (lxcfs).
        since_boot = since_boot or (lambda: time.clock_gettime(time.CLOCK_BOOTTIME))
        self.boot = wall() - since_boot()

    def _path(self, *parts):
        return os.path.join(self.root, *parts)

    def process(self, pid):
        """The process; None where it has ended."""
        try:
            with open(self._path("proc", str(pid), "stat"), encoding="utf-8", errors="replace") as file:
                # The name, in parentheses, may contain anything, parentheses too.
                fields = file.read().rpartition(")")[2].split()
            link = os.readlink(self._path("proc", str(pid), "exe"))
        except (FileNotFoundError, ProcessLookupError):
            return None
        path, deleted = link.removesuffix(" (deleted)"), link.endswith(" (deleted)")
        return Process(
            pid=int(pid),
            parent=int(fields[1]),
            started=self.boot + int(fields[19]) / self.ticks,
            executable=path,
            deleted=deleted,
            replaced=None if deleted else changed(self._path(path.lstrip("/"))),
        )

    def members(self, control_group) -> Iterator[Process]:
        """All processes of a unit's control group and those below it, in either version of cgroups."""
        for pid in filter(str.isdigit, os.listdir(self._path("proc"))):
            try:
                with open(self._path("proc", pid, "cgroup"), encoding="utf-8") as file:
                    groups = [line.rstrip("\n").split(":", 2)[2] for line in file]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if any(group == control_group or group.startswith(control_group + "/") for group in groups):
                process = self.process(pid)
                if process:
                    yield process


def changed(path):
    """When a file was last changed: the later of a link's and its target's ctime; of a directory, also all below it.

    None where it does not exist. Caches that Python writes by itself do not count.
    """
    try:
        latest = max(os.lstat(path).st_ctime, os.stat(path).st_ctime)
    except FileNotFoundError:
        return None
    if not os.path.isdir(path):
        return latest
    latest = 0.0
    for directory, names, files in os.walk(path):
        names[:] = [name for name in names if name not in IGNORED_DIRECTORIES]
        for name in files:
            latest = max(latest, changed(os.path.join(directory, name)) or 0.0)
    return latest


def executables(paths, main, members):
    """Pair each path of an extra binary with the oldest process of the unit that runs it, or else with the main one."""
    pairs = []
    for path in paths:
        real = os.path.realpath(path)
        runners = [process for process in members if process.executable in (path, real)]
        if runners:
            oldest = min(runners, key=lambda process: (not process.deleted, process.started))
            pairs.append((File(path, changed(path)), oldest))
        else:
            pairs.append((File(path, changed(path)), _without_executable(main)))
    return pairs


def _without_executable(process):
    """The process, for a file that it has read rather than one that it executes."""
    return Process(pid=process.pid, parent=process.parent, started=process.started)


def newest_worker(main, members):
    """The start of the main process's newest child; None where it has none."""
    return max((process.started for process in members if process.parent == main.pid), default=None)
