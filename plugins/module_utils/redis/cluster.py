# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Redis and its sentinels say of themselves, and what is wrong with that."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from ..common.order import order
from . import client as redis_client
from . import master as redis_master

# What each module that looks at the whole takes; documented in doc_fragments/redis.py.
LOGIN = {
    "ca_path": {"type": "path"},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "timeout": {"type": "float", "default": 3.0},
}
ONE = {"address": {"type": "str", "required": True}, "port": {"type": "int", "default": 6379}}
REQUIRED_TOGETHER = [("username", "password")]
_HOST = {"name": {"type": "str", "required": True}, "address": {"type": "str", "required": True}}
WHOLE = {
    **LOGIN,
    "master_name": {"type": "str", "required": True},
    "members": {"type": "list", "elements": "dict", "required": True, "options": _HOST},
    "sentinels": {"type": "list", "elements": "dict", "required": True, "options": _HOST},
    "port": {"type": "int", "default": 6379},
    "sentinel_port": {"type": "int", "default": 26379},
}


@dataclass(frozen=True)
class Hosts:
    """Who belongs to it: name -> address of the data nodes and of the sentinels, their ports, the master's name."""

    members: Mapping[str, str]
    sentinels: Mapping[str, str]
    master_name: str
    port: int = 6379
    sentinel_port: int = 26379

    @classmethod
    def of(cls, params: Mapping) -> Hosts:
        """The hosts that a module's parameters name."""
        return cls(
            members={host["name"]: host["address"] for host in params["members"]},
            sentinels={host["name"]: host["address"] for host in params["sentinels"]},
            master_name=params["master_name"],
            port=params["port"],
            sentinel_port=params["sentinel_port"],
        )

    @property
    def quorum(self) -> int:
        """How many sentinels are more than half."""
        return len(self.sentinels) // 2 + 1

    def named(self, address: str) -> str:
        """The data node at an address, or the address itself where it is none."""
        return next((name for name, known in self.members.items() if known == address), address)


@dataclass
class Observation:
    """name -> what was said, or why nothing was. A sentinel that answers but knows no such master is in `strangers`."""

    masters: dict[str, redis_master.Master] = field(default_factory=dict)
    members: dict[str, redis_master.Member] = field(default_factory=dict)
    strangers: list[str] = field(default_factory=list)
    sentinel_errors: dict[str, str] = field(default_factory=dict)
    member_errors: dict[str, str] = field(default_factory=dict)


def network_of(params: Mapping) -> redis_client.Network:
    """The network as a module's parameters describe it. Raises RedisError."""
    return redis_client.Network(params["ca_path"], params["username"], params["password"], params["timeout"])


def reach(params: Mapping, network=None, clock=time.monotonic, sleep=time.sleep) -> redis_client.Connection:
    """A connection to the server at `address` and `port`, for which `wait_timeout` seconds may pass. Raises RedisError.

    A server that loads its data answers, but has nothing to say yet.
    """
    network = network or network_of(params)
    end = clock() + params["wait_timeout"]
    while True:
        try:
            connection = network.connect(params["address"], params["port"])
            try:
                connection.call("PING")
            except redis_client.RedisError:
                connection.close()
                raise
            return connection
        except redis_client.RedisError:
            if clock() >= end:
                raise
        sleep(0.3)


def observe(hosts: Hosts, network) -> Observation:
    """Ask all sentinels and data nodes at once."""

    def sentinel(name):
        try:
            with network.connect(hosts.sentinels[name], hosts.sentinel_port) as connection:
                return redis_master.master_of(connection.call("SENTINEL", "MASTER", hosts.master_name))
        except redis_client.RedisError as error:
            return error

    def member(name):
        try:
            with network.connect(hosts.members[name], hosts.port) as connection:
                return redis_master.member_of(connection.call("INFO"))
        except redis_client.RedisError as error:
            return error

    asked = [(sentinel, name) for name in hosts.sentinels] + [(member, name) for name in hosts.members]
    found = Observation()
    for (ask, name), answer in redis_client.everywhere(lambda pair: pair[0](pair[1]), asked).items():
        if ask is member:
            if isinstance(answer, redis_master.Member):
                found.members[name] = answer
            else:
                found.member_errors[name] = str(answer)
        elif isinstance(answer, redis_master.Master):
            found.masters[name] = answer
        elif answer.answered and "No such master" in str(answer):
            found.strangers.append(name)
        else:
            found.sentinel_errors[name] = str(answer)
    return found


def assess(hosts: Hosts, seen: Observation, without: Collection[str] = (), max_lag_bytes: int = 1048576) -> dict:
    """The result of module redis_sentinel_info: who is master, and what is wrong, troubles of `without` left out."""
    address = redis_master.agreed((master.address for master in seen.masters.values()), hosts.quorum)
    master = hosts.named(address)
    problems = [*_disagreement(hosts, seen, address), *_of_sentinels(hosts, seen, without, address)]
    problems += _of_members(hosts, seen, without, address, max_lag_bytes)
    head = seen.members.get(master)
    return {
        "master": master or None,
        "master_address": address or None,
        "newest_master_address": redis_master.newest(seen.masters) or None,
        "masters": sorted(name for name, member in seen.members.items() if member.role == "master"),
        "healthy": bool(address) and not problems,
        "problems": problems,
        "restart_order": order(hosts.members, leads={master: 1}),
        "members": [_member(hosts, name, seen, head) for name in hosts.members],
        "sentinels": [_sentinel(hosts, name, seen) for name in hosts.sentinels],
    }


