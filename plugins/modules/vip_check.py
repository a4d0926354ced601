#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vip_check
short_description: Check or wait for a responding virtual IP address
version_added: 0.1.0
description:
  - Checks from the host it runs on (also the controller) that exactly one host has the address and that the services behind
    it answer in their own protocol.
  - Fails with everything that was seen when this is not so within O(timeout).
  - Who answers is asked by ARP where the address is on a connected network and the module may open raw sockets; otherwise the
    kernel's neighbour table is read after a TCP probe. Where there is a router between, an answering service counts.
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
  holders:
    description:
      - The names of the hosts that hold the address, as M(utmstack.ha.vip_info) saw them. Anything but one name is a failure.
      - Without it, only the answers on the network are counted.
    type: list
    elements: str
  checks:
    description:
      - What must answer at the address. All of them must.
    type: list
    elements: dict
    default: []
    suboptions:
      type:
        description:
          - V(tcp) connects. V(tls) also completes a handshake. V(http) and V(https) send a request and look at the status.
          - V(postgresql) sends an SSLRequest, which only PostgreSQL answers, not the proxy before it.
        type: str
        choices: [tcp, tls, postgresql, http, https]
        required: true
      port:
        description:
          - The port. The default is the one of the protocol for V(postgresql), V(http) and V(https).
        type: int
      name:
        description:
          - How the check is called in messages.
        type: str
      tls:
        description:
          - With O(checks[].type=postgresql), whether to complete and verify the TLS handshake too.
        type: bool
        default: false
      ca_path:
        description:
          - The certificate authorities to verify with, a PEM file on the host where the module runs. Default are the system's.
        type: path
      server_name:
        description:
          - The name that the certificate must carry, and the C(Host) header. Default is the address.
        type: str
      validate_certs:
        description:
          - Whether the certificate must be valid.
        type: bool
        default: true
      method:
        description:
          - The HTTP method.
        type: str
        choices: [GET, HEAD, OPTIONS]
        default: GET
      path:
        description:
          - The path of the HTTP request.
        type: str
        default: /
      status:
        description:
          - The HTTP status codes that are right.
        type: list
        elements: int
        default: [200]
  timeout:
    description:
      - How long to wait for the address to serve, in seconds. 0 looks once.
    type: float
    default: 0
  interval:
    description:
      - The pause between two looks, in seconds.
    type: float
    default: 0.5
  connect_timeout:
    description:
      - How long one connection may take, in seconds, and one wait for an answer.
    type: float
    default: 2
  probe_seconds:
    description:
      - How long to listen for answers to the ARP probe, in seconds. 0 does not probe.
    type: float
    default: 0.3
seealso:
  - module: utmstack.ha.vip_info
"""

EXAMPLES = r"""
- name: Wait for PostgreSQL at the virtual IP
  utmstack.ha.vip_check:
    address: 10.0.1.100
    timeout: 30
    checks:
      - type: postgresql
        port: 5432
        tls: true
        ca_path: /etc/utmstack-ha/tls/ca.crt
  delegate_to: localhost

- name: Verify one holder and a responding API
  utmstack.ha.vip_check:
    address: 10.0.1.100
    holders: "{{ ansible_play_hosts | select('in', holders) }}"
    checks:
      - type: https
        path: /api/ping
        server_name: siem.example.org
        status: [200, 401]
"""

RETURN = r"""
address:
  description: The virtual address without its prefix.
  returned: always
  type: str
serves:
  description: Whether one host has the address and all checks passed.
  returned: always
  type: bool
seconds:
  description: How long it took until the address served, or until the module gave up.
  returned: always
  type: float
  sample: 1.62
attempts:
  description: How many times it looked.
  returned: always
  type: int
answer:
  description: Who answered for the address at the last look.
  returned: always
  type: dict
  contains:
    reachable:
      description: Whether anybody did.
      type: bool
    method:
      description: How it was found, C(local), C(arp), C(neighbour), C(tcp) or C(none).
      type: str
    local:
      description: Whether the address is on the host where the module ran.
      type: bool
    macs:
      description: Hardware addresses that answered, without this host's own. More than one is a failure.
      type: list
      elements: str
    seen:
      description: What the TCP probe saw, where there was one.
      type: str
