# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sentinel, which promotes another Redis where the master fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .change import PORT, REFUSED, Change, address, given, port
from .drill import REPLICA, Fault, frozen, killed
from .listener import HOST, Endpoint, Listener
from .members import check_voters, quorum
from .redis import asks, unsupported
from .service import Data, Service


def check_members(members: Mapping[str, list[str]], found: Any) -> None:
    """Three are needed to agree on a failover, and a Redis to fail over."""
    own, redis = members["sentinel"], members["redis"]
    if redis and len(own) < 3:
        found.refuse(
            "group sentinel",
            "members",
            f"are {len(own)}, too few to agree on a failover of Redis",
            "Add hosts until there are three; group sentinel may name others than group redis",
        )
    elif own:
        check_voters("sentinel", own, found)
    if own and not redis:
        found.refuse("group redis", "members", "are none, while group sentinel has some", "Add two hosts or more to it")


def endpoints(ha: Mapping[str, Any]) -> list[Endpoint]:
    """Not by the virtual IP: a client asks any sentinel, and goes to the master that it names."""
    if not ha["sentinel"]["members"]:
        return []
    where = f"sentinels, port {ha['ports']['sentinel']}, master {ha['redis']['master_name']}"
    return [
        Endpoint(
            "sentinel", "Redis, by Sentinel", "the master", "utmstack", "redis_application_password", address=where
        )
    ]


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
    part=lambda own, _ha: {**own, "quorum": quorum(len(own["members"]))},
    check_members=check_members,
    endpoints=endpoints,
    # A majority is needed.
    survives=lambda ha: len(ha["sentinel"]["members"]) - ha["sentinel"]["quorum"],
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
        ("sentinel", "data_directory", "redis_data_directory", given("redis_data_directory")),
        ("sentinel", "master_name", "redis_master_name", lambda ha, host, given: ha["redis"]["master_name"]),
    ),
    unsupported=unsupported,
    choices={"redis_flavor": ("redis", "valkey")},
    units=("{redis_flavor}-sentinel.service",),
    packages=("{redis_flavor}-sentinel", "{redis_flavor}-tools"),
    held=("{redis_flavor}-sentinel", "{redis_flavor}-tools"),
    upgrades=("{redis_flavor}-server", "{redis_flavor}-tools", "{redis_flavor}-sentinel"),
    upgraded={"{redis_flavor}-sentinel.service": ()},
    data=Data("redis_data_directory", "{redis_flavor}", "/var/lib/{redis_flavor}/utmstack-ha-sentinel.conf"),
    asks=asks,
    whole_host=("health", "drain", "hold", "release", "undrain", "retire"),
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
