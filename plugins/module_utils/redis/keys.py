# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How many keys a server has, by database, and whether those are what a backup had."""

from __future__ import annotations

from collections.abc import Mapping

from . import client as redis_client

# Of a database: all keys, and those of them that end at some time.
Keys = Mapping[str, Mapping[str, int]]


def keyspace(text: str) -> dict[str, dict[str, int]]:
    """The keys by database, of what INFO replied: `db0:keys=5,expires=1,avg_ttl=0`."""
    found = {}
    for name, value in redis_client.info(text).items():
        if name.startswith("db") and name[2:].isdigit():
            numbers = dict(pair.split("=", 1) for pair in value.split(","))
            found[name] = {"keys": int(numbers["keys"]), "expires": int(numbers.get("expires", 0))}
    return found


def totals(databases: Keys) -> dict[str, int]:
    """All keys of all databases, and those of them that end."""
    return {name: sum(own[name] for own in databases.values()) for name in ("keys", "expires")}


def difference(expected: Mapping[str, int], there: Mapping[str, int]) -> str:
    """What is not as it was, as a sentence; empty where all is. Keys that end may have ended meanwhile; others must all be there, and none more."""
    if expected["keys"] - expected["expires"] <= there["keys"] <= expected["keys"]:
        return ""
    ending = f", of which {expected['expires']} may have ended since" if expected["expires"] else ""
    return f"there are {there['keys']} keys, and there were {expected['keys']}{ending}"
