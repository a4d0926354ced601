# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What can be wrong with a host: each kind of fault with its injection, its effect, and its undo.

Every kind has the same verbs, on the fault as the drill planned it. prepare: what the undo needs to know; raises Refused where this
host can't have the fault, and changes nothing. inject. effect: what is still to come, empty when the fault has taken effect. undo: also
where it was never injected, or undone before. remains: what of it is still there, empty when it is gone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import socket
import ssl
import time
from pathlib import Path

from .disk import Dead, Hung
from .host import Fault, FaultError, Host, Memory, Refused, in_container, processes
from .partition import Partition

FILL = ".utmstack-ha-drill"
MOUNTED = "utmstack-ha-drill"
OTHER_CERTIFICATE = "/run/utmstack-ha-drill.crt"
# A volume counts as full below this.
FULL_BYTES = 1 << 20


class Signal:
    """signal: KILL, after which systemd, Patroni or Swarm start it again, or STOP, which freezes it."""

    @staticmethod
    def prepare(fault: Fault, host: Host) -> Memory:
        found = processes(fault, host)
        if not found:
            raise Refused(f"{fault['what']} does not run here. Look at playbooks/status.yml")
        return {"processes": {str(pid): start for pid, start in found.items()}}

    @staticmethod
    def inject(fault: Fault, memory: Memory, host: Host) -> None:
        for pid in _alive(memory, host):
            with contextlib.suppress(ProcessLookupError):
                host.kill(pid, getattr(signal, f"SIG{fault['signal']}"))

    @staticmethod
    def effect(fault: Fault, memory: Memory, host: Host) -> str:
        """What is still to come; empty where the fault has taken effect."""
        alive = _alive(memory, host)
        if fault["signal"] == "STOP":
            running = [pid for pid, state in alive.items() if state not in "Tt"]
            return f"processes {running or 'of it'} are not stopped" if running or not alive else ""
        return f"processes {list(alive)} are still alive" if alive else ""

    @staticmethod
    def undo(fault: Fault, memory: Memory, host: Host) -> None:
        if fault["signal"] == "STOP":
            with contextlib.suppress(ProcessLookupError):
                for pid in _alive(memory, host):
                    host.kill(pid, signal.SIGCONT)
            return
        for unit in _loaded(fault, host):
            host.run(["systemctl", "start", "--no-block", unit])

    @staticmethod
    def remains(fault: Fault, memory: Memory, host: Host) -> str:
        """What of the fault is still there; empty where it is undone."""
        if fault["signal"] == "STOP":
            stopped = [pid for pid, state in _alive(memory, host).items() if state in "Tt"]
            return f"processes {stopped} are still stopped" if stopped else ""
        dead = [unit for unit in _loaded(fault, host) if _active(unit, host) not in ("active", "activating")]
        return f"{', '.join(dead)} does not start; journalctl -u {dead[0]} shows why" if dead else ""


def _alive(memory: Memory, host: Host) -> dict[int, str]:
    """Those of the noted processes that still live, with their states. A number that another process got since does not count."""
    found = {int(pid): (host.process(int(pid)), start) for pid, start in memory["processes"].items()}
    return {pid: own[0] for pid, (own, start) in found.items() if own and own[0] != "Z" and own[2] == start}


def _loaded(fault: Fault, host: Host) -> list[str]:
    """Those units of a fault that this host has; they may be named for more than one packaging."""
    shown = ["systemctl", "show", "--property=LoadState", "--value"]
    return [unit for unit in fault.get("units", ()) if host.run([*shown, unit]).strip() == "loaded"]


def _active(unit: str, host: Host) -> str:
    return host.run(["systemctl", "show", "--property=ActiveState", "--value", unit]).strip()


