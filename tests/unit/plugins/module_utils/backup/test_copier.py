# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Copies to a remote, by rclone itself to a directory: what is copied, compared, refused, removed there and brought back."""

from __future__ import annotations

import json
import os
import pwd
import shutil
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.backup import copier, copying, program
from ansible_collections.utmstack.ha.plugins.module_utils.backup import record as records
from ansible_collections.utmstack.ha.plugins.module_utils.common.backup import checksums

pytestmark = pytest.mark.skipif(not shutil.which("rclone"), reason="rclone is not here")
NOON = 1_796_040_000
HOUR, DAY = 3600, 86400
STANZA = "pgbackrest/backup/demo"


class Host:
    """A backup host with a repository of three kinds, a clock, and a remote that is a directory."""

    def __init__(self, home: Path):
        self.home, self.now, self.said = home, NOON, []
        self.repository, self.there = home / "repository", home / "there"
        self.repository.mkdir()
        (self.repository / ".utmstack-backup").write_text("demo\n")
        config = home / "rclone.conf"
        config.write_text("[remote]\ntype = local\n")
        config.chmod(0o600)
        own = {
            "account": pwd.getpwuid(os.geteuid()).pw_name, "limit_s": 20, "stale_s": 30 * HOUR, "verify_stale_s": 3 * DAY, "retention_days": 7,
            "verified": True, "settings": {},
        }  # fmt: skip
        postgresql = {
            **own,
            "title": "PostgreSQL",
            "settings": {"repository": f"{self.repository}/pgbackrest", "stanza": "demo"},
        }
        self.remote = {
            "config": str(config), "base": str(self.there), "title": "local", "s3": False, "ca_file": "", "bandwidth": "", "days": 30,
            "stale_s": 36 * HOUR, "passphrase": "a-passphrase-of-some-kind",
        }  # fmt: skip
        self.settings = {
            "cluster": "demo", "host": "backup1", "directory": str(self.repository), "scratch_directory": str(home / "scratch"),
            "metrics_directory": "", "reserve_percent": 0, "record_days": 400, "lock_file": str(home / "run/lock"), "lock_wait_s": 0,
            "state_file": str(home / "run/guard.json"), "remote": self.remote,
            "kinds": {"redis": {**own, "title": "Redis"}, "configuration": {**own, "title": "Configuration"}, "postgresql": postgresql},
        }  # fmt: skip

    def run(self, act: str, kind: str = "all") -> int:
        self.said.clear()
        return program.Program(self.settings, lambda: self.now, self.said.append).run(kind, act)

    def record(self, kind: str, act: str, **more) -> dict:
        record = {
            **records.new("demo", kind, act, "backup1", self.now),
            "verdict": "ok",
            "point": {"time": int(self.now)},
            **more,
        }
        records.seal(self.repository, record)
        return record

    def take(self, kind: str = "redis", text: str = "keys") -> str:
        """A backup in files, verified."""
        label = records.stamp(self.now)
        place = self.repository / "files" / kind / label
        place.mkdir(parents=True)
        (place / ("configuration.age" if kind == "configuration" else "dump.rdb")).write_text(f"{text} {label}")
        self.record(kind, "take", label=label, bytes=20, files=checksums(place))
        self.record(kind, "verify", label=label)
        return label

    def take_postgresql(self, label: str) -> None:
        """What pgBackRest writes for a full backup."""
        place = self.repository / STANZA / label
        place.mkdir(parents=True)
        for name in ("backup.manifest", "backup.manifest.copy"):
            (place / name).write_text(f"manifest of {label}")
        with open(self.repository / STANZA / "backup.info", "a", encoding="utf-8") as info:
            info.write(f"{label}\n")
        self.record("postgresql", "take", label=label, bytes=20)

    def copied(self) -> list[dict]:
        return records.of(records.read(self.repository, "copy")[0], "copy")

    def at_remote(self, path: str) -> Path:
        return self.there / "encrypted" / f"{path}.bin"

    def state(self) -> dict:
        return program.Program(self.settings, lambda: self.now, self.said.append).look()


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def test_all_is_copied_compared_and_what_is_newest_is_read_back(host):
    label = host.take()
    sealed = host.take("configuration", "sealed")
    host.take_postgresql("20261130-010000F")
    assert host.run("copy") == 0, host.said
    (record,) = host.copied()
    # The marker, 5 records, 2 files, a manifest with its copy, and the list of backups.
    assert (record["verdict"], record["manifest"]) == ("ok", {"files": 11, "new": 10})
    assert record["checks"] == {"compared": "11 files are at the remote as they are here", "read back": "5 files"}
    assert host.at_remote(f"files/redis/{label}/dump.rdb").read_bytes()[:8] == b"RCLONE\x00\x00"
    assert "keys" not in host.at_remote(f"files/redis/{label}/dump.rdb").read_text(errors="replace")
    # What opens the rest is inside, so no passphrase of the platform may be needed to read it.
    assert (host.there / "sealed" / sealed / "configuration.age").read_text().startswith("sealed")
    assert host.state()["remote_copy"]["verdict"] == "ok"


