#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pgbouncer_pause
short_description: Pause or resume clients on every pgbouncer
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - For planned work during which there is no primary for longer than a switchover takes. For that one, see
    M(utmstack.ha.postgresql_switchover), which does both in one process.
  - A pause outlasts this module. Arm C(pgbouncer-resume) of role P(utmstack.ha.pgbouncer#role) before, for the case that nobody ends it.
options:
  state:
    description:
      - V(paused), transactions have ended and new ones wait. Where one does not end within O(pause_timeout), none is paused and it fails.
      - V(resumed), they go on, as soon as a primary takes connections through the HAProxy beside each pgbouncer.
    type: str
    choices: [paused, resumed]
    required: true
  ca_path:
    description: Certificates that the servers' certificates are verified with.
    type: path
    required: true
  wait_timeout:
    description: How long to wait for a primary, in seconds. Clients go on afterwards in any case.
    type: float
    default: 60.0
extends_documentation_fragment:
  - utmstack.ha.pgbouncer
attributes:
  check_mode:
    description: Changes nothing.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
seealso:
  - module: utmstack.ha.postgresql_switchover
"""

EXAMPLES = r"""
- name: Pause all clients
  utmstack.ha.pgbouncer_pause:
    state: paused
    ca_path: /etc/utmstack-ha/tls/ca.crt
    virtual_ip: 10.0.1.100
    pgbouncers:
      - {name: node1, address: 10.0.1.11}
    pgbouncer_password: "{{ ha_secrets.pgbouncer_admin_password }}"
    check_password: "{{ ha_secrets.postgresql_pgbouncer_password }}"
"""

RETURN = r"""
pgbouncers:
  description: What became of each pgbouncer.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: Its name., type: str, sample: node1}
    address: {description: Its address., type: str, sample: 10.0.1.11}
    problem: {description: "What was wrong with it, or nothing.", type: str, sample: ""}
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import client as patroni_client
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import switchover as postgresql_handover


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["paused", "resumed"], "required": True},
            "ca_path": {"type": "path", "required": True},
            **postgresql_handover.ARGUMENTS,
            "wait_timeout": {"type": "float", "default": 60.0},
        },
        supports_check_mode=True,
    )
    params = module.params
    if postgresql_handover.psycopg2 is None:
        module.fail_json(msg=missing_required_lib("psycopg2"))
    network = postgresql_handover.Network(postgresql_handover.Access.of(params))
    if module.check_mode:
        module.exit_json(changed=True, pgbouncers=[])
    try:
        if params["state"] == "paused":
            result = postgresql_handover.hold(network, params["pgbouncers"], params["pause_timeout"])
        else:
            result = postgresql_handover.let_go(network, params["pgbouncers"], params["wait_timeout"])
    except patroni_client.PatroniError as error:
        module.fail_json(msg=str(error), **error.facts)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
