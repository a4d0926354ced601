#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: patroni_config
short_description: Manage the dynamic configuration of a Patroni cluster
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Makes the configuration that Patroni keeps in its DCS what O(config) asks for, by the smallest C(PATCH), and waits until every member
    has taken it over.
  - C(bootstrap.dcs) of Patroni's configuration file counts only when the cluster is made. This module is for all the time after.
  - Restarts nothing. It tells which members wait for a restart and in which order they should have it, also when an earlier run left them waiting.
options:
  config:
    description:
      - What the dynamic configuration should say. It is merged into what is there, so what is not named stays.
      - V(null) removes a setting. Lists are replaced as a whole.
      - Values that PostgreSQL reads as the same are not changed, for example V(16MB) and V(2048) as C(shared_buffers), or V(on) and V(true).
    type: dict
    required: true
  wait_timeout:
    description:
      - How long to wait for the members to take the configuration over, in seconds. Each does in its next round, so within C(loop_wait).
      - Members that did not are in RV(unapplied_members). They will once they run again, so that is no failure.
    type: float
    default: 30.0
  settle:
    description:
      - Wait for a full round of every member also when nothing is changed.
      - For use after members were reloaded or restarted, since what waits for a restart shows in their next round only.
    type: bool
    default: false
  owner:
    description:
      - Key of the dynamic configuration under which is noted what this module has set; Patroni stores it and passes it over.
      - Settings that are noted there with the value that they have, and that O(config) does not name any more, are removed. What somebody
        else has set or changed since stays, and is told in RV(foreign).
      - Without it, nothing is noted, and only V(null) removes.
    type: str
    default: ""
  earlier:
    description:
      - What counts as noted in a cluster that has no note yet, in the form of O(config).
    type: dict
    default: {}
  present:
    description:
      - Names of the members that can be restarted, for RV(restart_order) and RV(trial). All by default.
    type: list
    elements: str
    default: []
  defer:
    description:
      - Leave out parameters whose values show only when a server starts and have to be tried on one member first; they are RV(deferred). What
        the leader does not run with yet is not left out, so that a wrong value is taken back while a member is down by it.
      - Waits until the configuration can be read, at most O(wait_timeout), and not for the members. Where it can't, nothing is done.
    type: bool
    default: false
  expected_members:
    description:
      - For RV(status), as M(utmstack.ha.patroni_info) takes it.
    type: list
    elements: str
    default: []
  without:
    description:
      - For RV(status), as M(utmstack.ha.patroni_info) takes it.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - utmstack.ha.patroni
  - utmstack.ha.https
attributes:
  check_mode:
    description: Tells what would change, and which restarts that would ask for, without changing it.
    support: full
  diff_mode:
    description: Shows the whole dynamic configuration before and after.
    support: full
seealso:
  - module: utmstack.ha.patroni_member
  - name: Patroni's dynamic configuration
    description: What can be set.
    link: https://patroni.readthedocs.io/en/latest/dynamic_configuration.html
"""

EXAMPLES = r"""
- name: Set max_connections
  utmstack.ha.patroni_config:
    url: ["https://10.0.1.11:8008", "https://10.0.1.12:8008", "https://10.0.1.13:8008"]
    ca_path: /etc/utmstack-ha/tls/ca.crt
    client_cert: /etc/utmstack-ha/tls/host.crt
    client_key: /etc/utmstack-ha/tls/host.key
    username: patroni
    password: "{{ ha_secrets.postgresql_rest_password }}"
    config:
      postgresql:
        parameters:
          max_connections: 300
          log_min_duration_statement: null
  register: reconciled
  run_once: true

- name: Restart members with pending settings in the right order
  utmstack.ha.patroni_member:
    url: ["https://10.0.1.11:8008", "https://10.0.1.12:8008", "https://10.0.1.13:8008"]
    ca_path: /etc/utmstack-ha/tls/ca.crt
    client_cert: /etc/utmstack-ha/tls/host.crt
    client_key: /etc/utmstack-ha/tls/host.key
    username: patroni
    password: "{{ ha_secrets.postgresql_rest_password }}"
    member: "{{ item }}"
    state: restarted
    only_pending: true
  loop: "{{ reconciled.restart_order }}"
  run_once: true
