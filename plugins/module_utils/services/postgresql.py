# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""PostgreSQL under Patroni."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .listener import HOST, VIP, Listener
from .service import Data, Layer, Service, member

# Patroni's words for who takes writes.
LEADING_ROLES = ("leader", "standby_leader")


def confirming(layer: Layer) -> list[str]:
    """The standbys that confirm writes: the only ones that may take over while there are any."""
    return [one["name"] for one in (layer or {}).get("members", []) if one["role"] not in (*LEADING_ROLES, "replica")]


def paused(layer: Layer) -> str:
    """Why nothing may begin while Patroni does not act."""
    return "Patroni is paused. End that first: patronictl resume." if (layer or {}).get("paused") else ""


def asks(ha: Mapping[str, Any], secrets: Mapping[str, str], host: str) -> dict[str, dict[str, Any]]:
    """The host's own Patroni tells of the cluster."""
    return {
        "utmstack.ha.patroni_info": {
            "url": [one["rest_url"] for one in ha["postgresql"]["members"] if one["name"] == host],
            "ca_path": ha["tls"]["ca"],
            "timeout": 3,
        }
    }


SERVICE = Service(
    name="postgresql",
    role="postgresql",
    layer="postgresql",
    groups=("postgresql",),
    listeners=(
        Listener(
            "postgresql",
            "PostgreSQL",
            "postgresql",
            5432,
            HOST,
            "load balancers, PostgreSQL hosts, `postgresql_allowed_networks`",
        ),
        Listener(
            "postgresql",
            "Patroni",
            "patroni_rest",
            8008,
            HOST,
            "load balancers (checks), PostgreSQL hosts, swarm hosts while the application's password changes, `postgresql_rest_allowed_networks`",
        ),
        Listener(
            "loadbalancer",
            "HAProxy (PostgreSQL primary)",
            "postgresql_write",
            5432,
            VIP,
            "clients (`haproxy_postgresql_allowed_networks`), swarm hosts (the application)",
            ("postgresql",),
        ),
        Listener(
            "loadbalancer",
            "HAProxy (PostgreSQL replicas)",
            "postgresql_read",
            5433,
            VIP,
            "clients (`haproxy_postgresql_allowed_networks`)",
            ("postgresql",),
        ),
        Listener(
            "loadbalancer",
            "HAProxy (PostgreSQL primary, not pooled)",
            "postgresql_direct",
            5434,
            VIP,
            "clients (`haproxy_postgresql_allowed_networks`), pgbouncer on the load balancers",
            ("postgresql",),
        ),
        Listener(
            "loadbalancer",
            "HAProxy (PostgreSQL primary, not pooled)",
            "postgresql_direct",
            5434,
            HOST,
            "HAProxy of the same host, PostgreSQL hosts during a planned switchover",
            ("postgresql",),
        ),
    ),
    memory=8,
    settings={
        "postgresql_version": "{release[postgresql]}",
        "postgresql_data_directory": "/var/lib/postgresql/{postgresql_version}/{cluster}",
    },
    units=("patroni.service",),
    packages=(
        "patroni",
        "postgresql-{postgresql_version}",
        "python3-etcd",  # Patroni's etcd3 needs it; the package is content with another store's
        "python3-psycopg2",
    ),
    held=("patroni", "postgresql-{postgresql_version}"),
    upgrades=("patroni", "postgresql-{release[postgresql]}", "postgresql-{postgresql_version}"),
    upgraded={
        "patroni.service": (
            "/usr/bin/patroni",
            "/usr/lib/python3/dist-packages/patroni/version.py",
            "/usr/lib/postgresql/{postgresql_version}/bin/postgres",
        )
    },
    data=Data("postgresql_data_directory", "postgres"),
    configs={"patroni.service": ("/etc/patroni/config.yml",)},
    asks=asks,
    whole_host=("health", "drain", "hold", "release", "undrain"),
    serves=lambda layer, host: bool(member(layer, "members", host).get("serves")),
    refusal=paused,
    leads="PostgreSQL's primary",
    heirs=confirming,
    processes={
        "postgresql": {"what": "PostgreSQL"},
        "postmaster": {"only": "postgres", "what": "PostgreSQL's postmaster"},
        "patroni": {"only": "main", "what": "Patroni"},
    },
)
