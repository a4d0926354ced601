# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A former master that still serves is made a replica at once. For when Sentinel has learned of another master.

Sentinel itself tells a former master only after some ten seconds, and all that clients write there until then is
acknowledged and lost. This asks the sentinels whether they agree, and tells it then. A planned change of the master
holds its writes meanwhile and retires it by itself, so that is left to it as long as it lasts.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from . import client as redis_client
from . import master as redis_master

# The name of a connection that holds the writes of a master and will retire it.
HANDOVER = "utmstack-handover"


@dataclass(frozen=True)
class Settings:
    """The settings file, JSON. `quorum` is how many sentinels must name the new master, `wait_s` how long that may take."""

    port: int
    sentinel_port: int
    sentinels: list[str]
    quorum: int
    master_name: str
    wait_s: float
    ca: str
    username: str
    password: str


def agreed(settings: Settings, network) -> str:
    """The address that a majority of sentinels names as master; empty where there is none."""

    def named(address):
        return redis_master.vote(network, address, settings.sentinel_port, settings.master_name)[0]

    votes = redis_client.everywhere(named, settings.sentinels)
    return redis_master.agreed(votes.values(), settings.quorum)


def retire(connection, new: str, port: int, *also) -> None:
    """Have a master follow `new` and end its clients' connections, in one step. Raises RedisError.

    Between two steps, clients that are still there would be told that this node is read-only. As it is, they lose the
    connection and ask for the master. `also`: further commands of that step, each a tuple of words.
    """
    connection.call("MULTI")
    for words in (("SLAVEOF", new, port), ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"), *also):
        connection.call(*words)
    refused = [reply for reply in connection.call("EXEC") if isinstance(reply, redis_client.RedisError)]
    if refused:
        raise refused[0]


def handed_over(connection) -> bool:
    """Whether somebody holds the writes of this master to hand it over."""
    return f" name={HANDOVER} " in connection.call("CLIENT", "LIST", "TYPE", "normal")


def follow(settings: Settings, network, former: str, new: str, clock=time.monotonic, sleep=time.sleep) -> str:
    """Have `former` follow `new` once the sentinels agree on it. Returns what was done, a sentence. Raises RedisError."""
    end = clock() + settings.wait_s
    while True:
        agree = agreed(settings, network) == new
        if agree:
            with network.connect(former, settings.port) as connection:
                if connection.call("ROLE")[0] != "master":
                    return f"{former} is no master any more"
                if not handed_over(connection):
                    retire(connection, new, settings.port)
                    return f"{former} still served as master and follows {new} now"
        if clock() > end:
            if agree:
                return f"{former} is being handed over to {new} by somebody else; {former} is left alone"
            return f"the sentinels do not agree that {new} is master; {former} is left alone"
        sleep(0.1)
