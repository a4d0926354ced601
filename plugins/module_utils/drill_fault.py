#!/usr/bin/env python3
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One fault on this host: noted, its undo armed, injected, seen to have taken effect, and undone.

A module imports this file, and hosts have it as a program of its own, which needs nothing but Python: a timer of systemd runs
`drill-fault undo ID` when nobody else did in time. What was injected stands in NOTES/ID.json before it is injected, so that
whoever comes next finds and undoes it; to undo twice, or what was never injected, does no harm.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NOTES = "/var/lib/utmstack-ha/drill"
PROGRAM = "/usr/local/lib/utmstack-ha/drill-fault"
UNIT = "utmstack-ha-drill-undo-{}"
TABLE = "utmstack_ha_drill"
FILL = ".utmstack-ha-drill"
MOUNTED = "utmstack-ha-drill"
# A volume counts as full below this.
FULL_BYTES = 1 << 20
COMMAND_TIMEOUT_S = 120
# How long an undone fault may take until nothing is seen of it any more.
UNDONE_S = 90

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
    proc: Path = Path("/proc")

    def process(self, pid: int) -> tuple[str, int, int, str] | None:
        """State, parent, start time in ticks and name of a process; None where there is none."""
        try:
            before, _, after = (self.proc / str(pid) / "stat").read_text().rpartition(")")
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


# -- processes --------------------------------------------------------------------------------------------------------


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
        return f"{', '.join(dead)} does not start; journalctl -u {dead[0]} tells why" if dead else ""


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


# -- network ----------------------------------------------------------------------------------------------------------


def rules(fault: Fault) -> str:
    """The table that cuts this host off, for `nft -f`; SSH and the host's own talk with itself go on.

    cut: addresses from which nothing arrives (direction in), to which nothing leaves (out), or both. clients_of: an address which nobody
    but `cut` reaches any more, in place of that.
    """
    ports = f"{{ {', '.join(str(port) for port in sorted({22, int(fault.get('ssh_port') or 22)}))} }}"
    keep = [f"tcp dport {ports} accept", f"tcp sport {ports} accept"]
    lines = [f"table inet {TABLE}", f"delete table inet {TABLE}", f"table inet {TABLE} {{"]

    def chain(name, hook, own, drops):
        lines.append(f"  chain {name} {{")
        lines.append(f"    type filter hook {hook} priority -300; policy accept;")
        lines.extend(f"    {line}" for line in [*own, *keep, *drops])
        lines.append("  }")

    families = {
        "ip": [one for one in fault["cut"] if ":" not in one],
        "ip6": [one for one in fault["cut"] if ":" in one],
    }
    if fault.get("clients_of"):
        family = "ip6" if ":" in fault["clients_of"] else "ip"
        peers = f"{{ {', '.join(families[family])} }}"
        drop = f"{family} daddr {fault['clients_of']} {family} saddr != {peers} counter drop"
        chain("arriving", "prerouting", ['iifname "lo" accept', 'iifname "docker*" accept'], [drop])
    else:
        drops = {
            way: [f"{family} {way} {{ {', '.join(own)} }} counter drop" for family, own in families.items() if own]
            for way in ("saddr", "daddr")
        }
        direction = fault.get("direction", "both")
        if direction in ("both", "in"):
            chain("arriving", "prerouting", ['iifname "lo" accept'], drops["saddr"])
        if direction in ("both", "out"):
            chain("leaving", "output", ['oifname "lo" accept'], drops["daddr"])
            chain("passing", "forward", [], drops["daddr"])
    return "\n".join([*lines, "}", ""])


def dropped(listing: str) -> int:
    """How many packets the table has dropped, of what `nft --json list table` printed."""
    count = 0
    for entry in json.loads(listing)["nftables"]:
        for part in entry.get("rule", {}).get("expr", ()):
            count += part["counter"]["packets"] if isinstance(part.get("counter"), dict) else 0
    return count


