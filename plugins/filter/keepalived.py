# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters of the roles haproxy and keepalived."""

from __future__ import annotations

import ipaddress

from ansible.errors import AnsibleFilterError


def interface_of(facts, address):
    """Return the name of the interface that carries an address, from a host's network facts.

    Raises AnsibleFilterError where none does, with what the host has.
    """
    wanted, seen = ipaddress.ip_address(address), []
    for name in facts.get("interfaces", []):
        # Ansible files an interface under its name with _ for what is no letter or digit of a variable's name.
        details = facts.get(name.replace("-", "_").replace(".", "_").replace(":", "_"), {})
        ipv4 = [details.get("ipv4", {}), *details.get("ipv4_secondaries", [])]
        for entry in [*ipv4, *details.get("ipv6", [])]:
            if "address" not in entry:
                continue
            if ipaddress.ip_address(entry["address"]) == wanted:
                return details.get("device", name)
            seen.append(f"{entry['address']} on {name}")
    raise AnsibleFilterError(
        f"no interface of this host carries {address}, only {', '.join(seen) or 'nothing'}. "
        "Correct ha_address, or set keepalived_interface."
    )


def restart_order(members, hostvars, freshness, address):
    """Return the names of the load balancers that need a restart: lowest priority first, the virtual IP's holder last.

    freshness: the name of the variable in which each host has its answer of service_freshness. Hosts without it, such as
    those outside of a limited run, are left out. Who holds the address is read in the facts.
    """
    wanted = ipaddress.ip_address(address)

    def holds(name):
        facts = hostvars[name].get("ansible_facts", {})
        held = [*facts.get("all_ipv4_addresses", []), *facts.get("all_ipv6_addresses", [])]
        return wanted in {ipaddress.ip_address(entry) for entry in held}

    def due(name):
        return name in hostvars and hostvars[name].get(freshness, {}).get("state") == "restart"

    return sorted((member["name"] for member in reversed(members) if due(member["name"])), key=holds)


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Name to function."""
        return {"interface_of": interface_of, "restart_order": restart_order}
