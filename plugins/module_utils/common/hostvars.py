# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the hosts of a run have found, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

REQUIRED = object()


def by_host(
    hosts: Iterable[str], hostvars: Mapping[str, Any], name: str, *keys: str, default: Any = REQUIRED
) -> dict[str, Any]:
    """Return the value that each host has in a variable, or under keys in it: a dict of host -> value, in the order of `hosts`.

    default: the value of a host that has none. Without it, such a host raises ValueError.
    """
    return {host: _value(host, hostvars[host], (name, *keys), default) for host in hosts}


def _value(host: str, value: Any, keys: tuple[str, ...], default: Any) -> Any:
    for count, key in enumerate(keys, start=1):
        if not isinstance(value, Mapping) or key not in value:
            if default is REQUIRED:
                raise ValueError(f"host {host} has no {'.'.join(keys[:count])}")
            return default
        value = value[key]
    return value
