#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_sentinel_info
short_description: Get the status of a Redis master, its replicas and sentinels
version_added: 0.1.0
description:
  - Asks all sentinels and all data nodes at once.
  - The master is the one that more than half of the sentinels name. What a data node says of itself decides nothing.
  - Does not fail when Redis is down or unhealthy; RV(problems) lists the reasons.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.redis
  - utmstack.ha.redis.whole
  - utmstack.ha.wait
  - utmstack.ha.looks
options:
  without:
    description:
      - Names of hosts whose own troubles are not counted, such as one that is about to be restarted.
    type: list
    elements: str
    default: []
  max_lag_bytes:
    description:
      - How far a healthy replica may be behind its master, in bytes of the replication stream.
    type: int
    default: 1048576
  wait_for:
    description:
      - What to wait for. V(master) is one that the sentinels agree on and that says so itself, V(agreed) the first half of this,
        V(healthy) is RV(healthy).
    choices: [nothing, agreed, master, healthy]
"""

EXAMPLES = r"""
- name: Get the status of Redis and its sentinels
  utmstack.ha.redis_sentinel_info:
    master_name: utmstack-redis
    members: &hosts
      - {name: node1, address: 10.0.1.11}
      - {name: node2, address: 10.0.1.12}
      - {name: node3, address: 10.0.1.13}
    sentinels: *hosts
    ca_path: /etc/utmstack-ha/tls/ca.crt
    username: admin
    password: "{{ redis_admin_password }}"
  register: redis

- name: Verify Redis health
  ansible.builtin.assert:
    that: redis.healthy
    fail_msg: "{{ redis.problems | join(' ') }}"
"""

RETURN = r"""
master:
  description: Name of the master that more than half of the sentinels name, its address where it is none of O(members), or null.
  returned: always
  type: str
  sample: node1
master_address:
  description: The master's address, or null.
  returned: always
  type: str
  sample: 10.0.1.11
newest_master_address:
  description: The master's address in the newest configuration that any sentinel has, also without a majority, or null.
  returned: always
  type: str
  sample: 10.0.1.11
masters:
  description: Names of the data nodes that say that they are master.
  returned: always
  type: list
  elements: str
  sample: [node1]
healthy:
  description: Whether there is a master and RV(problems) is empty.
  returned: always
  type: bool
problems:
  description: What is wrong, as sentences.
  returned: always
  type: list
  elements: str
  sample:
    - Redis on node3 has no connection to its master.
restart_order:
  description: Names of the data nodes in the order in which to restart them, the master last.
  returned: always
  type: list
  elements: str
  sample: [node2, node3, node1]
members:
  description: The data nodes.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: node2
    address:
      description: Its address.
      type: str
      sample: 10.0.1.12
    role:
      description: C(master), C(replica), or null where it did not answer.
      type: str
      sample: replica
    master:
      description: Whom a replica follows, by name.
      type: str
      sample: node1
    link_up:
      description: Whether a replica is connected to its master, or null.
      type: bool
    offset:
      description: How far it is in the replication stream, in bytes, or null.
      type: int
      sample: 6463
    lag_bytes:
      description: How far a replica is behind the master, in bytes, or null.
      type: int
      sample: 0
    good_replicas:
      description: How many replicas a master has that lag less than C(min-replicas-max-lag), or null where no such limit is set.
      type: int
      sample: 2
    version:
      description: Its version, or null.
      type: str
      sample: 8.0.2
    error:
      description: Why it did not answer, or empty.
      type: str
sentinels:
  description: The sentinels.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: node1
    address:
      description: Its address.
      type: str
      sample: 10.0.1.11
    master:
      description: Whom it takes for the master, by name, or null.
      type: str
      sample: node1
    epoch:
      description: The number of the failover that made this master, or null.
      type: int
      sample: 3
    flags:
      description: What it thinks of the master, as Sentinel's flags, for example C(s_down) or C(failover_in_progress).
      type: list
      elements: str
      sample: []
    other_sentinels:
      description: How many other sentinels it knows, or null.
      type: int
      sample: 2
    replicas:
      description: How many replicas it knows, or null.
      type: int
      sample: 2
    settings:
      description: With which settings it watches the master, as M(utmstack.ha.redis_sentinel_monitor) sets them; empty where it does not.
      type: dict
      sample: {quorum: "2", down-after-milliseconds: "1500", failover-timeout: "10000", parallel-syncs: "1"}
    error:
      description: Why it did not answer, or empty.
      type: str
"""

from ansible_collections.utmstack.ha.plugins.module_utils.operation.info_module import run
from ansible_collections.utmstack.ha.plugins.module_utils.redis import info as ask_redis


def main():
    run(ask_redis.QUESTION)


if __name__ == "__main__":
    main()