def test_a_second_copy_has_only_what_is_new(host):
    host.take()
    host.take_postgresql("20261130-010000F")
    assert host.run("copy") == 0
    host.now += HOUR
    host.take_postgresql("20261201-010000F")
    assert host.run("copy") == 0, host.said
    # Two manifests, the record of the backup and that of the first copy.
    assert host.copied()[-1]["manifest"]["new"] == 4 and "read back" not in host.copied()[-1]["checks"]
    info = host.home / "info"
    program.Remote(host.remote).fetch("encrypted", info)
    assert (info / STANZA / "backup.info").read_text().split() == ["20261130-010000F", "20261201-010000F"]


def test_what_is_unfinished_is_not_copied(host):
    host.take_postgresql("20261130-010000F")
    begun = host.repository / STANZA / "20261201-010000F"
    begun.mkdir()
    (begun / "backup.manifest.copy").write_text("begun")
    (host.repository / "pgbackrest/archive").mkdir()
    (host.repository / "pgbackrest/archive/0001.pgbackrest.tmp").write_text("half")
    (host.repository / "files/redis/.x.part").mkdir(parents=True)
    (host.repository / "files/redis/.x.part/dump.rdb").write_text("half")
    (host.repository / STANZA / "latest").symlink_to("20261130-010000F")
    paths = copying.source(host.repository)
    assert not [
        path for path in paths.encrypted if "20261201" in path or "tmp" in path or "part" in path or "latest" in path
    ]
    assert f"{STANZA}/20261130-010000F/backup.manifest" in paths.encrypted and f"{STANZA}/backup.info" in paths.lists


def emptied(host):
    for name in ("records", "files", "pgbackrest"):
        shutil.rmtree(host.repository / name)


def unmounted(host):
    shutil.rmtree(host.repository)
    host.repository.mkdir()


def records_lost(host):
    shutil.rmtree(host.repository / "records/redis")


def backup_lost(host):
    shutil.rmtree(next((host.repository / "files/redis").iterdir()))


def pruned(host):
    shutil.rmtree(host.repository / STANZA / "20261130-010000F")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (emptied, "records at the remote, such as records/"),
        (unmounted, "is not the repository"),
        (records_lost, "2 of the 3 records at the remote"),
        (backup_lost, "lacks backups that nothing has removed: redis"),
        (pruned, "lacks backups that nothing has removed: postgresql 20261130-010000F"),
    ],
    ids=["empty", "unmounted", "records lost", "a backup lost", "pruned"],
)  # fmt: skip
def test_a_source_that_has_lost_something_is_refused_and_nothing_at_the_remote_changes(host, damage, told):
    host.take()
    host.take_postgresql("20261130-010000F")
    assert host.run("copy") == 0
    before = checksums(host.there)
    damage(host)
    host.now += HOUR
    assert host.run("copy") == 1
    assert told in " ".join(host.said)
    assert checksums(host.there) == before


