# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Backups of the swarm: what goes over the wire by real TLS; and where Docker is installed, real engines that are apart from all else."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common.backup import FAILED, SETTINGS, UNVERIFIED, BackupError
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import backup, give, scratch, state
from ansible_collections.utmstack.ha.plugins.module_utils.swarm.engine import Engine, EngineError
from ansible_collections.utmstack.ha.plugins.module_utils.swarm.state import StateError
from ansible_collections.utmstack.ha.plugins.modules import swarm_restore

needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
# Namespaces are root's.
needs_docker = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("dockerd", "containerd", "unshare", "ip", "openssl"))),
    reason="no engine can be started here",
)
OBJECTS = {"nodes": ["n1"], "networks": ["i"], "services": [], "secrets": ["s1:aa"], "configs": []}
FACTS = {"node": "n1", "cluster": "c1", "engine": "20.10.24", "address": "127.0.0.1", "key": "", "attempts": 1}


def authority(place: Path, name: str) -> None:
    """A CA."""
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        f"/CN={name}",
        # Without it, and the lines of a host's certificate below, Python 3.13 refuses the chain.
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
    ]
    subprocess.run(
        [*command, "-keyout", place / f"{name}.key", "-out", place / f"{name}.crt"], check=True, capture_output=True
    )


def certificate(place: Path, name: str, ca: str = "ca") -> dict[str, str]:
    """A host's certificate, as role tls makes it: its name, and its address."""
    key, request, file = place / f"{name}-{ca}.key", place / f"{name}.csr", place / f"{name}-{ca}.crt"
    command = [
        "openssl",
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        f"/CN={name}",
    ]
    subprocess.run([*command, "-keyout", key, "-out", request], check=True, capture_output=True)
    (place / "extensions").write_text(
        "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n"
    )
    sign = [
        "openssl",
        "x509",
        "-req",
        "-in",
        request,
        "-CA",
        place / f"{ca}.crt",
        "-CAkey",
        place / f"{ca}.key",
        "-CAcreateserial",
        "-days",
        "2",
    ]
    subprocess.run([*sign, "-extfile", place / "extensions", "-out", file], check=True, capture_output=True)
    return {"ca": str(place / "ca.crt"), "certificate": str(file), "key": str(key)}


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    place = tmp_path_factory.mktemp("tls")
    authority(place, "ca")
    authority(place, "foreign")
    return {
        "manager": certificate(place, "node1"),
        "backup1": certificate(place, "backup1"),
        "other": certificate(place, "node2"),
        "foreign": certificate(place, "backup1", "foreign"),
    }


class Manager:
    """The program of a manager behind a port, as systemd runs it for each connection."""

    def __init__(self, settings):
        self.settings, self.said = settings, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _address = self.listener.accept()
            except OSError:
                return
            with connection:
                try:
                    self.said.append(give.serve(self.settings, connection))
                except OSError as error:
                    self.said.append(f"{type(error).__name__}")

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def manager(tls, monkeypatch):
    """A manager whose state is these bytes."""

    def copied(_settings, archive):
        archive.write(b"the state of a manager" * 10_000)
        return {**FACTS, "objects": {"before": OBJECTS, "after": OBJECTS}}

    monkeypatch.setattr(give, "copied", copied)
    one = Manager({**tls["manager"], "clients": ["backup1"], "data_root": "/nowhere", "docker_socket": "/nowhere"})
    yield one
    one.close()


def asked(tls, port, who="backup1", *before):
    return {"managers": [*before, {"name": "node1", "address": "127.0.0.1"}], "port": port, **tls[who]}


def no_wait(_seconds):
    return None


