#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vip_info
short_description: Tell whether this host holds a virtual IP address
version_added: 0.1.0
description:
  - Looks at the addresses of the host it runs on, at keepalived and, by an ARP probe, at who else answers for the address.
  - The ARP probe carries the sender address 0.0.0.0 (RFC 5227), so it changes no other host's tables.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.looks
options:
  address:
    description:
      - The virtual address, with or without its prefix length.
    type: str
    required: true
  unit:
    description:
      - The systemd unit of keepalived.
    type: str
    default: keepalived.service
  instance:
    description:
      - The VRRP instance whose state is wanted. Without it, the state that keepalived reported last.
    type: str
  state_file:
    description:
      - A file into which a notify script of keepalived writes the VRRP state.
      - Without it, or where it does not exist, the state is looked for in the journal.
    type: path
  probe_seconds:
    description:
      - How long to listen for answers to the ARP probe, in seconds. 0 does not probe.
    type: float
    default: 0.3
requirements:
  - iproute2
seealso:
  - module: utmstack.ha.vip_check
"""

EXAMPLES = r"""
- name: See who holds the virtual address
  utmstack.ha.vip_info:
    address: 10.0.1.100
  become: true
  register: vip

- name: Exactly one load balancer holds it
  ansible.builtin.assert:
    that: ansible_play_hosts | map('extract', hostvars, 'vip') | selectattr('held') | length == 1
  run_once: true
"""

RETURN = r"""
address:
  description: The virtual address without its prefix.
  returned: always
  type: str
  sample: 10.0.1.100
held:
  description: Whether this host holds the address.
  returned: always
  type: bool
interface:
  description: The interface that carries the address, or null.
  returned: always
  type: str
  sample: eth0
prefix:
  description: The prefix length with which it is configured, or null.
  returned: always
  type: int
  sample: 24
places:
  description: Every place where this host has the address. More than one is a fault.
  returned: always
  type: list
  elements: dict
  contains:
    interface:
      description: Name of the interface.
      type: str
    prefix:
      description: Prefix length.
      type: int
    label:
      description: Label of the address.
      type: str
    up:
      description: Whether the interface is up.
      type: bool
    duplicate:
      description: Whether the kernel rejected the address as a duplicate (IPv6).
      type: bool
    mac:
      description: Hardware address of the interface.
      type: str
keepalived:
  description: What is known about keepalived on this host.
  returned: always
  type: dict
  contains:
    running:
      description: Whether its unit is active.
      type: bool
    active_state:
      description: The unit's state as systemd names it.
      type: str
    state:
      description: C(MASTER), C(BACKUP), C(FAULT), C(INIT), C(STOP), or null where it cannot be known.
      type: str
    state_source:
      description: Where the state was read, C(file) or C(journal), or null.
      type: str
others:
  description: Hardware addresses that answered for the address on the network, this host's own left out.
  returned: always
  type: list
  elements: str
  sample: ["02:42:0a:00:01:0c"]
probed:
  description: Whether an ARP probe was possible.
  returned: always
  type: bool
problems:
  description: What is wrong, as sentences. An empty list where all is well on this host.
  returned: always
  type: list
  elements: str
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils import vip


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


def main():
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "unit": {"type": "str", "default": "keepalived.service"},
            "instance": {"type": "str"},
            "state_file": {"type": "path"},
            "probe_seconds": {"type": "float", "default": 0.3},
        },
        supports_check_mode=True,
    )
    try:
        address = vip.plain_address(module.params["address"])
    except ValueError as error:
        module.fail_json(msg=f"address: {error}")
    ip = module.get_bin_path("ip", required=True)
    out = module.run_command([ip, "-j", "address"], check_rc=True)[1]
    addresses = vip.parse_addresses(out)
    places = vip.places_of(addresses, address)
    keepalived = keepalived_of(module, module.params["unit"], module.params["instance"], module.params["state_file"])
    others = probe(module, ip, address, places, addresses, module.params["probe_seconds"])
    module.exit_json(
        changed=False,
        address=address,
        held=bool(places),
        interface=places[0]["interface"] if places else None,
        prefix=places[0]["prefix"] if places else None,
        places=places,
        keepalived=keepalived,
        others=others or [],
        probed=others is not None,
        problems=vip.host_problems(address, places, keepalived, others or []),
    )


if __name__ == "__main__":
    main()