def test_a_record_that_was_too_old_to_be_kept_is_not_missed(host):
    host.take()
    assert host.run("copy") == 0
    old = min((host.repository / "records/redis").iterdir())
    host.now += 399 * DAY
    host.take()
    kept = old.read_text()
    old.unlink()
    assert host.run("copy") == 1 and "1 of the " in " ".join(host.said)
    old.write_text(kept)
    assert host.run("copy") == 0
    old.unlink()
    host.now += 2 * DAY
    assert host.run("copy") == 0, host.said


def test_what_is_given_up_by_hand_is_copied_around(host):
    host.take()
    host.take_postgresql("20261130-010000F")
    assert host.run("copy") == 0
    pruned(host)
    host.now += HOUR
    assert host.run("copy") == 1
    assert host.run("forget", "postgresql") == 0
    host.now += HOUR
    assert host.run("copy") == 0, host.said
    assert host.at_remote(f"{STANZA}/20261130-010000F/backup.manifest").exists()


def test_a_damaged_backup_is_not_copied(host):
    label = host.take()
    (host.repository / "files/redis" / label / "dump.rdb").write_text("flipped")
    assert host.run("copy") == 1
    assert "its checksum is another one" in " ".join(host.said)
    assert not host.at_remote(f"files/redis/{label}/dump.rdb").exists()


def test_a_file_that_is_cut_at_either_end_is_found_and_not_written_over(host):
    label = host.take()
    assert host.run("copy") == 0
    copied = host.at_remote(f"files/redis/{label}/dump.rdb")
    good = copied.read_bytes()
    copied.write_bytes(good[:-5])
    assert host.run("copy") == 1 and "another size at the remote" in host.copied()[-1]["reason"]
    copied.write_bytes(good)
    (host.repository / "files/redis" / label / "dump.rdb").write_text("cut")
    host.now += HOUR
    assert host.run("copy") == 1 and copied.read_bytes() == good
    assert host.state()["remote_copy"]["verdict"] == "failed"


def test_a_byte_that_has_changed_at_the_remote_is_found(host):
    label = host.take()
    assert host.run("copy") == 0
    copied = host.at_remote(f"files/redis/{label}/dump.rdb")
    data = bytearray(copied.read_bytes())
    data[-1] ^= 1
    copied.write_bytes(data)
    host.now += HOUR
    assert host.run("copy") == 1
    (problem,) = [text for text in host.state()["problems"] if text.startswith("remote copy")]
    assert f"files/redis/{label}/dump.rdb differs" in problem and "playbooks/backup.yml -e kind=copy" in problem


def test_a_byte_that_the_remote_itself_does_not_notice_is_found_when_it_is_read_back(host, monkeypatch):
    """As rclone compares with a server that tells the checksum of what it once got."""
    label = host.take()
    assert host.run("copy") == 0
    monkeypatch.setattr(copier.Remote, "hashes", lambda self: [])
    copied = host.at_remote(f"files/redis/{label}/dump.rdb")
    data = bytearray(copied.read_bytes())
    data[-1] ^= 1
    copied.write_bytes(data)
    host.now += HOUR
    assert host.run("copy") == 0
    assert "of them by their sizes alone" in host.copied()[-1]["checks"]["compared"]
    host.now += 31 * DAY
    assert host.run("copy") == 1


def test_a_remote_that_is_away_is_not_known_to_be_good_and_status_says_what_to_look_at(host):
    host.take()
    assert host.run("copy") == 0
    (host.home / "rclone.conf").write_text("[remote]\ntype = s3\nprovider = Other\nendpoint = https://127.0.0.1:1\n")
    host.now += HOUR
    assert host.run("copy") == 3
    assert host.copied()[-1]["verdict"] == "unknown"
    (problem,) = [text for text in host.state()["problems"] if text.startswith("remote copy")]
    assert "connection refused" in problem and "backup_remote" in problem
    assert host.state()["remote_copy"]["age_s"] == HOUR


def test_a_copy_grows_stale(host):
    host.take()
    assert "nothing was copied to local yet" in " ".join(host.state()["problems"])
    host.run("copy")
    host.now += 37 * HOUR
    assert "the last good copy is" in " ".join(host.state()["problems"])


