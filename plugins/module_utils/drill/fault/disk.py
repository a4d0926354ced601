# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A disk that is ill: a service can write nothing any more, or waits for its volume without an end."""

from __future__ import annotations

import errno
import os

from .host import Fault, FaultError, Host, Memory, Refused, in_container, processes

# From linux/fs.h: _IOWR('X', 119, int), _IOWR('X', 120, int).
FIFREEZE, FITHAW = 0xC0045877, 0xC0045878
# File systems that can be frozen, and that lie on a device of their own: of btrfs a volume may be a part of the host's root.
FREEZABLE = ("ext3", "ext4", "f2fs", "xfs")
# What the host, its login and the undo of the fault need to write.
NEEDED = (
    "/",
    "/etc",
    "/home",
    "/root",
    "/run",
    "/tmp",
    "/usr",
    "/var",
    "/var/lib",
    "/var/log",
    "/var/tmp",
    "/var/lib/utmstack-ha",
)


class Dead:
    """units, only: whose processes can write to no file any more, by a limit of 0 for its size (RLIMIT_FSIZE).

    Each write fails with "File too large" as it does with "Read-only file system" or "Input/output error" on a volume that is ill; reading,
    sockets and what was written before go on. A process inherits the limit from the one that starts it. systemd starts a unit without it.
    """

    @staticmethod
    def prepare(fault: Fault, host: Host) -> Memory:
        found = processes(fault, host)
        if not found:
            raise Refused(f"{fault['what']} does not run here. Look at playbooks/status.yml")
        limits = [limit for pid in found if (limit := _limit(pid, host))]
        if "0" in limits:
            raise Refused(f"{fault['what']} may write no file as it is (LimitFSIZE)")
        # All have that of their unit.
        return {"limit": limits[0] if limits else "unlimited"}

    @staticmethod
    def inject(fault: Fault, memory: Memory, host: Host) -> None:
        _set_limits(fault, host, "0", other_than="0")

    @staticmethod
    def effect(fault: Fault, memory: Memory, host: Host) -> str:
        """What is still to come; empty where the fault has taken effect."""
        writing = _with_limit(fault, host, other_than="0")
        return f"processes {writing} of {fault['what']} can still write" if writing else ""

    @staticmethod
    def undo(fault: Fault, memory: Memory, host: Host) -> None:
        _set_limits(fault, host, memory["limit"], only="0")

    @staticmethod
    def remains(fault: Fault, memory: Memory, host: Host) -> str:
        """What of the fault is still there; empty where it is undone."""
        dumb = _with_limit(fault, host, only="0")
        return f"processes {dumb} of {fault['what']} can't write files; restart {fault['units'][0]}" if dumb else ""


def _limit(pid: int, host: Host) -> str:
    """How large a file a process may make one, in bytes or `unlimited`: the soft limit. Empty where there is no such process."""
    try:
        lines = (host.proc / str(pid) / "limits").read_text().splitlines()
    except OSError:
        return ""
    # Max file size, then the soft limit, the hard one and the unit.
    return next((line.split()[3] for line in lines if line.startswith("Max file size")), "")


def _with_limit(fault: Fault, host: Host, only: str = "", other_than: str = "") -> list[int]:
    """The processes that have that limit, or another one."""
    limits = {pid: _limit(pid, host) for pid in processes(fault, host)}
    return [pid for pid, limit in limits.items() if limit and limit != other_than and only in ("", limit)]


def _set_limits(fault: Fault, host: Host, limit: str, only: str = "", other_than: str = "") -> None:
    """Give a limit to the processes that have that one, or another, until there are none."""
    # A process that one begets while this looks has the limit of its parent by then, or is seen the next time.
    for _again in range(10):
        found = _with_limit(fault, host, only, other_than)
        if not found:
            return
        for pid in found:
            _set_limit(pid, limit, host)


def _set_limit(pid: int, limit: str, host: Host) -> None:
    """As the account of the process, which may do that to its own where root in a container may not."""
    try:
        status = dict(
            line.split(":", 1) for line in (host.proc / str(pid) / "status").read_text().splitlines() if ":" in line
        )
        user, group = (status[name].split()[0] for name in ("Uid", "Gid"))
        # Before the colon stands the soft limit. The hard one stays, so that it can go back.
        host.run(
            [
                "setpriv",
                f"--reuid={user}",
                f"--regid={group}",
                "--clear-groups",
                "prlimit",
                f"--pid={pid}",
                f"--fsize={limit}:",
            ]
        )
    except (OSError, FaultError):
        if _limit(pid, host):
            raise


class Hung:
    """path: a directory on the volume that is frozen: who writes there waits (fsfreeze). Reading goes on."""

    @staticmethod
    def prepare(fault: Fault, host: Host) -> Memory:
        path = fault["path"]
        if in_container():
            raise Refused(
                "what a container has as its volume may be the disk of its machine. Run this fault on hosts of their own"
            )
        try:
            device = os.stat(path).st_dev
        except OSError as error:
            raise Refused(f"{path}: {error.strerror}. Correct the path of the fault") from error
        shared = [place for place in NEEDED if os.path.exists(place) and os.stat(place).st_dev == device]
        if shared:
            raise Refused(
                f"{path} is no volume of its own: {shared[-1]} is on the same one, which a drill never freezes"
            )
        kind = _kind_of(device, host)
        if kind not in FREEZABLE:
            raise Refused(f"{path} lies on a file system ({kind or 'unknown'}) that can't be frozen")
        return {}

    @staticmethod
    def inject(fault: Fault, memory: Memory, host: Host) -> None:
        _ask(fault["path"], FIFREEZE, host)

    @staticmethod
    def effect(fault: Fault, memory: Memory, host: Host) -> str:
        # Frozen when the call has returned, and refused with EBUSY where it was before.
        return ""

    @staticmethod
    def undo(fault: Fault, memory: Memory, host: Host) -> None:
        _ask(fault["path"], FITHAW, host)

    @staticmethod
    def remains(fault: Fault, memory: Memory, host: Host) -> str:
        # Who else has frozen it must let it go, too; nothing tells but the attempt.
        return "" if _ask(fault["path"], FITHAW, host) == errno.EINVAL else f"{fault['path']} was still frozen"


def _kind_of(device: int, host: Host) -> str:
    """The file system's type of a device, as process 1 has it mounted as a whole."""
    for line in (host.proc / "1" / "mountinfo").read_text().splitlines():
        # Number, parent, device, root in the file system (proc(5)); type and source follow the hyphen.
        mount, source = line.split(), line.partition(" - ")[2].split()
        if mount[2] == f"{os.major(device)}:{os.minor(device)}" and mount[3] == "/":
            return source[0]
    return ""


def _ask(path: str, request: int, host: Host) -> int:
    """Freeze or thaw; 0, or EBUSY where it is frozen already, EINVAL where it is not frozen. Raises FaultError for anything else."""
    try:
        place = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            host.ioctl(place, request, 0)
        finally:
            os.close(place)
    except OSError as error:
        if error.errno != (errno.EBUSY if request == FIFREEZE else errno.EINVAL):
            raise FaultError(f"{path}: {error.strerror}") from error
        return error.errno
    return 0
