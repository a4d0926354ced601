# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""keepalived, which gives the virtual IP to one of the load balancers."""

from __future__ import annotations

from .service import Service, member

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
    serves=lambda layer, host: bool(member(layer, "members", host).get("keepalived")),
    leads="the virtual IP",
    leadership="vip",
    leader="holder",
    independent=True,
    processes={"keepalived": {"what": "keepalived"}},
)
