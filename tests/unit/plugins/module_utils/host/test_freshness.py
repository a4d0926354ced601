# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
import shutil

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.host import freshness
from ansible_collections.utmstack.ha.plugins.module_utils.host.freshness import File, Process, Service, judge

START = 1_000_000.0
NOW = START + 10_000
MAIN = Process(pid=100, parent=1, started=START, executable="/usr/sbin/haproxy", replaced=START - 500)
OLD = File("/etc/old", START - 60)
NEW = File("/etc/new", START + 60)


def service(**known):
    return Service(**{"unit": "haproxy.service", "active_state": "active", "main": MAIN, **known})


@pytest.mark.parametrize(
    ("known", "state", "reason"),
    [
        ({}, "fresh", None),
        ({"main": None, "active_state": "failed"}, "stopped", "haproxy.service is failed"),
        ({"main": None, "restart_files": [NEW]}, "stopped", "is active"),
        ({"restart_files": [OLD], "reload_files": [OLD], "unit_files": [OLD]}, "fresh", None),
        ({"restart_files": [OLD, NEW]}, "restart", "/etc/new changed at"),
        ({"unit_files": [NEW]}, "restart", "/etc/new changed at"),
        ({"restart_files": [NEW], "reload_files": [NEW]}, "restart", "/etc/new changed at"),
        ({"reload_files": [NEW]}, "reload", "/etc/new changed at"),
        ({"reload_files": [NEW], "loaded": START + 61, "loaded_exact": True}, "fresh", None),
        ({"reload_files": [NEW], "loaded": START + 60, "loaded_exact": True}, "fresh", None),
        ({"reload_files": [NEW], "loaded": START + 59.99, "loaded_exact": True}, "reload", "loaded at"),
        ({"restart_files": [NEW], "loaded": START + 61}, "restart", "started at"),
        ({"reload_files": [OLD], "loaded": START - 100}, "fresh", None),
        ({"daemon_reload": True}, "restart", "systemd has not read"),
        ({"restart_files": [File("/etc/absent", None)]}, "restart", "/etc/absent is going to be created"),
        ({"reload_files": [File("/etc/absent", None)]}, "reload", "/etc/absent is going to be created"),
        ({"restart_files": [File("/etc/just_before", START + 0.01)]}, "fresh", None),
        (
            {"main": Process(7, 1, START, "/usr/bin/etcd", deleted=True)},
            "restart",
            "process 7 runs a deleted /usr/bin/etcd",
        ),
        ({"main": Process(7, 1, START, "/usr/bin/etcd", replaced=START + 9)}, "restart", "runs an older /usr/bin/etcd"),
        ({"executables": [(NEW, MAIN)]}, "restart", "process 100 runs an older /etc/new"),
        ({"executables": [(NEW, Process(101, 100, START + 70))]}, "fresh", None),
        ({"executables": [(OLD, Process(101, 100, START, "/etc/old", deleted=True))]}, "restart", "deleted /etc/old"),
    ],
)
def test_a_service_needs_what_its_files_and_processes_say(known, state, reason):
    verdict = judge(service(**known), NOW)
    assert verdict.state == state
    if reason:
        assert reason in verdict.reasons[0]
    else:
        assert verdict.reasons == []


def test_all_reasons_are_told():
    verdict = judge(service(restart_files=[NEW], unit_files=[File("/etc/unit", START + 1)], daemon_reload=True), NOW)
    assert len(verdict.reasons) == 3


def test_a_reason_is_told_once():
    main = Process(7, 1, START, "/usr/bin/etcd", deleted=True)
    verdict = judge(service(main=main, executables=[(File("/usr/bin/etcd", START), main)]), NOW)
    assert verdict.reasons == ["process 7 runs a deleted /usr/bin/etcd"]


def test_a_file_from_the_future_is_a_warning_since_a_restart_would_not_cure_it():
    verdict = judge(service(restart_files=[File("/etc/future", NOW + 3600)]), NOW)
    assert verdict.state == "fresh"
    assert "/etc/future was changed in the future" in verdict.warnings[0]


def test_times_are_told_in_utc_with_milliseconds():
    assert freshness.iso(1_700_000_000.25) == "2023-11-14T22:13:20.250Z"


# systemd 257 (Debian 13), systemctl show --timestamp=unix
SHOW = """\
MainPID=100
ExecMainStartTimestamp=@1000000
ControlGroup=/system.slice/haproxy.service
EnvironmentFiles=/etc/default/haproxy (ignore_errors=yes)
EnvironmentFiles=/etc/utmstack ha/env (ignore_errors=no)
LoadState=loaded
ActiveState=active
FragmentPath=/usr/lib/systemd/system/haproxy.service
DropInPaths=/run/systemd/system/service.d/zzz-lxc-service.conf /etc/systemd/system/haproxy.service.d/utmstack-ha.conf
NeedDaemonReload=no
ActiveEnterTimestamp=@1000001
"""


def test_the_files_of_a_unit_are_read_from_systemctl_show():
    show = freshness.parse_show(SHOW)
    assert freshness.unit_files(show) == [
        "/usr/lib/systemd/system/haproxy.service",
        "/etc/systemd/system/haproxy.service.d/utmstack-ha.conf",
    ]
    assert freshness.environment_files(SHOW) == ["/etc/default/haproxy", "/etc/utmstack ha/env"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("@1700000000", 1_700_000_000.0), ("@0", None), ("", None), ("n/a", None)]
)
def test_a_time_stamp_of_systemd_is_read(text, seconds):
    assert freshness.parse_timestamp(text) == seconds


