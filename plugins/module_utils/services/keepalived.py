# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""keepalived, which gives the virtual IP to one of the load balancers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .service import Service, member


def asks(ha: Mapping[str, Any], _secrets: Mapping[str, str], _host: str) -> dict[str, dict[str, Any]]:
    """Whether the host holds the virtual IP."""
    return {
        "utmstack.ha.vip_info": {"address": ha["virtual_ip"]["address"], "state_file": "/run/utmstack-ha/vip-state"}
    }


SERVICE = Service(
    name="keepalived",
    role="keepalived",
    layer="loadbalancer",
    state="vip",
    groups=("loadbalancer",),
    settings={"keepalived_interface": ""},
    units=("keepalived.service",),
    packages=("keepalived",),
    held=("keepalived",),
    upgrades=("keepalived",),
    upgraded={"keepalived.service": ()},
    configs={"keepalived.service": ("/etc/keepalived/keepalived.conf",)},
    asks=asks,
    # HAProxy's drain gives the address away.
    whole_host=("health",),
    serves=lambda layer, host: bool(member(layer, "members", host).get("keepalived")),
    leads="the virtual IP",
    leadership="vip",
    leader="holder",
    independent=True,
    processes={"keepalived": {"what": "keepalived"}},
)
