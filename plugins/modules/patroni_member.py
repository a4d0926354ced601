#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: patroni_member
short_description: Restart, reload or reinitialize one member of a Patroni cluster
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Has Patroni restart a member's PostgreSQL, read its configuration file again, or copy a standby's data anew, and waits for the result.
  - Patroni itself goes on running, so a standby leaves the set of synchronous standbys first, and the leader keeps its lock.
options:
  member:
    description:
      - Name of the member.
    type: str
    required: true
  state:
    description:
      - V(restarted) restarts PostgreSQL. A restart that is going on already is waited for and counts.
      - V(reloaded) has Patroni read its configuration file again, and waits until it lives by it.
      - V(reinitialized) throws the member's data away and copies them from another member. The leader is refused.
    type: str
    choices: [restarted, reloaded, reinitialized]
    default: restarted
  only_pending:
    description:
      - With O(state=restarted), restart only where a setting waits for it. Otherwise the member is restarted in any case.
    type: bool
    default: false
  restart_timeout:
    description:
      - Time in seconds that PostgreSQL has to start. A leader that takes longer loses its role to a standby.
    type: int
    default: 60
  force:
    description:
      - With O(state=reinitialized), break off what the member is doing, for example another copy that hangs.
    type: bool
    default: false
  wait_timeout:
    description:
      - How long to wait for the result, in seconds. After a restart the leader must lead again, a standby must stream again on the leader's
        timeline, and the cluster must be as healthy as before.
      - The default is V(120), and V(3600) with O(state=reinitialized).
    type: float
extends_documentation_fragment:
  - utmstack.ha.patroni
  - utmstack.ha.https
attributes:
  check_mode:
    description: Tells whether something would be done.
    support: full
  diff_mode:
    description: There is no state to compare.
    support: none
seealso:
  - module: utmstack.ha.patroni_config
"""

EXAMPLES = r"""
- name: Restart PostgreSQL with pending settings
  utmstack.ha.patroni_member:
    url: ["https://10.0.1.11:8008", "https://10.0.1.12:8008", "https://10.0.1.13:8008"]
    ca_path: /etc/utmstack-ha/tls/ca.crt
    client_cert: /etc/utmstack-ha/tls/host.crt
    client_key: /etc/utmstack-ha/tls/host.key
    username: patroni
    password: "{{ ha_secrets.postgresql_rest_password }}"
    member: node2
    state: restarted
    only_pending: true

- name: Reinitialize a broken standby
  utmstack.ha.patroni_member:
    url: ["https://10.0.1.11:8008", "https://10.0.1.12:8008", "https://10.0.1.13:8008"]
    ca_path: /etc/utmstack-ha/tls/ca.crt
    client_cert: /etc/utmstack-ha/tls/host.crt
    client_key: /etc/utmstack-ha/tls/host.key
    username: patroni
    password: "{{ ha_secrets.postgresql_rest_password }}"
    member: node3
    state: reinitialized
"""

RETURN = r"""
member:
  description: Name of the member.
  returned: always
  type: str
  sample: node2
role:
  description: Its role, as in M(utmstack.ha.patroni_info), afterwards.
  returned: when restarted or reinitialized
  type: str
  sample: replica
timeline:
  description: The cluster's timeline.
  returned: when restarted or reinitialized
  type: int
  sample: 2
pending_restart:
  description: Whether a setting waits for a restart. It still does on a standby that was restarted before its primary with a lowered one.
  returned: when restarted or reloaded
  type: bool
  sample: false
seconds:
  description: Time until the result was there, in seconds.
  returned: when something was done
  type: float
  sample: 4.2
reason:
  description: Why there was nothing to do.
  returned: when there was not
  type: str
  sample: node2 waits for no restart.
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import client as patroni_client
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import operations as patroni_operations


def run(client, parameters, check_mode):
    """Does what the parameters ask for and returns the result."""
    name, wait = parameters["member"], parameters["wait_timeout"]
    if parameters["state"] == "reloaded":
        return patroni_operations.reload_member(client, name, wait or 120.0, check_mode)
    if parameters["state"] == "reinitialized":
        return patroni_operations.reinitialize_member(client, name, parameters["force"], wait or 3600.0, check_mode)
    return patroni_operations.restart_member(
        client, name, parameters["only_pending"], parameters["restart_timeout"], wait or 120.0, check_mode
    )


def main():
    module = AnsibleModule(
        argument_spec={
            **patroni_client.ARGUMENTS,
            "member": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["restarted", "reloaded", "reinitialized"], "default": "restarted"},
            "only_pending": {"type": "bool", "default": False},
            "restart_timeout": {"type": "int", "default": 60},
            "force": {"type": "bool", "default": False},
            "wait_timeout": {"type": "float"},
        },
        required_together=patroni_client.REQUIRED_TOGETHER,
        supports_check_mode=True,
    )
    try:
        result = run(patroni_client.connect(module.params), module.params, module.check_mode)
    except patroni_client.PatroniError as error:
        module.fail_json(msg=str(error), **error.facts)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
