# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The program of backup hosts, with the kind of support/new_service: real directories, processes and clocks that are handed in."""

from __future__ import annotations

import dataclasses
import json
import os
import pwd
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.backup import info, program
from ansible_collections.utmstack.ha.plugins.module_utils.backup.kinds import KINDS
from ansible_collections.utmstack.ha.plugins.module_utils.backup.repository import Repository, kept
from ansible_collections.utmstack.ha.plugins.module_utils.common.backup import BackupError
from ansible_collections.utmstack.ha.plugins.module_utils.host.programs import folders
from ansible_collections.utmstack.ha.plugins.module_utils.services.registry import SERVICES
from checkout import ROOT
from collection_with import build, queue_backup, queue_service

NOON = 1_796_040_000
HOUR, DAY = 3600, 86400


class Host:
    """A backup host with its directories, a broker, and a clock."""

    def __init__(self, home: Path):
        self.home, self.now, self.said = home, NOON, []
        self.repository, self.scratch, self.metrics = home / "repository", home / "scratch", home / "metrics"
        for place in (self.repository, self.scratch, self.metrics, home / "brokers/node2"):
            place.mkdir(parents=True)
        self.marker = self.repository / ".utmstack-backup"
        self.marker.write_text("demo\n")
        self.send(3)
        own = {
            "title": "Queue", "account": pwd.getpwuid(os.geteuid()).pw_name, "limit_s": 20, "stale_s": 30 * HOUR, "verify_stale_s": 3 * DAY,
            "retention_days": 7, "verified": True, "settings": {"home": str(home / "brokers"), "brokers": ["node1", "node2"]},
        }  # fmt: skip
        self.settings = {
            "cluster": "demo", "host": "backup1", "directory": str(self.repository), "scratch_directory": str(self.scratch),
            "metrics_directory": str(self.metrics), "reserve_percent": 0, "record_days": 400, "lock_file": str(home / "run/lock"), "lock_wait_s": 0,
            "state_file": str(home / "run/guard.json"), "kinds": {"queue": own},
        }  # fmt: skip

    def send(self, count: int) -> None:
        lines = [f"{self.now} message {number}\n" for number in range(count)]
        (self.home / "brokers/node2/messages").write_text("".join(lines))

    def run(self, act: str, kind: str = "queue") -> int:
        self.said.clear()
        return program.Program(self.settings, lambda: self.now, self.said.append).run(kind, act)

    def records(self) -> list[dict]:
        return Repository(self.repository, "demo").records("queue")

    def look(self) -> dict:
        return program.Program(self.settings, lambda: self.now).look()

    def labels(self) -> list[str]:
        return [one["label"] for one in kept(Repository(self.repository, "demo"), "queue")]

    def everything(self) -> list[str]:
        return sorted(str(path.relative_to(self.repository)) for path in self.repository.rglob("*"))

    def day(self, days: float = 1) -> None:
        self.now += int(days * DAY)
        self.send(3)


@pytest.fixture
def host(tmp_path, monkeypatch):
    monkeypatch.setitem(SERVICES, "queue", queue_service())
    monkeypatch.setitem(KINDS, "queue", queue_backup())
    return Host(tmp_path)


def test_a_backup_is_taken_and_verified_and_both_are_told(host):
    assert (host.run("take"), host.run("verify")) == (0, 0)
    took, verified = host.records()
    assert (took["verdict"], took["source"], took["point"], took["manifest"]) == (
        "ok",
        "node2",
        {"time": NOON},
        {"messages": 3},
    )
    assert (verified["verdict"], verified["label"], verified["checks"]) == (
        "ok",
        "20261130T120000Z",
        {"messages": "3 messages"},
    )
    assert (host.repository / "files/queue/20261130T120000Z/messages").is_file()
    (row,) = host.look()["kinds"]
    assert (row["verdict"], row["problems"], row["kept"]) == ("ok", [], 1)
    assert 'utmstack_backup_verdict{kind="queue",act="take"} 0' in (host.metrics / "utmstack_backup.prom").read_text()
    (one,) = kept(Repository(host.repository, "demo"), "queue")
    assert (one["verified"], one["point"], one["path"]) == (
        True,
        {"time": NOON},
        str(host.repository / "files/queue/20261130T120000Z"),
    )
    assert list(host.scratch.iterdir()) == []


