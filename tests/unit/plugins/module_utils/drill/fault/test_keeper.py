# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A fault is noted before it is injected, is seen to take effect, and is undone whoever comes to do it.

What can be had without privileges is the real thing: processes of our own get real signals, nft judges the rules where it is there.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.drill.fault import disk as drill_disk
from ansible_collections.utmstack.ha.plugins.module_utils.drill.fault import host as drill_host
from ansible_collections.utmstack.ha.plugins.module_utils.drill.fault import keeper as drill_fault
from ansible_collections.utmstack.ha.plugins.module_utils.drill.fault import kinds as drill_kinds
from ansible_collections.utmstack.ha.plugins.module_utils.drill.fault import lock as drill_lock
from ansible_collections.utmstack.ha.plugins.module_utils.drill.fault import partition as drill_partition
from ansible_collections.utmstack.ha.plugins.module_utils.drill.fault.host import FaultError, Host, Refused
from ansible_collections.utmstack.ha.plugins.module_utils.drill.fault.keeper import Keeper
from host_programs import ship

PACKAGE = Path(drill_fault.__file__).resolve().parents[2]
PEERS = ["10.0.1.12", "10.0.1.13", "10.0.1.100"]


@pytest.fixture
def sleeper():
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def keeper(tmp_path, sleeper):
    """A keeper on a host whose unit etcd.service has one process, ours. `asked` has the commands that were run."""
    host = Host()

    def run(argv, text=""):
        host.asked.append(list(argv))
        if argv[:3] == ["systemctl", "show", "--property=MainPID"]:
            return f"{sleeper.pid}\n"
        return {"--property=LoadState": "loaded\n", "--property=ActiveState": "active\n"}.get(argv[2], "")

    host.asked, host.run = [], run
    return Keeper(str(tmp_path / "notes"), str(PACKAGE), host)


def frozen(word="STOP"):
    return {"kind": "signal", "signal": word, "units": ["etcd.service"], "only": "main", "what": "etcd"}


def state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_process_is_frozen_noted_and_let_go_on(keeper, sleeper):
    times = keeper.inject("01", frozen(), limit_s=60, effect_s=5)
    assert state(sleeper.pid) == "T"
    assert times["injected"] <= times["effect"]
    assert keeper.found() == ["01"]
    assert keeper.undo("01") >= times["effect"]
    assert state(sleeper.pid) in "SR"
    assert keeper.found() == []


def test_a_killed_process_is_undone_by_starting_its_unit(keeper, sleeper):
    keeper.inject("01", frozen("KILL"), limit_s=60, effect_s=5)
    assert sleeper.wait(5) == -signal.SIGKILL
    keeper.undo("01")
    assert ["systemctl", "start", "--no-block", "etcd.service"] in keeper.host.asked


def test_the_undo_comes_by_itself_when_the_drill_died(keeper, sleeper):
    keeper.inject("01", frozen(), limit_s=1, effect_s=5)
    deadline = time.monotonic() + 20
    while keeper.found() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert keeper.found() == []
    assert state(sleeper.pid) in "SR"


def test_undoing_what_was_noted_but_never_injected_or_is_gone_does_no_harm(keeper, sleeper):
    keeper.host.kill = lambda pid, number: (never for never in ()).throw(KeyboardInterrupt)
    keeper.notes.mkdir()
    drill_lock.write(
        keeper.notes / "01.json", {"id": "01", "fault": frozen(), "memory": {"processes": {str(sleeper.pid): 1}}}
    )
    assert keeper.undo("01")
    assert keeper.undo("01") is None


def test_a_fault_without_effect_is_undone_and_told(keeper, sleeper):
    keeper.host.kill = lambda pid, number: None
    with pytest.raises(FaultError, match=r"took no effect in 0.2 s: processes \[\d+\] are not stopped"):
        keeper.inject("01", frozen(), limit_s=60, effect_s=0.2)
    assert keeper.found() == []


def test_a_second_fault_is_refused_while_one_is_there(keeper, sleeper):
    keeper.inject("01", frozen(), limit_s=60, effect_s=5)
    with pytest.raises(Refused, match="fault 01 is still there. Run drill.yml -e scenario=cleanup"):
        keeper.inject("02", frozen(), limit_s=60, effect_s=5)
    keeper.undo("01")


def test_a_service_that_does_not_run_is_refused(keeper):
    keeper.host.run = lambda argv, text="": "0\n"
    assert keeper.refusal(frozen()) == "etcd does not run here. Look at playbooks/status.yml"