@needs_openssl
def test_a_backup_host_gets_the_state_and_what_was_there(tls, manager, tmp_path):
    found = backup.take(asked(tls, manager.port), tmp_path)
    assert (tmp_path / backup.ARCHIVE).read_bytes() == b"the state of a manager" * 10_000
    assert (found["source"], found["software"]) == ("node1", {"docker": "20.10.24"})
    assert found["manifest"] == {
        "node": "n1", "cluster": "c1", "address": "127.0.0.1", "key": "", "nodes": 1, "networks": 1, "services": 0, "secrets": 1, "configs": 0,
    }  # fmt: skip
    assert set(found["files"]) == {backup.ARCHIVE, backup.MANIFEST}
    again = backup.inspect(tmp_path)
    assert {name: again[name] for name in ("manifest", "point", "source", "files")} == {
        name: found[name] for name in ("manifest", "point", "source", "files")
    }


@needs_openssl
def test_another_host_of_the_platform_gets_nothing(tls, manager, tmp_path):
    with pytest.raises(BackupError, match="node2 is no backup host of this platform"):
        backup.take(asked(tls, manager.port, "other"), tmp_path, no_wait)
    assert list(tmp_path.iterdir()) == []


@needs_openssl
@pytest.mark.parametrize("who", ["foreign", None])
def test_a_client_without_a_certificate_of_the_ca_gets_nothing(tls, manager, who):
    own = backup._context(tls[who]) if who else ssl.create_default_context()
    own.load_verify_locations(tls["backup1"]["ca"])
    with pytest.raises((OSError, BackupError)):
        backup._pull(own, "127.0.0.1", manager.port, Path("/nowhere/file"))
    end = time.monotonic() + 10
    while not manager.said and time.monotonic() < end:
        time.sleep(0.05)
    assert "gave" not in manager.said[0]


@needs_openssl
def test_a_manager_that_does_not_lead_sends_to_the_next_and_why_none_gave_is_said(tls, monkeypatch, tmp_path):
    turns = []

    def follows(_settings, _archive):
        turns.append(1)
        raise StateError("node9 leads the swarm")

    monkeypatch.setattr(give, "copied", follows)
    one = Manager({**tls["manager"], "clients": ["backup1"]})
    waited = []
    try:
        with pytest.raises(
            BackupError, match="no manager gave the state of the swarm. node1: node9 leads the swarm"
        ) as told:
            backup.take(asked(tls, one.port), tmp_path, waited.append)
    finally:
        one.close()
    assert told.value.code == FAILED
    # An election takes some seconds, after which another one leads.
    assert (len(turns), waited) == (3, [5.0, 5.0])


@needs_openssl
def test_an_answer_that_breaks_off_is_no_backup(tls, manager, tmp_path, monkeypatch):
    real = give._say
    monkeypatch.setattr(give, "_say", lambda wire, answer: real(wire, {**answer, "size": answer["size"] + 1}))
    with pytest.raises(BackupError, match="its answer broke off"):
        backup.take(asked(tls, manager.port), tmp_path, no_wait)
    assert not (tmp_path / backup.ARCHIVE).exists()


def test_a_certificate_that_is_not_there_is_a_fault_of_the_settings(tmp_path):
    with pytest.raises(BackupError) as told:
        backup.take(
            {"managers": [], "port": 1, "ca": "/nowhere", "certificate": "/nowhere", "key": "/nowhere"}, tmp_path
        )
    assert told.value.code == SETTINGS


def test_a_directory_without_a_state_is_no_backup(tmp_path):
    with pytest.raises(BackupError, match="holds no state of a swarm"):
        backup.inspect(tmp_path)


@pytest.mark.parametrize(
    ("before", "after", "found", "said"),
    [
        (["a", "b"], ["a", "b"], ["a", "b"], []),
        (["a"], ["a", "b"], ["a"], []),
        (["a"], ["a", "b"], ["a", "b"], []),
        (["a", "b"], ["a"], ["a"], []),
        (["a", "b"], ["a", "b"], ["a"], ["1 secrets are missing and 0 are others, of 2"]),
        (["a"], ["a"], ["a", "x"], ["0 secrets are missing and 1 are others, of 1"]),
        (["a:1"], ["a:1"], ["a:2"], ["1 secrets are missing and 1 are others, of 1"]),
    ],
)
def test_what_changed_during_a_copy_may_be_there_or_not(before, after, found, said):
    assert backup.differences({"before": {"secrets": before}, "after": {"secrets": after}}, {"secrets": found}) == said


