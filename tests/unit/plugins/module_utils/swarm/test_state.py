# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Copies of a manager's state while it changes, and the key of a node, which Docker 20.10.24 has locked."""

from __future__ import annotations

import io
import json
import os
import tarfile

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import state
from ansible_collections.utmstack.ha.plugins.module_utils.swarm.state import StateError
from checkout import ROOT

KEYS = json.loads((ROOT / "tests/unit/fixtures/docker_20.10.24_locked_node.json").read_text())
LOG, SNAPSHOT = "raft/wal-v3-encrypted/0000000000000000-0000000000000000.wal", "raft/snap-v3-encrypted/1.snap"


@pytest.fixture
def root(tmp_path):
    """The files of a manager, as Docker names them."""
    place = tmp_path / "swarm"
    for name in (
        *state.NEEDED,
        LOG,
        SNAPSHOT,
        "docker-state.json",
        "state.json",
        "worker/tasks.db",
        "raft/wal-v3-encrypted/0.tmp",
    ):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}")
    (place / LOG).write_bytes(b"entries" + bytes(200_000))
    return place


def looked():
    return {"node": "n1", "key": "", "objects": {"secrets": ["s1"]}}


def names(archive):
    archive.seek(0)
    with tarfile.open(fileobj=archive, mode="r:gz") as packed:
        return sorted(packed.getnames())


def test_a_copy_has_all_but_the_tasks_of_the_host_and_files_made_in_advance(root):
    archive = io.BytesIO()
    found = state.copy(root, archive, looked)
    assert found == {
        **looked(),
        "objects": {"before": {"secrets": ["s1"]}, "after": {"secrets": ["s1"]}},
        "attempts": 1,
    }
    assert names(archive) == sorted((*state.NEEDED, LOG, SNAPSHOT, "docker-state.json", "state.json"))


def append(root):
    with open(root / LOG, "r+b") as file:
        file.seek(7)
        file.write(b"more")
    os.utime(root / LOG, ns=(0, 0))


def snapshot(root):
    (root / SNAPSHOT).unlink(missing_ok=True)
    (root / "raft/snap-v3-encrypted/2.snap").write_text("newer")


def next_log(root):
    (root / "raft/wal-v3-encrypted/0000000000000001-0000000000000040.wal").write_text("newer")


def rotate(root):
    (root / "new").write_text("another key")
    (root / "new").replace(root / state.NODE_KEY)


@pytest.mark.parametrize(
    ("change", "attempts"),
    [(append, 1), (snapshot, 2), (next_log, 2), (rotate, 2)],
    ids=["append", "snapshot", "log", "key"],
)
def test_a_copy_is_made_again_unless_only_the_end_of_the_log_has_changed(root, change, attempts, monkeypatch):
    pack, changes = state._pack, [change]

    def packing(*arguments):
        pack(*arguments)
        if changes:
            changes.pop()(root)

    monkeypatch.setattr(state, "_pack", packing)
    assert state.copy(root, io.BytesIO(), looked, lambda _s: None)["attempts"] == attempts


def test_a_copy_is_made_again_where_the_manager_or_its_unlock_key_is_another_one_meanwhile(root):
    keys = iter(("old", "new", "new", "new"))
    found = state.copy(root, io.BytesIO(), lambda: {**looked(), "key": next(keys)}, lambda _s: None)
    assert (found["attempts"], found["key"]) == (2, "new")


def test_a_file_that_goes_while_it_is_read_is_no_failure(root):
    missing = [root / SNAPSHOT]

    def look():
        return looked()

    real = state.tree

    def vanishing(place):
        found = real(place)
        if missing:
            missing.pop().unlink()
        return found

    state.tree = vanishing
    try:
        assert state.copy(root, io.BytesIO(), look, lambda _s: None)["attempts"] == 2
    finally:
        state.tree = real


def test_a_state_that_never_rests_is_no_backup(root):
    with pytest.raises(StateError, match="during each of 20 copies"):
        state.copy(
            root, io.BytesIO(), lambda: (rotate(root), looked())[1] | {"key": os.urandom(4).hex()}, lambda _s: None
        )


def test_a_worker_has_no_state_of_a_manager(root):
    (root / LOG).unlink()
    with pytest.raises(StateError, match="the log of Raft is not there"):
        state.tree(root)


