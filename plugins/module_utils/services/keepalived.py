# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""keepalived, which gives the virtual IP to one of the load balancers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .answers import answers_of, together
from .drill import LOSSY, POWER_OFF, VIP_HOLDER, Fault, frozen, killed
from .service import Service, member_of


def asks(ha: Mapping[str, Any], _secrets: Mapping[str, str], _host: str) -> dict[str, dict[str, Any]]:
    """Whether the host holds the virtual IP."""
    return {
        "utmstack.ha.vip_info": {"address": ha["virtual_ip"]["address"], "state_file": "/run/utmstack-ha/vip-state"}
    }


def form(topology, observations, _roles):
    """Return its part of the state of the platform, as Service.form says."""
    members = topology["loadbalancer"]["members"]
    if not members:
        return None
    address = topology["virtual_ip"]["address"]
    rows, said, unasked, strangers = [], [], [], set()
    for name, answer, error in answers_of(members, observations, "vip"):
        priority = topology["hosts"].get(name, {}).get("priority")
        row = {"name": name, "priority": priority, "held": None, "interface": None, "prefix": None}
        row.update(keepalived=None, state=None)
        if answer is None:
            unasked.append(name)
            said += [(name, f"the virtual address could not be looked for ({error})")] if error else []
        else:
            row.update({key: answer[key] for key in ("held", "interface", "prefix")})
            row.update(keepalived=answer["keepalived"]["running"], state=answer["keepalived"]["state"])
            said += [(name, problem) for problem in answer["problems"]]
            strangers.update(answer["others"])
        rows.append(row)
    problems = together(said)
    holders = [row["name"] for row in rows if row["held"]]
    if len(holders) > 1:
        problems.insert(0, f"vip: {len(holders)} hosts hold {address}: {', '.join(holders)}")
    elif not holders:
        asked = f" of those that could be asked (not {', '.join(unasked)})" if unasked else ""
        who = f", but {', '.join(sorted(strangers))} answers for it" if strangers else ""
        problems.insert(0, f"vip: no load balancer{asked} holds {address}{who}")
    return {
        "healthy": not problems and not unasked,
        "problems": problems,
        "address": address,
        "cidr": topology["virtual_ip"]["cidr"],
        "holder": holders[0] if len(holders) == 1 else None,
        "holders": holders,
        "members": rows,
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
    form=form,
    # The table of hosts shows it.
    table=lambda _state: ("", []),
    # HAProxy's drain gives the address away.
    whole_host=("health",),
    serves=lambda layer, host: bool(member_of(layer, "members", host).get("keepalived")),
    leads="the virtual IP",
    leadership="vip",
    leader="holder",
    independent=True,
    processes={"keepalived": {"what": "keepalived"}},
    faults=(
        Fault(
            "keepalived-sigkill",
            "keepalived is killed on the holder of the virtual IP",
            VIP_HOLDER,
            killed("keepalived"),
            hold_s=10,
        ),
        Fault(
            "keepalived-sigstop",
            "keepalived is frozen on the holder of the virtual IP",
            VIP_HOLDER,
            frozen("keepalived"),
            hold_s=15,
        ),
        Fault(
            "vip-host-power-off",
            "The host of the virtual IP loses its power, and leads nothing else",
            VIP_HOLDER,
            POWER_OFF,
            hold_s=40,
            target_s={"postgresql": 2},
            alone=True,
        ),
        Fault(
            "clients-partition",
            "Clients are cut off from the holder of the virtual IP, which its peers see well; nobody can notice",
            VIP_HOLDER,
            {"kind": "partition", "cut": "clients"},
            hold_s=10,
        ),
        Fault(
            "vip-host-lossy",
            "The host of the virtual IP loses a share of its packets, and leads nothing else",
            VIP_HOLDER,
            LOSSY,
            hold_s=60,
            alone=True,
        ),
    ),
    reported="Virtual IP",
)