checks:
  description: The result of each check at the last look.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the check.
      type: str
    type:
      description: Type of the check.
      type: str
    port:
      description: The port.
      type: int
    ok:
      description: Whether it passed.
      type: bool
    seen:
      description: What was seen.
      type: str
      sample: HTTP 503 for /api/ping, expected 200
    seconds:
      description: How long it took.
      type: float
problems:
  description: Why the address does not serve, as sentences.
  returned: always
  type: list
  elements: str
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.vip import vip


def who_answers(module, address, checks):
    """Find out who has the address on the network, with the best means that this host has."""
    ip = module.get_bin_path("ip")
    seconds = module.params["connect_timeout"]
    route, addresses = None, []
    if ip:
        addresses = vip.parse_addresses(module.run_command([ip, "-j", "address"])[1])
        route = vip.parse_route(module.run_command([ip, "-j", "route", "get", address])[1])
    places = vip.places_of(addresses, address)
    answer = {"reachable": bool(places), "method": "local" if places else "none", "local": bool(places), "macs": []}
    answer["seen"] = ""
    interface = places[0]["interface"] if places else route["interface"] if route and route["direct"] else ""
    probe_seconds = module.params["probe_seconds"]
    if interface and probe_seconds > 0 and ":" not in address:
        try:
            answer["macs"] = vip.arp_probe(interface, address, probe_seconds, [entry["mac"] for entry in addresses])
            if not places:
                answer.update(reachable=bool(answer["macs"]), method="arp", seen="no answer to ARP")
            return answer
        except OSError as error:
            module.debug(f"no ARP probe on {interface}: {error}")
    if places:
        return answer
    reached, answer["seen"] = vip.tcp_probe(address, checks[0]["port"] if checks else 22, seconds)
    answer.update(reachable=reached, method="tcp")
    if interface and not reached:
        # Whoever does not accept the connection may still have the address: a firewall drops, ARP answers.
        answer["macs"] = vip.parse_neighbours(module.run_command([ip, "-j", "neigh", "show", "to", address])[1])[:1]
        answer.update(reachable=bool(answer["macs"]), method="neighbour")
    return answer


def look(module, address, checks):
    """One look: who answers, the result of each check, and what is wrong."""
    answer = who_answers(module, address, checks)
    results = [vip.run_check(address, check, module.params["connect_timeout"]) for check in checks]
    return answer, results, vip.verdict(address, module.params["holders"], answer, results)


def main():
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "holders": {"type": "list", "elements": "str"},
            "checks": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "type": {
                        "type": "str",
                        "required": True,
                        "choices": ["tcp", "tls", "postgresql", "http", "https"],
                    },
                    "port": {"type": "int"},
                    "name": {"type": "str"},
                    "tls": {"type": "bool", "default": False},
                    "ca_path": {"type": "path"},
                    "server_name": {"type": "str"},
                    "validate_certs": {"type": "bool", "default": True},
                    "method": {"type": "str", "choices": ["GET", "HEAD", "OPTIONS"], "default": "GET"},
                    "path": {"type": "str", "default": "/"},
                    "status": {"type": "list", "elements": "int", "default": [200]},
                },
            },
            "timeout": {"type": "float", "default": 0},
            "interval": {"type": "float", "default": 0.5},
            "connect_timeout": {"type": "float", "default": 2},
            "probe_seconds": {"type": "float", "default": 0.3},
        },
        supports_check_mode=True,
    )
    try:
        address = vip.plain_address(module.params["address"])
        checks = [vip.complete_check(check) for check in module.params["checks"]]
    except ValueError as error:
        module.fail_json(msg=str(error))
    holders = module.params["holders"]
    # Waiting cannot change what the caller saw.
    patience = module.params["timeout"] if holders is None or len(holders) == 1 else 0
    start, attempts = time.monotonic(), 0
    while True:
        attempts += 1
        answer, results, problems = look(module, address, checks)
        seconds = time.monotonic() - start
        if not problems or seconds + module.params["interval"] > patience:
            break
        time.sleep(module.params["interval"])
    result = {
        "changed": False,
        "address": address,
        "serves": not problems,
        "seconds": round(seconds, 2),
        "attempts": attempts,
        "answer": answer,
        "checks": results,
        "problems": problems,
    }
    if problems:
        waited = f" within {seconds:.1f} s ({attempts} looks)" if attempts > 1 else ""
        module.fail_json(msg=f"{address} does not serve{waited}: {'; '.join(problems)}", **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
