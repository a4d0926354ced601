#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: patroni_dcs
short_description: Reset or resume a stopped Patroni cluster in etcd
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Ends a pause (maintenance mode) of a cluster of which no member runs, and with O(state=reset) has it begin anew with other data, by
    its present configuration. Of Patroni's keys only that one stays, and C(initialize), the number of the data.
  - For a cluster that runs there are M(utmstack.ha.patroni_config) and M(utmstack.ha.postgresql_switchover). Stop Patroni on all members before.
options:
  state:
    description:
      - V(resumed), the cluster is not paused.
      - V(reset), it has also forgotten its members and its leader, and no member with other data than O(system_identifier) takes part.
    type: str
    choices: [reset, resumed]
    required: true
  system_identifier:
    description: The number of the data that shall lead, as C(pg_controldata) tells it.
    type: str
  namespace:
    description: Patroni's C(namespace).
    type: str
    default: /service/
  scope:
    description: Patroni's C(scope), the name of the cluster.
    type: str
    required: true
extends_documentation_fragment:
  - utmstack.ha.etcd
  - utmstack.ha.https
attributes:
  check_mode:
    description: Tells what would be removed.
    support: full
  diff_mode:
    description: Which keys are removed is in the result.
    support: none
"""

EXAMPLES = r"""
- name: Reset the cluster state for upgraded data
  utmstack.ha.patroni_dcs:
    endpoints: ["https://10.0.1.11:2379", "https://10.0.1.12:2379", "https://10.0.1.13:2379"]
    ca_path: /etc/utmstack-ha/tls/ca.crt
    client_cert: /etc/utmstack-ha/tls/host.crt
    client_key: /etc/utmstack-ha/tls/host.key
    username: patroni
    password: "{{ ha_secrets.etcd_patroni_password }}"
    scope: utmstack
    state: reset
    system_identifier: "7712295033673263039"
"""

RETURN = r"""
deleted:
  description: Names of the keys that were removed.
  returned: success
  type: list
  elements: str
  sample: [history, leader, members/node1, status, sync]
resumed:
  description: Whether a pause was ended.
  returned: success
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.etcd import client as etcd
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import dcs as patroni_dcs


def main():
    module = AnsibleModule(
        argument_spec={
            **etcd.ARGUMENTS,
            "state": {"type": "str", "choices": ["reset", "resumed"], "required": True},
            "system_identifier": {"type": "str"},
            "namespace": {"type": "str", "default": "/service/"},
            "scope": {"type": "str", "required": True},
        },
        required_together=etcd.REQUIRED_TOGETHER,
        required_if=[("state", "reset", ["system_identifier"])],
        supports_check_mode=True,
    )
    params = module.params
    prefix = f"/{params['namespace'].strip('/')}/{params['scope']}/"
    try:
        identifier = params["system_identifier"] if params["state"] == "reset" else ""
        result = patroni_dcs.change(etcd.Client.of(params), prefix, identifier, module.check_mode)
    except etcd.EtcdError as error:
        module.fail_json(msg=f"Patroni's keys below {prefix} can't be changed, and none was: {error}.")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
