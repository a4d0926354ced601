# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""etcd, where Patroni agrees on PostgreSQL's primary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .listener import HOST, Listener
from .service import Data, Service, member


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
    units=("etcd.service",),
    packages=("etcd-client", "etcd-server"),
    held=("etcd-server",),
    upgrades=("etcd-client", "etcd-server"),
    upgraded={"etcd.service": ()},
    data=Data("etcd_data_directory", "etcd"),
    configs={"etcd.service": ("/etc/default/etcd",)},
    asks=asks,
    serves=lambda layer, host: bool(member(layer, "members", host).get("healthy")),
    leads="etcd's leader",
    processes={"etcd": {"only": "main", "what": "etcd"}},
)
