# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Backups of Docker Swarm: the state of the leader, copied while Docker runs, and the proof that a swarm can be made of it.

No engine is stopped for it: no task ends, and no manager is missing from the quorum. That a copy is good is shown by a swarm that is made of it.
"""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..common.backup import FAILED, SETTINGS, UNVERIFIED, BackupError, checksums, directory_bytes, require_room, sha256
from . import scratch as trial
from . import state
from .engine import EngineError
from .state import StateError

ARCHIVE, MANIFEST = "swarm.tar.gz", "manifest.json"
# While managers elect a leader, none of them has a state to give.
ROUNDS, PAUSE_S = 3, 5.0
CONNECT_S, ANSWER_S = 10.0, 600.0
# What a manager says of its state: numbers of all objects.
LONGEST_ANSWER = 64 << 20
LEAD_S = 60.0
# Two files of Raft's log, 64 MB each, are made in advance; an engine writes some more.
ENGINE_BYTES, MEMORY_BYTES = 512 << 20, 512 << 20


def take(settings: Mapping[str, Any], directory: Path, sleep: Callable[[float], None] = time.sleep) -> dict[str, Any]:
    """Have the manager that leads give its state.

    settings: managers (each with name and address), port, ca, certificate, key. Raises BackupError.
    """
    context = _context(settings)
    for turn in range(ROUNDS):
        refused = []
        for member in settings["managers"]:
            began = int(time.time())
            try:
                facts = _pull(context, member["address"], settings["port"], directory / ARCHIVE)
            except (BackupError, OSError) as error:
                refused.append(f"{member['name']}: {error}")
                (directory / ARCHIVE).unlink(missing_ok=True)
                continue
            return _whole(member, began, facts, directory)
        if turn + 1 < ROUNDS:
            sleep(PAUSE_S)
    raise BackupError(f"no manager gave the state of the swarm. {'; '.join(refused)}")


def _whole(member: Mapping[str, Any], began: int, facts: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    manifest = {**facts, "address": member["address"], "source": member["name"], "time": began}
    (directory / MANIFEST).write_text(json.dumps(manifest, sort_keys=True), encoding="utf-8")
    return {
        **_facts(manifest),
        "bytes": directory_bytes(directory),
        "files": {one: sha256(directory / one) for one in (ARCHIVE, MANIFEST)},
        "needs": [],
    }


def _facts(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What a record has of a backup; not the numbers of all objects."""
    return {
        "source": manifest["source"],
        "point": {"time": manifest["time"]},
        "manifest": {
            **{name: manifest[name] for name in ("node", "cluster", "address", "key")},
            **{kind: len(numbers) for kind, numbers in manifest["objects"]["after"].items()},
        },
        "software": {"docker": manifest["engine"]},
    }


def inspect(directory: Path) -> dict[str, Any]:
    """Return the facts of a backup that lies in a directory. Raises BackupError where it is none."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        facts = _facts(manifest)
        size = (directory / ARCHIVE).stat().st_size
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackupError(f"{directory} holds no state of a swarm: {error}") from error
    return {**facts, "objects": manifest["objects"], "bytes": size, "files": checksums(directory), "needs": []}


def verify(settings: Mapping[str, Any], directory: Path, scratch: Path) -> dict[str, Any]:
    """Make a swarm of the state in an engine of its own, and compare what it has. settings: unlock_key. Raises BackupError."""
    facts = inspect(directory)
    require_room(scratch, room(facts["bytes"]), "A swarm made of the backup")
    key = settings["unlock_key"]
    wanted = facts["manifest"]["key"]
    if wanted and state.fingerprint(key) != wanted:
        raise BackupError(
            "the swarm had another unlock key when it was taken than this host knows. Run site.yml, then take a new backup",
            UNVERIFIED,
        )
    older = _older(trial.version(), facts["software"]["docker"])
    try:
        locks = state.place(directory / ARCHIVE, scratch / "data" / "swarm", key)
        with trial.engine(scratch) as engine:
            engine.post("/swarm/init", state.init_body(trial.ADDRESS, 2377, locks), LEAD_S)
            found = state.look_again(engine, LEAD_S)["objects"]
    except (StateError, EngineError) as error:
        if "Install python3-nacl" in str(error):
            raise BackupError(str(error), UNVERIFIED) from error
        if older:
            raise BackupError(f"no swarm could be made of it ({error}) by {older}", UNVERIFIED) from error
        raise BackupError(f"no swarm can be made of it: {error}; {trial.said(scratch / 'log')}", FAILED) from error
    differs = differences(facts["objects"], found)
    if differs:
        raise BackupError(f"a swarm made of it is another one: {'; '.join(differs)}")
    return {
        "checks": {
            "swarm": f"a manager of its own leads a swarm made of it{', its node key opened with the unlock key' if locks else ''}",
            "objects": ", ".join(f"{len(numbers)} {kind}" for kind, numbers in found.items())
            + ": those that were backed up",
        },
        "point": facts["point"],
    }


def differences(kept: Mapping[str, Mapping[str, Iterable[str]]], found: Mapping[str, Iterable[str]]) -> list[str]:
    """What a swarm lacks of the objects that were there before and after a copy, and has that were at neither time, as sentences."""
    said = []
    for kind, before in kept["before"].items():
        early, late, present = set(before), set(kept["after"][kind]), set(found[kind])
        lacking, strange = (early & late) - present, present - early - late
        if lacking or strange:
            said.append(f"{len(lacking)} {kind} are missing and {len(strange)} are others, of {len(late)}")
    return said


def room(size: int) -> int:
    """How many bytes an engine needs with the state that an archive of this size has."""
    return 4 * size + ENGINE_BYTES


def _older(own: str, other: str) -> str:
    """The engine of this host, in words, where it is older than the one whose state it is; else nothing."""

    def numbers(text: str) -> tuple[int, ...]:
        return tuple(int(part) for part in text.partition("+")[0].split(".")[:2] if part.isdigit())

    return (
        f"this host's Docker {own}, which is older than the managers' {other}" if numbers(own) < numbers(other) else ""
    )


def _context(settings: Mapping[str, Any]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings["ca"])
        context.load_cert_chain(settings["certificate"], settings["key"])
    except OSError as error:
        raise BackupError(f"the certificate of this host can't be read: {error}", SETTINGS) from error
    return context


def _pull(context: ssl.SSLContext, address: str, port: int, path: Path) -> dict[str, Any]:
    """Fetch the state of one manager into a file, and return what it says of it. Raises BackupError, OSError."""
    with (
        socket.create_connection((address, port), CONNECT_S) as plain,
        context.wrap_socket(plain, server_hostname=address) as wire,
    ):
        wire.settimeout(ANSWER_S)
        with wire.makefile("rb") as answer:
            line = answer.readline(LONGEST_ANSWER)
            try:
                said = json.loads(line)
                if "error" in said:
                    raise BackupError(str(said["error"]))
                left, digest = int(said["size"]), hashlib.sha256()
                facts = dict(said["facts"])
                facts["objects"]["before"], facts["objects"]["after"], facts["engine"], facts["key"]
            except (ValueError, KeyError, TypeError) as error:
                raise BackupError(f"its answer can't be read ({error}): {line[:80]!r}") from error
            with open(path, "wb") as file:
                while left and (block := answer.read(min(left, 1 << 16))):
                    file.write(block)
                    digest.update(block)
                    left -= len(block)
    if left or digest.hexdigest() != said["sha256"]:
        raise BackupError(
            "its answer broke off" if left else "what came is not what it has sent: the checksum is another one"
        )
    return facts