def test_without_the_marker_each_run_fails_and_nothing_is_written_or_deleted(host):
    """As where a share is not mounted."""
    host.run("take")
    host.marker.unlink()
    before = host.everything()
    host.now += 30 * DAY
    for act in ("take", "verify", "expire"):
        assert host.run(act) == 1
        assert "is not the repository" in host.said[0]
    assert host.everything() == before
    assert "utmstack_backup_up 0" in (host.metrics / "utmstack_backup.prom").read_text()
    with pytest.raises(BackupError, match="nothing was written or deleted"):
        host.look()


def test_the_repository_of_another_cluster_is_left_alone(host):
    host.marker.write_text("other\n")
    assert host.run("take") == 2 and "of cluster other, not of demo" in host.said[0]


def test_a_backup_that_fails_leaves_a_record_and_nothing_that_looks_like_one(host):
    (host.home / "brokers/node2/messages").unlink()
    assert host.run("take") == 1
    (record,) = host.records()
    assert (record["verdict"], record["reason"]) == ("failed", "no broker has messages")
    assert list((host.repository / "files/queue").iterdir()) == []


DAMAGES = {
    "a flipped byte": lambda path: path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]),
    "a cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "a missing file": lambda path: path.unlink(),
    "a file more": lambda path: path.with_name("other").write_text("x"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_by_verify_told_by_status_and_costs_no_good_backup(host, damage):
    host.run("take")
    host.now += HOUR
    host.run("take")
    host.run("verify")
    DAMAGES[damage](host.repository / "files/queue/20261130T130000Z/messages")
    host.now += HOUR
    assert host.run("verify") == 1
    assert host.records()[-1]["verdict"] == "failed"
    (row,) = host.look()["kinds"]
    assert row["verdict"] == "failed" and "20261130T130000Z is damaged" in row["problems"][0]
    host.now += 1 * DAY
    host.settings["kinds"]["queue"]["retention_days"] = 0.1
    assert host.run("expire") == 3
    assert host.labels() == ["20261130T120000Z"]
    assert (host.repository / "files/queue/20261130T130000Z").is_dir()


def test_the_checks_of_a_kind_find_what_checksums_do_not(host):
    host.run("take")
    path = host.repository / "records/queue/20261130T120000Z-take.json"
    path.write_text(path.read_text().replace('"messages": 3', '"messages": 4'))
    assert host.run("verify") == 1 and "3 messages, where 4 were taken" in host.records()[-1]["reason"]


def test_a_backup_that_is_gone_is_told_by_status_before_anybody_verifies_it(host):
    host.run("take")
    host.run("verify")
    os.rename(host.repository / "files/queue/20261130T120000Z", host.home / "away")
    assert "the backup 20261130T120000Z is gone" in host.look()["kinds"][0]["problems"][0]
    assert host.run("verify") == 1 and host.labels() == []


def test_old_backups_go_after_a_newer_one_was_verified(host):
    for _turn in range(10):
        host.run("take")
        host.now += HOUR
        host.run("verify")
        host.day(23 / 24)
    assert host.labels()[0] == "20261202T120000Z" and len(host.labels()) == 8
    assert [path.name for path in sorted((host.repository / "files/queue").iterdir())] == host.labels()
    (expired, *_more) = [one for one in host.records() if one["act"] == "expire"]
    assert (expired["verdict"], expired["removed"]) == ("ok", ["20261130T120000Z"])


def test_the_last_good_backup_outlives_every_failure(host):
    host.run("take")
    host.run("verify")
    (host.home / "brokers/node2/messages").unlink()
    for _turn in range(40):
        host.now += DAY
        host.run("take")
        host.run("verify")
        host.run("expire")
    assert host.labels() == ["20261130T120000Z"]


def test_changed_times_of_files_mean_nothing(host):
    for _turn in range(9):
        host.run("take")
        host.run("verify")
        for path in host.repository.rglob("*"):
            os.utime(path, (0, 0) if host.now % 2 else (NOON + 10**8, NOON + 10**8))
        host.day()
    assert host.labels() == [f"202612{number:02d}T120000Z" for number in range(1, 9)]


def test_a_clock_that_jumps_removes_nothing_and_is_told(host):
    for _turn in range(7):
        host.run("take")
        host.run("verify")
        host.day()
    labels = host.labels()
    host.day(3650)
    assert host.run("take") == 0 and host.run("verify") == 0 and host.run("expire") == 3
    assert host.labels()[:-1] == labels
    assert any("the clock has jumped" in text for text in host.look()["kinds"][0]["problems"])


def test_what_needs_more_room_than_there_is_is_refused_with_a_code_of_its_own(host):
    host.settings["reserve_percent"] = 100
    assert host.run("take") == 4
    assert host.records()[-1]["verdict"] == "failed" and "Make room there" in host.records()[-1]["reason"]


def test_one_run_at_a_time(host):
    (host.home / "run").mkdir()
    with subprocess.Popen(["flock", str(host.home / "run/lock"), "sleep", "30"]) as other:
        time.sleep(0.5)
        assert host.run("take") == 1
        subprocess.run(["pkill", "--parent", str(other.pid)], check=False)
        other.kill()
    assert "another run on this host has not ended" in host.said[0] and host.records() == []
    assert host.run("take") == 0


def test_verify_without_a_backup_knows_nothing(host):
    assert host.run("verify") == 3
    assert host.records()[-1]["verdict"] == "unknown"


def test_a_kind_that_is_not_taken_is_refused(host):
    assert host.run("take", "other") == 2 and "There is no kind other" in host.said[0]


def test_directories_that_no_record_tells_of_are_told_and_left(host):
    host.run("take")
    stray = host.repository / "files/queue/20261129T120000Z"
    stray.mkdir()
    host.now += HOUR
    host.run("take")
    assert stray.is_dir()
    assert any("no record tells of 20261129T120000Z" in text for text in host.look()["kinds"][0]["problems"])


def test_the_guard_writes_metrics_and_nothing_into_the_repository(host):
    host.run("take")
    before = host.everything()
    assert host.run("guard", "all") == 0
    assert host.everything() == before


def test_what_a_kinds_guard_has_found_is_in_status_and_metrics(host, monkeypatch):
    seen = []

    def guard(settings, previous):
        seen.append(previous)
        return {
            "count": len(seen),
            "problems": ["the queue is long"],
            "metrics": {"queue_length": {'{host="node2"}': 7}},
        }

    monkeypatch.setattr(KINDS["queue"], "guard", guard, raising=False)
    host.run("take")
    assert host.run("guard", "all") == 1
    assert "queue: the queue is long" in host.look()["problems"]
    assert 'utmstack_backup_queue_length{host="node2"} 7' in (host.metrics / "utmstack_backup.prom").read_text()


def test_the_question_tells_what_is_not_known_as_a_problem(host, tmp_path):
    file = tmp_path / "settings.json"
    assert info.answer(None, {"settings_file": str(file), "kinds": []})["healthy"] is False
    file.write_text(json.dumps(host.settings))
    told = info.answer(None, {"settings_file": str(file), "kinds": ["queue", "other"]})
    assert told["problems"] == ["other is not taken here yet. Run site.yml"]
    assert "there is no backup yet" in told["kinds"][0]["problems"][0]
    host.marker.unlink()
    assert "is not the repository" in info.answer(None, {"settings_file": str(file), "kinds": []})["problems"][0]


@pytest.mark.parametrize("arguments", [[], ["queue"], ["queue", "restore"], ["queue", "take", "now"]])
def test_a_command_line_that_means_nothing_is_told(arguments, capsys):
    assert program.main(arguments) == 2
    assert "Usage" in capsys.readouterr().err


def test_records_that_nothing_needs_go_with_the_run_and_backups_stay(host):
    host.settings["record_days"] = 30
    for _day in range(60):
        host.day()
        assert (host.run("take"), host.run("verify")) == (0, 0)
    files = list((host.repository / "records/queue").iterdir())
    assert len(files) == len(host.records()) < 3 * 33
    assert len(host.labels()) == 8 and host.look()["problems"] == []


def test_a_refusal_to_remove_is_not_told_for_ever_where_nothing_is_too_old_any_more(host):
    for _day in range(12):
        host.run("take")
        host.day()
    assert "old backups were not removed" in " ".join(host.look()["kinds"][0]["problems"])
    host.settings["kinds"]["queue"]["retention_days"] = 100
    assert host.run("verify") == 0
    assert host.run("expire") == 0
    assert "not removed" not in " ".join(host.look()["kinds"][0]["problems"])
    known = len(host.records())
    assert host.run("expire") == 0 and len(host.records()) == known


def test_what_backups_will_need_is_asked_with_them_and_only_where_it_is_wanted(host, tmp_path):
    host.run("take")
    file = tmp_path / "backup.json"
    file.write_text(json.dumps(host.settings))
    found = info.answer(None, {"settings_file": str(file), "kinds": [], "estimate": True})
    (one,) = found["estimate"]
    assert one["newest"] == one["kept"] == host.records()[0]["bytes"] > 0
    assert found["used"] == sum(path.stat().st_size for path in host.repository.rglob("*") if path.is_file())
    plain = info.answer(None, {"settings_file": str(file), "kinds": []})
    assert (plain["estimate"], plain["used"]) == ([], None)


def test_backups_that_lie_elsewhere_take_no_room_of_the_backup_host(host, monkeypatch):
    assert host.run("take") == 0
    (path,) = (host.repository / "records/queue").iterdir()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"bytes": 2**60}))
    host.now += 60
    assert "one more backup of each kind" in " ".join(host.look()["problems"]) and host.run("take") == 4
    service = SERVICES["queue"]
    elsewhere = dataclasses.replace(service.backups[0], elsewhere=True)
    monkeypatch.setitem(SERVICES, "queue", dataclasses.replace(service, backups=(elsewhere,)))
    host.now += 60
    assert host.look()["problems"] == [] and host.run("take") == 0


