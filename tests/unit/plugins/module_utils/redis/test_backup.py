# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An RDB from a replica, and its verification, by what redis-cli, redis-check-rdb and INFO of real servers said (fixtures/redis/backup_7.0.15.json)."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common.backup import BackupError, sha256
from ansible_collections.utmstack.ha.plugins.module_utils.common.command import Result
from ansible_collections.utmstack.ha.plugins.module_utils.redis import backup
from ansible_collections.utmstack.ha.plugins.module_utils.redis import client as redis_client
from redis_network import RECORDED, Connection

SAID = json.loads((RECORDED / "backup_7.0.15.json").read_text())
RDB = base64.b64decode(SAID["rdb"])
MEMBERS = [{"name": f"node{number}", "address": f"10.0.1.1{number}"} for number in (1, 2, 3)]
SETTINGS = {
    "members": MEMBERS,
    "port": 6379,
    "ca_path": "/ca.crt",
    "username": "backup",
    "password": "a-password-of-backup",
}
# Stands for redis-cli --rdb and redis-check-rdb: what they said, by server and by the file's content.
TOOLS = """#!/usr/bin/python3
import base64, json, os, sys
said = json.load(open(os.environ["SAID"]))
words = sys.argv[1:]
if sys.argv[0].endswith("cli"):
    assert os.environ["REDISCLI_AUTH"] == "a-password-of-backup" and not any("password-of" in word for word in words)
    case = json.loads(os.environ["CASES"])[words[words.index("-h") + 1]]
    if said["send"][case]["rc"] == 0:
        open(words[-1], "wb").write(base64.b64decode(said["rdb"]))
    found = said["send"][case]
else:
    content = open(words[-1], "rb").read()
    found = said["check"]["good" if content == base64.b64decode(said["rdb"]) else "flipped"]
print(found["stdout"])
print(found["stderr"], file=sys.stderr)
sys.exit(found["rc"])
"""


