# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Snapshots of etcd: whom they are taken from, by recorded replies; and where etcd is on the path, by a real server."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common.backup import FAILED, UNVERIFIED, BackupError, sha256
from ansible_collections.utmstack.ha.plugins.module_utils.common.command import Result
from ansible_collections.utmstack.ha.plugins.module_utils.etcd import backup, cluster
from ansible_collections.utmstack.ha.plugins.module_utils.etcd.client import Client, EtcdError
from etcd_replay import ENDPOINTS, VERSIONS, Server

SETTINGS = {
    "members": [{"name": f"node{number}", "url": url} for number, url in enumerate(ENDPOINTS, 1)],
    "user": "root",
    "password": "correct-horse-battery",
}
# What etcdctl 3.4.23 and etcdutl 3.5.16 printed of a damaged file.
FLIPPED = {
    "3.4.23": '{"level":"info","ts":1796065274.8,"caller":"snapshot/v3_snapshot.go:296","msg":"restoring snapshot"}\n'
    "Error: expected sha256 [140 23], got [66 204]\n",
    "3.5.16": '2026-11-30T19:01:53Z\tinfo\tsnapshot/v3_snapshot.go:265\trestoring snapshot\t{"path": "flip.db"}\n'
    "Error: expected sha256 [109 179], got [247 70]\n",
}
needs_etcd = pytest.mark.skipif(
    not (shutil.which("etcd") and shutil.which("etcdctl") and shutil.which("openssl")), reason="etcd is not installed"
)


def observed(version, scene):
    return cluster.observe(Client(ENDPOINTS, Server(version, scene).open, "root", "rootpw"))


@pytest.mark.parametrize("version", VERSIONS)
def test_followers_are_asked_before_the_leader(version):
    found = observed(version, "healthy")
    order = backup.sources(SETTINGS, found)
    leader = next(url for url, view in found.views.items() if view.leader_id == view.member_id)
    assert len(order) == 3
    assert order[-1][1] == leader
    assert {name for name, _url in order} == {"node1", "node2", "node3"}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_member_that_is_down_is_no_source(version):
    assert "node1" not in [name for name, _url in backup.sources(SETTINGS, observed(version, "one_down"))]


@pytest.mark.parametrize("version", VERSIONS)
def test_without_a_leader_there_is_no_snapshot_and_it_is_said_why(version):
    with pytest.raises(BackupError, match="etcd has no leader") as told:
        backup.sources(SETTINGS, observed(version, "no_quorum"))
    assert told.value.code == FAILED
    assert "node" in told.value.reason


@pytest.mark.parametrize(("version", "printed"), FLIPPED.items())
def test_the_reason_is_the_line_that_says_error(version, printed):
    assert backup.reason(Result(1, "", printed, 0.1)).startswith("expected sha256 [")


def test_all_pages_of_the_keys_are_read_and_no_boundary_moves_unseen():
    """Pages as 3.5.16 cuts them: `more`, and the next begins behind the last key."""

    def wire(text):
        return base64.b64encode(text).decode()

    class Pages:
        def __init__(self, entries, size=2):
            self.entries, self.size = sorted(entries.items()), size

        def call(self, _url, _path, body):
            begin = base64.b64decode(body["key"])
            left = [one for one in self.entries if one[0] >= begin]
            kvs = [{"key": wire(key), **({"value": wire(value)} if value else {})} for key, value in left[: self.size]]
            return {"kvs": kvs, **({"more": True} if len(left) > self.size else {})} if kvs else {}

    some = {b"/service/a": b"1", b"/service/b": b"", b"/service/c": b"22", b"/service/d": b"3"}
    count, digest = backup.contents(Pages(some), "", 7)
    assert count == 4
    assert backup.contents(Pages(some, 100), "", 7) == (4, digest)
    moved = {b"/service/a1": b"", b"/service/b": b"", b"/service/c": b"22", b"/service/d": b"3"}
    assert backup.contents(Pages(moved), "", 7)[1] != digest


