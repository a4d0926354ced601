# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where pgbouncer runs, and how many connections each of them may open to the primary."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..common.values import number
from .faults import Findings
from .values import boolean

# The databases of pgbouncer itself: its console, and the one that knows the passwords.
OWN_DATABASES = ("pgbouncer", "postgres")
# pgbouncer's configuration takes no other names, whatever its documentation says of quotes (lib/usual/cfparser.c, 1.24).
DATABASE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
# Logins of new clients are looked up through two connections of each pgbouncer.
LOOKUP_CONNECTIONS = 2
# What clients without pgbouncer, Patroni, backups and an operator have for themselves: a tenth, and ten at least.
RESERVED_PART, RESERVED_LEAST = 10, 10


def pool_sizes(max_connections: int, balancers: int, databases: int) -> dict[str, int]:
    """Return how many connections one pgbouncer may open, so that all of them together leave the reserve free.

    max_connections: of the server. balancers: how many pgbouncers there are; a virtual IP that moves has two of them at work
    for a while. databases: how many share what one pgbouncer has. Returns reserved, lookup and per_database; the last one is
    below 1 where there are too few.
    """
    reserved = max(RESERVED_LEAST, -(-max_connections // RESERVED_PART))
    share = (max_connections - reserved) // balancers - LOOKUP_CONNECTIONS
    return {"reserved": reserved, "lookup": LOOKUP_CONNECTIONS, "per_database": share // databases}


def pooling(settings: Mapping[str, Any], members: Mapping[str, list[str]], found: Findings) -> dict[str, Any]:
    """Return enabled, auto, sizes, max_connections and databases (names); what is wrong goes to `found`.

    auto: the load balancers' release of Debian decides, which is not known here (role base).
    """
    asked = settings["pgbouncer_enabled"]
    auto = asked == "auto"
    wanted = auto or boolean(asked)
    if wanted is None:
        found.refuse("group all", "pgbouncer_enabled", f"is {asked!r}", "Set auto, true or false")
    connections = number(settings["postgresql_max_connections"])
    if not isinstance(connections, int) or connections < RESERVED_LEAST:
        found.refuse(
            "group all",
            "postgresql_max_connections",
            f"is {settings['postgresql_max_connections']!r}",
            f"Set a whole number from {RESERVED_LEAST}",
        )
        connections = 200
    databases = _databases(settings["postgresql_databases"], found)
    balancers = len(members["loadbalancer"])
    enabled = bool(wanted) and balancers > 0 and bool(members["postgresql"])
    sizes = pool_sizes(connections, max(balancers, 1), max(len(databases), 1))
    if enabled and sizes["per_database"] < 1:
        found.refuse(
            "group all",
            "postgresql_max_connections",
            f"is {connections}, which leaves none of {balancers} pgbouncers a connection for each of {len(databases)} databases",
            "Raise it, or set pgbouncer_enabled to false",
        )
    return {
        "enabled": enabled,
        "auto": auto,
        "sizes": sizes,
        "max_connections": connections,
        "databases": databases,
    }


def _databases(value: Any, found: Findings) -> list[str]:
    """Return the names of the declared databases."""
    good = isinstance(value, list) and all(
        isinstance(entry, Mapping) and set(entry) == {"name", "owner"} and all(map(_is_name, entry.values()))
        for entry in value
    )
    if not good:
        found.refuse(
            "group all",
            "postgresql_databases",
            f"is {value!r}",
            "Write it like postgresql_databases: [{name: utmstack, owner: utmstack}], with letters, digits, _, - and dots",
        )
        return []
    names = list(dict.fromkeys(entry["name"] for entry in value))
    for name in names:
        if name in OWN_DATABASES:
            found.refuse(
                "group all", "postgresql_databases", f"has {name}, which is not for an application", "Rename it"
            )
    return names


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(DATABASE.fullmatch(value))
