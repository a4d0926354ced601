#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds what is on a host already and in the way of what it is to become."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_conflicts_info
author: The utmstack.ha developers (@utmstack)
version_added: 0.1.0
short_description: Detect conflicting services, data and ports on a host
description:
  - Looks for services, PostgreSQL clusters, data, configuration files, packages and listening programs of the kinds that the
    platform manages and that no run of this collection has made, for directories that the services' accounts can't pass, for an
    address that no interface has, and for a virtual IP that somebody else answers for. All of it in one call.
  - What is ours is told by our drop-in of a unit, or by the list of units that a run puts down before it installs anything.
  - Make one message of all hosts' answers with the filter P(utmstack.ha.host_conflicts_report#filter).
extends_documentation_fragment:
  - utmstack.ha.looks
options:
  plan:
    description: What the host is to have, as the filter P(utmstack.ha.host_plan#filter) returns it.
    type: dict
    required: true
  interfaces:
    description: Interface name to its addresses, as M(utmstack.ha.host_info) returns them. Empty where they are not known.
    type: dict
    default: {}
  take_over:
    description:
      - What the operator gives up. Units are to be stopped and disabled, with V(.service) at the end or without; paths of data are
        to be used as they are.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Detect conflicts on this host
  utmstack.ha.host_conflicts_info:
    plan: "{{ ha | utmstack.ha.host_plan(inventory_hostname, base_settings) }}"
    interfaces: "{{ base_host.interfaces }}"
    take_over: [etcd, postgresql@17-main]
  register: host_conflicts
"""

RETURN = r"""
conflicts:
  description: What is in the way, each with C(text), C(remedy) and C(name), by which O(take_over) may list it, or empty.
  type: list
  elements: dict
  returned: success
  sample:
    - text: etcd.service runs (data in /var/lib/etcd/default)
      remedy: ""
      name: etcd.service
stop:
  description: Units to stop, in this order.
  type: list
  elements: str
  returned: success
  sample: [etcd.service]
disable:
  description: Those of them to disable, too.
  type: list
  elements: str
  returned: success
  sample: [etcd.service]
keep:
  description: Configuration files of others that will be written over.
  type: list
  elements: str
  returned: success
  sample: [/etc/haproxy/haproxy.cfg]
claims:
  description: The units of this host that belong to the platform or were put out of its way.
  type: list
  elements: str
  returned: success
  sample: [etcd.service, patroni.service, postgresql@17-main.service]
claimed:
  description: Those of them that an earlier run has put down.
  type: list
  elements: str
  returned: success
  sample: []
directories:
  description: Our own directories that are missing or closed, each with its C(path).
  type: list
  elements: dict
  returned: success
  sample: [{path: /usr/local/lib/utmstack-ha}]
clusters_off:
  description: Whether Debian can neither make nor start a PostgreSQL cluster of its own here.
  type: bool
  returned: success
  sample: true
keepalived_ours:
  description: Whether the host's keepalived is ours.
  type: bool
  returned: success
  sample: false
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.host import conflicts_look


def main():
    module = AnsibleModule(argument_spec=conflicts_look.ARGUMENTS, supports_check_mode=True)
    module.exit_json(changed=False, **conflicts_look.answer(module.run_command, module.params))


if __name__ == "__main__":
    main()
