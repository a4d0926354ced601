# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""etcd, where Patroni agrees on PostgreSQL's primary."""

from __future__ import annotations

from .service import Service, member

SERVICE = Service(
    name="etcd",
    role="etcd",
    layer="etcd",
    units=("etcd.service",),
    serves=lambda layer, host: bool(member(layer, "members", host).get("healthy")),
    leads="etcd's leader",
    processes={"etcd": {"only": "main", "what": "etcd"}},
)