def proc(tmp_path, **own):
    """A /proc with processes by number: name, parent, control group."""
    for pid, (name, parent, group) in own.items():
        place = tmp_path / pid[1:]
        place.mkdir()
        (place / "stat").write_text(f"{pid[1:]} ({name}) S {parent} " + "0 " * 17 + f"{pid[1:]} 0\n")
        (place / "cgroup").write_text(f"12:pids:{group}\n1:name=systemd:{group}\n")
    return Host(proc=tmp_path)


def test_only_the_topmost_process_of_a_name_is_the_postmaster(tmp_path):
    patroni = "/system.slice/patroni.service"
    host = proc(
        tmp_path, p10=("patroni", 1, patroni), p20=("postgres", 1, patroni), p21=("postgres", 20, patroni),
        p30=("postgres", 1, "/system.slice/patroni.service.d"), p31=("etcd", 1, "/system.slice/etcd.service"),
    )  # fmt: skip
    assert drill_host.processes({"units": ["patroni.service"], "only": "postgres"}, host) == {20: 20}
    assert list(drill_host.processes({"units": ["patroni.service"]}, host)) == [10, 20, 21]


def test_only_the_processes_of_that_container_are_meant(tmp_path):
    ident = "4f" * 32
    host = proc(
        tmp_path, p10=("java", 1, f"/system.slice/docker-{ident}.scope"), p11=("sh", 10, f"/docker/{ident}"),
        p20=("sshd", 1, "/"), p21=("redis", 1, "/system.slice/docker.service"),
    )  # fmt: skip
    host.run = lambda argv, text="": f"{ident}\n" if argv[1] == "ps" else "10\n"
    assert list(drill_host.processes({"container": "_backend"}, host)) == [10, 11]


@pytest.mark.parametrize(
    ("fault", "there", "absent"),
    [
        ({"cut": PEERS}, ["ip saddr { 10.0.1.12, 10.0.1.13, 10.0.1.100 } counter drop", "ip daddr"], ["ip6"]),
        ({"cut": PEERS, "direction": "in"}, ["hook prerouting", "ip saddr"], ["hook output", "ip daddr"]),
        ({"cut": PEERS, "direction": "out"}, ["hook output", "hook forward", "ip daddr"], ["ip saddr"]),
        ({"cut": ["10.0.1.12", "fd00::12"]}, ["ip saddr { 10.0.1.12 }", "ip6 saddr { fd00::12 }"], []),
        ({"cut": PEERS[:2], "clients_of": PEERS[2]},
         ["ip daddr 10.0.1.100 ip saddr != { 10.0.1.12, 10.0.1.13 } counter drop"], ["hook output"]),
        ({"cut": PEERS[:1], "loss_percent": 40}, ["ip saddr { 10.0.1.12 } numgen random mod 100 lt 40 counter drop"], []),
        ({"cut": [], "everyone": True, "loss_percent": 25},
         ["hook prerouting", "hook output", "hook forward", "\n    numgen random mod 100 lt 25 counter drop"], ["addr"]),
        ({"cut": [], "everyone": True, "loss_percent": 25, "direction": "out"}, ["hook output"], ["hook prerouting"]),
    ],
)  # fmt: skip
def test_the_rules_cut_off_what_is_meant(fault, there, absent):
    text = drill_partition.rules(fault)
    assert [part for part in there if part not in text] == []
    assert [part for part in absent if part in text] == []


@pytest.mark.parametrize(
    "fault",
    [{"cut": PEERS}, {"cut": PEERS, "clients_of": PEERS[2]}, {"cut": [], "everyone": True, "loss_percent": 25}],
)
def test_no_chain_drops_anything_before_it_let_ssh_and_the_host_itself_through(fault):
    for chain in drill_partition.rules({**fault, "ssh_port": 2222}).split("chain ")[1:]:
        keep, drop = chain.index("tcp dport { 22, 2222 } accept"), chain.index("drop")
        assert keep < drop
        assert '"lo" accept' in chain[:drop] or "hook forward" in chain


def test_dropped_packets_are_counted():
    rule = {"rule": {"expr": [{"match": {}}, {"counter": {"packets": 7, "bytes": 1}}, {"drop": None}]}}
    assert drill_partition.dropped(json.dumps({"nftables": [{"metainfo": {}}, {"chain": {}}, rule, rule]})) == 14


