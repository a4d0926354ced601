# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Backups of etcd: a snapshot of one member, and the proof that a member can be made of it.

`etcdctl snapshot status` finds no damage: it ends well on a file with a changed byte. Only a restore reads the checksum at the file's end. So
a verification restores, starts a server of its own that nobody else can reach, and reads every key of the snapshot's revision.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..common import https
from ..common.backup import FAILED, SETTINGS, UNVERIFIED, BackupError, checksums, directory_bytes, require_room, sha256
from ..common.command import CommandError, Result, end_group, run
from . import cluster
from .client import Client, EtcdError

SNAPSHOT, MANIFEST = "snapshot.db", "manifest.json"
# A new member of etcd writes two files of its log in advance, 64 MB each.
LOG_BYTES = 128 << 20
PAGE = 500
LIMIT_S = 600.0
START_S = 60.0
EVERYTHING = base64.b64encode(b"\0").decode()
# Without them a busy host is given up after two seconds.
PATIENCE = ("--dial-timeout=20s", "--command-timeout=300s")


def take(settings: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Save a snapshot of a follower, of the leader where no follower gives one.

    settings: members (each with name and url), ca, certificate, key, user, password. Raises BackupError.
    """
    client = of(settings)
    problems = []
    for name, url in sources(settings, cluster.observe(client)):
        try:
            return _take_from(settings, client, name, url, directory)
        except (BackupError, EtcdError, CommandError) as error:
            problems.append(f"{name}: {error}")
            for leftover in directory.iterdir():
                leftover.unlink()
    raise BackupError("no member of etcd gave a snapshot. " + "; ".join(problems))


def verify(settings: Mapping[str, Any], directory: Path, scratch: Path) -> dict[str, Any]:
    """Restore the snapshot, start a server with it and read all keys. Raises BackupError: FAILED, it is damaged; UNVERIFIED, nobody knows."""
    facts = inspect(directory)
    wanted = facts["manifest"]
    require_room(scratch, room(facts["bytes"]), "Restoring the snapshot")
    status = snapshot_status(directory / SNAPSHOT)
    if status["hash"] != wanted["hash"]:
        raise BackupError(f"the snapshot's hash is {status['hash']}, and was {wanted['hash']} when it was taken")
    restore(directory / SNAPSHOT, scratch / "data", "scratch", "http://127.0.0.1:1", token="scratch")
    with scratch_server(scratch / "data", scratch) as client:
        try:
            client.username, client.password = settings["user"], settings["password"]
            client.log_in(client.endpoints[0])
            keys, digest = contents(client, client.endpoints[0], wanted["revision"])
        except EtcdError as error:
            if error.says("authentication failed"):
                raise BackupError(f"{settings['user']} can't log in to what was restored: {error}") from error
            raise BackupError(f"what was restored can't be read: {error}", UNVERIFIED) from error
    if (keys, digest) != (wanted["keys"], wanted["digest"]):
        raise BackupError(
            f"{keys} keys were restored, with the checksum {digest[:16]}; {wanted['keys']} with {wanted['digest'][:16]} were backed up"
        )
    return {
        "checks": {
            "hash": f"{status['hash']}, as when it was taken",
            "restore": f"a server of its own began with revision {wanted['revision']}",
            "keys": f"{keys} keys and their values are those that were backed up",
        },
        "point": facts["point"],
    }


def inspect(directory: Path) -> dict[str, Any]:
    """Return the facts of a backup that lies in a directory. Raises BackupError where it is none."""
    try:
        facts = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        size = (directory / SNAPSHOT).stat().st_size
        facts["manifest"]["revision"], facts["manifest"]["keys"], facts["manifest"]["digest"], facts["manifest"]["hash"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{directory} holds no snapshot of etcd: {error}") from error
    return {**facts, "bytes": size, "files": checksums(directory), "needs": []}


def sources(settings: Mapping[str, Any], found: cluster.Observation) -> list[tuple[str, str]]:
    """Return whom to take a snapshot from, name and URL: followers, those with most entries first, then the leader.

    Members that follow no leader are no source: what they have may be behind, and nobody can log in to them.
    """
    names = {member["url"]: member["name"] for member in settings["members"]}
    fit = [(url, view) for url, view in found.views.items() if url in names and view.status and view.leader_id]
    fit.sort(key=lambda one: (one[1].leader_id == one[1].member_id, -int(one[1].status.get("raftAppliedIndex", 0))))
    if not fit:
        said = "; ".join(
            f"{names.get(url, url)}: {view.error or 'sees no leader'}" for url, view in found.views.items()
        )
        raise BackupError(f"etcd has no leader, so no member gives a snapshot. {said}")
    return [(names[url], url) for url, _view in fit]


def contents(client: Client, url: str, revision: int) -> tuple[int, str]:
    """Return how many keys there are at a revision, and a checksum of keys and values. Raises EtcdError."""
    digest, count, begin = hashlib.sha256(), 0, EVERYTHING
    while True:
        asked = {"key": begin, "range_end": EVERYTHING, "limit": PAGE, "revision": revision}
        found = client.call(url, "/v3/kv/range", asked)
        entries = found.get("kvs", [])
        for entry in entries:
            for part in (entry["key"], entry.get("value", "")):
                raw = base64.b64decode(part)
                digest.update(len(raw).to_bytes(8, "big") + raw)
        count += len(entries)
        if not found.get("more"):
            return count, digest.hexdigest()
        begin = base64.b64encode(base64.b64decode(entries[-1]["key"]) + b"\0").decode()


def snapshot_status(file: Path) -> dict[str, Any]:
    """Return hash, revision, totalKey and totalSize of a snapshot, unchecked. Raises BackupError."""
    done = _run([utility(), "snapshot", "status", str(file), "--write-out=json"])
    try:
        if done.rc:
            raise ValueError(reason(done))
        status = json.loads(done.stdout)
        return {name: int(status[name]) for name in ("hash", "revision", "totalKey", "totalSize")}
    except (ValueError, KeyError, TypeError) as error:
        raise BackupError(f"the snapshot can't be read: {error}") from error


def restore(
    file: Path, data: Path, name: str, peer_url: str, token: str, members: str = "", bump: bool = False
) -> bool:
    """Make the data of a member of a snapshot, and return whether its revisions are bumped and the old ones marked as compacted.

    members: the initial cluster; the member alone where not said. bump: wanted where the release can: then a client that watches from an
    old revision is told that it is compacted, and never takes old data for new ones. etcd 3.4 can't. Raises BackupError.
    """
    arguments = [
        utility(), "snapshot", "restore", str(file), f"--data-dir={data}", f"--name={name}",
        f"--initial-cluster={members or f'{name}={peer_url}'}", f"--initial-advertise-peer-urls={peer_url}",
        f"--initial-cluster-token={token}",
    ]  # fmt: skip
    flags = bump_flags() if bump else []
    done = _run(arguments + flags)
    if done.rc:
        shutil.rmtree(data, ignore_errors=True)
        raise BackupError(f"the snapshot can't be restored: {reason(done)}")
    return bool(flags)


def bump_flags() -> list[str]:
    """Return the options that leave no old revision to be mistaken for a new one; none where this release of etcd has none."""
    offered = _run([utility(), "snapshot", "restore", "--help"])
    known = "--bump-revision" in offered.stdout + offered.stderr
    return ["--bump-revision=1000000000", "--mark-compacted"] if known else []


def utility() -> str:
    """Return the program that works on snapshots: since etcd 3.5 one of its own. Raises BackupError."""
    found = shutil.which("etcdutl") or shutil.which("etcdctl")
    if not found:
        raise BackupError("etcdctl is not installed. Install etcd-client", UNVERIFIED)
    return found


def room(size: int) -> int:
    """Return how many bytes a member made of a snapshot of this size takes."""
    return 2 * size + LOG_BYTES


@contextlib.contextmanager
def scratch_server(data: Path, place: Path):
    """Run a server with restored data, on sockets in a directory and nothing else, and yield a client of it. Raises BackupError."""
    program = shutil.which("etcd")
    if not program:
        raise BackupError("etcd is not installed, so no server can prove the snapshot. Install etcd-server", UNVERIFIED)
    # Sockets are named relative to the directory: the length of their path is limited.
    with open(place / "etcd.log", "wb") as log:
        server = subprocess.Popen(
            [
                program, "--name=scratch", f"--data-dir={data}", "--listen-client-urls=unix://client:0",
                "--advertise-client-urls=unix://client:0", "--listen-peer-urls=unix://peer:0", "--logger=zap",
            ],
            cwd=place, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    client = Client(["http://scratch"], _socket_opener(place / "client:0"), timeout=30.0)
    try:
        _await(server, client, place / "etcd.log")
        yield client
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            end_group(server.pid)
            server.wait()


def of(settings: Mapping[str, Any]) -> Client:
    """Return a client of all members. Raises BackupError where certificates can't be read."""
    try:
        open_url = https.opener(settings["ca"], settings["certificate"], settings["key"])
    except OSError as error:
        raise BackupError(f"the certificate of this host can't be read: {error}", SETTINGS) from error
    urls = [member["url"] for member in settings["members"]]
    return Client(urls, open_url, settings["user"], settings["password"], timeout=10.0)


def reason(done: Result) -> str:
    """Return what a program of etcd gave as its reason: the line that says Error, not those of its log around it."""
    lines = [line.strip() for line in (done.stderr + "\n" + done.stdout).splitlines()]
    said = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
    return said[-1] if said else done.said or f"it ended with {done.rc}"


def _take_from(settings: Mapping[str, Any], client: Client, name: str, url: str, directory: Path) -> dict[str, Any]:
    began = int(time.time())
    file = directory / SNAPSHOT
    program = shutil.which("etcdctl")
    if not program:
        raise BackupError("etcdctl is not installed. Install etcd-client")
    done = run(
        [
            program, f"--endpoints={url}", f"--cacert={settings['ca']}", f"--cert={settings['certificate']}",
            f"--key={settings['key']}", *PATIENCE, "snapshot", "save", str(file),
        ],
        LIMIT_S,
        environment={"ETCDCTL_API": "3", "ETCDCTL_USER": f"{settings['user']}:{settings['password']}"},
    )  # fmt: skip
    if done.rc:
        raise BackupError(reason(done))
    status = snapshot_status(file)
    keys, digest = contents(client, url, status["revision"])
    facts = {
        "source": name,
        "point": {"time": began, "revision": status["revision"]},
        "manifest": {"revision": status["revision"], "keys": keys, "digest": digest, "hash": status["hash"]},
        "software": {"etcd": client.ask(url, "/version").get("etcdserver", "")},
    }
    if keys == 0:
        raise BackupError("the snapshot has no key, so nothing of PostgreSQL's cluster")
    (directory / MANIFEST).write_text(json.dumps(facts, sort_keys=True), encoding="utf-8")
    files = {one: sha256(directory / one) for one in (MANIFEST, SNAPSHOT)}
    return {**facts, "bytes": directory_bytes(directory), "files": files, "needs": []}


def _run(arguments: list[str]) -> Result:
    """Run a program on local files. What it was told of servers in the environment does not concern it."""
    try:
        return run(arguments, LIMIT_S, environment={"ETCDCTL_API": "3"})
    except CommandError as error:
        raise BackupError(error.reason, UNVERIFIED) from error


def _await(server: subprocess.Popen, client: Client, log: Path) -> None:
    """Wait until a server leads itself."""
    limit, said = time.monotonic() + START_S, ""
    while time.monotonic() < limit and server.poll() is None:
        try:
            if client.ask(client.endpoints[0], "/v3/maintenance/status", {}).get("leader", "0") != "0":
                return
        except EtcdError as error:
            said = str(error)
        time.sleep(0.1)
    lines = log.read_text(errors="replace").splitlines()
    if server.poll() is not None:
        raise BackupError(f"etcd ended with what was restored: {lines[-1] if lines else server.returncode}", FAILED)
    raise BackupError(f"etcd did not begin with what was restored within {START_S:g} s: {said}", UNVERIFIED)


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout: float):
        super().__init__("scratch", timeout=timeout)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _socket_opener(path: Path):
    """Open requests at a Unix socket, as https.opener does at addresses."""

    class Handler(urllib.request.HTTPHandler):
        def http_open(self, req):
            return self.do_open(lambda _host, timeout: _SocketConnection(path, timeout), req)

    director = urllib.request.build_opener(urllib.request.ProxyHandler({}), Handler())
    return lambda request, timeout: director.open(request, timeout=timeout)
