# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ports: their defaults, the user's overrides, and who listens where on which host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from ..common.text import nearest
from ..common.values import number
from .faults import Findings

DEFAULT_PORTS: dict[str, int] = {
    "etcd_client": 2379,
    "etcd_peer": 2380,
    "postgresql": 5432,
    "patroni_rest": 8008,
    "postgresql_write": 5432,
    "postgresql_read": 5433,
    "postgresql_direct": 5434,
    "pgbouncer": 6432,
    "elasticsearch_http": 9200,
    "elasticsearch_transport": 9300,
    "elasticsearch": 9200,
    "redis": 6379,
    "sentinel": 26379,
    "redis_master": 6379,
    "swarm_cluster": 2377,
    "swarm_gossip": 7946,
    "swarm_data": 4789,
    "https": 443,
    "http": 80,
    "grpc": 50051,
    "stats": 8404,
    "backend_http": 8080,
    "backend_grpc": 50051,
    "web": 80,
    "ssh": 22,
}

EVERYWHERE, HOST, VIP = "every address", "the host's address", "the virtual IP"


@dataclass(frozen=True)
class Listener:
    """A socket that a layer opens on its hosts; `serves` names the layers (or `pgbouncer`) without which it is left out."""

    layer: str
    service: str
    key: str
    bind: str
    serves: tuple[str, ...] = ()


LISTENERS = (
    Listener("", "sshd", "ssh", EVERYWHERE),
    Listener("etcd", "etcd (clients)", "etcd_client", HOST),
    Listener("etcd", "etcd (peers)", "etcd_peer", HOST),
    Listener("postgresql", "PostgreSQL", "postgresql", HOST),
    Listener("postgresql", "Patroni", "patroni_rest", HOST),
    Listener("elasticsearch", "Elasticsearch (HTTPS)", "elasticsearch_http", HOST),
    Listener("elasticsearch", "Elasticsearch (nodes)", "elasticsearch_transport", HOST),
    Listener("redis", "Redis", "redis", HOST),
    Listener("sentinel", "Sentinel", "sentinel", HOST),
    Listener("swarm_managers", "Swarm (management)", "swarm_cluster", HOST),
    Listener("backend", "Swarm (gossip)", "swarm_gossip", HOST),
    Listener("backend", "Swarm (overlay, UDP)", "swarm_data", HOST),
    Listener("backend", "backend (HTTP)", "backend_http", HOST),
    Listener("backend", "backend (gRPC)", "backend_grpc", HOST),
    Listener("web", "web server", "web", HOST),
    Listener("loadbalancer", "HAProxy (statistics)", "stats", HOST),
    Listener("loadbalancer", "HAProxy (PostgreSQL primary)", "postgresql_write", VIP, ("postgresql",)),
    Listener("loadbalancer", "HAProxy (PostgreSQL replicas)", "postgresql_read", VIP, ("postgresql",)),
    Listener("loadbalancer", "HAProxy (PostgreSQL primary, not pooled)", "postgresql_direct", VIP, ("postgresql",)),
    Listener("loadbalancer", "HAProxy (PostgreSQL primary, not pooled)", "postgresql_direct", HOST, ("postgresql",)),
    Listener("loadbalancer", "pgbouncer", "pgbouncer", HOST, ("pgbouncer",)),
    Listener("loadbalancer", "HAProxy (Elasticsearch)", "elasticsearch", VIP, ("elasticsearch",)),
    Listener("loadbalancer", "HAProxy (Redis master)", "redis_master", VIP, ("redis",)),
    Listener("loadbalancer", "HAProxy (HTTPS)", "https", VIP, ("backend", "web")),
    Listener("loadbalancer", "HAProxy (redirect to HTTPS)", "http", VIP, ("backend", "web")),
    Listener("loadbalancer", "HAProxy (gRPC)", "grpc", VIP, ("backend",)),
)


def ports(overrides: Any, found: Findings) -> tuple[dict[str, int], list[str]]:
    """Return the port numbers with the overrides laid over the defaults, and the names of what was overridden."""
    result = dict(DEFAULT_PORTS)
    if not isinstance(overrides, Mapping):
        found.refuse("group all", "ha_ports", f"is {overrides!r}, no mapping", "Write it like ha_ports: {stats: 8405}")
        return result, []
    changed = []
    for key, value in overrides.items():
        name = f"ha_ports.{key}"
        if key not in DEFAULT_PORTS:
            found.refuse("group all", name, "is unknown", nearest(str(key), DEFAULT_PORTS))
            continue
        figure = number(value)
        if not isinstance(figure, int) or not 1 <= figure <= 65535:
            found.refuse("group all", name, f"is {value!r}", "Set a whole number from 1 to 65535")
            continue
        if figure != result[key]:
            result[key] = figure
            changed.append(key)
    return result, changed


def listeners(layers: list[str], present: set[str]) -> list[Listener]:
    """Return what listens on a host of these layers, in a platform where the layers `present` have members."""
    return [
        listener
        for listener in LISTENERS
        if (not listener.layer or listener.layer in layers)
        and (not listener.serves or any(layer in present for layer in listener.serves))
    ]


def check_collisions(host: str, layers: list[str], present: set[str], numbers: dict[str, int], found: Findings) -> None:
    """Refuse two services of one host on the same address and port."""
    for one, other in combinations(listeners(layers, present), 2):
        same_address = one.bind == other.bind or EVERYWHERE in (one.bind, other.bind)
        if numbers[one.key] != numbers[other.key] or not same_address:
            continue
        bind = other.bind if one.bind == EVERYWHERE else one.bind
        found.refuse(
            f"host {host}",
            f"ha_ports.{other.key}",
            f"is {numbers[other.key]}: {other.service} and {one.service} (ha_ports.{one.key}) would both listen there "
            f"on {bind}",
            f"Give ha_ports.{other.key} or ha_ports.{one.key} another number",
        )