"""

RETURN = r"""
patch:
  description: What was sent, or would be in check mode. Empty when nothing differed.
  returned: success
  type: dict
  sample: {postgresql: {parameters: {max_connections: 300, log_min_duration_statement: null}}}
config:
  description: The whole dynamic configuration afterwards.
  returned: success
  type: dict
  sample: {ttl: 20, postgresql: {parameters: {max_connections: 300}}}
restart_parameters:
  description: Names of the PostgreSQL parameters that changed and that a server takes over only by a restart.
  returned: success
  type: list
  elements: str
  sample: [max_connections]
lowered:
  description:
    - Those of C(max_connections), C(max_locks_per_transaction), C(max_prepared_transactions), C(max_wal_senders) and
      C(max_worker_processes) that were lowered.
    - The primary has to restart with them before the standbys.
  returned: success
  type: list
  elements: str
  sample: []
raised:
  description: Those of the same five that were raised. The standbys have to restart with them before the primary.
  returned: success
  type: list
  elements: str
  sample: [max_connections]
pending_restart:
  description: The members that wait for a restart, each with its reasons (empty before Patroni 4). In check mode, also those that would.
  returned: success
  type: dict
  sample: {node1: {max_connections: {old_value: "200", new_value: "300"}}}
restart_order:
  description:
    - Names of the members that wait for a restart, in the order in which to restart them.
    - Where some of the five parameters go down and others up, the standbys come twice.
  returned: success
  type: list
  elements: str
  sample: [node3, node2, node1]
removed:
  description: Names of settings that went back to their defaults since O(config) does not have them any more.
  returned: success
  type: list
  elements: str
  sample: [postgresql.parameters.log_min_duration_statement]
foreign:
  description: Settings that neither O(config) has nor the note under O(owner), by name, such as those of C(patronictl edit-config).
  returned: success
  type: dict
  sample: {postgresql.parameters.log_statement: ddl}
deferred:
  description: Parameters that were left out by O(defer), with the values that O(config) has for them.
  returned: success
  type: dict
  sample: {shared_preload_libraries: pg_stat_statements}
trial:
  description:
    - Who can try parameters alone. C(down) are members whose PostgreSQL does not run anyway, C(standby) may be restarted for it, or is
      V(null) for the C(reason). C(stuck) are standbys whose PostgreSQL runs and takes no session.
  returned: success
  type: dict
  sample: {down: [], stuck: [], standby: node3, reason: ""}
status:
  description: How the cluster was before anything was changed, as M(utmstack.ha.patroni_info) returns it.
  returned: success, but where O(defer) waited in vain
  type: dict
unapplied_members:
  description: Names of the members that did not take the configuration over in time.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import client as patroni_client
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import operations as patroni_operations


def main():
    module = AnsibleModule(
        argument_spec={
            **patroni_client.ARGUMENTS,
            "config": {"type": "dict", "required": True},
            "wait_timeout": {"type": "float", "default": 30.0},
            "settle": {"type": "bool", "default": False},
            "owner": {"type": "str", "default": ""},
            "earlier": {"type": "dict", "default": {}},
            "present": {"type": "list", "elements": "str", "default": []},
            "defer": {"type": "bool", "default": False},
            "expected_members": {"type": "list", "elements": "str", "default": []},
            "without": {"type": "list", "elements": "str", "default": []},
        },
        required_together=patroni_client.REQUIRED_TOGETHER,
        supports_check_mode=True,
    )
    try:
        result = patroni_operations.reconcile_config(
            patroni_client.connect(module.params),
            module.params["config"],
            module.params["wait_timeout"],
            module.check_mode,
            module.params["settle"],
            patroni_operations.Ownership(module.params["owner"], module.params["earlier"]),
            module.params["present"] or None,
            module.params["defer"],
            module.params["expected_members"],
            module.params["without"],
        )
    except patroni_client.NoAnswer as error:
        if not module.params["defer"]:
            module.fail_json(msg=str(error), **error.facts)
        module.exit_json(
            changed=False,
            deferred={},
            foreign={},
            removed=[],
            trial={"down": [], "stuck": [], "standby": None, "reason": str(error)},
        )
    except patroni_client.PatroniError as error:
        module.fail_json(msg=str(error), **error.facts)
    if result["unapplied_members"]:
        module.warn(f"Did not take the configuration over in time: {', '.join(result['unapplied_members'])}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
