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


def total(keys: Keys) -> int:
    """All keys of all databases."""
    return sum(own["keys"] for own in keys.values())


def differences(expected: Keys, there: Keys) -> list[str]:
    """What is not as it was, as sentences. Keys that end may have ended meanwhile; others must all be there, and none more."""
    said = []
    for name in sorted({*expected, *there}, key=lambda one: int(one[2:])):
        before = expected.get(name, {"keys": 0, "expires": 0})
        now = there.get(name, {"keys": 0, "expires": 0})
        if not before["keys"] - before["expires"] <= now["keys"] <= before["keys"]:
            said.append(
                f"{name} has {now['keys']} keys, and had {before['keys']}"
                + (f", of which {before['expires']} may have ended since" if before["expires"] else "")
            )
    return said
