#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: patroni_switchover
short_description: Hand the leadership of a Patroni cluster to another member
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - A planned change of the primary. It waits until the new one leads and takes writes, the old one streams from it and, in synchronous mode,
    there is a synchronous standby again.
  - Does nothing where O(candidate) leads already, or where O(leader) alone is given and does not lead.
  - Refuses a candidate that does not run, does not stream, lags, is on another timeline, has the tag C(nofailover), or is no synchronous
    standby in synchronous mode. Without a candidate, at least one member must be fit.
  - It is not for a failover, where there is no healthy leader to hand over.
options:
  leader:
    description:
      - Name of the member that should hand over. By default whoever leads.
      - Given together with O(candidate), the module fails when a third member leads.
    type: str
  candidate:
    description:
      - Name of the member that should take over. By default Patroni chooses.
    type: str
  maximum_lag_bytes:
    description:
      - The most WAL in bytes that a candidate may have to receive or to replay yet. By default C(maximum_lag_on_failover) of the cluster.
    type: int
  wait_timeout:
    description:
      - How long to wait for the new leader, and after that again for the old one to stream, in seconds.
    type: float
    default: 60.0
extends_documentation_fragment:
  - utmstack.ha.patroni
attributes:
  check_mode:
    description: Makes all checks and tells who could take over.
    support: full
  diff_mode:
    description: Shows who leads before and after.
    support: full
seealso:
  - module: utmstack.ha.patroni_info
"""

EXAMPLES = r"""
- name: Make node2 the primary
  utmstack.ha.patroni_switchover:
    url: ["https://10.0.1.11:8008", "https://10.0.1.12:8008", "https://10.0.1.13:8008"]
    ca_path: /etc/utmstack-ha/tls/ca.crt
    client_cert: /etc/utmstack-ha/tls/host.crt
    client_key: /etc/utmstack-ha/tls/host.key
    username: patroni
    password: "{{ ha_secrets.postgresql_rest_password }}"
    candidate: node2

- name: Have node1 hand over to anybody, if it leads
  utmstack.ha.patroni_switchover:
    url: ["https://10.0.1.11:8008", "https://10.0.1.12:8008", "https://10.0.1.13:8008"]
    ca_path: /etc/utmstack-ha/tls/ca.crt
    client_cert: /etc/utmstack-ha/tls/host.crt
    client_key: /etc/utmstack-ha/tls/host.key
    username: patroni
    password: "{{ ha_secrets.postgresql_rest_password }}"
    leader: node1
"""

RETURN = r"""
leader:
  description: Who leads now. In check mode, and where nothing was to do, still the same.
  returned: always
  type: str
  sample: node2
old_leader:
  description: Who led before.
  returned: always
  type: str
  sample: node1
candidates:
  description: Names of the members that were fit to take over. Empty where nothing was to do.
  returned: always
  type: list
  elements: str
  sample: [node2]
reason:
  description: Why there was something to do, or not.
  returned: always
  type: str
  sample: node1 leads.
seconds_to_new_leader:
  description: Time from the request until the new leader was seen to take writes, in seconds.
  returned: when the leadership changed
  type: float
  sample: 3.1
seconds:
  description: Time from the request until the old leader streamed from the new one, in seconds.
  returned: when the leadership changed
  type: float
  sample: 7.9
faults:
  description: Why there was no switchover, a sentence each.
  returned: when it is refused
  type: list
  elements: str
  sample: ["node3 cannot take over: it lags by 52428800 bytes, more than 1048576."]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import client as patroni_client
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import operations as patroni_operations


def main():
    module = AnsibleModule(
        argument_spec={
            **patroni_client.ARGUMENTS,
            "leader": {"type": "str"},
            "candidate": {"type": "str"},
            "maximum_lag_bytes": {"type": "int"},
            "wait_timeout": {"type": "float", "default": 60.0},
        },
        required_together=patroni_client.REQUIRED_TOGETHER,
        supports_check_mode=True,
    )
    try:
        result = patroni_operations.switch_over(
            patroni_client.connect(module.params),
            module.params["leader"],
            module.params["candidate"],
            module.params["maximum_lag_bytes"],
            module.params["wait_timeout"],
            module.check_mode,
        )
    except patroni_client.PatroniError as error:
        module.fail_json(msg=str(error), **error.facts)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
