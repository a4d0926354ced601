# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""HAProxy, which has the ports of the virtual IP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .listener import HOST, VIP, Listener
from .service import Layer, Service, member


def drained(layer: Layer, host: str) -> list[str]:
    """The backends that send the host nothing, on purpose."""
    return [
        f"{row['backend']} of HAProxy"
        for row in (layer or {}).get("servers", [])
        if row["server"] == host and any(view.get("admin", "ready") != "ready" for view in row["on"].values())
    ]


def asks(_ha: Mapping[str, Any], _secrets: Mapping[str, str], _host: str) -> dict[str, dict[str, Any]]:
    """The host's own process is asked."""
    return {"utmstack.ha.haproxy_info": {}}


SERVICE = Service(
    name="haproxy",
    role="haproxy",
    layer="loadbalancer",
    groups=("loadbalancer",),
    listeners=(
        Listener(
            "loadbalancer",
            "HAProxy (statistics)",
            "stats",
            8404,
            HOST,
            "operators and Prometheus (`haproxy_stats_allowed_networks`)",
        ),
        Listener("loadbalancer", "HAProxy (HTTPS)", "https", 443, VIP, "users", ("backend", "web")),
        Listener(
            "loadbalancer",
            "HAProxy (redirect to HTTPS)",
            "http",
            80,
            VIP,
            "users, who are sent on to HTTPS",
            ("backend", "web"),
        ),
    ),
    memory=1,
    units=("haproxy.service",),
    packages=("haproxy", "python3-psycopg2"),
    held=("haproxy",),
    upgrades=("haproxy",),
    upgraded={"haproxy.service": ()},
    configs={"haproxy.service": ("/etc/haproxy/haproxy.cfg",)},
    asks=asks,
    serves=lambda layer, host: bool(member(layer, "hosts", host).get("answers")),
    drained=drained,
    hands_over=("vip",),
    independent=True,
    processes={"haproxy": {"what": "HAProxy"}},
)