def old_backups(host, count):
    labels = []
    host.now = NOON - 60 * DAY
    for _day in range(count):
        labels.append(host.take())
        host.now += DAY
    return labels


def test_the_remote_keeps_by_its_own_days_and_removes_a_tenth_at_most(host):
    labels = old_backups(host, 60)
    host.now -= DAY
    assert host.run("copy") == 0
    # Nothing is removed there that is kept here.
    assert host.copied()[-1]["removed"] == {}
    assert host.run("expire", "redis") == 0
    assert len(list((host.repository / "files/redis").iterdir())) == 8
    host.now += HOUR
    assert host.run("copy") == 0, host.said
    assert host.copied()[-1]["removed"] == {"redis": labels[:6]}
    there = {path.name for path in (host.there / "encrypted/files/redis").iterdir()}
    assert there == set(labels[6:])


def test_the_last_good_backup_stays_at_the_remote_whatever_its_age(host):
    label = host.take()
    assert host.run("copy") == 0
    for _hour in range(50):
        host.now += 40 * HOUR
        host.record("redis", "verify", label=label)
    assert host.run("copy") == 0
    assert host.copied()[-1]["removed"] == {} and host.at_remote(f"files/redis/{label}/dump.rdb").exists()


def test_a_remote_without_the_right_to_remove_keeps_the_copy_good_and_says_so(host, monkeypatch):
    old_backups(host, 60)
    host.now -= DAY
    host.run("copy")
    host.run("expire", "redis")

    def refused(self, tree, path):
        raise copier.BackupError("AccessDenied", 3)

    monkeypatch.setattr(copier.Remote, "remove", refused)
    host.now += HOUR
    assert host.run("copy") == 0 and host.copied()[-1]["verdict"] == "ok"
    assert "set backup_remote_days to 0" in " ".join(host.state()["problems"])


def test_a_lost_host_gets_its_repository_back_and_goes_on(host):
    labels = [host.take()]
    sealed = host.take("configuration", "sealed")
    host.take_postgresql("20261130-010000F")
    host.now += HOUR
    labels.append(host.take())
    assert host.run("copy") == 0
    unmounted(host)
    (host.repository / ".utmstack-backup").write_text("demo\n")
    host.now += HOUR
    assert host.run("copy") == 1 and "playbooks/restore_copy.yml" in " ".join(host.said)
    assert host.run("fetch") == 0, host.said
    assert sorted(path.name for path in (host.repository / "files/redis").iterdir()) == labels
    assert (host.repository / "files/configuration" / sealed / "configuration.age").is_file()
    assert (host.repository / STANZA / "backup.info").is_file()
    assert oct((host.repository / "files/redis" / labels[0]).stat().st_mode)[-3:] == "700"
    assert host.run("fetch") == 0
    host.now += HOUR
    assert host.run("copy") == 0, host.said
    assert {row["kind"]: row["kept"] for row in host.state()["kinds"]} == {
        "redis": 2,
        "configuration": 1,
        "postgresql": 1,
    }


def test_a_repository_with_backups_of_its_own_is_not_fetched_over(host):
    host.take()
    assert host.run("copy") == 0
    host.now += HOUR
    host.take()
    assert host.run("fetch") == 1 and "has records of its own" in " ".join(host.said)


def test_another_clusters_place_is_left_alone(host):
    host.take()
    assert host.run("copy") == 0
    (host.there / ".utmstack-backup").write_text("other\n")
    assert host.run("reach") == 1 and "is cluster other's" in host.said[0]


def test_without_a_remote_there_is_nothing_of_it(host):
    host.settings["remote"] = {}
    assert host.run("copy") == 2 and host.state()["remote_copy"] == {}


def test_no_secret_is_among_the_arguments_or_in_a_record(host):
    host.take()
    host.run("copy")
    assert "a-passphrase" not in json.dumps(host.copied()) and "a-passphrase" not in " ".join(host.said)
    assert not [path for path in host.home.rglob("*") if path.is_file() and b"a-passphrase" in path.read_bytes()]