class Fill:
    """path: a directory on the volume that runs full, by one file. limit_bytes: the largest volume that may."""

    @staticmethod
    def prepare(fault: Fault, host: Host) -> Memory:
        path = fault["path"]
        try:
            volume = os.statvfs(path)
            shared = os.stat(path).st_dev == os.stat("/").st_dev
        except OSError as error:
            raise Refused(f"{path}: {error.strerror}. Correct the path of the fault") from error
        size = volume.f_blocks * volume.f_frsize
        if shared:
            raise Refused(f"{path} is no volume of its own but part of the host's root, which a drill never fills")
        if size > fault["limit_bytes"]:
            raise Refused(
                f"{path} lies on a volume of {size / 2**30:.1f} GiB, and a drill fills none over "
                f"{fault['limit_bytes'] / 2**30:.1f} GiB. Raise drill_fill_limit_gb if this one may run full"
            )
        return {"file": os.path.join(path, FILL)}

    @staticmethod
    def inject(fault: Fault, memory: Memory, host: Host) -> None:
        with open(os.open(memory["file"], os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            end, step = 0, 1 << 30
            while step >= 4096:
                try:
                    os.posix_fallocate(file.fileno(), end, step)
                    end += step
                except OSError as error:
                    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                        raise FaultError(f"{memory['file']}: {error.strerror}") from error
                    step //= 2

    @staticmethod
    def effect(fault: Fault, memory: Memory, host: Host) -> str:
        volume = os.statvfs(fault["path"])
        free = volume.f_bavail * volume.f_frsize
        return f"{free} bytes are still free" if free > FULL_BYTES else ""

    @staticmethod
    def undo(fault: Fault, memory: Memory, host: Host) -> None:
        Path(memory["file"]).unlink(missing_ok=True)

    @staticmethod
    def remains(fault: Fault, memory: Memory, host: Host) -> str:
        return f"{memory['file']} is still there; remove it" if os.path.exists(memory["file"]) else ""


class Clock:
    """step_s: by how much the clock jumps, in seconds."""

    @staticmethod
    def prepare(fault: Fault, host: Host) -> Memory:
        if in_container():
            raise Refused(
                "a container has the clock of its machine, which must not jump. Run this fault on hosts of their own"
            )
        return {"wall": time.time(), "since_boot": _since_boot(), "boot": _boot(host)}

    @staticmethod
    def inject(fault: Fault, memory: Memory, host: Host) -> None:
        time.clock_settime(time.CLOCK_REALTIME, Clock.right(memory) + fault["step_s"])

    @staticmethod
    def right(memory: Memory) -> float:
        """What the clock would show without the fault."""
        return memory["wall"] + _since_boot() - memory["since_boot"]

    @staticmethod
    def effect(fault: Fault, memory: Memory, host: Host) -> str:
        off = time.time() - Clock.right(memory)
        return "" if abs(off - fault["step_s"]) < 1 else f"the clock is off by {off:.1f} s"

    @staticmethod
    def undo(fault: Fault, memory: Memory, host: Host) -> None:
        if Clock.remains(fault, memory, host):
            time.clock_settime(time.CLOCK_REALTIME, Clock.right(memory))

    @staticmethod
    def remains(fault: Fault, memory: Memory, host: Host) -> str:
        # After a boot the time comes from the hardware or the network.
        off = time.time() - Clock.right(memory) if _boot(host) == memory["boot"] else 0
        return f"the clock is off by {off:.1f} s" if abs(off) > 0.5 else ""


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _boot(host: Host) -> str:
    return (host.proc / "sys/kernel/random/boot_id").read_text().strip()


class Certificate:
    """path: the certificate's file, over which `content` is mounted, or a certificate that the host's key signs by itself where that is
    empty. The file itself stays untouched, since by the time of its change services are judged. reload: the units that read it anew.
    address, port: where it is seen to be served."""

    @staticmethod
    def prepare(fault: Fault, host: Host) -> Memory:
        try:
            kept = Path(fault["path"]).read_text()
        except OSError as error:
            raise Refused(f"{fault['path']}: {error.strerror}. Is this host one that site.yml has deployed?") from error
        new = fault.get("content") or host.run(
            ["openssl", "req", "-x509", "-new", "-key", fault["key"], "-subj", "/CN=drill", "-days", "2"]
        )
        return {"kept": kept, "new": new}

    @staticmethod
    def inject(fault: Fault, memory: Memory, host: Host) -> None:
        Path(OTHER_CERTIFICATE).write_text(memory["new"])
        os.chmod(OTHER_CERTIFICATE, 0o644)
        host.run(["mount", "--bind", OTHER_CERTIFICATE, fault["path"]])
        _reload(fault, host)

    @staticmethod
    def effect(fault: Fault, memory: Memory, host: Host) -> str:
        return _serves(fault, memory["new"])

    @staticmethod
    def undo(fault: Fault, memory: Memory, host: Host) -> None:
        if _covered(1, fault["path"], host):
            host.run(["umount", "--lazy", fault["path"]])
        Path(OTHER_CERTIFICATE).unlink(missing_ok=True)
        _reload(fault, host)

    @staticmethod
    def remains(fault: Fault, memory: Memory, host: Host) -> str:
        if _covered(1, fault["path"], host):
            return f"{fault['path']} is still covered; umount it"
        return _serves(fault, memory["kept"])


def _reload(fault: Fault, host: Host) -> None:
    for unit in fault["reload"]:
        host.run(["systemctl", "try-reload-or-restart", unit])


def _serves(fault: Fault, text: str) -> str:
    """Why a port does not serve a certificate (the first one of the text); empty where it does."""
    where = f"{fault['address']}:{fault['port']}"
    wanted = ssl.PEM_cert_to_DER_cert(text[: text.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)].strip())
    try:
        served = ssl.get_server_certificate((fault["address"], fault["port"]), timeout=3)
    except (OSError, ValueError) as error:
        return f"{where} serves no certificate ({error})"
    return "" if ssl.PEM_cert_to_DER_cert(served) == wanted else f"{where} serves another certificate"


class Unshare:
    """path: a shared directory, over which an empty one is mounted that takes no files; `setting` names it. units: services with a view of their own."""

    @staticmethod
    def prepare(fault: Fault, host: Host) -> Memory:
        if not os.path.isdir(fault["path"]):
            raise Refused(f"{fault['path']} is no directory here. Correct {fault['setting']}")
        return {}

    @staticmethod
    def inject(fault: Fault, memory: Memory, host: Host) -> None:
        for view in _views(fault, host):
            # What is mounted on the host reaches a service by itself where systemd made the root shared.
            if not _covered(view, fault["path"], host):
                host.run([*_inside(view), "mount", "-t", "tmpfs", "-o", "ro,size=4k,mode=0555", MOUNTED, fault["path"]])

    @staticmethod
    def effect(fault: Fault, memory: Memory, host: Host) -> str:
        open_views = [view for view in _views(fault, host) if not _covered(view, fault["path"], host)]
        return f"process {open_views[0]} still sees {fault['path']}" if open_views else ""

    @staticmethod
    def undo(fault: Fault, memory: Memory, host: Host) -> None:
        for view in _views(fault, host):
            if _covered(view, fault["path"], host):
                host.run([*_inside(view), "umount", "--lazy", fault["path"]])

    @staticmethod
    def remains(fault: Fault, memory: Memory, host: Host) -> str:
        covered = [view for view in _views(fault, host) if _covered(view, fault["path"], host)]
        return f"{fault['path']} is still covered for process {covered[0]}; umount it" if covered else ""


def _views(fault: Fault, host: Host) -> list[int]:
    """A process of each view of the file system: of the host itself, and of every unit."""
    return [1, *(pids[0] for unit in fault["units"] if (pids := host.of_cgroup(unit)))]


def _inside(pid: int) -> list[str]:
    return ["nsenter", f"--mount=/proc/{pid}/ns/mnt"]


def _covered(pid: int, path: str, host: Host) -> bool:
    """Whether a process sees what a fault has mounted there: the empty file system, or the other certificate."""
    for line in (host.proc / str(pid) / "mountinfo").read_text().splitlines():
        # Number, parent, device, root in the file system, mount point (proc(5)); source and type follow the hyphen.
        mount, source = line.split(), line.partition(" - ")[2].split()
        if mount[4] == path and (source[1] == MOUNTED or mount[3].endswith(OTHER_CERTIFICATE.rpartition("/")[2])):
            return True
    return False


class Command:
    """do, undo: commands, run where this program runs, which take a host away and bring it back. address, port: where it answers by SSH."""

    @staticmethod
    def prepare(fault: Fault, host: Host) -> Memory:
        for argv in (fault["do"], fault["undo"]):
            if not shutil.which(argv[0]):
                raise Refused(f"there is no program {argv[0]} on the controller. Correct the setting that names it")
        return {}

    @staticmethod
    def inject(fault: Fault, memory: Memory, host: Host) -> None:
        host.run(fault["do"])

    @staticmethod
    def effect(fault: Fault, memory: Memory, host: Host) -> str:
        return f"{fault['address']} still answers" if answers(fault["address"], fault["port"]) else ""

    @staticmethod
    def undo(fault: Fault, memory: Memory, host: Host) -> None:
        if not answers(fault["address"], fault["port"]):
            host.run(fault["undo"])

    @staticmethod
    def remains(fault: Fault, memory: Memory, host: Host) -> str:
        there = answers(fault["address"], fault["port"])
        return "" if there else f"{fault['address']} does not answer by SSH; bring it back by hand"


def answers(address: str, port: int, timeout_s: float = 2) -> bool:
    """Whether SSH greets there. A frozen host takes the connection and stays silent."""
    try:
        with socket.create_connection((address, port), timeout=timeout_s) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


KINDS = {
    "signal": Signal,
    "partition": Partition,
    "lossy": Partition,
    "fill": Fill,
    "dead": Dead,
    "hung": Hung,
    "clock": Clock,
    "certificate": Certificate,
    "unshare": Unshare,
    "command": Command,
}
