# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""PostgreSQL under Patroni."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..common.text import size
from .answers import against_inventory, cluster
from .listener import HOST, VIP, Listener
from .service import Data, Layer, Service, member_of

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


def streams(member) -> bool:
    """Whether a member of the PostgreSQL cluster does its part."""
    works = member["reachable"] and member["state"] == "running"
    return works and (member["role"] in LEADING_ROLES or member["replication_state"] == "streaming")


def form(topology, observations, _roles):
    """Return its part of the state of the platform, as Service.form says."""
    members = topology["postgresql"]["members"]
    if not members:
        return None
    best, problems = cluster("postgresql", topology, observations, "postgresql", streams)
    found = list(best["members"]) if best else []
    missing, differences = against_inventory("postgresql", topology, found)
    keys = ("name", "host", "role", "reachable", "state", "replication_state", "timeline", "lag_bytes")
    keys += ("pending_restart", "tags")
    return {
        "healthy": not problems + differences,
        "problems": problems + differences,
        "leader": best["leader"] if best else None,
        "paused": best["paused"] if best else None,
        "synchronous_mode": best["synchronous_mode"] if best else None,
        "synchronous_standbys": best["synchronous_standbys"] if best else [],
        "members": [{**{key: member[key] for key in keys}, "serves": streams(member)} for member in found],
        "not_members": missing,
    }


def table(state):
    """Return its table, as Service.table says."""
    postgresql = state["postgresql"]
    if not postgresql:
        return "", []
    rows = [["member", "address", "role", "state", "timeline", "lag", "notes"]]
    for member in postgresql["members"]:
        leads = member["role"] in LEADING_ROLES
        doing = (member["replication_state"] or member["state"] if member["reachable"] else "no answer") or "unknown"
        notes = ["restart pending"] if member["pending_restart"] else []
        notes += [f"{key}: {value}" for key, value in member["tags"].items() if value]
        rows.append(
            [
                member["name"],
                str(member["host"] or ""),
                "primary" if member["role"] == "leader" else member["role"].replace("_", " "),
                doing if member["serves"] else doing.upper(),
                str(member["timeline"] or "-"),
                "-" if leads else size(member["lag_bytes"]) if member["lag_bytes"] is not None else "unknown",
                ", ".join(notes),
            ]
        )
    rows += [[name, "", "-", "NO MEMBER", "-", "-", ""] for name in postgresql["not_members"]]
    if len(rows) == 1:
        return "PostgreSQL, nobody answers", [["-"]]
    title = f"PostgreSQL, primary {postgresql['leader'] or 'NONE'}"
    if postgresql["synchronous_mode"] not in (None, "off"):
        standbys = ", ".join(postgresql["synchronous_standbys"]) or "NONE"
        title += f", synchronous mode {postgresql['synchronous_mode']} ({standbys})"
    return title + (", PAUSED (no automatic failover)" if postgresql["paused"] else ""), rows


def server_roles(layer: Layer) -> dict[str, dict[str, str]]:
    """Who is primary and who replica, to the backends that are for one of them."""
    members = (layer or {}).get("members", [])
    found = {one["name"]: "primary" if one["role"] in LEADING_ROLES else "replica" for one in members}
    return {"postgresql_write": found, "postgresql_read": found}


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
    proxied=True,
    tls_passed=True,
    memory=8,
    settings={
        "postgresql_version": "{release[postgresql]}",
        "postgresql_data_directory": "/var/lib/postgresql/{postgresql_version}/{cluster}",
    },
    shared={
        "postgresql_synchronous_mode": "",
        "postgresql_synchronous_node_count": 1,
        "postgresql_max_connections": 200,
        "postgresql_databases": [{"name": "utmstack", "owner": "utmstack"}],
    },
    passwords={
        "postgresql_superuser_password": "",
        "postgresql_replication_password": "",
        "postgresql_rewind_password": "",
        "postgresql_rest_password": "",
        "postgresql_application_password": "",
        "postgresql_pgbouncer_password": "",
        "postgresql_drill_password": "",
        "postgresql_reaper_password": "",
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
    form=form,
    table=table,
    server_roles=server_roles,
    whole_host=("health", "drain", "hold", "release", "undrain"),
    serves=lambda layer, host: bool(member_of(layer, "members", host).get("serves")),
    refusal=paused,
    leads="PostgreSQL's primary",
    successors=confirming,
    processes={
        "postgresql": {"what": "PostgreSQL"},
        "postmaster": {"only": "postgres", "what": "PostgreSQL's postmaster"},
        "patroni": {"only": "main", "what": "Patroni"},
    },
)
