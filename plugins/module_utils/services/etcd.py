# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""etcd, where Patroni agrees on PostgreSQL's primary."""

from __future__ import annotations

from .service import Data, Service, member

SERVICE = Service(
    name="etcd",
    role="etcd",
    layer="etcd",
    groups=("etcd",),
    settings={"etcd_data_directory": "/var/lib/etcd/{cluster}"},
    units=("etcd.service",),
    packages=("etcd-client", "etcd-server"),
    held=("etcd-server",),
    upgrades=("etcd-client", "etcd-server"),
    upgraded={"etcd.service": ()},
    data=Data("etcd_data_directory", "etcd"),
    configs={"etcd.service": ("/etc/default/etcd",)},
    serves=lambda layer, host: bool(member(layer, "members", host).get("healthy")),
    leads="etcd's leader",
    processes={"etcd": {"only": "main", "what": "etcd"}},
)