def test_a_directory_without_a_snapshot_is_none(tmp_path):
    with pytest.raises(BackupError, match="holds no snapshot of etcd"):
        backup.inspect(tmp_path)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def running(place: Path):
    """A real server with TLS, users and some keys."""
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=node1",
            "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", place / "host.key", "-out", place / "host.crt",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    client, peer = f"https://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    tls = {"ca": str(place / "host.crt"), "certificate": str(place / "host.crt"), "key": str(place / "host.key")}
    with open(place / "log", "wb") as log:
        server = subprocess.Popen(
            [
                "etcd", "--name=node1", f"--data-dir={place / 'server'}", f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=node1={peer}",
                f"--cert-file={tls['certificate']}", f"--key-file={tls['key']}", f"--trusted-ca-file={tls['ca']}",
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
    settings = {**SETTINGS, **tls, "members": [{"name": "node1", "url": client}]}
    try:
        asking = backup.of({**settings, "user": None})
        limit = time.monotonic() + 120
        while True:
            try:
                asking.call(client, "/v3/kv/put", {"key": wire("/service/demo/config"), "value": wire("{}")})
                break
            except EtcdError:
                assert time.monotonic() < limit, (place / "log").read_text()[-2000:]
                time.sleep(0.2)
        for number in range(5):
            asking.call(client, "/v3/kv/put", {"key": wire(f"/service/demo/members/{number}"), "value": wire("x" * 50)})
        asking.call(client, "/v3/auth/user/add", {"name": "root", "password": SETTINGS["password"]})
        asking.call(client, "/v3/auth/role/add", {"name": "root"})
        asking.call(client, "/v3/auth/user/grant", {"user": "root", "role": "root"})
        asking.call(client, "/v3/auth/enable", {})
        yield settings
    finally:
        server.terminate()
        server.wait()


def wire(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture(scope="module")
def taken():
    """A snapshot of a real server, and the facts that `take` returned."""
    # The path of a Unix socket is limited to 107 characters, and pytest's own directories are long.
    with tempfile.TemporaryDirectory(prefix="etcd") as name:
        place = Path(name)
        (place / "kept").mkdir()
        with running(place) as settings:
            facts = backup.take(settings, place / "kept")
        yield settings, place / "kept", facts, place


@pytest.fixture
def scratch():
    with tempfile.TemporaryDirectory(prefix="etcd") as name:
        yield Path(name)


@needs_etcd
def test_a_snapshot_is_taken_and_proven_by_a_server_of_its_own(taken, scratch):
    settings, kept, facts, _place = taken
    assert facts["source"] == "node1"
    assert facts["manifest"]["keys"] == 6
    assert facts["files"] == {name: sha256(kept / name) for name in ("manifest.json", "snapshot.db")}
    assert SETTINGS["password"] not in (kept / "manifest.json").read_text()
    assert backup.inspect(kept)["point"] == facts["point"]
    checks = backup.verify(settings, kept, scratch)["checks"]
    assert checks["keys"] == "6 keys and their values are those that were backed up"


@needs_etcd
@pytest.mark.parametrize("how", ["flipped", "cut", "other keys", "other password"])
def test_damage_is_found(taken, scratch, how, tmp_path):
    settings, kept, _facts, _place = taken
    copy = tmp_path / "copy"
    shutil.copytree(kept, copy)
    snapshot, manifest = copy / "snapshot.db", copy / "manifest.json"
    if how == "flipped":
        with open(snapshot, "r+b") as file:
            file.seek(9000)
            byte = file.read(1)
            file.seek(9000)
            file.write(bytes([byte[0] ^ 1]))
    elif how == "cut":
        os.truncate(snapshot, snapshot.stat().st_size - 100)
    elif how == "other keys":
        manifest.write_text(manifest.read_text().replace('"keys": 6', '"keys": 7'))
    else:
        settings = {**settings, "password": "wrong-horse-battery"}
    with pytest.raises(BackupError) as told:
        backup.verify(settings, copy, scratch)
    assert told.value.code == FAILED, told.value.reason


@needs_etcd
def test_without_a_server_a_verification_is_no_verdict(taken, scratch, monkeypatch):
    settings, kept, _facts, _place = taken
    which = shutil.which
    monkeypatch.setattr(backup.shutil, "which", lambda name: None if name == "etcd" else which(name))
    with pytest.raises(BackupError, match="Install etcd-server") as told:
        backup.verify(settings, kept, scratch)
    assert told.value.code == UNVERIFIED


@needs_etcd
def test_what_a_member_is_made_of_has_bumped_revisions_where_the_release_can(taken, scratch):
    _settings, kept, facts, _place = taken
    bumped = backup.restore(
        kept / "snapshot.db", scratch / "data", "node1", "https://10.0.1.11:2380", "demo-1",
        "node1=https://10.0.1.11:2380,node2=https://10.0.1.12:2380", bump=True,
    )  # fmt: skip
    revision = backup.snapshot_status(scratch / "data" / "member" / "snap" / "db")["revision"]
    assert revision == facts["manifest"]["revision"] + (1_000_000_000 if bumped else 0)
    assert bumped == bool(shutil.which("etcdutl"))
