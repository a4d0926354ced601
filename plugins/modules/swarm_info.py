#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_info
short_description: Get the status of a Docker swarm
version_added: 0.1.0
description:
  - Asks the Docker engine of the host about its membership in a swarm and, where it is a manager, about all nodes and services.
  - Does not fail when Docker is down or the swarm is unhealthy; RV(problems) lists the reasons.
  - Asking an engine that is stopped starts it where C(docker.socket) is active.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.docker_engine
  - utmstack.ha.wait
  - utmstack.ha.looks
options:
  expected_members:
    description:
      - Hosts that must be nodes. Each that is missing, gone or something else is a problem.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the host.
        type: str
        required: true
      address:
        description: Its address. A node is told by it, else by its host name.
        type: str
        required: true
      role:
        description: Whether it is a manager.
        type: str
        choices: [manager, worker]
        required: true
      availability:
        description: Whether it takes tasks. Not looked at when empty.
        type: str
        choices: [active, pause, drain, ""]
        default: ""
      labels:
        description: Not looked at; it may be there so that one list serves all modules.
        type: dict
  without:
    description:
      - Names of hosts whose own troubles are not counted, such as one that is about to be restarted.
    type: list
    elements: str
    default: []
  services:
    description:
      - Whether a service that lacks replicas is a problem.
    type: bool
    default: false
  expected_services:
    description:
      - Names of services that must be there and have all their replicas, whatever O(services) says.
    type: list
    elements: str
    default: []
  replicas_away:
    description:
      - How many replicas each of O(expected_services) may lack.
    type: int
    default: 0
  unlock_key:
    description:
      - The unlock key as it is known. RV(unlock_key_known) tells whether it is the present one.
    type: str
    default: ""
  gateway_binding:
    description:
      - The address to which the network C(docker_gwbridge) should bind published ports. RV(gateway_wrong) tells whether it does not.
    type: str
    default: ""
  wait_for:
    description:
      - What to wait for. V(healthy) is RV(healthy). V(leader) is a manager that leads, as far as this host can know; a host that is in
        no swarm waits for nothing.
    choices: [nothing, leader, healthy]
  wait_timeout:
    default: 60.0
"""

EXAMPLES = r"""
- name: Verify swarm health
  utmstack.ha.swarm_info:
    expected_members:
      - {name: node1, address: 10.0.1.11, role: manager}
      - {name: node2, address: 10.0.1.12, role: manager}
      - {name: node3, address: 10.0.1.13, role: manager}
    wait_for: healthy
  register: swarm
  failed_when: not swarm.healthy
"""

RETURN = r"""
healthy:
  description: Whether the host is in a swarm and RV(problems) is empty.
  returned: always
  type: bool
problems:
  description: What is wrong, as sentences.
  returned: always
  type: list
  elements: str
  sample:
    - node3 is down (heartbeat failure).
engine:
  description: Version of the Docker engine, or null where it does not answer.
  returned: always
  type: str
  sample: 26.1.5
hostname:
  description: The host's name as Docker knows it.
  returned: always
  type: str
state:
  description:
    - The host's part in a swarm, C(inactive), C(pending), C(active), C(error) or C(locked), or C(stopped) where Docker does not answer.
  returned: always
  type: str
  sample: active
error:
  description: What Docker complains about, or empty.
  returned: always
  type: str
node_id:
  description: The host's number in its swarm, or empty.
  returned: always
  type: str
manager:
  description: Whether the host is a manager.
  returned: always
  type: bool
cluster_id:
  description: The swarm's number as a manager knows it, or empty.
  returned: always
  type: str
managers:
  description: Addresses of the managers that the host knows.
  returned: always
  type: list
  elements: str
settings:
  description: The swarm's settings, or null where the host is no manager or has no quorum.
  returned: always
  type: dict
  contains:
    labels:
      description: The swarm's labels.
      type: dict
    autolock:
      description: Whether managers need the unlock key after a restart.
      type: bool
    dispatcher_heartbeat_s:
      description: How often nodes report, in seconds. A node that was silent three times as long is down.
      type: float
    task_history_limit:
      description: How many former tasks of each slot are kept.
      type: int
    node_certificate_expiry_s:
      description: Life of the nodes' certificates, in seconds.
      type: float
unlock_key_known:
  description: Whether O(unlock_key) is the present one; null where the swarm has none or the host is no manager.
  returned: always
  type: bool
nodes:
  description: All nodes, by host name. Empty where the host is no manager or has no quorum.
  returned: always
  type: list
  elements: dict
  contains:
    id:
      description: Its number.
      type: str
    hostname:
      description: Its host name.
      type: str
    address:
      description: Its address.
      type: str
    version:
      description: Version of its Docker engine.
      type: str
    role:
      description: C(manager) or C(worker), as it should be.
      type: str
    availability:
      description: C(active), C(pause) or C(drain).
      type: str
    labels:
      description: Its labels.
      type: dict
    state:
      description: C(ready), C(down), C(disconnected) or C(unknown).
      type: str
    message:
      description: Why it is not ready, or empty.
      type: str
    leader:
      description: Whether it leads the managers.
      type: bool
    reachability:
      description: Of a manager C(reachable) or C(unreachable), else empty.
      type: str
services:
  description: All services, by name. Empty where the host is no manager.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
    running:
      description: Replicas that run and, where they have a health check, are healthy.
      type: int
    desired:
      description: Replicas that should run.
      type: int
gateway:
  description: The network C(docker_gwbridge) with its C(binding), or null where there is none.
  returned: always
  type: dict
gateway_wrong:
  description: Whether that network is there and binds published ports elsewhere than O(gateway_binding).
  returned: always
  type: bool
"""

from ansible_collections.utmstack.ha.plugins.module_utils.operation.info_module import run
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import info as ask_swarm


def main():
    run(ask_swarm.QUESTION)


if __name__ == "__main__":
    main()
