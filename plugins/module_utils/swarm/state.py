# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The state of a manager on its disk: a copy of it while Docker runs, and what has to be changed in it before another swarm is made of it.

Docker appends to its log of Raft, and replaces the other files. So a copy is as what a loss of power leaves, which Docker reads at each start,
where every file but the end of the log was the same before and after: then no snapshot, no further file of the log and no key has come between.

A swarm that is locked is made anew by no order of Docker's own commands (moby issue 36852): `init --force-new-cluster` starts it without the unlock key.
So the key of the node is opened with the unlock key in the copy; Docker locks it again by itself as soon as the swarm has a leader.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import tarfile
import time
import urllib.parse
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ..common import directories
from .engine import Engine, EngineError

NODE_KEY = "certificates/swarm-node.key"
# By this file an engine starts as the member that it was. Without it, it waits for `init`.
STARTS = "docker-state.json"
NEEDED = (NODE_KEY, "certificates/swarm-node.crt", "certificates/swarm-root-ca.crt")
# What tasks the host has, which its manager tells it again.
_LEFT_OUT = "worker"
ATTEMPTS, PAUSE_S = 20, 0.5
_NETWORKS = "/networks?filters=" + urllib.parse.quote('{"scope":["swarm"]}')
_LOCKED = "ENCRYPTED PRIVATE KEY"
_DEK, _VERSION = "raft-dek", "kek-version"
# Of swarmkit's record of what may be encrypted: number of the field, and the algorithm that it is.
_ALGORITHM, _DATA, _NONCE, _SECRETBOX = 1, 2, 3, 1


class StateError(Exception):
    """Why there is no copy, or none that can be used."""


def fingerprint(unlock_key: str) -> str:
    """What tells unlock keys apart and nothing of them; empty for none."""
    return hashlib.sha256(unlock_key.encode()).hexdigest()[:16] if unlock_key else ""


def contents(engine: Engine) -> dict[str, Any]:
    """Return what the leader has: node, cluster, engine, address, key (its fingerprint), and by kind the objects, each with its number and, of
    what has a description, its checksum. Raises StateError where this manager does not lead, EngineError."""
    info = engine.get("/info")
    swarm = info.get("Swarm") or {}
    if swarm.get("LocalNodeState") != "active" or not swarm.get("ControlAvailable"):
        state = swarm.get("LocalNodeState") or "inactive"
        raise StateError(f"Docker's swarm state is {state}" if state != "active" else "this host is no manager")
    nodes = engine.get("/nodes")
    leader = next((node for node in nodes if (node.get("ManagerStatus") or {}).get("Leader")), None)
    if leader is None or leader["ID"] != swarm.get("NodeID"):
        name = leader["Description"]["Hostname"] if leader else "nobody"
        raise StateError(f"{name} leads the swarm, and only the leader has all that was acknowledged")
    return {
        "node": leader["ID"],
        "cluster": swarm["Cluster"]["ID"],
        "engine": info["ServerVersion"],
        "address": swarm["NodeAddr"],
        "key": fingerprint((engine.get("/swarm/unlockkey") or {}).get("UnlockKey", "")),
        "objects": {
            "nodes": sorted(node["ID"] for node in nodes),
            "networks": sorted(network["Id"] for network in engine.get(_NETWORKS)),
            **{kind: sorted(map(_described, engine.get(f"/{kind}"))) for kind in ("services", "secrets", "configs")},
        },
    }


