# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Failover timing: the profiles, the user's overrides, and the rules that keep a set of them consistent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..common.text import nearest
from ..common.values import number
from ..services.registry import SERVICES
from .faults import Findings

# fast: measured on three co-located hosts: the smallest ttl that Patroni takes, HAProxy sees a failure in about 1 s,
#   the virtual IP taken over in 0.8 s. For one site with a round trip below about 5 ms.
# normal: Patroni's own defaults (ttl 30, loop_wait 10, retry_timeout 10), etcd's (100 and 1000 ms), VRRP at half a
#   second. For one site with busy or overcommitted hosts.
# wan: etcd's tuning guide for round trips up to about 300 ms (heartbeat of a round trip, election ten of them), and
#   Patroni's times stretched until an election fits into retry_timeout several times.
PROFILES: dict[str, dict[str, dict[str, float]]] = {
    "fast": {
        "patroni": {"ttl_s": 20, "loop_wait_s": 3, "retry_timeout_s": 5, "primary_start_timeout_s": 0},
        "etcd": {"heartbeat_interval_ms": 100, "election_timeout_ms": 1000},
        "postgresql": {
            "wal_receiver_timeout_ms": 3000,
            "wal_sender_timeout_ms": 5000,
            "wal_retrieve_retry_interval_ms": 500,
        },
        "haproxy": {
            "inter_ms": 500,
            "fastinter_ms": 250,
            "downinter_ms": 250,
            "check_timeout_ms": 400,
            "connect_timeout_ms": 300,
            "fall": 3,
            "rise": 1,
            "retries": 3,
        },
        "keepalived": {
            "advert_interval_s": 0.3,
            "script_interval_s": 0.2,
            "script_timeout_s": 1,
            "script_fall": 2,
            "script_rise": 2,
        },
        "tcp": {"retries2": 5},
    },
    "normal": {
        "patroni": {"ttl_s": 30, "loop_wait_s": 10, "retry_timeout_s": 10, "primary_start_timeout_s": 30},
        "etcd": {"heartbeat_interval_ms": 100, "election_timeout_ms": 1000},
        "postgresql": {
            "wal_receiver_timeout_ms": 10000,
            "wal_sender_timeout_ms": 15000,
            "wal_retrieve_retry_interval_ms": 500,
        },
        "haproxy": {
            "inter_ms": 2000,
            "fastinter_ms": 1000,
            "downinter_ms": 1000,
            "check_timeout_ms": 1000,
            "connect_timeout_ms": 1000,
            "fall": 2,
            "rise": 1,
            "retries": 3,
        },
        "keepalived": {
            "advert_interval_s": 0.5,
            "script_interval_s": 0.5,
            "script_timeout_s": 2,
            "script_fall": 2,
            "script_rise": 2,
        },
        "tcp": {"retries2": 5},
    },
    "wan": {
        "patroni": {"ttl_s": 60, "loop_wait_s": 10, "retry_timeout_s": 20, "primary_start_timeout_s": 60},
        "etcd": {"heartbeat_interval_ms": 300, "election_timeout_ms": 3000},
        "postgresql": {
            "wal_receiver_timeout_ms": 30000,
            "wal_sender_timeout_ms": 40000,
            "wal_retrieve_retry_interval_ms": 1000,
        },
        "haproxy": {
            "inter_ms": 5000,
            "fastinter_ms": 2000,
            "downinter_ms": 2000,
            "check_timeout_ms": 3000,
            "connect_timeout_ms": 3000,
            "fall": 3,
            "rise": 2,
            "retries": 3,
        },
        "keepalived": {
            "advert_interval_s": 1,
            "script_interval_s": 1,
            "script_timeout_s": 3,
            "script_fall": 2,
            "script_rise": 2,
        },
        "tcp": {"retries2": 8},
    },
}

# What each component takes, smallest and largest. Patroni's minimums are those of its own validator, etcd's maximum
# election timeout is 50 s, VRRPv3 has 12 bits of hundredths of a second (RFC 5798), tcp_retries2 is the kernel's.
LIMITS: dict[str, dict[str, tuple[float, float]]] = {
    "patroni": {
        "ttl_s": (20, 3600),
        "loop_wait_s": (1, 600),
        "retry_timeout_s": (3, 600),
        "primary_start_timeout_s": (0, 3600),
    },
    "etcd": {"heartbeat_interval_ms": (10, 10000), "election_timeout_ms": (50, 50000)},
    "postgresql": {
        "wal_receiver_timeout_ms": (1000, 600000),
        "wal_sender_timeout_ms": (1000, 600000),
        "wal_retrieve_retry_interval_ms": (1, 60000),
    },
    "haproxy": {
        "inter_ms": (50, 60000),
        "fastinter_ms": (50, 60000),
        "downinter_ms": (50, 60000),
        "check_timeout_ms": (10, 60000),
        "connect_timeout_ms": (10, 60000),
        "fall": (1, 100),
        "rise": (1, 100),
        "retries": (0, 100),
    },
    "keepalived": {
        "advert_interval_s": (0.01, 40.95),
        "script_interval_s": (0.1, 60),
        "script_timeout_s": (0.1, 60),
        "script_fall": (1, 100),
        "script_rise": (1, 100),
    },
    "tcp": {"retries2": (3, 15)},
}
# keepalived takes parts of a second; all others whole numbers.
DECIMAL = {"advert_interval_s", "script_interval_s", "script_timeout_s"}

# The part of the operating system, which comes last.
TCP = "tcp"

Timing = dict[str, dict[str, float]]


def _timed() -> list[Any]:
    return [service.timing for service in SERVICES.values() if service.timing]