def test_another_unlock_key_is_no_damage(tmp_path):
    (tmp_path / backup.ARCHIVE).write_bytes(b"x")
    manifest = {
        **FACTS,
        "key": state.fingerprint("old"),
        "source": "node1",
        "time": 1,
        "objects": {"before": OBJECTS, "after": OBJECTS},
    }
    (tmp_path / backup.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BackupError, match="another unlock key") as told:
        backup.verify({"unlock_key": "new"}, tmp_path, tmp_path)
    assert told.value.code == UNVERIFIED


# -- with real engines ------------------------------------------------------------------------------------------------


class Swarm:
    """An engine of its own that leads a swarm with a secret, a config, a network and a service whose image nobody has."""

    def __init__(self, place: Path, engine: Engine, locks: bool):
        self.place, self.engine = place, engine
        engine.post("/swarm/init", {**state.init_body("127.0.0.1", 2377, locks), "ForceNewCluster": False}, 60)
        self.key = (engine.get("/swarm/unlockkey") or {}).get("UnlockKey", "")
        for number in range(3):
            self.add(f"secret{number}")
        engine.post("/configs/create", {"Name": "config", "Data": base64.b64encode(b"text").decode()})
        engine.post("/networks/create", {"Name": "own", "Driver": "overlay"})
        task = {"ContainerSpec": {"Image": "nowhere.invalid/none:1"}}
        engine.post("/services/create", {"Name": "web", "TaskTemplate": task, "Mode": {"Replicated": {"Replicas": 1}}})

    def add(self, name: str) -> None:
        self.engine.post("/secrets/create", {"Name": name, "Data": base64.b64encode(os.urandom(300)).decode()})


def place_of(prefix: str) -> Path:
    # The path of a socket is limited.
    return Path(tempfile.mkdtemp(prefix=prefix, dir="/var/tmp"))


@pytest.fixture(scope="module", params=[True, False], ids=["locked", "open"])
def swarm(request):
    if request.param:
        pytest.importorskip("nacl")
    place = place_of("swarm")
    try:
        with scratch.engine(place) as engine:
            yield Swarm(place, engine, request.param)
    finally:
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def trial():
    place = place_of("trial")
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def backed_up(swarm, tls, tmp_path_factory):
    """A backup by the wire, while writes go on."""
    place = tmp_path_factory.mktemp("backup")
    one = Manager(
        {
            **tls["manager"],
            "clients": ["backup1"],
            "data_root": str(swarm.place / "data"),
            "docker_socket": str(swarm.place / "docker.sock"),
        }
    )
    stop = threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            swarm.add(f"{time.time_ns()}-{number}")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        backup.take(asked(tls, one.port), place)
    finally:
        stop.set()
        writer.join()
        one.close()
    return place


@pytest.fixture
def taken(backed_up, tmp_path):
    return shutil.copytree(backed_up, tmp_path / "taken")


@needs_docker
def test_a_backup_of_a_running_swarm_is_proven_by_a_swarm_made_of_it(swarm, taken, trial):
    found = backup.verify({"unlock_key": swarm.key}, taken, trial)
    assert found["checks"]["objects"].endswith("those that were backed up")
    assert ("unlock key" in found["checks"]["swarm"]) == bool(swarm.key)
    # Nothing of the trial is left, and the engine that was asked goes on, and leads.
    assert str(trial) not in Path("/proc/mounts").read_text()
    assert subprocess.run(["pgrep", "-f", str(trial)], capture_output=True, text=True, check=False).stdout == ""
    assert state.contents(swarm.engine)["node"] == backup.inspect(taken)["manifest"]["node"]


