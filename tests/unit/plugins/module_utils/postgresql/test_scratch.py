# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A server for a trial: what it is told, what it is fed, and that nothing of it is left. The dump's own server is tried on real hosts."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common.backup import FAILED, UNVERIFIED, BackupError
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import scratch

CONTROLDATA = (Path(__file__).parents[3] / "fixtures" / "postgresql" / "controldata_15.20.txt").read_text()


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch, "binaries", lambda version: Path("/usr/lib/postgresql", version, "bin"))
    one = scratch.Instance(tmp_path, "15", None)
    yield one
    one.remove()


def test_what_a_recovery_needs_at_least_comes_from_the_backup():
    assert scratch.recovery_settings(CONTROLDATA) == {
        "max_connections": "100",
        "max_worker_processes": "8",
        "max_wal_senders": "10",
        "max_prepared_transactions": "0",
        "max_locks_per_transaction": "64",
    }


def test_data_without_pg_control_are_damaged():
    with pytest.raises(BackupError, match="pg_control can't be read") as told:
        scratch.recovery_settings("")
    assert told.value.code == FAILED


def test_checksums_are_known_from_pg_control():
    assert scratch.checksums(CONTROLDATA + "\n") is True
    assert (
        scratch.checksums(CONTROLDATA.replace("checksum version:           1", "checksum version:           0"))
        is False
    )


def test_it_can_reach_neither_cluster_nor_repository(server):
    told = server.settings({})
    assert (told["listen_addresses"], told["primary_conninfo"], told["restore_command"]) == ("", "", "")
    assert (told["archive_mode"], told["archive_command"], told["max_replication_slots"]) == ("off", "/bin/false", "0")
    assert told["unix_socket_directories"] == str(server.socket)
    assert server.socket.stat().st_mode & 0o777 == 0o700
    # Files of the restored cluster are not read, whatever they say.
    for name in ("config_file", "hba_file", "ident_file"):
        assert Path(told[name]).parent == server.place


def test_what_a_caller_asks_for_counts(server):
    assert server.settings({"max_connections": "200", "recovery_target": "immediate"})["max_connections"] == "200"


def test_a_version_that_is_not_installed_proves_nothing():
    with pytest.raises(BackupError, match="PostgreSQL 8 is not installed here") as told:
        scratch.binaries("8")
    assert told.value.code == UNVERIFIED


def asks(feeder, name, to):
    return subprocess.run(["/bin/sh", str(feeder.script), name, str(to)], timeout=30, check=False).returncode


def test_wal_is_fetched_when_the_server_asks_for_it(server, tmp_path):
    def fetch(name, path):
        if name != "000000010000000000000004":
            return False
        path.write_text("WAL")
        return True

    feeder = server.fed(fetch)
    wanted = tmp_path / "RECOVERYXLOG"
    assert asks(feeder, "000000010000000000000004", wanted) == 0
    assert (wanted.read_text(), feeder.fetched) == ("WAL", ["000000010000000000000004"])
    assert asks(feeder, "00000002.history", tmp_path / "RECOVERYHISTORY") == 1
    assert feeder.fault is None
    assert "feed %f %p" in server.settings({})["restore_command"].replace("'", "")


def test_damaged_wal_ends_the_wait(server, tmp_path):
    def fetch(name, path):
        path.write_text("half")
        raise BackupError(f"WAL {name} is damaged")

    feeder = server.fed(fetch)
    assert asks(feeder, "000000010000000000000004", tmp_path / "RECOVERYXLOG") == 1
    assert not (tmp_path / "RECOVERYXLOG").exists()
    with pytest.raises(BackupError, match="WAL 000000010000000000000004 is damaged"):
        server.wait(lambda: False, 5, "did not recover")


def test_who_waits_for_wal_is_told_when_the_trial_ends(server, tmp_path):
    feeder = server.fed(lambda name, path: False)
    feeder.end()
    assert not feeder.is_alive()


def stands_in(server, code):
    """A process in the place of the server."""
    server._process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    return server._process


def test_a_server_that_has_ended_says_its_last_error(server):
    process = stands_in(server, "")
    process.wait()
    server.log.write_text(
        "LOG:  starting\nFATAL:  the database system is starting up\n"
        "FATAL:  recovery aborted because of insufficient parameter settings\nLOG:  shutting down\n"
    )
    with pytest.raises(
        BackupError, match="has ended: FATAL:  recovery aborted because of insufficient parameter settings"
    ):
        server.wait(lambda: False, 5, "did not recover")


def test_a_server_that_is_too_slow_proves_nothing(server):
    stands_in(server, "import time; time.sleep(60)")
    with pytest.raises(BackupError, match=r"did not recover within 0\.1 s") as told:
        server.wait(lambda: False, 0.1, "did not recover")
    assert told.value.code == UNVERIFIED


def test_nothing_is_left_running(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch, "binaries", lambda version: Path("/usr/lib/postgresql", version, "bin"))
    with pytest.raises(ZeroDivisionError), scratch.instance(tmp_path, "15", None) as server:
        process = stands_in(server, "import time; print(flush=True); time.sleep(60)")
        process.stdout.readline()
        feeder = server.fed(lambda name, path: False)
        raise ZeroDivisionError
    assert process.poll() is not None
    assert not feeder.is_alive()


def test_it_has_a_limit_of_memory_and_no_password(server):
    words = server.command({"max_connections": "200"})
    assert words[:2] == ["prlimit", f"--as={2 * 2**30}"]
    assert words[-2:] == ["-c", "max_connections=200"]
    assert not any("password" in word for word in words)


def test_a_directory_is_entered_by_nobody_else(tmp_path):
    assert scratch.own(tmp_path / "new", None).stat().st_mode & 0o777 == 0o700


def test_the_feeder_waits_without_work(server):
    feeder = server.fed(lambda name, path: False)
    time.sleep(0.2)
    assert (feeder.is_alive(), feeder.fetched) == (True, [])
