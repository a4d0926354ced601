# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sentinel, which promotes another Redis where the master fails."""

from __future__ import annotations

from .listener import HOST, Listener
from .redis import asks
from .service import Data, Service

SERVICE = Service(
    name="sentinel",
    role="redis",
    layer="sentinel",
    state="redis",
    groups=("sentinel",),
    default_hosts="redis",
    listeners=(
        Listener(
            "sentinel",
            "Sentinel",
            "sentinel",
            26379,
            HOST,
            "Sentinel hosts, Redis hosts, swarm hosts (the application), clients that ask Sentinel",
        ),
    ),
    choices={"redis_flavor": ("redis", "valkey")},
    units=("{redis_flavor}-sentinel.service",),
    packages=("{redis_flavor}-sentinel", "{redis_flavor}-tools"),
    held=("{redis_flavor}-sentinel", "{redis_flavor}-tools"),
    upgrades=("{redis_flavor}-server", "{redis_flavor}-tools", "{redis_flavor}-sentinel"),
    upgraded={"{redis_flavor}-sentinel.service": ()},
    data=Data("redis_data_directory", "{redis_flavor}", "/var/lib/{redis_flavor}/utmstack-ha-sentinel.conf"),
    asks=asks,
    whole_host=("health", "drain", "hold", "release", "undrain"),
    restart="restart_sentinel",
    upgrade="upgrade_sentinel",
    drain=False,
    hands_over=(),
    comes_with="redis",
    processes={"sentinel": {"what": "Sentinel"}},
    peers=True,
)