def _described(one: Mapping[str, Any]) -> str:
    text = json.dumps(one["Spec"], sort_keys=True)
    return f"{one['ID']}:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def tree(root: Path) -> dict[str, tuple[int, int, int]]:
    """Return the files of a manager's state: by path inode, size and time. Raises StateError where there is none."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        # Files of the log are made in advance as .tmp.
        if name.parts[0] == _LEFT_OUT or path.suffix == ".tmp" or not path.is_file() or path.is_symlink():
            continue
        seen = path.stat()
        found[str(name)] = (seen.st_ino, seen.st_size, seen.st_mtime_ns)
    missing = [name for name in NEEDED if name not in found]
    if missing or log_end(found) == "":
        raise StateError(f"{root} has no state of a manager: {', '.join(missing) or 'the log of Raft'} is not there")
    return found


def log_end(files: Mapping[str, Any]) -> str:
    """The file of the log to which Docker appends; empty where there is none."""
    return max((name for name in files if name.endswith(".wal")), default="")


def settled(before: Mapping[str, tuple[int, int, int]], after: Mapping[str, tuple[int, int, int]]) -> bool:
    """Whether nothing but the end of the log was written to between two looks."""
    end = log_end(before)
    if set(before) != set(after) or before[end][0] != after[end][0]:
        return False
    return all(before[name] == after[name] for name in before if name != end)


def copy(
    root: Path, archive: IO[bytes], look: Callable[[], Mapping[str, Any]], sleep: Callable[[float], None] = time.sleep
) -> dict[str, Any]:
    """Write the state into an archive, again where Docker has replaced a file meanwhile. look: what the leader has (contents).

    Returns what the leader had, with the objects of `before` and `after`, and the number of `attempts`. Raises StateError.
    """
    for attempt in range(1, ATTEMPTS + 1):
        before, files = look(), tree(root)
        archive.seek(0)
        archive.truncate()
        try:
            _pack(root, files, archive)
            whole = settled(files, tree(root))
        except OSError:
            # A file went, or became shorter, while it was read.
            whole = False
        after = look() if whole else {}
        if whole and {**before, "objects": {}} == {**after, "objects": {}}:
            return {**before, "objects": {"before": before["objects"], "after": after["objects"]}, "attempts": attempt}
        sleep(PAUSE_S)
    raise StateError(f"Docker has replaced files of its state during each of {ATTEMPTS} copies")


def _pack(root: Path, files: Mapping[str, Any], archive: IO[bytes]) -> None:
    with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=1) as packed:
        for name in files:
            with open(root / name, "rb") as file:
                seen = os.fstat(file.fileno())
                entry = tarfile.TarInfo(name)
                entry.size, entry.mtime, entry.mode = seen.st_size, int(seen.st_mtime), 0o600
                packed.addfile(entry, file)


def unpack(archive: Path, root: Path) -> None:
    """Write the files of an archive below a directory. Raises StateError where it is damaged, or is none of such files."""
    try:
        with tarfile.open(archive, mode="r:gz") as packed:
            for entry in packed:
                name = PurePosixPath(entry.name)
                if not entry.isreg() or name.is_absolute() or ".." in name.parts:
                    raise StateError(f"the archive has {entry.name!r}, which is no file of a manager's state")
                path = root / name
                directories.make(path.parent, 0o700)
                with open(path, "xb", opener=private) as file:
                    _write(packed.extractfile(entry), file)
            # The checksum comes behind the last file.
            while packed.fileobj.read(1 << 16):
                pass
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise StateError(f"the archive can't be read: {error}") from error
    tree(root)


def private(path: str, flags: int) -> int:
    """Open a file that only its owner may read."""
    return os.open(path, flags, 0o600)


def _write(source: IO[bytes], target: IO[bytes]) -> None:
    """Write a file with holes where it is empty: most of a log's file is, and is 64 MB long."""
    while block := source.read(1 << 16):
        if block.count(0) == len(block):
            target.seek(len(block), os.SEEK_CUR)
        else:
            target.write(block)
    target.truncate()


def opened(pem: str, unlock_key: str) -> str:
    """Return the key of a node as an unlocked manager has it; one that is not locked as it is. Raises StateError where the key does not fit."""
    label, headers, der = _split(pem)
    if label != _LOCKED:
        return pem
    if not unlock_key:
        raise StateError("the swarm was locked, and its unlock key is not known")
    try:
        from cryptography.hazmat.primitives import serialization
        from nacl.exceptions import CryptoError
        from nacl.secret import SecretBox
    except ImportError as error:
        raise StateError(f"{error}. Install python3-nacl and python3-cryptography") from error
    secret = _raw(unlock_key)
    try:
        node = serialization.load_der_private_key(der, secret)
        record = _fields(base64.b64decode(headers[_DEK], validate=True))
        if record[_ALGORITHM] != _SECRETBOX:
            raise StateError(
                f"the key of Raft's log is encrypted by the algorithm {record[_ALGORITHM]}, which is not known here"
            )
        log_key = SecretBox(secret).decrypt(record[_DATA], record[_NONCE])
    except (ValueError, TypeError, KeyError, IndexError, CryptoError) as error:
        raise StateError(f"the unlock key does not open the key of the node: {error}") from error
    if len(log_key) > 127:
        raise StateError(f"the key of Raft's log has {len(log_key)} bytes, which is none")
    lines = node.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    first, _end, rest = lines.partition("\n")
    plain = base64.b64encode(bytes([_DATA << 3 | 2, len(log_key)]) + log_key).decode()
    # With the version 0 the swarm's own is newer, so that Docker locks the key again.
    return f"{first}\n{_VERSION}: 0\n{_DEK}: {plain}\n\n{rest}"


