# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Data made of a snapshot come to their place whole or not at all; a run that is killed anywhere leaves what the next one can finish."""

from __future__ import annotations

import os

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common.backup import BackupError, sha256
from ansible_collections.utmstack.ha.plugins.module_utils.etcd import backup, restore

LABEL, STAMP = "20261130T023000Z", "20261130T101500Z"
MEMBER = {
    "name": "node1",
    "peer_url": "https://10.0.1.11:2380",
    "token": "t",
    "initial_cluster": "node1=https://10.0.1.11:2380",
}


class Killed(BaseException):
    """What ends the process."""


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A member with data, and a snapshot. The tool's own part is a directory with a log, as etcdutl makes it."""

    def made(_file, data, *_arguments, bump):
        assert not data.exists(), "etcdutl refuses a directory that is there"
        (data / "member" / "wal").mkdir(parents=True)
        (data / "member" / "wal" / "0.wal").write_text("restored")
        return bump

    monkeypatch.setattr(backup, "restore", made)
    data = tmp_path / "etcd" / "demo"
    (data / "member").mkdir(parents=True)
    (data / "member" / "db").write_text("former")
    (tmp_path / "snapshot.db").write_text("snapshot")
    return tmp_path


def put(host, stamp=STAMP, label=LABEL):
    snapshot = host / "snapshot.db"
    return restore.put(
        str(host / "etcd" / "demo"), str(snapshot), sha256(snapshot), label, stamp, MEMBER, (os.getuid(), os.getgid())
    )


def former(host):
    return [
        path
        for path in (host / "etcd").glob("demo.before-restore-*")
        if (path / "member" / "db").read_text() == "former"
    ]


def test_what_was_there_stays_beside_what_was_restored(host):
    made = put(host)
    data = host / "etcd" / "demo"
    assert made == {"safety_copy": f"{data}.before-restore-{STAMP}", "bumped": True}
    assert [str(path) for path in former(host)] == [made["safety_copy"]]
    assert (data / "member" / "wal" / "0.wal").read_text() == "restored"
    assert data.stat().st_mode & 0o777 == 0o700
    assert restore.look(str(data)) | {"free": 0} == {
        "label": LABEL, "data": True, "free": 0, "safety": [made["safety_copy"]],
    }  # fmt: skip


def test_finished_data_are_as_any_other(host):
    put(host)
    data = str(host / "etcd" / "demo")
    restore.finish(data)
    assert restore.look(data)["label"] == ""
    restore.finish(data)


@pytest.mark.parametrize("call", range(1, 3))
def test_a_run_that_is_killed_at_a_rename_is_finished_by_the_next(host, monkeypatch, call):
    rename, calls = os.rename, []

    def killed(*paths):
        calls.append(paths)
        if len(calls) == call:
            raise Killed
        rename(*paths)

    monkeypatch.setattr(restore.os, "rename", killed)
    with pytest.raises(Killed):
        put(host)
    monkeypatch.setattr(restore.os, "rename", rename)
    put(host, stamp="20261130T102000Z")
    assert restore.look(str(host / "etcd" / "demo"))["label"] == LABEL
    assert len(former(host)) == 1
    assert not (host / "etcd" / "demo.restoring").exists()


def test_another_file_than_the_backup_is_refused_and_nothing_is_touched(host):
    snapshot = host / "snapshot.db"
    with pytest.raises(BackupError, match="is not what was backed up"):
        restore.put(str(host / "etcd" / "demo"), str(snapshot), "0" * 64, LABEL, STAMP, MEMBER, (0, 0))
    assert (host / "etcd" / "demo" / "member" / "db").read_text() == "former"


def test_a_safety_copy_is_never_written_over(host):
    put(host)
    with pytest.raises(BackupError, match="never written over"):
        put(host)
    assert len(former(host)) == 1


def test_an_empty_directory_needs_no_safety_copy(host):
    data = host / "etcd" / "demo"
    (data / "member" / "db").unlink()
    (data / "member").rmdir()
    assert put(host)["safety_copy"] == ""
