# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files of a stopped Redis: nothing of former data is lost, whenever a restore is interrupted."""

from __future__ import annotations

import os

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.redis import restore as redis_restore
from ansible_collections.utmstack.ha.plugins.module_utils.redis import start as redis_start

OWNER = (os.getuid(), os.getgid())


@pytest.fixture
def places(tmp_path):
    """A data directory as Redis 7 leaves it, with Sentinel's memory beside."""
    directory = tmp_path / "demo"
    (directory / "appendonlydir").mkdir(parents=True)
    (directory / "appendonlydir" / "appendonly.aof.1.base.rdb").write_bytes(b"former")
    (directory / "dump.rdb").write_bytes(b"former dump")
    (directory / "temp-123.rdb").write_bytes(b"half")
    (directory / "utmstack-ha.conf").write_text("include /etc/redis/utmstack-ha.conf\n")
    (directory / "utmstack-ha-sentinel.conf").write_text("sentinel monitor x 10.0.1.11 6379 2\n")
    return redis_restore.Places(str(directory))


@pytest.fixture
def backup(tmp_path):
    path = tmp_path / "dump.rdb"
    path.write_bytes(b"REDIS0010 restored")
    return str(path)


def content(places):
    """All files by their path, with what is in them."""
    found = {}
    for place, _names, files in os.walk(places.directory):
        for name in files:
            path = os.path.join(place, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, places.directory)] = file.read()
    return found


def test_data_are_moved_and_what_is_not_data_stays(places):
    moved = redis_restore.move_away(places, "before-restore-1", False)
    assert moved == ["appendonlydir", "dump.rdb", "temp-123.rdb"]
    assert sorted(os.listdir(places.directory)) == ["before-restore-1", "utmstack-ha-sentinel.conf", "utmstack-ha.conf"]
    assert content(places)["before-restore-1/appendonlydir/appendonly.aof.1.base.rdb"] == b"former"
    assert os.stat(places.path("before-restore-1")).st_mode & 0o777 == 0o700


def test_a_copy_is_not_data_for_the_start_of_redis(places):
    assert redis_start.has_data(places.directory)
    redis_restore.move_away(places, "before-restore-1", False)
    os.mkdir(places.path("restore"))
    with open(places.path("restore", "dump.rdb"), "wb") as file:
        file.write(b"fetched")
    assert not redis_start.has_data(places.directory)


def test_a_dry_run_moves_nothing(places):
    before = content(places)
    assert redis_restore.move_away(places, "before-restore-1", True) == ["appendonlydir", "dump.rdb", "temp-123.rdb"]
    assert content(places) == before


def test_a_copy_is_never_added_to(places):
    os.mkdir(places.path("before-restore-1"))
    before = content(places)
    with pytest.raises(FileExistsError):
        redis_restore.move_away(places, "before-restore-1", False)
    assert content(places) == before


def test_where_there_are_no_data_there_is_no_copy(places):
    redis_restore.move_away(places, "before-restore-1", False)
    assert redis_restore.move_away(places, "before-restore-2", False) == []
    assert redis_restore.copies(places.directory) == ["before-restore-1"]


def test_a_backup_becomes_the_base_of_an_append_only_file(places, backup):
    redis_restore.move_away(places, "before-restore-1", False)
    path = redis_restore.put(places, backup, OWNER)
    assert path == places.path("appendonlydir", "appendonly.aof.1.base.rdb")
    found = content(places)
    assert found["appendonlydir/appendonly.aof.1.base.rdb"] == b"REDIS0010 restored"
    assert found["appendonlydir/appendonly.aof.manifest"] == b"file appendonly.aof.1.base.rdb seq 1 type b\n"
    assert redis_start.has_data(places.directory)
    assert os.path.exists(backup), "a second run needs it"


def test_without_an_append_only_file_it_is_the_servers_dump(places, backup):
    places = redis_restore.Places(places.directory, append_only=False, database_file="other.rdb")
    assert redis_restore.put(places, backup, OWNER) == places.path("other.rdb")
    assert content(places)["other.rdb"] == b"REDIS0010 restored"


class Killed(BaseException):
    """The end of the process."""


@pytest.mark.parametrize("step", range(1, 12))
def test_after_an_interruption_at_any_step_the_next_run_ends_well_and_nothing_is_lost(
    places, backup, monkeypatch, step
):
    steps = {"left": step}

    def counted(real):
        def call(*arguments, **options):
            steps["left"] -= 1
            if steps["left"] == 0:
                raise Killed
            return real(*arguments, **options)

        return call

    with monkeypatch.context() as patched:
        for name in ("mkdir", "rename", "link", "chown", "chmod"):
            patched.setattr(redis_restore.os, name, counted(getattr(os, name)))
        try:
            redis_restore.move_away(places, "before-restore-1", False)
            redis_restore.put(places, backup, OWNER)
        except Killed:
            pass
        else:
            assert step > 10, "each step of these is one that it can die at"
    redis_restore.move_away(places, "before-restore-2", False)
    redis_restore.put(places, backup, OWNER)
    found = content(places)
    assert found["appendonlydir/appendonly.aof.1.base.rdb"] == b"REDIS0010 restored"
    kept = [data for path, data in found.items() if path.startswith("before-restore-")]
    assert {b"former", b"former dump"} <= set(kept)
    assert not [path for path in found if path.startswith("appendonlydir.new")]