def _disagreement(hosts: Hosts, seen: Observation, address: str) -> list[str]:
    if address:
        return []
    if not seen.masters:
        return [f"No sentinel reports the master of {hosts.master_name}."]
    said: dict[str, list[str]] = {}
    for name, master in seen.masters.items():
        said.setdefault(hosts.named(master.address), []).append(name)
    views = "; ".join(f"{' and '.join(names)}: {master}" for master, names in sorted(said.items()))
    return [f"Fewer than {hosts.quorum} of {len(hosts.sentinels)} sentinels name the same master ({views})."]


def _of_sentinels(hosts: Hosts, seen: Observation, without: Collection[str], address: str) -> list[str]:
    problems = []
    for name in hosts.sentinels:
        if name in without:
            continue
        master = seen.masters.get(name)
        if name in seen.strangers:
            problems.append(f"The sentinel on {name} does not watch {hosts.master_name}.")
        elif master is None:
            problems.append(f"The sentinel on {name} does not answer ({seen.sentinel_errors.get(name, 'not asked')}).")
        else:
            problems += _of_sentinel(hosts, name, master, address)
    return problems


def _of_sentinel(hosts: Hosts, name: str, master: redis_master.Master, address: str) -> list[str]:
    problems = []
    if address and master.address != address:
        problems.append(f"The sentinel on {name} takes {hosts.named(master.address)} for the master.")
    down = [flag for flag in master.flags if flag in ("s_down", "o_down", "disconnected")]
    if down:
        problems.append(f"The sentinel on {name} does not reach the master ({', '.join(down)}).")
    if "failover_in_progress" in master.flags:
        problems.append(f"The sentinel on {name} is failing over.")
    others = len(hosts.sentinels) - 1
    if master.other_sentinels != others:
        problems.append(
            f"The sentinel on {name} sees {master.other_sentinels} other sentinels, of {others}"
            + (
                f"; where one is gone for good, SENTINEL RESET {hosts.master_name} there makes it forget."
                if master.other_sentinels > others
                else "."
            )
        )
    if master.replicas < len(hosts.members) - 1:
        problems.append(f"The sentinel on {name} sees {master.replicas} replicas, of {len(hosts.members) - 1}.")
    return problems


def _of_members(hosts: Hosts, seen: Observation, without: Collection[str], address: str, max_lag: int) -> list[str]:
    problems = []
    master = hosts.named(address)
    head = seen.members.get(master)
    for name in hosts.members:
        member = seen.members.get(name)
        if name in without:
            continue
        if member is None:
            problems.append(f"Redis on {name} does not answer ({seen.member_errors.get(name, 'not asked')}).")
        elif member.loading:
            problems.append(f"Redis on {name} is loading its data.")
        elif member.role == "master":
            if address and name != master:
                problems.append(f"Redis on {name} is a master too, while the sentinels name {master}.")
        elif name == master:
            problems.append(
                f"Redis on {name} is a replica of {hosts.named(member.master)}, while the sentinels name it as master."
            )
        elif address and member.master != address:
            problems.append(f"Redis on {name} follows {hosts.named(member.master)}, not {master}.")
        elif not member.link_up:
            problems.append(
                f"Redis on {name} {'is copying the data of' if member.syncing else 'has no connection to'} its master."
            )
        elif head and head.offset - member.offset > max_lag:
            problems.append(f"Redis on {name} lags {head.offset - member.offset} bytes behind.")
    serving = [name for name, member in seen.members.items() if member.role == "master"]
    if not address and len(serving) > 1:
        problems.append(f"{' and '.join(sorted(serving))} each say that they are master.")
    return problems


def _member(hosts: Hosts, name: str, seen: Observation, head: redis_master.Member | None) -> dict:
    member = seen.members.get(name)
    if member is None:
        return {
            "name": name,
            "address": hosts.members[name],
            "role": None,
            "master": None,
            "link_up": None,
            "offset": None,
            "lag_bytes": None,
            "good_replicas": None,
            "version": None,
            "error": seen.member_errors.get(name, ""),
        }
    replica = member.role != "master"
    return {
        "name": name,
        "address": hosts.members[name],
        "role": "replica" if replica else "master",
        "master": hosts.named(member.master) if replica else None,
        "link_up": member.link_up if replica else None,
        "offset": member.offset,
        "lag_bytes": max(0, head.offset - member.offset) if replica and head else None,
        "good_replicas": member.good_replicas,
        "version": member.version or None,
        "error": "",
    }


def _sentinel(hosts: Hosts, name: str, seen: Observation) -> dict:
    master = seen.masters.get(name)
    return {
        "name": name,
        "address": hosts.sentinels[name],
        "master": hosts.named(master.address) if master else None,
        "epoch": master.epoch if master else None,
        "flags": list(master.flags) if master else [],
        "other_sentinels": master.other_sentinels if master else None,
        "replicas": master.replicas if master else None,
        "settings": dict(master.settings) if master else {},
        "error": "does not watch it" if name in seen.strangers else seen.sentinel_errors.get(name, ""),
    }