def locked(pem: str) -> bool:
    """Whether a key of a node is encrypted."""
    return _split(pem)[0] == _LOCKED


def _split(pem: str) -> tuple[str, dict[str, str], bytes]:
    """The label, the headers and the content of a PEM block. Raises StateError."""
    lines = [line.strip() for line in pem.strip().splitlines()]
    try:
        label = lines[0].removeprefix("-----BEGIN ").removesuffix("-----")
        headers = dict(line.split(": ", 1) for line in lines if ": " in line)
        return (
            label,
            headers,
            base64.b64decode("".join(line for line in lines[1:-1] if ": " not in line), validate=True),
        )
    except (IndexError, ValueError, binascii.Error) as error:
        raise StateError(f"the key of the node can't be read: {error}") from error


def _raw(unlock_key: str) -> bytes:
    """The bytes of a key as Docker prints it: SWMKEY-1- and base64 without its padding. Raises StateError."""
    prefix, _dash, text = unlock_key.strip().rpartition("-")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise StateError("the unlock key is none: it is no base64") from error
    if prefix != "SWMKEY-1" or len(raw) != 32:
        raise StateError("the unlock key is none: it does not begin with SWMKEY-1-, or has another length")
    return raw


def _fields(message: bytes) -> dict[int, Any]:
    """The fields of a message of protocol buffers that has numbers and bytes only. Raises IndexError."""
    found: dict[int, Any] = {}
    place = 0
    while place < len(message):
        tag, place = _number(message, place)
        value, place = _number(message, place)
        if tag & 7 == 2:
            value, place = message[place : place + value], place + value
        found[tag >> 3] = value
    return found


def _number(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place


def place(archive: Path, root: Path, unlock_key: str) -> bool:
    """Write an archive's state for an engine that is in no swarm, so that `init --force-new-cluster` makes a swarm of it.

    Returns whether the swarm locks its managers. Raises StateError; then nothing is left of it.
    """
    unpack(archive, root)
    (root / STARTS).unlink(missing_ok=True)
    key = root / NODE_KEY
    pem = key.read_text(encoding="ascii")
    key.write_text(opened(pem, unlock_key), encoding="ascii")
    return locked(pem)


def init_body(
    address: str, port: int, locks: bool, data_port: int = 0, pools: tuple[str, ...] | list[str] = (), prefix: int = 0
) -> dict[str, Any]:
    """What POST /swarm/init takes to make a swarm of the state on the disk. What is said of locking counts; the rest of the swarm's own stays."""
    listen = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return {
        "ForceNewCluster": True,
        "ListenAddr": listen,
        "AdvertiseAddr": listen,
        "DataPathAddr": address,
        "DataPathPort": data_port,
        "DefaultAddrPool": list(pools),
        "SubnetSize": prefix,
        "Spec": {"EncryptionConfig": {"AutoLockManagers": locks}},
    }


def look_again(engine: Engine, limit_s: float, sleep: Callable[[float], None] = time.sleep) -> dict[str, Any]:
    """Return what the leader has once it leads. Raises StateError where it does not within the limit."""
    end = time.monotonic() + limit_s
    while True:
        try:
            return contents(engine)
        except (StateError, EngineError) as error:
            if time.monotonic() > end:
                raise StateError(f"the manager does not lead after {limit_s:g} s: {error}") from error
        sleep(0.3)
