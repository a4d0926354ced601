# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sentinel, which promotes another Redis where the master fails."""

from __future__ import annotations

from .change import PORT, REFUSED, Change, address, port
from .drill import REPLICA, Fault, frozen, killed
from .listener import HOST, Listener
from .redis import asks
from .service import Data, Service

SERVICE = Service(
    name="sentinel",
    title="Sentinel",
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
    changes=(
        Change(
            "redis_master_name",
            REFUSED,
            "To have another name, plan a time without Redis: stop Sentinel on all hosts, remove its own file utmstack-ha-sentinel.conf"
            " below /var/lib, then run site.yml",
        ),
        Change("ha_ports.sentinel", REFUSED, PORT),
    ),
    compared=(
        ("sentinel", "address", "ha_address", address),
        ("sentinel", "port", "ha_ports.sentinel", port("sentinel")),
        ("sentinel", "master_name", "redis_master_name", lambda ha, host, given: ha["redis"]["master_name"]),
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
    faults=(
        Fault("sentinel-sigkill", "A sentinel is killed", REPLICA, killed("sentinel"), hold_s=10),
        Fault("sentinel-sigstop", "A sentinel is frozen", REPLICA, frozen("sentinel"), hold_s=15),
    ),
)
