# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Redis, or Valkey."""

from __future__ import annotations

from .service import Layer, Service, member


def answers(layer: Layer, host: str) -> bool:
    """Whether a server answers."""
    found = member(layer, "members", host)
    return bool(found and not found["error"])


SERVICE = Service(
    name="redis",
    role="redis",
    layer="redis",
    units=("redis-server.service", "valkey-server.service"),
    serves=answers,
    leads="Redis's master",
    leader="master",
    processes={"redis": {"what": "Redis"}},
)
