# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run of Ansible puts into a repository: its record, and files before it."""

from __future__ import annotations

import json
import os

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.backup import kept_by_run
from ansible_collections.utmstack.ha.plugins.module_utils.backup.repository import MARKER, Repository, kept
from ansible_collections.utmstack.ha.plugins.module_utils.common.backup import BackupError

RECORD = {
    "host": "backup1", "kind": "configuration", "act": "take", "verdict": "ok", "started": "20261130T101500Z", "source": "controller",
    "point": {"time": 1796033700},
}  # fmt: skip


@pytest.fixture
def repository(tmp_path, monkeypatch):
    (tmp_path / MARKER).write_text("demo\n")
    monkeypatch.setattr(kept_by_run, "_owner", lambda _kind: (os.getuid(), os.getgid()))
    return Repository(tmp_path, "demo")


def keep(repository, files=(), **more):
    return kept_by_run.keep(repository, repository.directory / "lock", {**RECORD, **more}, dict(files))


def test_files_and_their_record_are_a_usable_backup(repository):
    made = keep(repository, {"configuration.age": "sealed", "manifest.json": "{}"})
    (found,) = kept(repository, "configuration")
    assert (found["label"], found["point"]) == ("20261130T101500Z", {"time": 1796033700})
    assert (repository.directory / found["path"] / "configuration.age").read_text() == "sealed"
    assert made["bytes"] == 8
    assert repository.strays("configuration") == []


def test_a_backup_is_never_written_over(repository):
    keep(repository, {"a": "1"})
    with pytest.raises(BackupError, match="is there already"):
        keep(repository, {"a": "2"})


def test_a_failure_and_a_restore_are_records_without_files(repository):
    keep(repository, verdict="failed", reason="backup_recipients is empty")
    keep(
        repository,
        act="restore",
        kind="etcd",
        safety=[{"host": "node1", "path": "/var/lib/etcd/demo.before-restore-1"}],
    )
    assert kept(repository, "configuration") == []
    (path,) = (repository.directory / "records" / "etcd").glob("*-restore.json")
    assert json.loads(path.read_text())["safety"][0]["host"] == "node1"


def test_without_the_marker_nothing_is_written(repository):
    (repository.directory / MARKER).unlink()
    with pytest.raises(BackupError, match="is not the repository"):
        keep(repository, {"a": "1"})
    assert not (repository.directory / "files").exists()


def test_a_time_is_written_as_in_names_of_records(repository):
    with pytest.raises(BackupError, match="is no time like"):
        keep(repository, started="yesterday")