@pytest.fixture
def servers(tmp_path, monkeypatch):
    """What each server says, by its number: the stage of its INFO, and how it answers SYNC."""
    place = tmp_path / "bin"
    place.mkdir()
    for name in ("redis-cli", "redis-check-rdb"):
        (place / name).write_text(TOOLS)
        (place / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    monkeypatch.setenv("SAID", str(RECORDED / "backup_7.0.15.json"))

    def are(*stages):
        said = dict(zip([one["address"] for one in MEMBERS], stages))

        class Network:
            def __init__(self, *unused, **more):
                pass

            def connect(self, address, port):
                info = said[address][0]
                if info is None:
                    raise redis_client.RedisError("Connection refused")
                return Connection(lambda _words: SAID["info"][info])

        monkeypatch.setattr(redis_client, "Network", Network)
        monkeypatch.setenv("CASES", json.dumps({address: case for address, (_info, case) in said.items()}))

    return are


def checked(case) -> Result:
    return Result(**SAID["check"][case], seconds=0.1)


def test_a_whole_file_tells_when_it_was_made_and_what_it_has():
    found = backup.judge(checked("good"))
    assert found["manifest"] == {"keys": 4, "expires": 1}
    assert found["software"] == {"redis": "7.0.15"}
    assert found["point"]["time"] > 1_796_000_000


@pytest.mark.parametrize(
    ("case", "code", "said"),
    [
        ("flipped", 1, "Invalid object type: 64"),
        ("cut", 1, "Unexpected EOF reading RDB file"),
        ("empty", 1, "Unexpected EOF reading RDB file"),
        ("newer", 3, "Can't handle RDB format version 12: this host has an older release"),
    ],
)
def test_damage_is_failed_and_what_this_release_cannot_read_is_not_known(case, code, said):
    with pytest.raises(BackupError) as found:
        backup.judge(checked(case))
    assert found.value.code == code and said in found.value.reason


def test_a_checker_that_says_nothing_is_not_believed():
    with pytest.raises(BackupError):
        backup.judge(Result(0, "", "", 0.1))


@pytest.mark.parametrize(
    ("members", "order"),
    [
        ([("node1", "master", False, ""), ("node2", "replica", False, ""), ("node3", "replica", True, "")], ["node3", "node2", "node1"]),
        ([("node1", "replica", True, ""), ("node2", "replica", True, ""), ("node3", "master", False, "")], ["node1", "node2", "node3"]),
        ([("node1", "", False, "no answer"), ("node2", "master", False, "")], ["node2"]),
    ],
)  # fmt: skip
def test_replicas_with_a_link_come_first_and_the_master_last(members, order):
    keys = ("name", "role", "link_up", "error")
    assert backup.pull_order(dict(zip(keys, member)) for member in members) == order


def test_a_copy_is_taken_from_a_replica_and_told_with_what_it_has(servers, tmp_path):
    servers(("master", "good"), ("replica", "good"), (None, "good"))
    place = tmp_path / "copy"
    place.mkdir()
    facts = backup.take(SETTINGS, place)
    assert facts["source"] == "node2" and facts["bytes"] == len(RDB)
    assert facts["files"] == {"dump.rdb": sha256(place / "dump.rdb")} and [one.name for one in place.iterdir()] == [
        "dump.rdb"
    ]
    assert facts["manifest"]["keys"] == 4 and facts["software"] == {"redis": "7.0.15"}
    assert facts["manifest"]["keyspace"] == {"before": {"0": [2, 1], "5": [2, 0]}, "after": {"0": [2, 1], "5": [2, 0]}}
    assert backup.inspect(place)["files"] == facts["files"]


def test_a_replica_that_refuses_gives_its_turn_to_the_next_and_at_last_to_the_master(servers, tmp_path):
    servers(("master", "good"), ("replica", "no link"), ("replica without link", "no link"))
    assert backup.take(SETTINGS, tmp_path)["source"] == "node1"


def test_all_reasons_are_told_where_nobody_can_send(servers, tmp_path):
    servers(("master", "wrong password"), ("replica without link", "no link"), (None, "good"))
    (tmp_path / "copy").mkdir()
    with pytest.raises(BackupError) as found:
        backup.take(SETTINGS, tmp_path / "copy")
    for told in (
        "node3: Connection refused",
        "node2: SYNC with master failed: -NOMASTERLINK",
        "node1: AUTH failed: WRONGPASS",
    ):
        assert told in found.value.reason
    assert "a-password" not in found.value.reason and list((tmp_path / "copy").iterdir()) == []


def test_a_copy_that_the_checker_refuses_is_no_backup(servers, tmp_path, monkeypatch):
    servers(("replica", "good"), (None, ""), (None, ""))
    (tmp_path / "bin/redis-check-rdb").write_text(TOOLS.replace('"good" if', '"cut" if'))
    with pytest.raises(BackupError, match="Unexpected EOF"):
        backup.take(SETTINGS, tmp_path)
    assert not (tmp_path / "dump.rdb").exists()


def test_databases_that_had_keys_before_and_after_must_have_some():
    kept = {"before": {"0": [3, 1], "2": [5, 5], "7": [1, 0]}, "after": {"0": [3, 1], "2": [5, 5], "9": [1, 0]}}
    assert backup._missing(kept, {"1": [1, 0]}) == ["0"]
    assert backup._missing(kept, {"0": [3, 1]}) == []
    assert backup._missing({}, {}) == []


def test_valkey_is_told_by_its_own_version():
    recorded = json.loads((RECORDED / "valkey_8.1.1.json").read_text())
    text = json.dumps(recorded)
    assert "valkey_version:8.1.1" in text

    class Network:
        def connect(self, _address, _port):
            return Connection(lambda _words: "role:master\nredis_version:7.2.4\nvalkey_version:8.1.1\n")

    assert backup._ask(Network(), MEMBERS[0], 6379)["version"] == "8.1.1"


REAL = Path("/usr/bin/redis-check-rdb")


@pytest.mark.skipif(not REAL.exists(), reason="redis-tools is not installed here")
def test_a_server_of_its_own_loads_it_and_is_gone_afterwards(tmp_path):
    """With the real programs: the checker is the server, too."""
    place, scratch = tmp_path / "copy", tmp_path / "scratch"
    place.mkdir(), scratch.mkdir()
    (place / "dump.rdb").write_bytes(RDB)
    record = {"manifest": {"keys": 4, "keyspace": {"before": {"5": [2, 0]}, "after": {"5": [2, 0]}}}}
    found = backup.verify({"record": record}, place, scratch)
    assert found["manifest"]["keys"] == 4 and "in 2 databases" in found["checks"]["load"]
    assert not [one for one in Path("/proc").glob("[0-9]*/cmdline") if str(scratch).encode() in one.read_bytes()]
    with pytest.raises(BackupError, match="and had 5 when it was taken"):
        backup.verify({"record": {"manifest": {"keys": 5}}}, place, _emptied(scratch))
    (place / "dump.rdb").write_bytes(RDB[:-12] + bytes([RDB[-12] ^ 0x40]) + RDB[-11:])
    with pytest.raises(BackupError) as damaged:
        backup.verify({"record": record}, place, _emptied(scratch))
    assert damaged.value.code == 1


def _emptied(place: Path) -> Path:
    for path in place.iterdir():
        path.unlink()
    return place
