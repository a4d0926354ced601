# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Failover timing: the profiles, the user's overrides, and the rules that keep a set of them consistent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..common.text import nearest
from ..common.values import number
from ..services.registry import SERVICES
from ..services.service import Timing
from .faults import Findings

# What the profiles are for; the figures of each service are in its object (services/*.py).
# fast: measured on three co-located hosts: the smallest ttl that Patroni takes, HAProxy sees a failure in about 1 s,
#   the virtual IP taken over in 0.8 s. For one site with a round trip below about 5 ms.
# normal: Patroni's own defaults (ttl 30, loop_wait 10, retry_timeout 10), etcd's (100 and 1000 ms), VRRP at half a
#   second. For one site with busy or overcommitted hosts.
# wan: etcd's tuning guide for round trips up to about 300 ms (heartbeat of a round trip, election ten of them), and
#   Patroni's times stretched until an election fits into retry_timeout several times.
PROFILES = ("fast", "normal", "wan")

# The part of the operating system, which comes last. Its limits are the kernel's.
TCP = Timing(
    part="tcp",
    profiles={"fast": {"retries2": 5}, "normal": {"retries2": 5}, "wan": {"retries2": 8}},
    limits={"retries2": (3, 15)},
)

# By part, its settings and their figures.
Figures = dict[str, dict[str, float]]


def _parts() -> list[Timing]:
    return [*(part for service in SERVICES.values() for part in service.timing), TCP]


def profiles() -> dict[str, Figures]:
    """Return the figures of each profile."""
    return {name: {own.part: dict(own.profiles[name]) for own in _parts()} for name in PROFILES}


def limits() -> dict[str, Mapping[str, tuple[float, float]]]:
    """Return by part what each of its settings takes, smallest and largest."""
    return {own.part: own.limits for own in _parts()}


def timing(profile: Any, overrides: Any, found: Findings) -> tuple[Figures, list[str]]:
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


def _override(result: Figures, overrides: Any, found: Findings) -> list[str]:
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
    decimals = {name for own in _parts() for name in own.decimals}
    kind = "a number" if key in decimals else "a whole number"
    figure = number(value)
    if figure is None or (isinstance(figure, float) and key not in decimals) or not low <= figure <= high:
        found.refuse("group all", name, f"is {value!r}", f"Set {kind} from {low} to {high}")
        return None
    return figure


def _check_rules(timing: Figures, found: Findings) -> None:
    def require(holds: bool, setting: str, problem: str, remedy: str) -> None:
        if not holds:
            found.refuse("group all", f"ha_timing.{setting}", problem, remedy)

    for own in _parts():
        own.check(timing, require)
