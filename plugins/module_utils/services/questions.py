# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host is asked about its services."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .registry import SERVICES, of_groups


def questions(ha: Mapping[str, Any], secrets: Mapping[str, str], host: str) -> dict[str, dict[str, Any]]:
    """Return by part of the platform's state the information module to ask there, with its options, as module observe takes them.

    Further modules of a service are asked by their own names, without those of their collection.
    """
    groups = ha["hosts"][host]["groups"]
    found: dict[str, dict[str, Any]] = {}
    for service in of_groups(groups):
        if not service.asks or not set(service.asked_groups or service.groups).intersection(groups):
            continue
        for number, (module, options) in enumerate(service.asks(ha, secrets, host).items()):
            found[module.rpartition(".")[2] if number else service.state or service.name] = {module: options}
    return found


def deployed_by(ha: Mapping[str, Any], host: str) -> dict[str, dict[str, Any]]:
    """Return by service what module deployed_info needs of it on a host besides settings and passwords."""
    groups = ha["hosts"][host]["groups"]
    return {name: dict(one.deployed_by(ha, groups)) for name, one in SERVICES.items() if one.deployed_by}