@needs_docker
@pytest.mark.parametrize("swarm", [False], indirect=True, ids=["open"])
def test_a_swarm_that_lacks_a_secret_is_none(swarm, taken, trial):
    manifest = json.loads((taken / backup.MANIFEST).read_text())
    for when in ("before", "after"):
        manifest["objects"][when]["secrets"].append("gone:00")
    (taken / backup.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BackupError, match="1 secrets are missing and 0 are others") as told:
        backup.verify({"unlock_key": swarm.key}, taken, trial)
    assert told.value.code == FAILED


def repacked(taken, trial, change) -> None:
    """The archive with changed files, as damage in it looks that no checksum of ours tells."""
    files = trial / "files"
    state.unpack(taken / backup.ARCHIVE, files)
    change(files)
    with open(taken / backup.ARCHIVE, "wb+") as archive:
        state.copy(files, archive, lambda: {"objects": {}})
    shutil.rmtree(files)


def flip(files) -> None:
    """A changed byte in the first third of what the log has."""
    log = files / state.log_end(state.tree(files))
    raw = bytearray(log.read_bytes())
    end = len(bytes(raw).rstrip(b"\0"))
    raw[end // 3] ^= 255
    log.write_bytes(raw)


def cut(files) -> None:
    """A log without its second half."""
    log = files / state.log_end(state.tree(files))
    raw = log.read_bytes()
    half = len(raw.rstrip(b"\0")) // 2
    log.write_bytes(raw[:half] + bytes(len(raw) - half))


@needs_docker
@pytest.mark.parametrize("swarm", [False], indirect=True, ids=["open"])
@pytest.mark.parametrize("damage", [flip, cut])
def test_damage_in_the_log_is_found(swarm, taken, trial, damage):
    repacked(taken, trial, damage)
    with pytest.raises(BackupError) as told:
        backup.verify({"unlock_key": swarm.key}, taken, trial)
    assert told.value.code == FAILED


@needs_docker
def test_a_manager_that_is_left_makes_a_swarm_of_its_own_state_also_where_it_was_locked(trial):
    """What Docker's own command can't do with a locked swarm (moby issue 36852)."""
    pytest.importorskip("nacl")
    root, params = (
        trial / "data" / "swarm",
        {"port": 2377, "data_port": 4789, "address_pools": [], "address_pool_prefix": 24},
    )
    with scratch.engine(trial) as engine:
        swarm = Swarm(trial, engine, True)
        before = state.contents(engine)
        with pytest.raises(EngineError, match="encrypted and needs to be unlocked"):
            engine.post("/swarm/init", state.init_body("127.0.0.1", 2377, True), 60)
        # From now on Docker is in no swarm, but its files are there.
        archive = swarm_restore.keep(root, "swarm.before-restore-1")
        asked_for = {**params, "address": "127.0.0.1", "unlock_key": swarm.key, "wait_timeout": 60}
        staged = trial / "data" / "swarm.restoring"
        counts = swarm_restore.restore(engine, asked_for, root, archive, staged)
        after = state.contents(engine)
        assert after == before
        assert counts == {kind: len(numbers) for kind, numbers in before["objects"].items()}
        # Docker has locked the key again, with the same unlock key.
        end = time.monotonic() + 20
        while not state.locked((root / state.NODE_KEY).read_text()) and time.monotonic() < end:
            time.sleep(0.2)
        state.opened((root / state.NODE_KEY).read_text(), swarm.key)
        # A second run keeps what is there now, and writes over no copy.
        with pytest.raises(StateError, match="is there already"):
            swarm_restore.keep(root, "swarm.before-restore-1")
        again = swarm_restore.keep(root, "swarm.before-restore-2")
        swarm_restore.restore(engine, asked_for, root, again, staged)
        assert state.contents(engine) == before
        assert swarm_restore.leave(engine)
        assert not swarm_restore.leave(engine)
        assert swarm_restore.keep(root, "swarm.before-restore-3") is None
        # A run that was interrupted now goes on with the newest copy.
        newest = swarm_restore.copies(root)[-1] / swarm_restore.ARCHIVE
        assert newest == again
        swarm_restore.restore(engine, asked_for, root, newest, staged)
        assert state.contents(engine) == before
