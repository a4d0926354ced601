# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""etcd, where Patroni agrees on PostgreSQL's primary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..common.text import size
from .answers import against_inventory, cluster
from .listener import HOST, Listener
from .service import Data, Service, member_of


def asks(ha: Mapping[str, Any], secrets: Mapping[str, str], _host: str) -> dict[str, dict[str, Any]]:
    """One member tells of all."""
    return {
        "utmstack.ha.etcd_info": {
            "endpoints": ha["etcd"]["endpoints"],
            "ca_path": ha["tls"]["ca"],
            "client_cert": ha["tls"]["certificate"],
            "client_key": ha["tls"]["key"],
            "username": "root",
            "password": secrets["etcd_root_password"],
            "timeout": 3,
        }
    }


def form(topology, observations, _roles):
    """Return its part of the state of the platform, as Service.form says."""
    members = topology["etcd"]["members"]
    if not members:
        return None
    best, problems = cluster("etcd", topology, observations, "etcd", lambda member: member["healthy"])
    found = list(best["members"]) if best else []
    missing, differences = against_inventory("etcd", topology, found)
    problems += differences
    healthy = sum(1 for member in found if member["healthy"])
    if found and healthy < topology["etcd"]["quorum"]:
        quorum = f"{healthy} of {len(found)} members are healthy, {topology['etcd']['quorum']} are needed"
        problems.insert(0, f"etcd: no quorum: {quorum}")
    addresses = {member["name"]: member["address"] for member in members}
    keys = ("leader", "learner", "healthy", "version", "db_size_bytes", "raft_term", "error")
    return {
        "healthy": not problems,
        "problems": problems,
        "leader": best["leader"] if best else None,
        "quorum": topology["etcd"]["quorum"],
        "members": [
            {
                "name": member["name"] or "(never started)",
                "address": addresses.get(member["name"], ""),
                **{key: member[key] for key in keys},
            }
            for member in found
        ],
        "not_members": missing,
    }


def table(state):
    """Return its table, as Service.table says."""
    etcd = state["etcd"]
    if not etcd:
        return "", []
    rows = [["member", "address", "role", "health", "version", "database", "raft term"]]
    for member in etcd["members"]:
        role = "leader" if member["leader"] else "learner" if member["learner"] else "follower"
        known = member["version"] is not None
        rows.append(
            [
                member["name"],
                member["address"],
                role if known else "-",
                "ok" if member["healthy"] else "BAD",
                member["version"] or "-",
                size(member["db_size_bytes"]),
                str(member["raft_term"] or "-"),
            ]
        )
    rows += [[name, "", "-", "NO MEMBER", "-", "-", "-"] for name in etcd["not_members"]]
    if len(rows) == 1:
        return "etcd, nobody answers", [["-"]]
    healthy = sum(1 for member in etcd["members"] if member["healthy"])
    return f"etcd, {healthy} of {len(rows) - 1} healthy, quorum {etcd['quorum']}", rows


SERVICE = Service(
    name="etcd",
    role="etcd",
    layer="etcd",
    groups=("etcd",),
    listeners=(
        Listener("etcd", "etcd (clients)", "etcd_client", 2379, HOST, "PostgreSQL hosts (Patroni), etcd hosts"),
        Listener("etcd", "etcd (peers)", "etcd_peer", 2380, HOST, "etcd hosts"),
    ),
    memory=1,
    settings={"etcd_data_directory": "/var/lib/etcd/{cluster}"},
    passwords={"etcd_root_password": "", "etcd_patroni_password": ""},
    units=("etcd.service",),
    packages=("etcd-client", "etcd-server"),
    held=("etcd-server",),
    upgrades=("etcd-client", "etcd-server"),
    upgraded={"etcd.service": ()},
    data=Data("etcd_data_directory", "etcd"),
    configs={"etcd.service": ("/etc/default/etcd",)},
    asks=asks,
    form=form,
    table=table,
    serves=lambda layer, host: bool(member_of(layer, "members", host).get("healthy")),
    leads="etcd's leader",
    processes={"etcd": {"only": "main", "what": "etcd"}},
)
