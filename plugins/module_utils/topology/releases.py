# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What differs between the releases of Debian whose packages the platform runs on; the roles have it as `ha.releases`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..services.registry import SERVICES, of_groups
from ..services.software import settings

# By VERSION_ID of /etc/os-release, the oldest first.
RELEASES = ("12", "13")


def releases() -> dict[str, dict[str, Any]]:
    """Return by release what differs of all services; each says it by itself (services/*.py)."""
    return {
        version: {
            name: value for service in SERVICES.values() for name, value in service.releases.get(version, {}).items()
        }
        for version in RELEASES
    }


def release_faults(ha: Mapping[str, Any], version: str, host: str, given: Mapping[str, Any]) -> list[str]:
    """Return what is asked of a host that its release's packages can't do, each with what to do instead.

    ha: the topology, as the host sees it. version: of its Debian, one of RELEASES. given: the settings that the inventory has, as
    for host_software.
    """
    release = ha["releases"][version]
    chosen = settings(ha, release, given)
    faults = [service.unsupported(ha, release, chosen) for service in of_groups(ha["host"]["groups"])]
    return [
        f"{problem}. {remedy}, or upgrade {host} to Debian {RELEASES[-1]}."
        for problem, remedy in dict.fromkeys(fault for fault in faults if fault)
    ]


def without(layers: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return what releases do without, of these layers only: by release and layer; releases without such are left out."""
    present = set(layers)
    found = {
        version: {
            service.layer: service.without[version]
            for service in SERVICES.values()
            if service.layer in present and version in service.without
        }
        for version in RELEASES
    }
    return {version: texts for version, texts in found.items() if texts}
