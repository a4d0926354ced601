# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Redis, or Valkey."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .listener import HOST, VIP, Listener
from .service import Data, Layer, Service, member


def answers(layer: Layer, host: str) -> bool:
    """Whether a server answers."""
    found = member(layer, "members", host)
    return bool(found and not found["error"])


def asks(ha: Mapping[str, Any], secrets: Mapping[str, str], _host: str) -> dict[str, dict[str, Any]]:
    """Each host asks all servers and sentinels."""
    return {
        "utmstack.ha.redis_sentinel_info": {
            "master_name": ha["redis"]["master_name"],
            "members": ha["redis"]["members"],
            "sentinels": ha["sentinel"]["members"],
            "port": ha["ports"]["redis"],
            "sentinel_port": ha["ports"]["sentinel"],
            "ca_path": ha["tls"]["ca"],
            "username": "admin",
            "password": secrets["redis_admin_password"],
        }
    }


SERVICE = Service(
    name="redis",
    role="redis",
    layer="redis",
    groups=("redis",),
    listeners=(
        Listener(
            "redis",
            "Redis",
            "redis",
            6379,
            HOST,
            "load balancers, Redis hosts, Sentinel hosts, swarm hosts (the application), clients that ask Sentinel",
        ),
        Listener(
            "loadbalancer",
            "HAProxy (Redis master)",
            "redis_master",
            6379,
            VIP,
            "clients that do not ask Sentinel (`haproxy_redis_allowed_networks`)",
            ("redis",),
        ),
    ),
    memory=2,
    settings={"redis_flavor": "redis", "redis_data_directory": "/var/lib/{redis_flavor}/{cluster}"},
    choices={"redis_flavor": ("redis", "valkey")},
    units=("{redis_flavor}-server.service",),
    packages=("{redis_flavor}-server", "{redis_flavor}-tools"),
    held=("{redis_flavor}-server", "{redis_flavor}-tools"),
    # Redis and Sentinel are one program, so their packages go together.
    upgrades=("{redis_flavor}-server", "{redis_flavor}-tools", "{redis_flavor}-sentinel"),
    upgraded={"{redis_flavor}-server.service": (), "{redis_flavor}-sentinel.service": ()},
    data=Data("redis_data_directory", "{redis_flavor}", "/var/lib/{redis_flavor}/utmstack-ha.conf"),
    # It forks to save its data.
    kernel={"vm.overcommit_memory": 1},
    asks=asks,
    whole_host=("health", "drain", "hold", "release", "undrain"),
    serves=answers,
    leads="Redis's master",
    leader="master",
    processes={"redis": {"what": "Redis"}},
)
