# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Clocks of hosts against the controller's, by the time that asking took: a slow answer makes a reading less exact, not wrong."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any


def reading(sent: float, host: float, received: float) -> dict[str, float]:
    """Return by how much a host's clock is ahead, and how far that may be off, both in seconds.

    sent, received: the controller's time before and after asking; host: the host's, somewhere in between. As in NTP (RFC 5905,
    section 8) the middle is taken, and half of the round trip is the uncertainty.
    """
    return {"offset_s": round(host - (sent + received) / 2, 3), "uncertainty_s": round((received - sent) / 2, 3)}


def faults(hosts: Mapping[str, Mapping[str, Any]], limit_s: float, synchronised: bool) -> list[str]:
    """Return what is wrong with the clocks, one sentence each.

    hosts: by name, what M(utmstack.ha.host_info) returned. limit_s: the largest difference of two clocks. It is exceeded where it
    is for certain. synchronised: whether a clock that nobody keeps right is a fault, too.
    """
    readings = {name: answer["clock"] for name, answer in hosts.items() if answer.get("clock")}
    off = {name: one for name, one in readings.items() if _apart(one) > limit_s}
    if readings and len(off) == len(readings) > 1 and not _apart_hosts(readings, limit_s):
        found = [f"the controller's clock differs from those of all hosts: {_told(readings)}"]
    else:
        found = [f"the clock of {name} is {_amount(one)} the controller's" for name, one in off.items()]
        pairs = [pair for pair in _apart_hosts(readings, limit_s) if not off.keys() & set(pair)]
        found += [
            f"the clocks of {one} and {other} differ by {abs(readings[one]['offset_s'] - readings[other]['offset_s']):.1f} s"
            for one, other in pairs
        ]
    if synchronised:
        unkept = [name for name, answer in hosts.items() if not answer.get("clock_synchronised", True)]
        found += [f"the clock of {', '.join(unkept)} is not synchronised"] if unkept else []
    return found


def _apart(one: Mapping[str, float], other: Mapping[str, float] | None = None) -> float:
    """Return by how much two clocks differ at least; one alone is compared with the controller's."""
    other = other or {"offset_s": 0, "uncertainty_s": 0}
    return abs(one["offset_s"] - other["offset_s"]) - one["uncertainty_s"] - other["uncertainty_s"]


def _apart_hosts(readings: Mapping[str, Mapping[str, float]], limit_s: float) -> list[tuple[str, str]]:
    return [pair for pair in combinations(readings, 2) if _apart(*(readings[name] for name in pair)) > limit_s]


def _told(readings: Mapping[str, Mapping[str, float]]) -> str:
    return ", ".join(f"{name} is {_amount(one)} it" for name, one in readings.items())


def _amount(one: Mapping[str, float]) -> str:
    side = "ahead of" if one["offset_s"] > 0 else "behind"
    return f"{abs(one['offset_s']):.1f} s (give or take {one['uncertainty_s']:.1f} s) {side}"
