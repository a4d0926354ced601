# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""keepalived, which gives the virtual IP to one of the load balancers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .answers import answers_of, together
from .drill import LOSSY, POWER_OFF, VIP_HOLDER, Fault, frozen, killed
from .members import check_single
from .service import Service, Timing, member_of


def check_members(members: Mapping[str, list[str]], found: Any) -> None:
    """Somebody must hold the virtual IP, and another one take it."""
    check_single("loadbalancer", members["loadbalancer"], "with it the virtual IP is lost", found)
    if not members["loadbalancer"]:
        found.warn(
            "group loadbalancer", "members", "are none: nothing here holds the virtual IP", "Have another system do it"
        )


def outages(ha: Mapping[str, Any]) -> list[list[str]]:
    """RFC 5798, section 6.1: three adverts and a skew of (256 - priority) / 256 adverts."""
    balancers, advert = ha["loadbalancer"]["members"], ha["timing"]["keepalived"]["advert_interval_s"]
    if len(balancers) < 2:
        return []
    takeover = 3 * advert + (256 - balancers[1]["priority"]) / 256 * advert
    return [["host of the virtual IP dies", f"{takeover:.1f} s until the next one has it"]]


def check_timing(timing: Mapping[str, Any], require: Callable[[bool, str, str, str], None]) -> None:
    own = timing["keepalived"]
    require(
        own["script_timeout_s"] >= own["script_interval_s"],
        "keepalived.script_timeout_s",
        f"is {own['script_timeout_s']}, below script_interval_s ({own['script_interval_s']}): a busy "
        "host would give up the virtual IP for a slow check",
        f"Set it to {own['script_interval_s']} or more",
    )


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
    title="keepalived",
    role="keepalived",
    layer="loadbalancer",
    state="vip",
    groups=("loadbalancer",),
    check_members=check_members,
    outages=outages,
    # VRRPv3 has 12 bits of hundredths of a second (RFC 5798).
    timing=(
        Timing(
            part="keepalived",
            profiles={
                "fast": {
                    "advert_interval_s": 0.3,
                    "script_interval_s": 0.2,
                    "script_timeout_s": 1,
                    "script_fall": 2,
                    "script_rise": 2,
                },
                "normal": {
                    "advert_interval_s": 0.5,
                    "script_interval_s": 0.5,
                    "script_timeout_s": 2,
                    "script_fall": 2,
                    "script_rise": 2,
                },
                "wan": {
                    "advert_interval_s": 1,
                    "script_interval_s": 1,
                    "script_timeout_s": 3,
                    "script_fall": 2,
                    "script_rise": 2,
                },
            },
            limits={
                "advert_interval_s": (0.01, 40.95),
                "script_interval_s": (0.1, 60),
                "script_timeout_s": (0.1, 60),
                "script_fall": (1, 100),
                "script_rise": (1, 100),
            },
            decimals=("advert_interval_s", "script_interval_s", "script_timeout_s"),
            check=check_timing,
        ),
    ),
    compared=(("keepalived", "vip", "ha_vip", lambda ha, host, given: ha["virtual_ip"]["address"]),),
    settings={"keepalived_interface": ""},
    # keepalived 2.2 takes whole seconds for a script.
    releases={"12": {"keepalived_fractions": False}, "13": {"keepalived_fractions": True}},
    without={
        "12": "keepalived 2.2 runs a check once a second at most, so a frozen HAProxy or a dead host of the virtual IP is found later"
    },
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