def test_the_root_file_system_and_a_large_volume_are_never_filled(tmp_path, monkeypatch):
    fault = {"kind": "fill", "path": "/usr", "limit_bytes": 1 << 40}
    monkeypatch.setattr(drill_kinds.os, "stat", lambda path, stat=os.stat: stat("/"))
    with pytest.raises(Refused, match="part of the host's root"):
        drill_kinds.Fill.prepare(fault, Host())
    monkeypatch.undo()
    assert os.stat("/dev/shm").st_dev != os.stat("/").st_dev
    with pytest.raises(Refused, match="fills none over 0.0 GiB. Raise drill_fill_limit_gb"):
        drill_kinds.Fill.prepare({"kind": "fill", "path": "/dev/shm", "limit_bytes": 4096}, Host())


WRITER = """
import os, sys, time
child = os.fork()
name = sys.argv[1] + ("-child" if child == 0 else "")
while True:
    try:
        with open(name, "ab", buffering=0) as file:
            file.write(b"x")
    except OSError:
        pass
    time.sleep(0.02)
"""


@pytest.fixture
def writers(tmp_path):
    """A unit with two processes that append to a file each, all the time."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "file")], start_new_session=True)
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def children(pid):
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def grows(*files):
    """Those of the files that grow within 0.3 s."""
    before = {file: file.stat().st_size for file in files}
    time.sleep(0.3)
    return [file.name for file in files if file.stat().st_size > before[file]]


def test_a_service_with_a_dead_disk_writes_nothing_until_that_is_undone(tmp_path, writers, monkeypatch):
    files = tmp_path / "file", tmp_path / "file-child"
    deadline = time.monotonic() + 20
    while not all(file.exists() for file in files) and time.monotonic() < deadline:
        time.sleep(0.05)
    host = Host()

    def run(argv, text=""):
        # Only root may take another account, and only with systemd is there a timer.
        own = argv[argv.index("prlimit") :] if "prlimit" in argv else ["true"]
        return drill_host.command(own, text)

    host.run, host.of_cgroup = run, lambda unit: [writers.pid, *children(writers.pid)]
    keeper = Keeper(str(tmp_path / "notes"), str(PACKAGE), host)
    fault = {"kind": "dead", "units": ["elasticsearch.service"], "what": "Elasticsearch"}
    assert grows(*files) == ["file", "file-child"]
    keeper.inject("01", fault, limit_s=60, effect_s=5)
    assert grows(*files) == []
    assert keeper.refusal(fault) == "Elasticsearch may write no file as it is (LimitFSIZE)"
    keeper.undo("01")
    assert grows(*files) == ["file", "file-child"]


def test_a_process_that_has_ended_meanwhile_is_no_failure_of_the_fault(tmp_path):
    def run(argv, text=""):
        raise FaultError("prlimit: No such process")

    host = Host(run=run, proc=tmp_path)
    drill_disk._set_limit(4711, "0", host)
    (tmp_path / "4712").mkdir()
    (tmp_path / "4712/limits").write_text("Max file size             unlimited            unlimited            bytes\n")
    (tmp_path / "4712/status").write_text("Name:\tx\nUid:\t106\t106\t106\t106\nGid:\t114\t114\t114\t114\n")
    with pytest.raises(FaultError, match="No such process"):
        drill_disk._set_limit(4712, "0", host)


@pytest.fixture
def volume(tmp_path, monkeypatch):
    """A host with an ext4 volume of its own; `frozen` is what its kernel says of it."""
    data, notes = tmp_path / "data", tmp_path / "1"
    data.mkdir(), notes.mkdir()
    (notes / "mountinfo").write_text(f"100 90 8:17 / {data} rw - ext4 /dev/sdb1 rw\n")
    real = os.stat

    class Volume:
        st_dev = os.makedev(8, 17)

    monkeypatch.setattr(drill_disk.os, "stat", lambda path, **own: Volume if path == str(data) else real(path, **own))
    monkeypatch.setattr(drill_disk, "in_container", lambda: False)
    host = Host(run=lambda argv, text="": "", proc=tmp_path)
    host.frozen, host.path, host.mounts = False, str(data), notes / "mountinfo"

    def ioctl(place, request, argument):
        wanted = request == drill_disk.FIFREEZE
        if host.frozen == wanted:
            raise OSError(errno.EBUSY if wanted else errno.EINVAL, "no")
        host.frozen = wanted

    host.ioctl = ioctl
    return host


def test_a_volume_is_frozen_and_thawed_also_where_it_was_never_frozen(tmp_path, volume):
    keeper = Keeper(str(tmp_path / "notes"), str(PACKAGE), volume)
    keeper.inject("01", {"kind": "hung", "path": volume.path}, limit_s=60, effect_s=1)
    assert volume.frozen
    keeper.undo("01")
    assert not volume.frozen
    keeper.inject("02", {"kind": "hung", "path": volume.path}, limit_s=60, effect_s=1)
    volume.frozen = False
    assert keeper.undo("02")


def test_nothing_is_frozen_that_the_host_needs_or_that_others_share(volume, monkeypatch):
    hung = drill_kinds.Hung
    assert hung.prepare({"path": volume.path}, volume) == {}
    with pytest.raises(
        Refused, match=r"/usr is no volume of its own: /.* is on the same one, which a drill never freezes"
    ):
        hung.prepare({"path": "/usr"}, volume)
    volume.mounts.write_text(f"100 90 8:17 /part {volume.path} rw - ext4 /dev/sdb1 rw\n")
    with pytest.raises(Refused, match=r"a file system \(unknown\) that can't be frozen"):
        hung.prepare({"path": volume.path}, volume)
    with pytest.raises(Refused, match="Correct the path of the fault"):
        hung.prepare({"path": f"{volume.path}/none"}, volume)
    monkeypatch.setattr(drill_disk, "in_container", lambda: True)
    with pytest.raises(Refused, match="Run this fault on hosts of their own"):
        hung.prepare({"path": volume.path}, volume)


def test_a_certificate_is_covered_and_its_file_never_touched(tmp_path, monkeypatch):
    """By the time of a file's change it is decided whether services have to be restarted."""
    path, other = tmp_path / "host.crt", tmp_path / "utmstack-ha-drill.crt"
    path.write_text("right\n")
    before, asked = path.stat(), []
    (tmp_path / "1").mkdir()
    mounts = tmp_path / "1" / "mountinfo"
    mounts.write_text("")

    def run(argv, text=""):
        asked.append(argv[0])
        if argv[0] == "mount":
            mounts.write_text(f"100 90 0:50 {other} {path} rw - tmpfs tmpfs rw\n")
        if argv[0] == "umount":
            mounts.write_text("")

    served = []
    monkeypatch.setattr(drill_kinds, "_serves", lambda fault, text: served.append(text) or "")
    monkeypatch.setattr(drill_kinds, "OTHER_CERTIFICATE", str(other))
    keeper = Keeper(str(tmp_path / "notes"), str(PACKAGE), Host(run=run, proc=tmp_path))
    fault = {"kind": "certificate", "path": str(path), "content": "wrong\n", "reload": ["patroni.service"]}
    keeper.inject("01", fault, limit_s=60, effect_s=1)
    assert other.read_text() == "wrong\n"
    keeper.undo("01")
    assert asked == ["mount", "systemctl", "umount", "systemctl"]
    assert served == ["wrong\n", "right\n"]
    assert not other.exists()
    now = path.stat()
    # Reading it changes the time of access, at most.
    assert (now.st_ino, now.st_mtime_ns, now.st_ctime_ns) == (before.st_ino, before.st_mtime_ns, before.st_ctime_ns)


def test_a_share_counts_as_lost_only_under_our_own_mount(tmp_path):
    lines = [
        "100 90 0:50 / /mnt/snapshots rw - ext4 /dev/sda1 rw",
        "101 100 0:51 / /mnt/snapshots ro shared:5 - tmpfs utmstack-ha-drill ro,size=4k",
    ]
    (tmp_path / "1").mkdir()
    mounts, host = tmp_path / "1" / "mountinfo", Host(proc=tmp_path)
    mounts.write_text(lines[0] + "\n")
    assert not drill_kinds._covered(1, "/mnt/snapshots", host)
    mounts.write_text("\n".join(lines) + "\n")
    assert drill_kinds._covered(1, "/mnt/snapshots", host)
    assert not drill_kinds._covered(1, "/mnt", host)


def test_the_program_stands_alone(tmp_path):
    """With those files that the role ships, without the collection and without site packages."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "utmstack_ha.drill.fault.keeper"],
        cwd=ship("drill/fault", tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, "usage: keeper undo [ID]\n")
