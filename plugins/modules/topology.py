# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does all of it on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: topology
short_description: Compute the topology of the platform from the inventory
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Computes everything that one role must know of another (members, addresses, ports, quorum sizes, timings) from the
    inventory's groups and variables, on the controller and without any connection to a host.
  - Refuses a wrong inventory with one message that lists every fault, each with host or group, setting and remedy.
  - Reads the variables that role P(utmstack.ha.topology#role) documents. They hold for the whole cluster, so all hosts
    must see the same value, wherever the inventory sets it.
options:
  settings:
    description: Values that take precedence over the variables of the same name.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Computes the same, as it changes nothing.
    support: full
  diff_mode:
    description: There is nothing to compare, as it changes nothing.
    support: N/A
notes:
  - Call it with C(run_once), as the result is the same for all hosts.
"""

EXAMPLES = r"""
- name: Compute the topology from the inventory
  utmstack.ha.topology:
  register: result
  run_once: true

- name: Show the PostgreSQL primary's client address
  ansible.builtin.debug:
    msg: "{{ result.topology.postgresql.write.host }}:{{ result.topology.postgresql.write.port }}"
"""

RETURN = r"""
topology:
  description:
    - The topology, without the entry C(host) that role P(utmstack.ha.topology#role) adds for each host.
    - Besides what is listed here it has each service, by the name of its layer. C(members) are its hosts; C(client) is where clients reach it, where
      that is one address; the page of its role says what else others must know of it.
  returned: success
  type: dict
  contains:
    cluster: {description: Name of the cluster., type: str, sample: utmstack}
    releases: {description: What differs between the releases of Debian that the platform runs on., type: dict}
    pgbouncer:
      description: "C(enabled); C(auto), whether the load balancers' release decides that, which role P(utmstack.ha.base#role) looks up; C(members)."
      type: dict
    profile: {description: Failover profile., type: str, sample: fast}
    timing: {description: "Timings by component, the unit at the end of each name (s, ms).", type: dict}
    ports: {description: Port numbers by purpose., type: dict}
    overrides: {description: Names of the timings and ports that the user set., type: dict}
    tls: {description: Paths of the TLS files on every host., type: dict}
    secrets_dir: {description: Directory of passwords and local CA on the controller., type: str}
    virtual_ip: {description: "Address, prefix, cidr, router_id and name of the virtual IP.", type: dict}
    hosts:
      description:
        - "By host: name, address, groups, priority, rack, memory_mb, memory_share, names; ca_file, where the controller has the CA's certificate;
          entry_points, the roles that are called for the whole host, by entry point."
      type: dict
    loadbalancer: {description: "C(members), highest VRRP priority first.", type: dict}
    swarm: {description: "C(managers), C(workers), C(members) and C(quorum).", type: dict}
    backend: {description: "C(members), each with C(backup), whether C(tls) is spoken with it, and whether it is C(wanted) at all.", type: dict}
    web: {description: "C(members), each with C(backup).", type: dict}
    drill: {description: "C(allowed), whether drills are, and C(members).", type: dict}
    maintenance_file: {description: The file on a host that is in maintenance., type: str}
    services:
      description: "By service its C(role), C(groups), C(units) of systemd, the C(settings) of its role that others must know, and the
        passwords that the application gets of it, by their names there (C(secrets))."
      type: dict
    warnings: {description: What is allowed but costs availability., type: list, elements: str}
"""