def test_what_is_unpacked_is_what_was_packed_with_holes_where_it_is_empty(root, tmp_path):
    archive, target = tmp_path / "archive", tmp_path / "target"
    with open(archive, "wb+") as file:
        state.copy(root, file, looked)
    state.unpack(archive, target)
    assert (target / LOG).read_bytes() == (root / LOG).read_bytes()
    assert (target / LOG).stat().st_blocks < (root / LOG).stat().st_blocks
    assert (target / state.NODE_KEY).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["../outside", "/etc/outside"])
def test_an_archive_with_files_elsewhere_is_refused(tmp_path, name):
    with tarfile.open(tmp_path / "archive", "w:gz") as packed:
        packed.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(StateError, match="no file of a manager's state"):
        state.unpack(tmp_path / "archive", tmp_path / "target")
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_archive_is_refused(root, tmp_path, damage):
    archive = tmp_path / "archive"
    with open(archive, "wb+") as file:
        state.copy(root, file, looked)
    raw = archive.read_bytes()
    half = len(raw) // 2
    archive.write_bytes(raw[:half] if damage == "cut" else raw[:half] + bytes([raw[half] ^ 255]) + raw[half + 1 :])
    with pytest.raises(StateError):
        state.unpack(archive, tmp_path / "target")


def test_a_key_that_docker_has_locked_is_opened_as_docker_writes_one_that_is_not():
    pytest.importorskip("nacl")
    found = state.opened(KEYS["node_key"], KEYS["unlock_key"])
    assert state.locked(KEYS["node_key"])
    assert not state.locked(found)
    # The same lines, with other letters and digits: so Docker writes it.
    shape = [len(line) for line in KEYS["plain_key"].splitlines()]
    assert [len(line) for line in found.splitlines()] == shape
    assert found.splitlines()[:2] == KEYS["plain_key"].splitlines()[:2]
    assert state.opened(found, "") == found


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("", "its unlock key is not known"),
        ("SWMKEY-1-" + "A" * 43, "does not open the key of the node"),
        ("SWMKEY-1-short", "the unlock key is none"),
        ("something", "the unlock key is none"),
    ],
)
def test_another_unlock_key_opens_nothing(key, said):
    pytest.importorskip("nacl")
    with pytest.raises(StateError, match=said):
        state.opened(KEYS["node_key"], key)


def test_a_fingerprint_tells_keys_apart_and_nothing_of_them():
    one = state.fingerprint(KEYS["unlock_key"])
    assert one != state.fingerprint("SWMKEY-1-" + "A" * 43)
    assert one not in KEYS["unlock_key"]
    assert state.fingerprint("") == ""


class Engine:
    """Replies of Docker 20.10.24 of a swarm of three, cut to what is read."""

    def __init__(self, own="n1", leader="n1", status="active", control=True):
        self.own, self.leader, self.status, self.control = own, leader, status, control

    def get(self, path):
        if path == "/info":
            swarm = {
                "LocalNodeState": self.status,
                "ControlAvailable": self.control,
                "NodeID": self.own,
                "NodeAddr": "10.0.1.11",
            }
            return {"ServerVersion": "20.10.24", "Swarm": {**swarm, "Cluster": {"ID": "c1"}}}
        if path == "/nodes":
            return [
                {
                    "ID": f"n{n}",
                    "Description": {"Hostname": f"node{n}"},
                    "ManagerStatus": {"Leader": self.leader == f"n{n}"},
                }
                for n in (3, 2, 1)
            ]
        if path == "/swarm/unlockkey":
            return {"UnlockKey": ""}
        return [{"Id": "net"}] if path.startswith("/networks") else [{"ID": "one", "Spec": {"Name": path}}]


def test_only_the_leader_has_a_state_to_give():
    found = state.contents(Engine())
    assert (found["node"], found["cluster"], found["engine"], found["key"]) == ("n1", "c1", "20.10.24", "")
    assert found["objects"]["nodes"] == ["n1", "n2", "n3"]
    assert all(len(found["objects"][kind]) == 1 for kind in ("networks", "services", "secrets", "configs"))
    with pytest.raises(StateError, match="node2 leads the swarm"):
        state.contents(Engine(leader="n2"))
    with pytest.raises(StateError, match="nobody leads"):
        state.contents(Engine(leader=""))
    with pytest.raises(StateError, match="swarm state is locked"):
        state.contents(Engine(status="locked", control=False))
    with pytest.raises(StateError, match="is no manager"):
        state.contents(Engine(control=False))


def test_ipv6_addresses_have_brackets_where_managers_listen():
    assert state.init_body("fd00::1", 2377, True)["ListenAddr"] == "[fd00::1]:2377"
    assert state.init_body("10.0.1.11", 2377, False)["Spec"] == {"EncryptionConfig": {"AutoLockManagers": False}}
