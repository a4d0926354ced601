# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who may lead a PostgreSQL cluster whose Patroni has lost what it knew: decided by the data of the members, never by old keys in etcd."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..postgresql.position import number

# What pg_control says of the data of a primary that runs.
PRIMARY = "in production"


def choose(
    members: list[str], seen: Mapping[str, Mapping[str, Any]], synchronous: bool, wanted: str = ""
) -> dict[str, Any]:
    """Return who leads: {leader, primaries, system_identifier, refusals, doubts, lines}.

    members: all names, in the inventory's order. seen: by name what postgresql_position_info returned; who is not in it could not be looked at.
    synchronous: whether writes were confirmed by a standby. wanted: the member that the operator names, who has seen these lines.

    The highest timeline leads, and on it the farthest position; among equals one that was no standby. Where writes were confirmed by a standby,
    that one has them all, so somebody must have all data of the leader: else it is not known whether the leader has all confirmed writes, and only
    an operator can say so. What a clean stop writes last are no data, so a standby that lacks only that has them all.
    As long as another server runs and may receive the rest, that is a doubt, and no refusal yet.
    """
    place = {
        name: (int(one["timeline"]), number(one["lsn"]))
        for name, one in seen.items()
        if name in members and one["timeline"]
    }
    away = [name for name in members if name not in seen]
    empty = [name for name in members if name in seen and name not in place]
    refusals: list[str] = []
    doubts: list[str] = []
    best = max(place.values(), default=(0, 0))
    first = sorted(
        (name for name in members if place.get(name) == best), key=lambda name: "recovery" in seen[name]["state"]
    )
    leader = wanted if wanted in first else next(iter(first), "")
    identifiers = sorted({seen[name]["system_identifier"] for name in place})
    if not place:
        refusals.append("No member has data of PostgreSQL. Restore PostgreSQL first: playbooks/restore_postgresql.yml")
    if len(identifiers) > 1:
        told = ", ".join(f"{name} {seen[name]['system_identifier']}" for name in members if name in place)
        refusals.append(f"The members' data are of different clusters ({told}). Move those away that are not wanted")
    if wanted and wanted not in members:
        refusals.append(f"leader={wanted} is no member. The members are {', '.join(members)}")
    elif wanted and place and wanted not in first:
        refusals.append(f"leader={wanted} is behind {' and '.join(first)}, so it can't lead these. Leave it out")
    if away and not wanted:
        refusals.append(
            f"{', '.join(away)} can't be looked at, and may have more than {leader or 'the others'}. Bring it back, or give -e leader={leader}, which"
            " gives up what only the missing have"
        )
    if synchronous and place and len(members) > 1 and not wanted and not _proven(leader, place, seen):
        same = [name for name in place if name != leader and place[name][0] == best[0]]
        follows = seen[leader]["running"] and any(seen[name]["running"] for name in same)
        (doubts if follows else refusals).append(
            f"No other member is as far as {leader} ({_told(best)}), so no standby proves that it has all confirmed writes. Look at the"
            f" positions, and give -e leader={leader} where it led last"
        )
    lines = [
        f"{name}  {_told(place[name])}{'  leads' if name == leader else _lacks(name, leader, place, seen)}"
        for name in members
        if name in place
    ]
    lines += [f"{name}  no data, gets a base backup" for name in empty] + [
        f"{name}  could not be looked at" for name in away
    ]
    return {
        "leader": leader,
        "primaries": [
            name for name in members if name in place and seen[name]["running"] and seen[name]["state"] == PRIMARY
        ],
        "system_identifier": identifiers[0] if len(identifiers) == 1 else "",
        "refusals": refusals,
        "doubts": doubts,
        "lines": lines,
    }


def _proven(leader, place, seen):
    """Whether another member has all data of the leader, so that it has all writes that a standby confirmed."""
    return any(_has_all(name, leader, place, seen) for name in place if name != leader)


def _has_all(name, leader, place, seen):
    return place[name] >= (place[leader][0], number(seen[leader]["data_lsn"]))


def _lacks(name, leader, place, seen):
    return "  all data of it" if _has_all(name, leader, place, seen) and place[name] < place[leader] else ""


def _told(position: tuple[int, int]) -> str:
    return f"timeline {position[0]}, {position[1] >> 32:X}/{position[1] & 0xFFFFFFFF:X}"
