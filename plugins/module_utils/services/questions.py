# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host is asked about its services."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .registry import SERVICES, of_groups


def questions(ha: Mapping[str, Any], secrets: Mapping[str, str], host: str) -> dict[str, dict[str, Any]]:
    """Return by part of the platform's state the information module to ask there, with its options, as module observe takes them."""
    groups = ha["hosts"][host]["groups"]
    return {
        service.state or service.name: dict(service.asks(ha, secrets, host))
        for service in of_groups(groups)
        if service.asks and set(service.asked_groups or service.groups).intersection(groups)
    }


def deployed_by(ha: Mapping[str, Any], host: str) -> dict[str, dict[str, Any]]:
    """Return by service what module deployed_info needs of it on a host besides settings and passwords."""
    groups = ha["hosts"][host]["groups"]
    return {name: dict(one.deployed_by(ha, groups)) for name, one in SERVICES.items() if one.deployed_by}
