#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vip_info
short_description: Get the virtual IP and keepalived state of a host
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
- name: Get the virtual IP state
  utmstack.ha.vip_info:
    address: 10.0.1.100
  become: true
  register: vip

- name: Verify exactly one virtual IP holder
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

from ansible_collections.utmstack.ha.plugins.module_utils.operation.info_module import run
from ansible_collections.utmstack.ha.plugins.module_utils.vip import info as ask_vip


def main():
    run(ask_vip.QUESTION)


if __name__ == "__main__":
    main()
