# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters of the roles haproxy and keepalived."""

from __future__ import annotations

import datetime
import ipaddress

from ansible.errors import AnsibleFilterError
from ansible_collections.utmstack.ha.plugins.module_utils.common.order import order
from ansible_collections.utmstack.ha.plugins.module_utils.services.registry import probed


def interface_of(interfaces, address):
    """Return the name of the interface that carries an address; interfaces: name -> its addresses.

    Raises AnsibleFilterError where none does, with what the host has.
    """
    for name, held in interfaces.items():
        if carries(held, address):
            return name
    seen = ", ".join(f"{entry} on {name}" for name, held in interfaces.items() for entry in held)
    raise AnsibleFilterError(
        f"no interface of this host carries {address}, only {seen or 'nothing (is iproute2 installed?)'}. "
        "Correct ha_address, or set keepalived_interface."
    )


def carries(addresses, address):
    """Return whether an address is among the given ones, however each is written."""
    return ipaddress.ip_address(address) in {ipaddress.ip_address(entry) for entry in addresses}


def restart_order(members, hostvars, freshness, address):
    """Return the names of the load balancers that need a restart: lowest priority first, the virtual IP's holder last.

    freshness: the name of the variable in which each host has its answer of service_freshness. Hosts without it, such as
    those outside of a limited run, are left out. Who holds the address is what base saw at the beginning of the run.
    """

    def holds(name):
        interfaces = hostvars[name].get("base_host", {}).get("interfaces", {})
        return any(carries(held, address) for held in interfaces.values())

    def due(name):
        return name in hostvars and hostvars[name].get(freshness, {}).get("state") == "restart"

    names = [member["name"] for member in reversed(members) if due(member["name"])]
    return order(names, leads={name: 1 for name in names if holds(name)})


def neighbours(topology):
    """Return where this host asks the others whether they are there: a list of {address, port}, one of each host.

    topology: `ha`. A host is asked by the service that says least of it (Service.probe_rank). Hosts without a service behind the load
    balancer are left out. Empty where there are fewer than two: that the only other host is silent does not tell which of the two is cut off.
    """
    found = {}
    for service in sorted(probed(), key=lambda service: service.probe_rank):
        for member in topology[service.layer]["members"]:
            if member["name"] != topology["host"]["name"]:
                port = topology["ports"][service.probe_port]
                found.setdefault(member["name"], {"address": member["address"], "port": port})
    return [found[name] for name in sorted(found)] if len(found) > 1 else []


def elapsed_s(result):
    """Return how long a command took, in seconds with two decimals, by what Ansible registered of it."""
    started, ended = (datetime.datetime.fromisoformat(result[moment]) for moment in ("start", "end"))
    return round((ended - started).total_seconds(), 2)


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Name to function."""
        return {
            "elapsed_s": elapsed_s,
            "interface_of": interface_of,
            "neighbours": neighbours,
            "restart_order": restart_order,
        }