class FakeProc:
    """A /proc below a directory, with processes that were started some seconds after the boot."""

    def __init__(self, root):
        self.root = root

    def add(self, pid, parent, ticks, executable, group, name="x"):
        directory = self.root / "proc" / str(pid)
        directory.mkdir(parents=True)
        zeros = " ".join(["0"] * 17)
        (directory / "stat").write_text(f"{pid} ({name}) S {parent} {zeros} {ticks} 0 0\n")
        (directory / "cgroup").write_text(f"12:pids:/\n1:name=systemd:{group}\n")
        os.symlink(executable, directory / "exe")

    def reader(self, wall=NOW, since_boot=20_000.0):
        return freshness.Proc(str(self.root), wall=lambda: wall, since_boot=lambda: since_boot, ticks=100)


@pytest.fixture
def fake(tmp_path):
    return FakeProc(tmp_path)


def test_a_process_is_dated_by_the_time_since_boot(fake):
    fake.add(100, 1, 1_000_050, "/usr/sbin/haproxy (deleted)", "/system.slice/haproxy.service", name="a (b) c")
    found = fake.reader().process(100)
    # Booted at START - 10,000, started 10,000.5 s later.
    assert found.started == START + 0.5
    assert (found.parent, found.executable, found.deleted) == (1, "/usr/sbin/haproxy", True)


def test_a_process_that_has_ended_is_no_process(fake):
    assert fake.reader().process(4711) is None


def test_the_members_of_a_unit_are_found_by_control_group(fake):
    fake.add(100, 1, 1000, "/usr/sbin/haproxy", "/system.slice/haproxy.service")
    fake.add(101, 100, 1000, "/usr/sbin/haproxy", "/system.slice/haproxy.service/worker")
    fake.add(102, 1, 1000, "/usr/sbin/haproxy", "/system.slice/haproxy.service-other")
    members = fake.reader().members("/system.slice/haproxy.service")
    assert sorted(process.pid for process in members) == [100, 101]


def test_the_newest_child_of_the_main_process_is_the_proof_of_a_reload(fake):
    fake.add(100, 1, 1_000_000, "/usr/sbin/haproxy", "/g")
    fake.add(101, 100, 1_000_100, "/usr/sbin/haproxy", "/g")
    fake.add(102, 100, 1_007_000, "/usr/sbin/haproxy", "/g")
    fake.add(103, 102, 1_009_000, "/bin/sh", "/g")
    proc = fake.reader()
    members = list(proc.members("/g"))
    assert freshness.newest_worker(proc.process(100), members) == START + 70
    assert freshness.newest_worker(proc.process(103), members) is None


def test_after_the_clock_was_set_back_or_forth_the_earlier_start_counts(fake):
    fake.add(100, 1, 1_000_000, "/usr/sbin/haproxy", "/g")
    show = freshness.parse_show(SHOW)
    # Today's clock is an hour ahead of the one by which systemd wrote the start down.
    ahead = fake.reader(wall=NOW + 3600)
    assert freshness.main_process(show, ahead).started == START
    assert ahead.process(100).started == START
    # Today's clock is an hour behind it.
    assert freshness.main_process(show, fake.reader(wall=NOW - 3600)).started == START - 3600


def test_a_difference_within_the_resolution_of_systemd_is_no_step(fake):
    fake.add(100, 1, 1_000_090, "/usr/sbin/haproxy", "/g")
    assert freshness.main_process(freshness.parse_show(SHOW), fake.reader()).started == START + 0.9


@pytest.mark.parametrize("change", [{"ActiveState": "inactive"}, {"ActiveState": "activating", "MainPID": "0"}])
def test_a_unit_without_a_process_does_not_run(fake, change):
    assert freshness.main_process({**freshness.parse_show(SHOW), **change}, fake.reader()) is None


def test_a_unit_that_is_active_without_a_process_counts_from_its_activation(fake):
    show = {**freshness.parse_show(SHOW), "MainPID": "0"}
    assert freshness.main_process(show, fake.reader()).started == START + 1


def test_an_extra_binary_is_compared_with_the_process_that_runs_it():
    postmaster = Process(200, 100, START + 50, "/usr/lib/postgresql/17/bin/postgres")
    session = Process(201, 200, START + 90, "/usr/lib/postgresql/17/bin/postgres")
    paths = ["/usr/lib/postgresql/17/bin/postgres", "/usr/bin/patroni"]
    pairs = freshness.executables(paths, MAIN, [MAIN, session, postmaster])
    assert [process.pid for _file, process in pairs] == [200, 100]
    assert pairs[1][1].executable == ""


def test_a_process_with_the_deleted_binary_decides_over_newer_ones():
    gone = Process(200, 100, START + 50, "/bin/x", deleted=True)
    pairs = freshness.executables(["/bin/x"], MAIN, [Process(201, 100, START, "/bin/x"), gone])
    assert pairs[0][1].pid == 200


def test_a_directory_is_as_new_as_its_newest_file(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "old").write_text("x")
    newest = tmp_path / "a" / "new"
    newest.write_text("x")
    cache = tmp_path / "a" / "__pycache__"
    cache.mkdir()
    (cache / "x.pyc").write_text("x")
    assert freshness.changed(str(tmp_path / "a")) == newest.stat().st_ctime


def test_a_link_that_was_turned_is_a_change(tmp_path):
    target = tmp_path / "target"
    target.write_text("x")
    shutil.copy(target, tmp_path / "other")
    link = tmp_path / "link"
    link.symlink_to(target)
    assert freshness.changed(str(link)) == link.lstat().st_ctime >= target.stat().st_ctime


def test_a_missing_file_has_no_time(tmp_path):
    assert freshness.changed(str(tmp_path / "none")) is None
