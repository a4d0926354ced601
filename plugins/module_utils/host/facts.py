# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads what the roles must know of a host; each function takes what the system said and returns plain values."""

from __future__ import annotations

import ctypes
import json
from typing import Any

from . import freshness

# adjtimex(2): struct timex starts with modes, offset, freq and maxerror (microseconds).
_TIMEX_BYTES = 256
_SYNCHRONISED_BELOW_US = 16_000_000


class _Timex(ctypes.Structure):
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("rest", ctypes.c_ubyte * _TIMEX_BYTES),
    )


def os_release(text: str) -> dict[str, str]:
    """The fields of /etc/os-release (see os-release(5)), quotes removed."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, value in pairs}


def memory_mb(meminfo: str) -> int:
    """The host's memory in MiB out of /proc/meminfo.

    Raises:
        ValueError: the text has no line MemTotal.
    """
    for line in meminfo.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    raise ValueError("/proc/meminfo has no line MemTotal")


def missing_packages(wanted: list[str], found: dict[str, dict[str, Any]]) -> list[str]:
    """Which packages are not fully installed, in the order asked for; found: what parse_query of packages.py returned."""
    return [name for name in wanted if found.get(name, {}).get("status") != "installed"]


def interfaces(ip_json: str) -> dict[str, list[str]]:
    """Interface name to its addresses, out of C(ip -json address)."""
    return {
        link["ifname"].split("@")[0]: [entry["local"] for entry in link.get("addr_info", []) if "local" in entry]
        for link in json.loads(ip_json or "[]")
        if "ifname" in link
    }


def clock_synchronised() -> bool:
    """Whether the kernel holds the clock for synchronised: a maximum error under 16 s, as timedatectl judges it."""
    timex = _Timex()
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.adjtimex(ctypes.byref(timex)) >= 0 and timex.maxerror < _SYNCHRONISED_BELOW_US


def units(show: str) -> dict[str, dict[str, Any]]:
    """Unit to its state and when its main process started (ISO 8601, UTC; None where it does not run).

    Args:
        show: what C(systemctl show --timestamp=unix) said of Id, LoadState, ActiveState and ExecMainStartTimestamp, a
            paragraph for each unit. Units that are not installed are left out.
    """
    found = {}
    for paragraph in show.split("\n\n"):
        said = freshness.parse_show(paragraph)
        if said.get("LoadState") in (None, "not-found"):
            continue
        runs = said.get("ActiveState") in ("active", "reloading")
        started = freshness.parse_timestamp(said.get("ExecMainStartTimestamp", "")) if runs else None
        found[said["Id"]] = {
            "state": said.get("ActiveState", ""),
            "started": None if started is None else freshness.iso(started),
        }
    return found


def booted(proc: freshness.Proc) -> str:
    """When the host's first process started, ISO 8601 in UTC: unlike the kernel's own, a container has that time, too."""
    first = proc.process(1)
    return freshness.iso(first.started if first else proc.boot)
