# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""As what Redis starts: as master, or as a replica of whom. systemd asks this before each start of Redis.

Left to itself, a killed master is back within a second, before Sentinel acts, as a master that lacks what it had not yet
written to disk; its replicas, which have it, then throw it away to be like their master. If its disk is gone, they throw
away everything. So a data node asks the sentinels first, and one that they still call master waits until they have made
another one, as long as there is another one to make. Only when nobody can take over it starts as master.

A node without data never becomes the master of one that has some.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

from . import client as redis_client
from . import master as redis_master
from . import restore as redis_restore

WAIT, MASTER, REPLICA, REFUSE = "wait", "master", "replica", "refuse"
# A node that followed another one may do so again without harm, so it need not wait for the sentinels as long as a master.
FOLLOWER_WAIT_S = 10


@dataclass(frozen=True)
class Settings:
    """The settings file, JSON. Times in seconds; `quorum` is how many sentinels must name the same master.

    While `maintenance_file` exists, this node is not to become master.
    """

    address: str
    port: int
    sentinel_port: int
    members: list[str]
    sentinels: list[str]
    quorum: int
    master_name: str
    takeover_wait_s: float
    sentinels_wait_s: float
    ca: str
    username: str
    password: str
    server_file: str
    live_file: str
    data_directory: str
    maintenance_file: str


@dataclass(frozen=True)
class Seen:
    """sentinel -> the master's address, or None where it did not answer; the same for the other data nodes."""

    votes: Mapping[str, str | None]
    others: Mapping[str, redis_master.Member | None]
    failing_over: bool = False


@dataclass(frozen=True)
class Decision:
    """what: wait, master, replica (of `master`) or refuse. why: a sentence."""

    what: str
    why: str
    master: str = ""


def candidates(settings: Settings, seen: Seen) -> list[str]:
    """The other nodes that have this one's data, or are master already."""
    return sorted(
        address
        for address, member in seen.others.items()
        if member and (member.role == "master" or (member.synced and member.master == settings.address))
    )


def decide(settings: Settings, seen: Seen, waited_s: float, before: str, has_data: bool) -> Decision:
    """What to do now. `before` is the master that this node followed when it last ran; empty where it was master itself."""
    master = redis_master.agreed(seen.votes.values(), settings.quorum)
    if master and master != settings.address:
        return Decision(REPLICA, f"the sentinels name {master} as master", master)
    taking_over = candidates(settings, seen)
    if master:
        if not (taking_over or seen.failing_over):
            return Decision(MASTER, "the sentinels name this node as master, and no other could take over")
        if waited_s < settings.takeover_wait_s:
            who = f"{' or '.join(taking_over) or 'another one'} {'takes' if seen.failing_over else 'may take'} over"
            return Decision(WAIT, f"the sentinels name this node as master; {who}")
        why = f"in {waited_s:.0f} s the sentinels have made nobody else master"
    else:
        if waited_s < (min(FOLLOWER_WAIT_S, settings.sentinels_wait_s) if before else settings.sentinels_wait_s):
            told = sum(vote is not None for vote in seen.votes.values())
            return Decision(
                WAIT, f"{told} of {len(seen.votes)} sentinels report a master; {settings.quorum} must agree"
            )
        why = f"in {waited_s:.0f} s there was no majority of sentinels"
        serving = [address for address, member in seen.others.items() if member and member.role == "master"]
        if len(serving) == 1:
            return Decision(REPLICA, f"{why}, and {serving[0]} serves as master", serving[0])
        if before:
            return Decision(REPLICA, f"{why}; as before, {before} is master", before)
    if taking_over and not has_data:
        return Decision(
            REFUSE,
            f"{why}, but this node has no data, and {' and '.join(taking_over)} would throw theirs away to be like it. Make "
            f"another one master with SENTINEL FAILOVER {settings.master_name}, or restore the data here",
        )
    return Decision(MASTER, f"{why}; this node was master before")


def look(settings: Settings, network) -> Seen:
    """Ask all sentinels and all other data nodes at once."""

    def member(address):
        try:
            with network.connect(address, settings.port) as connection:
                return redis_master.member_of(connection.call("INFO", "replication"))
        except redis_client.RedisError:
            return None

    def sentinel(address):
        return redis_master.vote(network, address, settings.sentinel_port, settings.master_name)

    asked = [(sentinel, address) for address in settings.sentinels]
    asked += [(member, address) for address in settings.members if address != settings.address]
    found = redis_client.everywhere(lambda pair: pair[0](pair[1]), asked)
    votes = {address: answer for (ask, address), answer in found.items() if ask is sentinel}
    return Seen(
        votes={address: vote[0] for address, vote in votes.items()},
        others={address: answer for (ask, address), answer in found.items() if ask is member},
        failing_over=any("failover_in_progress" in flags for master, flags in votes.values()),
    )


def followed(text: str) -> str:
    """The master that Redis's own file names; empty where it was master."""
    for line in reversed(text.splitlines()):
        words = line.split()
        if len(words) == 3 and words[0].lower() in ("replicaof", "slaveof"):
            return "" if words[1].lower() == "no" else words[1].strip('"')
    return ""


def live_file(settings: Settings, master: str, held: bool = False) -> str:
    """What Redis is started with. It rewrites this file later; the next start makes it anew. held: Sentinel shall not promote it."""
    lines = [
        "# Made anew at each start of Redis, which rewrites it meanwhile. The settings are in the file included here.",
        f"include {settings.server_file}",
    ]
    if master:
        lines.append(f"replicaof {master} {settings.port}")
    if held:
        lines.append("replica-priority 0")
    return "\n".join(lines) + "\n"


def read(path: str) -> str:
    """A file's text, empty where there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def replace(path: str, text: str) -> None:
    """Write a file in one piece."""
    with open(os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.new", path)


def has_data(directory: str) -> bool:
    """Whether there is anything for Redis to load; safety copies of a restore are not."""
    for path, names, files in os.walk(directory):
        names[:] = [name for name in names if not redis_restore.ours(name)]
        if os.path.basename(path) == "appendonlydir" and files:
            return True
        if any(name.endswith((".rdb", ".aof")) for name in files):
            return True
    return False


def run(settings: Settings, network, say, clock=time.monotonic, sleep=time.sleep) -> int:
    """Decide, and write the file that Redis starts with. Returns the exit code."""
    begin = clock()
    before = followed(read(settings.live_file))
    data = has_data(settings.data_directory)
    told = ""
    while True:
        decision = decide(settings, look(settings, network), clock() - begin, before, data)
        if decision.why != told:
            told = decision.why
            say(f"{decision.what}: {told}")
        if decision.what == REFUSE:
            return 1
        if decision.what != WAIT:
            replace(settings.live_file, live_file(settings, decision.master, os.path.exists(settings.maintenance_file)))
            return 0
        sleep(0.2)