def profiles() -> dict[str, Timing]:
    """Return the profiles with the parts of the services that bring their own."""
    return {
        name: {
            **{part: dict(figures) for part, figures in parts.items() if part != TCP},
            **{own.part: dict(own.profiles[name]) for own in _timed()},
            TCP: dict(parts[TCP]),
        }
        for name, parts in PROFILES.items()
    }


def limits() -> dict[str, Mapping[str, tuple[float, float]]]:
    """Return LIMITS with those of these services."""
    return LIMITS | {own.part: own.limits for own in _timed()}


def timing(profile: Any, overrides: Any, found: Findings) -> tuple[Timing, list[str]]:
    """Return the timing of a profile with the overrides laid over it, and the names of what was overridden.

    What is wrong goes to `found`; the profile's own value then stands in, so that the other rules can still be checked.
    """
    if not isinstance(profile, str) or profile not in PROFILES:
        found.refuse(
            "group all", "ha_failover_profile", f"is {profile!r}, which is no profile", nearest(str(profile), PROFILES)
        )
        profile = "fast"
    result = profiles()[profile]
    changed = _override(result, overrides, found)
    _check_rules(result, found)
    return result, changed


def _override(result: Timing, overrides: Any, found: Findings) -> list[str]:
    if not isinstance(overrides, Mapping):
        found.refuse(
            "group all", "ha_timing", f"is {overrides!r}, no mapping", "Write it like ha_timing: {patroni: {ttl_s: 30}}"
        )
        return []
    changed = []
    for part, values in overrides.items():
        if part not in result:
            found.refuse("group all", f"ha_timing.{part}", "is unknown", nearest(str(part), result))
            continue
        if not isinstance(values, Mapping):
            found.refuse(
                "group all",
                f"ha_timing.{part}",
                f"is {values!r}, no mapping",
                f"Its keys are {', '.join(result[part])}",
            )
            continue
        for key, value in values.items():
            name = f"ha_timing.{part}.{key}"
            if key not in result[part]:
                found.refuse("group all", name, "is unknown", nearest(str(key), result[part]))
                continue
            figure = _figure(name, key, value, limits()[part][key], found)
            if figure is not None and figure != result[part][key]:
                result[part][key] = figure
                changed.append(f"{part}.{key}")
    return changed


def _figure(name: str, key: str, value: Any, limits: tuple[float, float], found: Findings) -> float | None:
    low, high = limits
    kind = "a number" if key in DECIMAL else "a whole number"
    figure = number(value)
    if figure is None or (isinstance(figure, float) and key not in DECIMAL) or not low <= figure <= high:
        found.refuse("group all", name, f"is {value!r}", f"Set {kind} from {low} to {high}")
        return None
    return figure


def _check_rules(timing: Timing, found: Findings) -> None:
    patroni, etcd, postgresql = timing["patroni"], timing["etcd"], timing["postgresql"]
    haproxy, keepalived = timing["haproxy"], timing["keepalived"]

    def require(holds: bool, setting: str, problem: str, remedy: str) -> None:
        if not holds:
            found.refuse("group all", f"ha_timing.{setting}", problem, remedy)

    loop_wait, retry_timeout, ttl = patroni["loop_wait_s"], patroni["retry_timeout_s"], patroni["ttl_s"]
    needed = loop_wait + 2 * retry_timeout
    require(
        needed <= ttl,
        "patroni.ttl_s",
        f"is {ttl}, less than loop_wait_s + 2 x retry_timeout_s = {loop_wait} + 2 x {retry_timeout} = {needed}: the "
        "primary would lose its lease while it still tries to renew it",
        f"Set it to {needed} or more, or lower loop_wait_s or retry_timeout_s",
    )
    heartbeat, election = etcd["heartbeat_interval_ms"], etcd["election_timeout_ms"]
    require(
        election >= 5 * heartbeat,
        "etcd.election_timeout_ms",
        f"is {election}, less than 5 x heartbeat_interval_ms ({heartbeat}), which etcd refuses",
        f"Set it to {5 * heartbeat} or more, better {10 * heartbeat}",
    )
    require(
        election < retry_timeout * 1000,
        "patroni.retry_timeout_s",
        f"is {retry_timeout}, no longer than one etcd election ({election} ms): each election would demote the primary",
        f"Set it above {election / 1000:g}, or lower etcd.election_timeout_ms",
    )
    receiver, sender = postgresql["wal_receiver_timeout_ms"], postgresql["wal_sender_timeout_ms"]
    require(
        sender > receiver,
        "postgresql.wal_sender_timeout_ms",
        f"is {sender}, not above wal_receiver_timeout_ms ({receiver}): the primary would drop a standby "
        "that still waits",
        f"Set it above {receiver}",
    )
    inter, check_timeout = haproxy["inter_ms"], haproxy["check_timeout_ms"]
    require(
        check_timeout <= inter,
        "haproxy.check_timeout_ms",
        f"is {check_timeout}, above inter_ms ({inter}): a check would outlast the interval and delay the next",
        f"Set it to {inter} or less, or raise inter_ms",
    )
    for key in ("fastinter_ms", "downinter_ms"):
        require(
            haproxy[key] <= inter,
            f"haproxy.{key}",
            f"is {haproxy[key]}, above inter_ms ({inter}), though it is the faster one",
            f"Set it to {inter} or less",
        )
    require(
        keepalived["script_timeout_s"] >= keepalived["script_interval_s"],
        "keepalived.script_timeout_s",
        f"is {keepalived['script_timeout_s']}, below script_interval_s ({keepalived['script_interval_s']}): a busy "
        "host would give up the virtual IP for a slow check",
        f"Set it to {keepalived['script_interval_s']} or more",
    )
    for service in _timed():
        service.check(timing, require)
