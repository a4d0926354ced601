# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Snapshots as backups: which one counts, and that damage of every kind is found."""

from __future__ import annotations

import copy
import json
import random

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common.backup import (
    FAILED,
    NO_ROOM,
    SETTINGS,
    UNVERIFIED,
    BackupError,
)
from ansible_collections.utmstack.ha.plugins.module_utils.search import backup as search_backup
from search_network import Network

FIXTURE = "elasticsearch-8.19.4-backup"
INDICES = {
    "alerts": {"documents": 5, "operations": 5},
    "events": {"documents": 12, "operations": 12},
    "log-1": {"documents": 30, "operations": 30},
}


def record():
    """What take returned when the verifications were recorded."""
    network = Network(FIXTURE, "backup taken")
    return search_backup.take({"names": {"http://127.0.91.1:9200": "node1"}}, None, network.client())


def verified(scene, told=None, **settings):
    """A verification of that record; what it returned, and the network."""
    network = Network(FIXTURE, scene)
    found = search_backup.verify({"record": told or record(), **settings}, None, None, network.client())
    return found, network


def refused(scene, told=None):
    network = Network(FIXTURE, scene)
    with pytest.raises(BackupError) as error:
        search_backup.verify({"record": told or record()}, None, None, network.client())
    return error.value, network


def test_the_newest_complete_snapshot_of_a_policy_becomes_a_record():
    found = record()
    assert (found["source"], found["label"], found["files"]) == ("node1", "daily-1", {})
    assert found["software"] == {"elasticsearch": "8.19.4"}
    (snapshot,) = found["manifest"]["snapshots"]
    assert (snapshot["repository"], snapshot["policy"], snapshot["snapshot"]) == ("backup", "daily", "daily-1")
    assert {
        name: {key: own[key] for key in ("documents", "operations")} for name, own in snapshot["indices"].items()
    } == INDICES
    assert found["bytes"] == sum(own["bytes"] for own in snapshot["indices"].values()) > 0


def test_a_snapshot_has_what_was_there_when_it_began():
    network = Network(FIXTURE, "backup taken")
    client = network.client()
    found = search_backup.take({}, None, client)
    (listed,) = client.get("/_snapshot/backup/*?ignore_unavailable=true", "")["snapshots"]
    assert found["point"]["time"] == listed["start_time_in_millis"] // 1000


def test_without_a_snapshot_of_a_policy_there_is_no_backup_and_the_remedy_is_told():
    network = Network(FIXTURE, "backup without a snapshot")
    with pytest.raises(BackupError, match="no policy has taken a snapshot yet. Set elasticsearch_snapshot_policies"):
        search_backup.take({}, None, network.client())
    assert network.time >= 300, "the timer's first snapshot was not waited for"


def test_a_later_snapshot_that_is_not_complete_is_no_backup():
    network = Network(FIXTURE, "backup after a partial snapshot")
    with pytest.raises(BackupError) as error:
        search_backup.take({}, None, network.client())
    assert error.value.code == FAILED
    assert "policy daily: 1 PARTIAL since then, the newest complete one is daily-1" in error.value.reason
    assert "lost[0]: primary shard is not allocated" in error.value.reason


def test_a_verification_restores_compares_and_leaves_nothing_behind():
    found, network = verified("backup verified")
    assert found["checks"]["daily: repository"] == "read and written by node1"
    assert found["checks"]["daily: restore"].startswith("3 indices of 3 restored, 47 documents; 3 have as many")
    body = network.body("POST /_snapshot/backup/daily-1/_restore")
    assert body["rename_replacement"] == "restored-backup-check-$1"
    assert body["index_settings"]["index.number_of_replicas"] == 0
    assert body["include_aliases"] is body["include_global_state"] is False
    deleted = [request for request in network.changes if request.startswith("DELETE")]
    assert sorted(deleted) == [f"DELETE /restored-backup-check-{name}" for name in sorted(INDICES)]


def test_an_integrity_check_that_the_server_has_not_is_told_and_counts_for_nothing():
    found, _network = verified("backup verified")
    assert found["checks"]["daily: integrity"] == "this server can't check the repository's files by itself"


def test_another_number_of_documents_is_damage():
    told = copy.deepcopy(record())
    told["manifest"]["snapshots"][0]["indices"]["events"]["documents"] = 13
    error, network = refused("backup with other counts", told)
    assert (error.code, error.reason) == (FAILED, "daily-1 has not what was there: events has 12 documents, and had 13")
    assert "DELETE /restored-backup-check-events" in network.changes


@pytest.mark.parametrize(
    ("scene", "said"),
    [
        (
            "backup with a missing file",
            "log-1[0] can't be restored: java.nio.file.NoSuchFileException: /srv/repo/indices/",
        ),
        (
            "backup with a flipped byte",
            "log-1[0] can't be restored: org.apache.lucene.index.CorruptIndexException: verification failed",
        ),
        ("backup with missing metadata", "daily-1 is damaged: The state of the snapshot daily-1 cannot be read"),
        ("backup without the snapshot's file", "the snapshot daily-1 is gone from backup"),
    ],
)
def test_damage_is_found_and_named(scene, said):
    error, network = refused(scene)
    assert error.code == FAILED
    assert error.reason.startswith(said)
    restored = [request for request in network.changes if request.endswith("/_restore")]
    deleted = [request for request in network.changes if request.startswith("DELETE /restored-backup-check-")]
    assert bool(restored) == bool(deleted)


