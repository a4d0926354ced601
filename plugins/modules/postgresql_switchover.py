#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_switchover
short_description: Switch over or restart the PostgreSQL primary with paused clients
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - A planned change of the primary. It waits until the new one leads and takes writes, the old one streams from it and, in synchronous mode,
    there is a synchronous standby again.
  - Does nothing where O(candidate) leads already, or where O(leader) alone is given and does not lead.
  - Refuses a candidate that does not run, does not stream, lags, is on another timeline, has the tag C(nofailover), or is no synchronous
    standby in synchronous mode. Without a candidate, at least one member must be fit.
  - It is not for a failover, where there is no healthy leader to hand over.
  - Every one of O(pgbouncers) is paused meanwhile, so that no statement fails. With none of them, statements of clients fail for as long as
    it takes.
  - PAUSE lets transactions end and has new ones wait. Where one does not end within O(pause_timeout), all are resumed, nothing is
    handed over, and the message says who holds it up.
  - Each pgbouncer is resumed as soon as the new primary takes writes through the HAProxy beside it, and O(pause_limit) after PAUSE in
    any case.
  - A pgbouncer that can't be reached is no reason to stop as long as clients use another one, or none answers anywhere.
  - All of it is one process, since whatever Ansible does between two tasks would lengthen the pause. For the case that it dies, arm
    C(pgbouncer-resume) of role P(utmstack.ha.pgbouncer#role) before.
options:
  state:
    description:
      - V(switched_over), another member leads.
      - V(restarted), the leader's PostgreSQL is restarted in place, for settings that must reach it before any standby. Needs O(leader).
    type: str
    choices: [switched_over, restarted]
    default: switched_over
  only_pending:
    description:
      - With O(state=restarted), does nothing where no setting waits for a restart.
    type: bool
    default: false
  leader:
    description:
      - Name of the member that should hand over. By default whoever leads.
      - Given together with O(candidate), the module fails when a third member leads.
    type: str
  candidate:
    description:
      - Name of the member that should take over. By default the first that is able to.
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
  pause_limit:
    description: How long clients wait at most, in seconds.
    type: float
    default: 20.0
  virtual_ip:
    description: Address that clients use, for which the certificates are valid. Needed where there are O(pgbouncers).
    type: str
    required: false
  fast_stop_file:
    description:
      - File on this host, which is the leader's, that stands while the leader is to stop. A C(before_stop) script of Patroni may look for
        it.
    type: path
extends_documentation_fragment:
  - utmstack.ha.patroni
  - utmstack.ha.https
  - utmstack.ha.pgbouncer
attributes:
  check_mode:
    description: Makes the checks of Patroni and tells who could take over.
    support: full
  diff_mode:
    description: Shows who leads before and after.
    support: full
seealso:
  - module: utmstack.ha.patroni_info
"""

EXAMPLES = r"""
- name: Switch over to node2
  utmstack.ha.postgresql_switchover:
    url: ["https://10.0.1.11:8008", "https://10.0.1.12:8008", "https://10.0.1.13:8008"]
    ca_path: /etc/utmstack-ha/tls/ca.crt
    client_cert: /etc/utmstack-ha/tls/host.crt
    client_key: /etc/utmstack-ha/tls/host.key
    username: patroni
    password: "{{ ha_secrets.postgresql_rest_password }}"
    candidate: node2
    virtual_ip: 10.0.1.100
    pgbouncers:
      - {name: node1, address: 10.0.1.11}
      - {name: node2, address: 10.0.1.12}
      - {name: node3, address: 10.0.1.13}
    pgbouncer_password: "{{ ha_secrets.pgbouncer_admin_password }}"
    check_password: "{{ ha_secrets.postgresql_pgbouncer_password }}"

- name: Switch over from node1 to any other member, without pgbouncer
  utmstack.ha.postgresql_switchover:
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
  returned: when O(state=switched_over), or after a restart
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
pause_seconds:
  description: The longest time for which a pgbouncer held clients up, in seconds.
  returned: when the leadership changed, or after a restart
  type: float
  sample: 2.4
seconds_to_new_leader:
  description: Time from the request until the new leader was seen to take writes, in seconds.
  returned: when the leadership changed
  type: float
  sample: 2.2
seconds:
  description: Time from the request until the old leader streamed from the new one, in seconds.
  returned: when the leadership changed
  type: float
  sample: 7.9
members:
  description: The members as they were before.
  returned: always
  type: list
  elements: dict
  contains:
    name: {description: Its name., type: str, sample: node1}
    role: {description: "Its role, as M(utmstack.ha.patroni_info) tells it.", type: str, sample: sync_standby}
    tags: {description: Its tags., type: dict}
pgbouncers:
  description: What became of each pgbouncer.
  returned: always
  type: list
  elements: dict
  contains:
    name: {description: Its name., type: str, sample: node1}
    address: {description: Its address., type: str, sample: 10.0.1.11}
    pause_seconds: {description: "For how long it was paused, in seconds; none where it was not.", type: float, sample: 2.4}
    problem: {description: "What was wrong with it, or nothing.", type: str, sample: ""}
faults:
  description: Why there was no switchover, a sentence each.
  returned: when Patroni's state forbids it
  type: list
  elements: str
  sample: ["node3 cannot take over: it lags by 52428800 bytes, more than 1048576."]
"""

import contextlib
import pathlib
import signal

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.utmstack.ha.plugins.module_utils.common import directories
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import client as patroni_client
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import switchover as postgresql_handover


def end(_number, _frame):
    """End by way of what has to be done before."""
    raise SystemExit(1)


@contextlib.contextmanager
def standing(path):
    """A file that stands meanwhile."""
    file = pathlib.Path(path)
    directories.make(file.parent)
    file.touch()
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def main():
    module = AnsibleModule(
        argument_spec={
            **patroni_client.ARGUMENTS,
            **postgresql_handover.ARGUMENTS,
            "virtual_ip": {"type": "str"},
            "state": {"type": "str", "choices": ["switched_over", "restarted"], "default": "switched_over"},
            "only_pending": {"type": "bool", "default": False},
            "leader": {"type": "str"},
            "candidate": {"type": "str"},
            "maximum_lag_bytes": {"type": "int"},
            "wait_timeout": {"type": "float", "default": 60.0},
            "pause_limit": {"type": "float", "default": 20.0},
            "fast_stop_file": {"type": "path"},
        },
        required_together=patroni_client.REQUIRED_TOGETHER,
        required_if=[("state", "restarted", ["leader"])],
        supports_check_mode=True,
    )
    params = module.params
    if params["pgbouncers"] and not params["virtual_ip"]:
        module.fail_json(msg="pgbouncers need virtual_ip, the address that their clients use")
    if params["pgbouncers"] and postgresql_handover.psycopg2 is None:
        module.fail_json(msg=missing_required_lib("psycopg2"))
    # Whoever ends this process must not leave clients waiting.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    flag = params["fast_stop_file"]
    client, network = patroni_client.connect(params), postgresql_handover.Network(postgresql_handover.Access.of(params))
    limits = postgresql_handover.Limits(params["pause_timeout"], params["pause_limit"], params["wait_timeout"])
    try:
        if params["state"] == "restarted":
            result = postgresql_handover.restart_leader(
                client,
                network,
                params["pgbouncers"],
                params["leader"],
                params["only_pending"],
                limits,
                module.check_mode,
            )
        else:
            result = postgresql_handover.hand_over(
                client,
                network,
                params["pgbouncers"],
                params["leader"],
                params["candidate"],
                params["maximum_lag_bytes"],
                limits,
                module.check_mode,
                (lambda: standing(flag)) if flag else contextlib.nullcontext,
            )
    except patroni_client.PatroniError as error:
        module.fail_json(msg=str(error), **error.facts)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