class Partition:
    """cut, direction, clients_of: see rules(). A table of its own, so that the undo removes that and nothing else."""

    @staticmethod
    def prepare(fault: Fault, host: Host) -> Memory:
        try:
            host.run(["nft", "--check", "--file", "-"], rules(fault))
        except FaultError as error:
            raise Refused(f"nftables can't cut this host off ({error}). Install package nftables here") from error
        return {}

    @staticmethod
    def inject(fault: Fault, memory: Memory, host: Host) -> None:
        host.run(["nft", "--file", "-"], rules(fault))

    @staticmethod
    def effect(fault: Fault, memory: Memory, host: Host) -> str:
        listing = host.run(["nft", "--json", "list", "table", "inet", TABLE])
        return "" if dropped(listing) else f"the table {TABLE} has dropped no packet"

    @staticmethod
    def undo(fault: Fault, memory: Memory, host: Host) -> None:
        if Partition.remains(fault, memory, host):
            host.run(["nft", "delete", "table", "inet", TABLE])

    @staticmethod
    def remains(fault: Fault, memory: Memory, host: Host) -> str:
        there = f"table inet {TABLE}" in host.run(["nft", "list", "tables"]).splitlines()
        return f"the table {TABLE} is still there; nft delete table inet {TABLE}" if there else ""


# -- disk, clock, certificate, share ----------------------------------------------------------------------------------


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
        if Path("/run/systemd/container").exists() or Path("/.dockerenv").exists():
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
    """path: the certificate's file, which gets `content`, or one that the host's key signs by itself where that is empty. reload: the units
    that read it anew. address, port: where it is seen to be served."""

    @staticmethod
    def prepare(fault: Fault, host: Host) -> Memory:
        try:
            status = os.stat(fault["path"])
            kept = Path(fault["path"]).read_text()
        except OSError as error:
            raise Refused(f"{fault['path']}: {error.strerror}. Is this host one that site.yml has deployed?") from error
        new = fault.get("content") or host.run(
            ["openssl", "req", "-x509", "-new", "-key", fault["key"], "-subj", "/CN=drill", "-days", "2"]
        )
        return {"kept": kept, "new": new, "times": [status.st_atime_ns, status.st_mtime_ns]}

    @staticmethod
    def inject(fault: Fault, memory: Memory, host: Host) -> None:
        _replace(fault["path"], memory["new"])
        _reload(fault, host)

    @staticmethod
    def effect(fault: Fault, memory: Memory, host: Host) -> str:
        return _serves(fault, memory["new"])

    @staticmethod
    def undo(fault: Fault, memory: Memory, host: Host) -> None:
        if Path(fault["path"]).read_text() != memory["kept"]:
            # With its old time: nothing that runs with it is to be restarted.
            _replace(fault["path"], memory["kept"], tuple(memory["times"]))
        _reload(fault, host)

    @staticmethod
    def remains(fault: Fault, memory: Memory, host: Host) -> str:
        if Path(fault["path"]).read_text() != memory["kept"]:
            return f"{fault['path']} is not what it was; site.yml makes a new one"
        return _serves(fault, memory["kept"])


def _replace(path: str, text: str, times: tuple[int, int] | None = None) -> None:
    """Give a file another content, in one piece, with its owner and mode."""
    status, other = os.stat(path), f"{path}.drill"
    Path(other).write_text(text)
    os.chown(other, status.st_uid, status.st_gid)
    os.chmod(other, status.st_mode & 0o7777)
    if times:
        os.utime(other, ns=times)
    os.replace(other, path)


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
    """path: a shared directory, over which an empty one is mounted that takes no files. units: services with a view of their own."""

    @staticmethod
    def prepare(fault: Fault, host: Host) -> Memory:
        if not os.path.isdir(fault["path"]):
            raise Refused(f"{fault['path']} is no directory here. Correct elasticsearch_repository_directories")
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
    lines = (host.proc / str(pid) / "mountinfo").read_text().splitlines()
    return any(line.split()[4] == path and f" {MOUNTED} " in f"{line.partition(' - ')[2]} " for line in lines)


# -- whole hosts, from the controller ---------------------------------------------------------------------------------


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
    "fill": Fill,
    "clock": Clock,
    "certificate": Certificate,
    "unshare": Unshare,
    "command": Command,
}


# -- the order of things ----------------------------------------------------------------------------------------------