class Silent(Network):
    """Nobody answers from a certain request on."""

    def __init__(self, scene, after):
        super().__init__(FIXTURE, scene)
        self.after = after

    def send(self, method, url, headers, body, timeout):
        if len(self.asked) >= self.after:
            raise OSError(111, "Connection refused")
        return super().send(method, url, headers, body, timeout)


def test_a_cluster_that_does_not_answer_could_not_be_verified():
    with pytest.raises(BackupError) as error:
        search_backup.verify({"record": record()}, None, None, Silent("backup verified", 2).client())
    assert error.value.code == UNVERIFIED
    assert "could not verify: " in error.value.reason


def test_too_large_a_snapshot_is_told_as_not_verified():
    with pytest.raises(BackupError) as error:
        verified("backup verified", size_limit_bytes=100)
    assert error.value.code == UNVERIFIED
    assert "a check restores 100 B at most" in error.value.reason


def test_full_data_nodes_are_a_lack_of_room():
    network = Network(FIXTURE, "backup verified")
    original = network.send

    def full(method, url, headers, body, timeout):
        status, text = original(method, url, headers, body, timeout)
        if "/_cat/allocation" in url:
            text = json.dumps([{**one, "disk.avail": "1000"} for one in json.loads(text)])
        return status, text

    network.send = full
    with pytest.raises(BackupError) as error:
        search_backup.verify({"record": record()}, None, None, network.client())
    assert error.value.code == NO_ROOM


def test_settings_that_lack_something_are_told_as_such():
    with pytest.raises(BackupError) as error:
        search_backup.take({"urls": ["https://10.0.1.11:9200"]}, None)
    assert error.value.code == SETTINGS


def snapshot(name, state, begin, **metadata):
    return {
        "snapshot": name,
        "state": state,
        "start_time_in_millis": begin * 1000,
        "metadata": metadata,
        "failures": [],
    }


SNAPSHOTS = [
    snapshot("a-1", "SUCCESS", 100, policy="a"),
    snapshot("b-1", "SUCCESS", 110, sm_policy="b"),
    snapshot("by-hand", "SUCCESS", 115),
    snapshot("a-2", "SUCCESS", 120, policy="a"),
    snapshot("a-3", "FAILED", 130, policy="a"),
    snapshot("a-4", "PARTIAL", 140, policy="a"),
    snapshot("a-5", "IN_PROGRESS", 150, policy="a"),
]


def test_each_policy_has_its_own_newest_snapshot_whoever_notes_it():
    one, other = search_backup.found("backup", SNAPSHOTS)
    assert (one.policy, one.name, [late["snapshot"] for late in one.failed]) == ("a", "a-2", ["a-3", "a-4"])
    assert (other.policy, other.name, other.failed) == ("b", "b-1", ())


def test_a_policy_that_is_gone_is_not_waited_for():
    assert [one.policy for one in search_backup.found("backup", SNAPSHOTS, {"b", "new"})] == ["b"]


def test_a_snapshot_that_is_being_taken_is_neither_a_backup_nor_a_failure():
    (one,) = search_backup.found("backup", [SNAPSHOTS[0], SNAPSHOTS[-1]])
    assert (one.name, one.failed) == ("a-1", ())


def test_failed_and_partial_snapshots_are_counted():
    with pytest.raises(
        BackupError, match="policy a: 1 FAILED and 1 PARTIAL since then, the newest complete one is a-2"
    ):
        search_backup.judged(search_backup.found("backup", SNAPSHOTS))


def test_in_time_each_index_is_restored_once_and_never_more_than_fits():
    rng = random.Random(7)
    for _round in range(200):
        sizes = {f"i{number}": rng.randint(1, 100) for number in range(rng.randint(1, 12))}
        limit, seen = rng.randint(1, 150), set()
        for day in range(len(sizes)):
            taken = search_backup.selected(sizes, limit, day)
            assert sum(sizes[name] for name in taken) <= limit
            seen |= set(taken)
        assert seen == {name for name, size in sizes.items() if size <= limit}


def test_the_servers_own_indices_are_not_restored_for_a_check():
    assert search_backup.selected({".security-7": 1, "log": 1}, 10, 3) == ["log"]


@pytest.mark.parametrize(
    ("before", "after", "same", "wrong"),
    [
        ({"documents": 5, "operations": 5}, {"documents": 5, "operations": 5}, ["log"], []),
        ({"documents": 5, "operations": 5}, {"documents": 4, "operations": 5}, [], ["log has 4 documents, and had 5"]),
        # Written to between the snapshot and its record.
        ({"documents": 6, "operations": 6}, {"documents": 5, "operations": 5}, [], []),
        ({}, {"documents": 5, "operations": 5}, [], []),
    ],
)
def test_only_copies_that_have_seen_as_many_operations_are_compared(before, after, same, wrong):
    assert search_backup.compared({"log": before} if before else {}, {"log": after}) == (same, wrong)


def test_the_room_of_a_check_is_that_of_one_node_below_the_low_watermark():
    nodes = [
        {"node": "node1", "disk.avail": "400", "disk.total": "1000"},
        {"node": "node2", "disk.avail": "100", "disk.total": "1000"},
        {"node": "UNASSIGNED", "disk.avail": None, "disk.total": None},
    ]
    assert search_backup.room(nodes) == 250
    assert search_backup.room([]) == 0
