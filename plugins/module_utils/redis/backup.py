# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A consistent copy of Redis's data: an RDB that a replica sends, as it would to a replica of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..common.backup import UNVERIFIED, BackupError, sha256
from ..common.command import CommandError, Result, run, running
from . import client as redis_client

FILE = "dump.rdb"
# A replica that lags in the middle of a full copy is no reason to wait for hours.
TRANSFER_S = 3 * 3600
CHECK_S = 3600
LOAD_S = 3600
# How long a server that is being loaded may say nothing.
ANSWER_S = 10
# More than anybody has; a dump with data in a database that the server does not have is refused by it.
DATABASES = 4096
# What redis-check-rdb and valkey-check-rdb say, the fields of the file among it.
_FIELD = re.compile(r"AUX FIELD (\S+) = '([^']*)'")
_COUNTS = re.compile(r"^\[info\] (\d+) (keys read|expires|already expired)$", re.MULTILINE)
_TOO_NEW = "Can't handle RDB format version"
_SPACE = re.compile(r"^db(\d+):keys=(\d+),expires=(\d+)", re.MULTILINE)


def take(settings: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Have the first server send its data that can, and return what the copy has. Raises BackupError."""
    seen = look(settings)
    by_name = {member["name"]: member for member in seen}
    refused = [f"{member['name']}: {member['error']}" for member in seen if member["error"]]
    path = directory / FILE
    for name in pull_order(seen):
        member = by_name[name]
        part = directory / f"{FILE}.part"
        try:
            got = _send(settings, member["address"], part)
            if got.rc != 0:
                raise BackupError(got.said or f"redis-cli ended with {got.rc}")
            found = judge(_check(part))
        except (BackupError, CommandError) as error:
            refused.append(f"{name}: {error.reason}")
            part.unlink(missing_ok=True)
            continue
        os.rename(part, path)
        after = _keyspace(settings, member)
        return {
            "source": name,
            "point": found["point"],
            "bytes": path.stat().st_size,
            "files": {FILE: sha256(path)},
            "needs": [],
            "manifest": {**found["manifest"], "keyspace": {"before": member["keyspace"], "after": after}},
            "software": {"redis": member["version"]},
        }
    raise BackupError(f"no server could send its data: {'; '.join(refused) or 'there is none'}")


def inspect(directory: Path) -> dict[str, Any]:
    """Return what a copy has, by its file. Raises BackupError where it is damaged, and where it can't be read here."""
    path = directory / FILE
    found = judge(_check(path))
    return {**found, "source": "", "bytes": path.stat().st_size, "files": {FILE: sha256(path)}, "needs": []}


def verify(settings: Mapping[str, Any], directory: Path, scratch: Path) -> dict[str, Any]:
    """Load a copy into a server of its own, which has no port, and count. Raises BackupError.

    The server is the very program that checks such files: Redis has one for both, and does what its name says.
    """
    found = judge(_check(directory / FILE))
    shutil.copyfile(directory / FILE, scratch / FILE)
    server, socket = scratch / "redis-server", scratch / "socket"
    server.symlink_to(_program())
    words = [
        str(server), "--port", "0", "--unixsocket", socket.name, "--dir", str(scratch), "--dbfilename", FILE, "--save", "", "--appendonly", "no",
        "--databases", str(DATABASES), "--sanitize-dump-payload", "yes", "--daemonize", "no", "--logfile", "", "--maxmemory-policy", "noeviction",
    ]  # fmt: skip
    log = scratch / "log"
    with running(words, log, cwd=scratch) as process:
        loaded = keyspace(_loaded(process, socket, log))
    keys = sum(count for count, _expires in loaded.values())
    told = found["manifest"]
    least = told["keys"] - told["expires"]
    if not least <= keys <= told["keys"]:
        raise BackupError(
            f"a server has {keys} keys of it, where the file has {told['keys']}, of which {told['expires']} may expire"
        )
    kept = settings.get("record", {}).get("manifest", {})
    if kept.get("keys", told["keys"]) != told["keys"]:
        raise BackupError(f"the file has {told['keys']} keys, and had {kept['keys']} when it was taken")
    missing = _missing(kept.get("keyspace", {}), loaded)
    if missing:
        raise BackupError(f"databases {', '.join(missing)} are empty, which had keys on the server before and after")
    return {
        "checks": {
            "file": f"its checksum is right, and {told['keys']} keys can be read",
            "load": f"a server has loaded it and has {keys} keys in {len(loaded)} databases",
        },
        "point": found["point"],
        "manifest": told,
    }


def pull_order(members: Iterable[Mapping[str, Any]]) -> list[str]:
    """Whom to take a copy from: replicas whose link to the master is up, then the others that answer, the master last.

    Without that link a replica refuses (NOMASTERLINK). What did not answer is left out.
    """

    def rank(member: Mapping[str, Any]) -> int:
        return 2 if member["role"] == "master" else 0 if member["link_up"] else 1

    return [member["name"] for member in sorted((one for one in members if not one["error"]), key=rank)]


def look(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each server says of itself, as pull_order takes it. Raises BackupError where nobody can be asked at all."""
    try:
        network = redis_client.Network(settings["ca_path"], settings["username"], settings["password"], timeout=5.0)
    except redis_client.RedisError as error:
        raise BackupError(str(error)) from error
    members = settings["members"]
    found = redis_client.everywhere(
        lambda number: _ask(network, members[number], settings["port"]), range(len(members))
    )
    return [found[number] for number in range(len(members))]


def _ask(network: redis_client.Network, member: Mapping[str, Any], port: int) -> dict[str, Any]:
    known = {
        "name": member["name"],
        "address": member["address"],
        "role": "",
        "link_up": False,
        "version": "",
        "keyspace": {},
        "error": "",
    }
    try:
        with network.connect(member["address"], port) as connection:
            said = redis_client.info(connection.call("INFO", "everything"))
    except redis_client.RedisError as error:
        return {**known, "error": str(error)}
    return {
        **known,
        "role": "master" if said.get("role") == "master" else "replica",
        "link_up": said.get("master_link_status") == "up",
        # Valkey tells Redis's version, too, for old clients.
        "version": said.get("valkey_version") or said.get("redis_version", ""),
        "keyspace": keyspace("\n".join(f"{name}:{value}" for name, value in said.items())),
    }


def _keyspace(settings: Mapping[str, Any], member: Mapping[str, Any]) -> dict[str, list[int]]:
    """The same of one server, after it has sent; nothing where it says nothing any more."""
    network = redis_client.Network(settings["ca_path"], settings["username"], settings["password"], timeout=5.0)
    return _ask(network, member, settings["port"])["keyspace"]


def keyspace(text: str) -> dict[str, list[int]]:
    """By database, the number of its keys, and of those that expire, from what INFO says.

    >>> keyspace("db0:keys=3,expires=1,avg_ttl=0")
    {'0': [3, 1]}
    """
    return {number: [int(keys), int(expires)] for number, keys, expires in _SPACE.findall(text)}


def judge(result: Result) -> dict[str, Any]:
    """What a file has, by what its checker said. Raises BackupError where it is damaged (1), or too new for this checker (3)."""
    said = result.stdout + result.stderr
    fields, counts = dict(_FIELD.findall(said)), {name: int(count) for count, name in _COUNTS.findall(said)}
    if _TOO_NEW in said:
        raise BackupError(f"{_line(said, _TOO_NEW)}: this host has an older release than the Redis hosts", UNVERIFIED)
    if result.rc != 0 or "keys read" not in counts or "RDB looks OK" not in said:
        raise BackupError(f"the file is no whole RDB: {_complaint(said) or f'the checker ended with {result.rc}'}")
    return {
        "point": {"time": int(fields.get("ctime", 0))},
        "manifest": {"keys": counts["keys read"], "expires": counts.get("expires", 0)},
        "software": {"redis": fields.get("redis-ver") or fields.get("valkey-ver", "")},
    }


def _line(said: str, words: str) -> str:
    return next((line.partition("] ")[2] or line for line in said.splitlines() if words in line), "").strip()


def _complaint(said: str) -> str:
    """What the checker said after it found a fault."""
    lines = said.partition("--- RDB ERROR DETECTED ---")[2].strip().splitlines()
    return lines[0].partition("] ")[2] if lines else ""


def _missing(kept: Mapping[str, Mapping[str, list[int]]], loaded: Mapping[str, list[int]]) -> list[str]:
    """The databases that had keys without an end before and after, and have none now."""

    def lasting(when: str) -> set[str]:
        return {number for number, (keys, expires) in kept.get(when, {}).items() if keys > expires}

    return sorted((lasting("before") & lasting("after")) - set(loaded))


def _send(settings: Mapping[str, Any], address: str, path: Path) -> Result:
    words = [
        _tool("cli"), "--tls", "--cacert", settings["ca_path"], "-h", address, "-p", str(settings["port"]), "--user", settings["username"],
        "--no-auth-warning", "--rdb", str(path),
    ]  # fmt: skip
    return run(words, TRANSFER_S, {"REDISCLI_AUTH": settings["password"]})


def _check(path: Path) -> Result:
    return run([_program(), str(path)], CHECK_S)


def _tool(name: str) -> str:
    """Redis's or Valkey's, as the host has it."""
    found = shutil.which(f"redis-{name}") or shutil.which(f"valkey-{name}")
    if not found:
        raise BackupError(f"this host has neither redis-{name} nor valkey-{name}. Run site.yml", UNVERIFIED)
    return found


def _program() -> str:
    return _tool("check-rdb")


def _loaded(process: subprocess.Popen, socket: Path, log: Path) -> str:
    """What INFO keyspace says when the server has loaded its data. Raises BackupError where it does not."""
    end = time.monotonic() + LOAD_S
    while time.monotonic() < end:
        if process.poll() is not None:
            lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if " # " in line]
            raise BackupError(
                f"a server could not load it: {lines[-1].partition(' # ')[2] if lines else f'it ended with {process.returncode}'}"
            )
        if socket.exists():
            said = run([_tool("cli"), "-s", socket.name, "INFO", "everything"], ANSWER_S, cwd=socket.parent)
            if "\nloading:0" in said.stdout.replace("\r", ""):
                return said.stdout.replace("\r", "")
        time.sleep(0.1)
    raise BackupError(f"a server has not loaded it within {LOAD_S} s", UNVERIFIED)
