#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: patroni_info
short_description: Get the status of a Patroni cluster
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Asks a PostgreSQL cluster that Patroni manages for its members, their roles, lag and settings, and says what is wrong.
  - The cluster's own view, which can be C(loop_wait) seconds old, is completed and corrected by what each member says of itself.
  - Fails only when no member answers. An unhealthy cluster is a result, with RV(healthy) false.
options:
  expected_members:
    description:
      - Names of the members that should be there. One that is missing is a problem.
      - Without it, a member that has been gone for longer than C(ttl) is not missed.
    type: list
    elements: str
    default: []
  without:
    description:
      - Names of members whose own faults are no problem, since their hosts are known to be away. That too few are left is one all the same.
    type: list
    elements: str
    default: []
  maximum_lag_bytes:
    description:
      - Lag in bytes above which a standby is a problem. By default C(maximum_lag_on_failover) of the cluster.
    type: int
  wait_for:
    description:
      - What to wait for. V(leader) is a member that leads and takes writes, V(healthy) is RV(healthy).
    choices: [nothing, leader, healthy]
extends_documentation_fragment:
  - utmstack.ha.patroni
  - utmstack.ha.https
  - utmstack.ha.wait
attributes:
  check_mode:
    description: The module changes nothing.
    support: full
  diff_mode:
    description: The module changes nothing.
    support: N/A
seealso:
  - module: utmstack.ha.patroni_config
  - module: utmstack.ha.postgresql_switchover
  - module: utmstack.ha.patroni_member
"""

EXAMPLES = r"""
- name: Wait for a healthy cluster
  utmstack.ha.patroni_info:
    url: ["https://10.0.1.11:8008", "https://10.0.1.12:8008", "https://10.0.1.13:8008"]
    ca_path: /etc/utmstack-ha/tls/ca.crt
    expected_members: [node1, node2, node3]
    wait_for: healthy
    wait_timeout: 60
  register: cluster
  failed_when: not cluster.healthy | default(false)

- name: Show cluster problems
  ansible.builtin.debug:
    var: cluster.problems
"""

RETURN = r"""
healthy:
  description: Whether RV(problems) is empty.
  returned: success
  type: bool
  sample: false
problems:
  description:
    - Why the cluster is not healthy, a sentence each.
    - A restart that is pending is none, since a cluster can serve for long with one.
  returned: success
  type: list
  elements: str
  sample: ["node3 does not answer at https://10.0.1.13:8008: timed out."]
scope:
  description: Name of the cluster.
  returned: success
  type: str
  sample: utmstack
leader:
  description: Name of the member that holds the leader lock, V(null) when none does.
  returned: success
  type: str
  sample: node1
timeline:
  description: Timeline of the leader.
  returned: success
  type: int
  sample: 2
members:
  description: The members, sorted by name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the member.
      type: str
      sample: node2
    role:
      description:
        - V(leader), V(standby_leader), V(sync_standby), V(quorum_standby) or V(replica), the same words for all versions.
      type: str
      sample: sync_standby
    state:
      description: What its PostgreSQL does, for example V(running), V(starting), V(stopped), V(creating replica).
      type: str
      sample: running
    replication_state:
      description: V(streaming), V(in archive recovery), or V(null) where it does not replicate.
      type: str
      sample: streaming
    replicates_from:
      description: Name of the member that sends to it.
      type: str
      sample: node1
    timeline:
      description: Its timeline, V(null) when unknown.
      type: int
      sample: 2
    lag_bytes:
      description: WAL in bytes that it has not received. V(null) on the leader and when unknown.
      type: int
      sample: 0
    replay_lag_bytes:
      description: WAL in bytes that it has not replayed. V(null) on the leader and when unknown.
      type: int
      sample: 0
    replay_paused:
      description: Whether its WAL replay is paused.
      type: bool
      sample: false
    pending_restart:
      description: Whether a setting waits for a restart of its PostgreSQL.
      type: bool
      sample: true
    pending_restart_reason:
      description: The settings that wait, with V(old_value) and V(new_value). Empty before Patroni 4.
      type: dict
      sample: {max_connections: {old_value: "100", new_value: "200"}}
    scheduled_restart:
      description: Time for which a restart is scheduled.
      type: str
      sample: "2030-01-01T00:00:00+00:00"
    tags:
      description: Its tags.
      type: dict
      sample: {nofailover: true}
    host:
      description: Address of its PostgreSQL.
      type: str
      sample: 10.0.1.12
    port:
      description: Port of its PostgreSQL.
      type: int
      sample: 5432
    api_url:
      description: URL of its REST API.
      type: str
      sample: https://10.0.1.12:8008
    reachable:
      description: Whether it answered.
      type: bool
      sample: true
    unreachable_because:
      description: Why it did not.
      type: str
      sample: timed out
    patroni_version:
      description: Version of its Patroni.
      type: str
      sample: 4.0.7
    postgresql_version:
      description: Version of its PostgreSQL.
      type: str
      sample: "17.6"
    postmaster_start_time:
      description: When its PostgreSQL was started.
      type: str
      sample: "2026-11-23 02:41:44.996793+00:00"
    system_identifier:
      description: Identifier of its database cluster.
      type: str
      sample: "7711190080517282129"
    primary:
      description: Whether its PostgreSQL runs as primary and takes writes.
      type: bool
      sample: false
    unlocked:
      description: Whether it sees no holder of the leader lock.
      type: bool
      sample: false
    watchdog_failed:
      description: Whether it cannot use its watchdog.
      type: bool
      sample: false
    dcs_last_seen:
      description: When it last reached the DCS, in seconds since 1970 by its own clock.
      type: int
      sample: 1795402489
synchronous_mode:
  description: V(off), V(on), V(strict) or V(quorum).
  returned: success
  type: str
  sample: strict
synchronous_standbys:
  description: Names of the synchronous standbys.
  returned: success
  type: list
  elements: str
  sample: [node2]
maximum_lag_bytes:
  description: The lag that counted as a problem, in bytes.
  returned: success
  type: int
  sample: 1048576
paused:
  description: Whether the cluster is in maintenance mode.
  returned: success
  type: bool
  sample: false
failsafe_mode:
  description: Whether C(failsafe_mode) is configured.
  returned: success
  type: bool
  sample: true
failsafe_active:
  description: Whether a member lives on failsafe mode now, the DCS being out of reach.
  returned: success
  type: bool
  sample: false
dcs_reachable:
  description: Whether a member could read the cluster's state in the DCS.
  returned: success
  type: bool
  sample: true
pending_restart:
  description: Names of the members that wait for a restart.
  returned: success
  type: list
  elements: str
  sample: []
scheduled_switchover:
  description: A switchover that is scheduled, with C(at), C(from) and C(to). V(null) when none is.
  returned: success
  type: dict
  sample: {at: "2030-01-01T00:00:00+00:00", from: node1, to: node2}
config:
  description: The dynamic configuration.
  returned: success
  type: dict
  sample: {ttl: 20, loop_wait: 3, postgresql: {parameters: {max_connections: 200}}}
history:
  description: Past changes of the timeline, the oldest first, with C(timeline), C(lsn), C(reason), C(timestamp) and C(new_leader).
  returned: success
  type: list
  elements: dict
  sample: [{timeline: 1, lsn: 83887568, reason: no recovery target specified, timestamp: "2026-11-23T02:42:06+00:00", new_leader: node1}]
"""

from ansible_collections.utmstack.ha.plugins.module_utils.operation.info_module import run
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import info as ask_patroni


def main():
    run(ask_patroni.QUESTION)


if __name__ == "__main__":
    main()
