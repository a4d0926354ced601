# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which master a sentinel that has no state is told to watch: the one that there is, and the first host only where none was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def watched(text: str, master_name: str) -> tuple[str, int]:
    """The master's address and epoch in a sentinel's file; empty and 0 where it watches none of this name."""
    address, epoch = "", 0
    for line in text.splitlines():
        words = line.split()
        if words[:3] == ["sentinel", "monitor", master_name] and len(words) == 6:
            address = words[3].strip('"')
        elif words[:3] == ["sentinel", "config-epoch", master_name] and len(words) == 4:
            epoch = int(words[3])
    return address, epoch


def plan_master(
    members: Sequence[Mapping[str, Any]],
    seen: Mapping[str, Mapping[str, Any]],
    cluster: Mapping[str, Any],
    first: str = "",
) -> dict[str, str]:
    """Whom new sentinels watch. Returns `address`, or `refusal`, a sentence that says what to do.

    members: ha.redis.members. seen: host -> what redis_data_info told of it. cluster: what redis_sentinel_info told.
    first: the host that the inventory names as the first master, for the case that nothing else is known.
    """
    addresses = {member["name"]: member["address"] for member in members}
    running = cluster.get("newest_master_address")
    if running:
        return _found(running)
    kept = [(host["epoch"], host["watched"]) for host in seen.values() if host.get("watched")]
    if kept:
        # A failover raises the epoch; sentinels that meet take over the higher one.
        return _found(max(kept)[1])
    serving = cluster.get("masters", [])
    if len(serving) == 1:
        return _found(addresses[serving[0]])
    if first and first not in addresses:
        return _refused(
            f"redis_first_master is {first}, no host of group redis ({', '.join(addresses)}). Name one of them"
        )
    if first:
        return _found(addresses[first])
    if len(serving) > 1:
        return _refused(
            f"No sentinel reports a master, while {' and '.join(serving)} each serve as one. Compare their data, then set "
            "redis_first_master to the host whose data shall stay; the others copy it"
        )
    holders = [name for name in addresses if seen.get(name, {}).get("data")]
    unseen = [name for name in addresses if name not in seen]
    if len(holders) > 1 or (holders and holders[0] != next(iter(addresses))):
        return _refused(
            f"No sentinel reports a former master, while there is data of Redis on {' and '.join(holders)}. Set redis_first_master "
            "to the host whose data shall stay; the others copy it"
        )
    if unseen:
        return _refused(
            f"No sentinel reports a master, and {' and '.join(unseen)} can't be looked at in this run. Run it without a "
            "limit, or set redis_first_master to the host that shall be master"
        )
    return _found(next(iter(addresses.values())))


def _found(address: str) -> dict[str, str]:
    return {"address": address, "refusal": ""}


def _refused(why: str) -> dict[str, str]:
    return {"address": "", "refusal": why + "."}
