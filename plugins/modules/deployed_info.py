#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: deployed_info
short_description: Get deployed settings of a host for comparison with the inventory
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Reads names, addresses, ports and directories out of the files and data that earlier runs have left on the host, and compares the
    passwords which can't be changed with those that its services accept.
  - What the collection did not write, and what belongs to no data, is not told, so a bare host has nothing deployed.
  - A service that does not run, or does not answer, leaves its password out of RV(passwords).
options:
  settings:
    description:
      - What the inventory wants for this host of settings that are not the topology's. Returned as it is.
    type: dict
    required: true
  units:
    description: By service the units of systemd of which one starts with the host where the service does.
    type: dict
    required: true
  tls_directory:
    description: Where the host's certificate is. etcd itself tells where it has it.
    type: path
    required: true
  passwords:
    description: The passwords by their names in C(passwords.yml).
    type: dict
    required: true
  backend_secrets:
    description: What the inventory gives the application, such as C(ENCRYPTION_KEY) and C(DB_PASS).
    type: dict
    default: {}
  services:
    description:
      - By service what it needs to be compared besides, as P(utmstack.ha.deployed_questions#filter) returns it. Without it the search engine is
        not asked which passwords it accepts.
    type: dict
    default: {}
  conflicts:
    description:
      - Detect conflicts in the same call, since a call costs more than what it reads. The options are those of
        M(utmstack.ha.host_conflicts_info), and RV(conflicts) is what it returns.
    type: dict
    suboptions:
      plan:
        description: What the host is to have, as the filter P(utmstack.ha.host_plan#filter) returns it.
        type: dict
        required: true
      interfaces:
        description: Interface name to its addresses.
        type: dict
        default: {}
      take_over:
        description: What the operator gives up.
        type: list
        elements: str
        default: []
attributes:
  check_mode:
    description: It never changes anything.
    support: full
  diff_mode:
    description: It never changes anything.
    support: none
"""

EXAMPLES = r"""
- name: Get the deployed settings of this host
  utmstack.ha.deployed_info:
    settings:
      etcd_data_directory: /var/lib/etcd/utmstack
    units:
      etcd: [etcd.service]
    tls_directory: /etc/utmstack-ha/tls
    passwords: "{{ ha_secrets }}"
    backend_secrets:
      INTERNAL_KEY: "{{ ha_secrets.backend_internal_key }}"
      ENCRYPTION_KEY: "{{ ha_secrets.backend_encryption_key }}"
  register: deployed
"""

RETURN = r"""
layers:
  description: What is known of each layer that has data on this host.
  type: dict
  returned: success
  sample: {etcd: {name: node1, cluster: utmstack, client_port: 2379}}
enabled:
  description: The services of O(units) that start with the host.
  type: list
  elements: str
  returned: success
  sample: [etcd, postgresql]
passwords:
  description: Whether each password that could be compared is the deployed one.
  type: dict
  returned: success
  sample: {etcd_root_password: true}
rotating:
  description: The passwords that can change and that something on this host, or the search engine, does not have alone.
  type: list
  elements: str
  returned: success
  sample: [postgresql_application_password]
noted:
  description: The passwords that this host has a note of, by which its service can be told the next one.
  type: list
  elements: str
  returned: success
  sample: []
settings:
  description: O(settings).
  type: dict
  returned: success
release:
  description: The release of the host's distribution, empty where it says none.
  type: str
  returned: success
  sample: "13"
conflicts:
  description: What M(utmstack.ha.host_conflicts_info) returns.
  type: dict
  returned: when O(conflicts) is given
"""

from ansible_collections.utmstack.ha.plugins.module_utils.operation import deployed_info as ask_deployed
from ansible_collections.utmstack.ha.plugins.module_utils.operation.info_module import run


def main():
    run(ask_deployed.QUESTION)


if __name__ == "__main__":
    main()
