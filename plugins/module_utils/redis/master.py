# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who is master: what the sentinels say, and what the data nodes say of themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from . import client as redis_client

# What a sentinel is told of a master at run time, by the names of SENTINEL SET.
SETTINGS = ("quorum", "down-after-milliseconds", "failover-timeout", "parallel-syncs")


@dataclass(frozen=True)
class Master:
    """The master as one sentinel sees it. `flags` are Sentinel's, such as s_down, o_down, failover_in_progress."""

    address: str
    port: int
    epoch: int
    quorum: int
    other_sentinels: int
    replicas: int
    flags: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Member:
    """A data node as it says itself. `synced` means that since its start it has had its master's data."""

    role: str
    master: str = ""
    link_up: bool = False
    syncing: bool = False
    synced: bool = False
    offset: int = 0
    loading: bool = False
    good_replicas: int | None = None
    version: str = ""


def master_of(reply: list) -> Master:
    """What SENTINEL MASTER replied."""
    found = redis_client.pairs(reply)
    return Master(
        address=found["ip"],
        port=int(found["port"]),
        epoch=int(found["config-epoch"]),
        quorum=int(found["quorum"]),
        other_sentinels=int(found["num-other-sentinels"]),
        replicas=int(found["num-slaves"]),
        flags=tuple(flag for flag in found["flags"].split(",") if flag != "master"),
        settings={name: found[name] for name in SETTINGS if name in found},
    )


def member_of(text: str) -> Member:
    """What INFO replied (with the section replication; others are used where they are there)."""
    found = redis_client.info(text)
    role = found.get("role", "")
    link_up = found.get("master_link_status") == "up"
    good = found.get("min_slaves_good_slaves")
    return Member(
        role=role,
        master=found.get("master_host", ""),
        link_up=link_up,
        syncing=found.get("master_sync_in_progress") == "1",
        # Where the link has never been up, it has been down for -1 seconds (replication.c, genRedisInfoString).
        synced=role == "slave" and (link_up or int(found.get("master_link_down_since_seconds", "-1")) >= 0),
        offset=int(found.get("master_repl_offset" if role == "master" else "slave_repl_offset", 0)),
        loading=found.get("loading") == "1",
        good_replicas=None if good is None else int(good),
        version=found.get("valkey_version") or found.get("redis_version", ""),
    )


def agreed(votes: Iterable[str | None], quorum: int) -> str:
    """The address that at least `quorum` sentinels name as the master's; empty where there is none."""
    count = Counter(vote for vote in votes if vote)
    address, most = count.most_common(1)[0] if count else ("", 0)
    return address if most >= quorum else ""


def newest(masters: Mapping[str, Master]) -> str:
    """The address in the newest configuration that any of these sentinels has; empty where there is none.

    A failover raises the epoch, and sentinels that meet take over the configuration with the higher one.
    """
    return max(masters.values(), key=lambda master: master.epoch).address if masters else ""


def vote(network, address: str, port: int, name: str) -> tuple[str | None, tuple[str, ...]]:
    """Whom one sentinel names as master, and its flags of it; (None, ()) where it does not answer or knows none.

    While a failover goes on, the address is the new master's from its promotion on, earlier than in SENTINEL MASTER.
    """
    try:
        with network.connect(address, port) as connection:
            flags = master_of(connection.call("SENTINEL", "MASTER", name)).flags
            return connection.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)[0], flags
    except (redis_client.RedisError, TypeError):
        return None, ()