# -- the program as a host has it ----------------------------------------------------------------------------------------


@pytest.fixture
def shipped(host, tmp_path):
    """The command of role backup with the folders that the role ships."""
    lib = tmp_path / "lib/python/utmstack_ha"
    collection = build(tmp_path / "built", {})
    sources = collection / "plugins/module_utils"
    for folder in (*folders("backup"), "queue"):
        (lib / folder).mkdir(parents=True)
        for file in (sources / folder).glob("*.py"):
            (lib / folder / file.name).write_text(file.read_text())
    command = tmp_path / "lib/backup.py"
    command.write_text((ROOT / "roles/backup/files/backup.py").read_text())
    file = tmp_path / "backup.json"
    file.write_text(json.dumps(host.settings))
    environment = {**os.environ, "UTMSTACK_BACKUP_SETTINGS": str(file), "PYTHONDONTWRITEBYTECODE": "1"}
    return lambda *words: subprocess.Popen(
        [sys.executable, command, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_it_runs_without_ansible_and_keeps_the_exit_codes(host, shipped):
    run = shipped("queue", "take")
    assert "queue: take ok" in run.communicate()[0] and run.returncode == 0
    host.marker.unlink()
    run = shipped("queue", "verify")
    assert "is not the repository" in run.communicate()[0] and run.returncode == 1


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_killed_leaves_nothing_half(host, shipped, how):
    """It waits for a broker that says nothing: its file is a pipe that nobody writes into."""
    messages = host.home / "brokers/node2/messages"
    messages.unlink()
    broken = host.home / "brokers/node1"
    broken.mkdir()
    os.mkfifo(messages)
    (host.home / "lib/python/utmstack_ha/queue/backup.py").write_text(
        (host.home / "lib/python/utmstack_ha/queue/backup.py").read_text().replace("if messages.is_file()", "if messages.exists()")
        .replace("shutil.copy(messages, directory / \"messages\")", "(directory / 'messages').write_text('half'); open(messages).read()")
    )  # fmt: skip
    run = shipped("queue", "take")
    part = host.repository / "files/queue"
    end = time.monotonic() + 20
    while not list(part.glob(".*.part/messages")) and time.monotonic() < end:
        time.sleep(0.05)
    run.send_signal(how)
    run.communicate(timeout=20)
    assert [path.name for path in part.iterdir() if path.name[0] != "."] == []
    assert host.labels() == []
    if how == signal.SIGTERM:
        assert run.returncode == 1 and list(part.iterdir()) == []
        assert host.records()[-1]["verdict"] == "failed" and "told to end" in host.records()[-1]["reason"]
    messages.unlink()
    host.now = int(time.time())
    host.send(3)
    assert host.run("take") == 0
    assert [path.name for path in part.iterdir()] == host.labels() and len(host.labels()) == 1
