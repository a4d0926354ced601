# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""As what a data node starts, when it asks before each start."""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.host import file_set, programs
from ansible_collections.utmstack.ha.plugins.module_utils.redis import start as redis_start
from ansible_collections.utmstack.ha.plugins.module_utils.redis.master import Member
from ansible_collections.utmstack.ha.plugins.module_utils.redis.start import MASTER, REFUSE, REPLICA, WAIT
from host_programs import ship
from redis_network import SERVERS, Replay, recording

ME, OTHER, THIRD = "127.0.0.11", "127.0.0.12", "127.0.0.13"
FOLLOWING = Member("slave", master=ME, synced=True)
NEVER_SYNCED = Member("slave", master=ME)
SERVING = Member("master")


@pytest.fixture
def settings(tmp_path):
    return redis_start.Settings(
        address=ME, port=6379, sentinel_port=26379, members=[ME, OTHER, THIRD], sentinels=[ME, OTHER, THIRD], quorum=2,
        master_name="utmstack-redis", takeover_wait_s=16, sentinels_wait_s=60, ca="", username="monitoring", password="",
        server_file="/etc/redis/utmstack-ha.conf", live_file=str(tmp_path / "live.conf"), data_directory=str(tmp_path / "data"),
        maintenance_file=str(tmp_path / "maintenance"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("votes", "others", "waited", "before", "data", "what", "master"),
    [
        # The sentinels have moved the master while this node was down.
        ([OTHER, OTHER, OTHER], [SERVING, FOLLOWING], 0, "", True, REPLICA, OTHER),
        ([None, OTHER, OTHER], [SERVING, None], 0, "", True, REPLICA, OTHER),
        ([ME, OTHER, OTHER], [SERVING, None], 0, "", True, REPLICA, OTHER),
        # Killed a moment ago: its replicas have what it may have lost.
        ([ME, ME, ME], [FOLLOWING, FOLLOWING], 0, "", True, WAIT, ""),
        ([ME, ME, ME], [None, FOLLOWING], 15, "", True, WAIT, ""),
        ([ME, ME, ME], [SERVING, FOLLOWING], 0, "", True, WAIT, ""),
        # The sentinels had their time.
        ([ME, ME, ME], [FOLLOWING, FOLLOWING], 16, "", True, MASTER, ""),
        # Its disk is empty: better no master than one that empties its replicas.
        ([ME, ME, ME], [FOLLOWING, None], 16, "", False, REFUSE, ""),
        ([None, None, ME], [FOLLOWING, None], 60, "", False, REFUSE, ""),
        # Power came back for all at once, or this is the first start of all.
        ([ME, ME, ME], [None, None], 0, "", True, MASTER, ""),
        ([ME, ME, ME], [NEVER_SYNCED, None], 0, "", True, MASTER, ""),
        ([ME, ME, ME], [None, None], 0, "", False, MASTER, ""),
        # Too few sentinels.
        ([None, None, ME], [None, None], 0, "", True, WAIT, ""),
        ([None, ME, OTHER], [None, None], 59, "", True, WAIT, ""),
        ([None, None, None], [None, None], 9, OTHER, True, WAIT, ""),
        ([None, None, None], [None, None], 10, OTHER, True, REPLICA, OTHER),
        ([None, None, None], [None, None], 60, "", True, MASTER, ""),
        ([None, None, None], [SERVING, None], 60, THIRD, True, REPLICA, OTHER),
    ],
)
def test_a_node_starts_as_the_sentinels_say(settings, votes, others, waited, before, data, what, master):
    seen = redis_start.Seen(dict(zip([ME, OTHER, THIRD], votes)), dict(zip([OTHER, THIRD], others)))
    decision = redis_start.decide(settings, seen, waited, before, data)
    assert (decision.what, decision.master) == (what, master), decision.why


def test_nobody_starts_as_master_while_sentinel_makes_another_one(settings):
    votes = dict.fromkeys([ME, OTHER, THIRD], ME)
    failing_over = redis_start.Seen(votes, {OTHER: NEVER_SYNCED, THIRD: None}, failing_over=True)
    assert redis_start.decide(settings, failing_over, 0, "", True).what == WAIT
    assert redis_start.decide(settings, failing_over, 16, "", True).what == MASTER


@pytest.mark.parametrize("server", SERVERS)
def test_a_failover_in_progress_is_seen(settings, server):
    recorded = recording(server)
    assert redis_start.look(settings, Replay(recorded["during"])).failing_over
    assert not redis_start.look(settings, Replay(recorded["healthy"])).failing_over


@pytest.mark.parametrize("server", SERVERS)
def test_what_real_servers_say_is_understood(settings, server):
    recorded = recording(server)
    seen = redis_start.look(settings, Replay(recorded["healthy"]))
    assert set(seen.votes.values()) == {ME}
    assert redis_start.candidates(settings, seen) == [OTHER, THIRD]
    after = redis_start.look(settings, Replay(recorded["after"]))
    assert redis_start.decide(settings, after, 0, "", True).what == REPLICA
    nobody = redis_start.look(settings, Replay({"sentinel": {}, "info": {}}))
    assert set(nobody.votes.values()) == set(nobody.others.values()) == {None}


def test_it_waits_until_the_sentinels_have_decided_and_writes_the_file_that_redis_starts_with(settings):
    recorded = recording("redis_8.0.2")
    stages = [recorded["healthy"], recorded["healthy"], recorded["after"]]

    class Unfolding:
        def connect(self, address, port):
            return Replay(stages[0]).connect(address, port)

    said, now = [], [0.0]

    def sleep(seconds):
        now[0] += seconds
        stages.pop(0)

    code = redis_start.run(settings, Unfolding(), say=said.append, clock=lambda: now[0], sleep=sleep)
    assert code == 0
    assert [text.split(":")[0] for text in said] == [WAIT, REPLICA]
    live = Path(settings.live_file).read_text()
    assert f"include {settings.server_file}\nreplicaof {THIRD} 6379\n" in live
    assert Path(settings.live_file).stat().st_mode & 0o777 == 0o640


def test_a_master_that_nobody_can_replace_starts_at_once(settings):
    recorded = recording("redis_8.0.2")
    alone = {"sentinel": recorded["healthy"]["sentinel"], "info": {}}
    assert redis_start.run(settings, Replay(alone), say=lambda text: None) == 0
    assert "replicaof" not in Path(settings.live_file).read_text()
    assert "replica-priority" not in Path(settings.live_file).read_text()


def test_a_node_that_starts_during_maintenance_is_not_to_become_master(settings):
    Path(settings.maintenance_file).write_text("since 2026-03-01T12:00:00Z: new disk\n")
    recorded = recording("redis_8.0.2")
    alone = {"sentinel": recorded["healthy"]["sentinel"], "info": {}}
    assert redis_start.run(settings, Replay(alone), say=lambda text: None) == 0
    assert Path(settings.live_file).read_text().endswith("replica-priority 0\n")


def test_the_role_that_a_node_had_is_read_from_what_redis_wrote(tmp_path):
    written = (
        "include /etc/redis/utmstack-ha.conf\nreplicaof 10.0.1.11 6379\n# Generated by CONFIG REWRITE\nmaxmemory 1gb\n"
    )
    assert redis_start.followed(written) == "10.0.1.11"
    assert redis_start.followed(written.replace("replicaof 10.0.1.11 6379", "")) == ""
    assert redis_start.followed("replicaof no one\n") == ""
    assert redis_start.followed("") == ""


def test_data_is_what_redis_could_load(tmp_path):
    assert not redis_start.has_data(str(tmp_path / "missing"))
    (tmp_path / "utmstack-ha.conf").write_text("")
    assert not redis_start.has_data(str(tmp_path))
    (tmp_path / "appendonlydir").mkdir()
    assert not redis_start.has_data(str(tmp_path))
    (tmp_path / "appendonlydir" / "appendonly.aof.1.base.rdb").write_text("")
    assert redis_start.has_data(str(tmp_path))


@pytest.fixture
def installed(tmp_path):
    """The programs as they are installed on a host, and a settings file that they can read."""
    files, lib = Path(__file__).parents[5] / "roles" / "redis" / "files", tmp_path / "lib"
    ship("redis", lib / "python")
    for name in ("redis-start", "redis-follow"):
        shutil.copy(files / name, lib)

    def run(name, settings, *words):
        (tmp_path / "settings.json").write_text(json.dumps(settings))
        command = [sys.executable, "-S", lib / name, tmp_path / "settings.json", *words]
        return subprocess.run(command, env={}, capture_output=True, text=True, check=False)

    return run


def test_it_runs_by_itself_as_it_is_installed_on_a_host(settings, installed):
    unreachable = {"port": 1, "sentinel_port": 1, "ca": None, "sentinels_wait_s": 0}
    done = installed("redis-start", {**settings.__dict__, **unreachable})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("master: in 0 s there was no majority of sentinels")


def test_redis_can_start_at_any_moment_of_an_upgrade_that_moves_what_the_program_imports(tmp_path):
    """The role writes one file after the other, and any may be the last before its run is killed."""
    lib = tmp_path / "lib"
    former = lib / "utmstack_redis"
    former.mkdir(parents=True)
    (former / "redis_start.py").write_text("")
    (lib / "redis-start").write_text("from utmstack_redis import redis_start\n")
    script = (Path(__file__).parents[5] / "roles/redis/files/redis-start").read_text()
    user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
    places = [
        (entry["path"].replace(programs.HOME, str(lib / "python")), entry["content"])
        for entry in programs.files("redis")
    ]
    steps = [
        lambda path=path, content=content: file_set.install(file_set.Entry(path, content.encode(), 0o644, user, group))
        for path, content in [*places, (str(lib / "redis-start"), script)]
    ]
    said = []
    for step in [*steps, lambda: file_set.remove(str(former))]:
        step()
        command = [sys.executable, "-S", lib / "redis-start", tmp_path / "absent.json"]
        said.append(subprocess.run(command, env={}, capture_output=True, text=True, check=False).stderr)
    assert not [text for text in said if "ImportError" in text or "ModuleNotFoundError" in text]
    assert said[0] == ""
    assert "No such file or directory" in said[-1] and "absent.json" in said[-1]


def test_the_one_for_former_masters_runs_by_itself_too(installed):
    unreachable = {
        "port": 1,
        "sentinel_port": 1,
        "sentinels": [ME, OTHER, THIRD],
        "quorum": 2,
        "master_name": "x",
        "ca": None,
    }
    done = installed("redis-follow", {**unreachable, "wait_s": 0, "username": "u", "password": "p"}, ME, OTHER)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"the sentinels do not agree that {OTHER} is master; {ME} is left alone\n"
