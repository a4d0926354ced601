# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who has the virtual IP, as this host sees it."""

from __future__ import annotations

import os

from ..common.info import Question, Unanswered
from . import deployed, vip


def keepalived_of(module, unit, instance, state_file):
    """Whether keepalived runs and the VRRP state that it last told."""
    systemctl = module.get_bin_path("systemctl")
    known = {"running": False, "active_state": "unknown", "state": None, "state_source": None}
    if not systemctl:
        return known
    out = module.run_command([systemctl, "show", "--property=ActiveState,InvocationID", unit])[1]
    show = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
    known["active_state"] = show.get("ActiveState") or "unknown"
    known["running"] = known["active_state"] in ("active", "reloading")
    if not known["running"]:
        return known
    if state_file and os.path.exists(state_file):
        with open(state_file, encoding="utf-8", errors="replace") as file:
            known["state"] = vip.vrrp_state_in_file(file.read())
        known["state_source"] = "file" if known["state"] else None
    journalctl = module.get_bin_path("journalctl")
    if known["state"] is None and journalctl and show.get("InvocationID"):
        # Some versions reverse by themselves where --grep and --lines come together.
        command = [journalctl, "--quiet", "--no-pager", "--output=cat", "--lines=20", "--reverse"]
        filters = ["--grep=Entering [A-Z]+ STATE", f"_SYSTEMD_INVOCATION_ID={show['InvocationID']}"]
        out = module.run_command([*command, *filters])[1]
        known["state"] = vip.vrrp_state_in_log(reversed(out.splitlines()), instance)
        known["state_source"] = "journal" if known["state"] else None
    return known


def probe(module, ip, address, places, addresses, seconds):
    """Who else answers for the address; None where nobody could be asked."""
    if seconds <= 0 or ":" in address:
        return None
    interface = places[0]["interface"] if places else None
    if not interface:
        route = vip.parse_route(module.run_command([ip, "-j", "route", "get", address])[1])
        if not route or not route["direct"]:
            return None
        interface = route["interface"]
    try:
        return vip.arp_probe(interface, address, seconds, own_macs=[entry["mac"] for entry in addresses])
    except OSError as error:
        module.debug(f"no ARP probe on {interface}: {error}")
        return None


def answer(module, given: dict) -> dict:
    try:
        address = vip.plain_address(given["address"])
    except ValueError as error:
        raise Unanswered(f"address: {error}") from error
    ip = module.get_bin_path("ip")
    if not ip:
        raise Unanswered("This host has no command ip; Debian's package iproute2 has it.")
    code, out, complaint = module.run_command([ip, "-j", "address"])
    if code:
        raise Unanswered(f"`ip -j address` ended with {code}: {complaint.strip()}")
    addresses = vip.parse_addresses(out)
    places = vip.places_of(addresses, address)
    keepalived = keepalived_of(module, given["unit"], given["instance"], given["state_file"])
    others = probe(module, ip, address, places, addresses, given["probe_seconds"])
    return {
        "address": address,
        "held": bool(places),
        "interface": places[0]["interface"] if places else None,
        "prefix": places[0]["prefix"] if places else None,
        "places": places,
        "keepalived": keepalived,
        "others": others or [],
        "probed": others is not None,
        "problems": vip.host_problems(address, places, keepalived, others or []),
    }


QUESTION = Question(
    {
        "address": {"type": "str", "required": True},
        "unit": {"type": "str", "default": "keepalived.service"},
        "instance": {"type": "str"},
        "state_file": {"type": "path"},
        "probe_seconds": {"type": "float", "default": 0.3},
    },
    answer,
    deployed=deployed.look,
)