class Keeper:
    """Notes what is injected here, and sees to it that it is undone."""

    def __init__(self, notes: str = NOTES, program: str = PROGRAM, host: Host | None = None):
        self.notes, self.program, self.host = Path(notes), program, host or Host()

    def refusal(self, fault: Fault) -> str:
        """Why this host can't have the fault; empty where it can. Changes nothing."""
        try:
            KINDS[fault["kind"]].prepare(fault, self.host)
        except Refused as error:
            return str(error)
        return ""

    def inject(self, ident: str, fault: Fault, limit_s: float, effect_s: float) -> dict[str, float]:
        """Have a fault, undone by a timer after limit_s at the latest; at once where it takes no effect within effect_s.

        Returns when it was injected and when it had taken effect, in seconds since 1970. Raises Refused, FaultError.
        """
        with self._alone():
            if left := self.found():
                raise Refused(f"the fault {left[0]} is still there. Run drill.yml -e scenario=cleanup")
            kind = KINDS[fault["kind"]]
            memory = kind.prepare(fault, self.host)
            self._write(ident, {"id": ident, "fault": dict(fault), "memory": memory, "noted": time.time()})
            try:
                self._arm(ident, limit_s)
                began, since = time.time(), _since_boot()
                kind.inject(fault, memory, self.host)
                self._until(lambda: kind.effect(fault, memory, self.host), effect_s, "took no effect")
            except BaseException:
                self._undo(ident)
                raise
        return {"injected": began, "effect": began + _since_boot() - since}

    def undo(self, ident: str) -> float | None:
        """Undo a fault, and forget it. Returns when it was undone, or None where there was none. Raises FaultError."""
        with self._alone():
            return self._undo(ident)

    def found(self) -> list[str]:
        """The faults that are noted here."""
        return sorted(path.stem for path in self.notes.glob("*.json"))

    def _undo(self, ident):
        path = self.notes / f"{ident}.json"
        if not path.exists():
            return None
        note = json.loads(path.read_text())
        kind, fault, memory = KINDS[note["fault"]["kind"]], note["fault"], note["memory"]
        kind.undo(fault, memory, self.host)
        undone = time.time()
        self._until(lambda: kind.remains(fault, memory, self.host), UNDONE_S, "is not undone")
        path.unlink()
        self._disarm(ident)
        return undone

    @staticmethod
    def _until(missing, seconds, what):
        deadline = time.monotonic() + seconds
        while why := missing():
            if time.monotonic() > deadline:
                raise FaultError(f"The fault {what} in {seconds:g} s: {why}.")
            time.sleep(0.1)

    def _write(self, ident, note):
        path = self.notes / f".{ident}.new"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(note, file)
            file.flush()
            os.fsync(file.fileno())
        path.rename(self.notes / f"{ident}.json")

    def _arm(self, ident, limit_s):
        if self._has_systemd():
            self.host.run(
                ["systemd-run", "--collect", f"--unit={UNIT.format(ident)}", f"--on-active={limit_s:g}s",
                 "--timer-property=AccuracySec=1s", "--property=Restart=on-failure", "--property=RestartSec=5s",
                 self.program, "undo", ident]
            )  # fmt: skip
            return
        # A controller need not have systemd. Nothing is held open, so that this outlives the run.
        subprocess.Popen(
            [sys.executable, self.program, "later", ident, str(limit_s), str(self.notes)],
            start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def _disarm(self, ident):
        # Within the timer's own service there is nothing to stop any more; `later` ends when the note is gone.
        if self._has_systemd():
            with contextlib.suppress(FaultError):
                self.host.run(["systemctl", "stop", f"{UNIT.format(ident)}.timer"])

    def _has_systemd(self):
        return str(self.notes) == NOTES and os.path.isdir("/run/systemd/system")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One at a time: the timer must not undo while the drill does."""
        self.notes.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self.notes / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def later(keeper: Keeper, ident: str, seconds: float) -> None:
    """Undo a fault after a time, unless it is gone before."""
    deadline = time.monotonic() + seconds
    while ident in keeper.found():
        if time.monotonic() >= deadline:
            with contextlib.suppress(FaultError):
                keeper.undo(ident)
        time.sleep(1)


def main(arguments: Sequence[str]) -> int:
    """Undo one fault, or all that are noted here; `later` is what the controller leaves running."""
    if arguments[:1] == ["later"]:
        later(Keeper(arguments[3]), arguments[1], float(arguments[2]))
        return 0
    if arguments[:1] != ["undo"] or len(arguments) > 2:
        print("usage: drill-fault undo [ID]", file=sys.stderr)
        return 2
    keeper, failed = Keeper(), 0
    for ident in arguments[1:] or keeper.found():
        try:
            keeper.undo(ident)
        except FaultError as error:
            print(f"{ident}: {error}", file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
