# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What becomes of another value of a setting once a service is deployed, and what is compared to see that it is another one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

APPLIED, OPERATION, REFUSED = "applied", "needs an operation", "refused"
PORT = "The members reach each other by this port, so one with another port is lost to the rest; to use another, deploy a new cluster and restore into it"
CLIENT_PORT = (
    "The application or pgbouncer would use the old port until a run comes to them. For a further port, add a frontend with the same"
    " default_backend to haproxy_extra_config"
)
ROLLING = "one host after the other"
RELOAD_HAPROXY = "HAProxy is reloaded"
SWITCH = "by a second user that has the new one, while the first still has the old: {} moves over, then the first user gets the new one, and {} moves back"
NOT_ROTATED = (
    "This password can't be rotated yet, since there is no moment at which both the old and the new one are accepted"
)

# What the inventory wants: of the topology, the host's own part of it, and the settings that are given.
Wanted = Callable[[Mapping, Mapping, Mapping], Any]


@dataclass(frozen=True)
class Change:
    """What becomes of a new value. how: how it arrives, or, where it is refused, what to do instead.

    Of a password: found_in, where root can still read the old value; unknown, what is wrong and the remedy where it is not the deployed
    one though it can be changed.
    """

    setting: str
    effect: str
    how: str
    found_in: str = ""
    unknown: tuple[str, str] | tuple[()] = ()


def port(name: str) -> Wanted:
    return lambda ha, host, given: ha["ports"][name]


def given(name: str) -> Wanted:
    return lambda ha, host, given: given.get(name)


def name(ha: Mapping, host: Mapping, given: Mapping) -> Any:
    return host["name"]


def cluster_name(ha: Mapping, host: Mapping, given: Mapping) -> Any:
    return ha["cluster"]


def address(ha: Mapping, host: Mapping, given: Mapping) -> Any:
    return host["address"]


def tls_directory(ha: Mapping, host: Mapping, given: Mapping) -> Any:
    return ha["tls"]["directory"]
