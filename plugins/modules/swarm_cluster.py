#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_cluster
short_description: Manage settings and nodes of a Docker swarm
version_added: 0.1.0
description:
  - Changes the swarm's settings, the roles, availability and labels of its nodes, and takes nodes out that are gone.
  - The host must be a manager of a swarm that has a leader. What a host of the inventory should be is decided with the filter
    P(utmstack.ha.swarm_plan#filter).
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.docker_engine
options:
  autolock:
    description:
      - Whether managers need the unlock key after a restart. Not changed when left out. Docker makes a new key when it is switched on.
    type: bool
  dispatcher_heartbeat_s:
    description:
      - How often nodes report, in seconds. A node that was silent three times as long is down. Not changed when left out.
    type: float
  task_history_limit:
    description:
      - How many former tasks of each slot are kept. Not changed when left out.
    type: int
  node_certificate_expiry_s:
    description:
      - Life of the nodes' certificates, in seconds. Not changed when left out.
    type: float
  labels:
    description:
      - Labels of the swarm that must be there. Others stay.
    type: dict
  nodes:
    description:
      - Nodes and what they should be. Waits until a change of the role has come about, and until a drained node has no task any more.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description: The node's number. Where it is left out, the node is found by its address or, where that fails, by its name.
        type: str
      name:
        description: Its name.
        type: str
        required: true
      address:
        description: Its address.
        type: str
        default: ""
      role:
        description: Whether it is a manager. Not changed when left out.
        type: str
        choices: [manager, worker]
      availability:
        description: Whether it takes tasks. V(drain) takes those away that it has. Not changed when left out.
        type: str
        choices: [active, pause, drain]
      labels:
        description: All its labels. Not changed when left out.
        type: dict
  remove:
    description:
      - Nodes that are gone. A manager is made a worker first.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description: The node's number.
        type: str
        required: true
      name:
        description: Its name, for messages.
        type: str
        required: true
      role:
        description: Whether it was a manager.
        type: str
        choices: [manager, worker]
        required: true
  wait_timeout:
    description:
      - How long each change may take, in seconds.
    type: float
    default: 60.0
attributes:
  check_mode:
    description: Tells what would change.
    support: full
  diff_mode:
    description: Shows the settings and the nodes.
    support: full
"""

EXAMPLES = r"""
- name: Drain a node
  utmstack.ha.swarm_cluster:
    nodes:
      - name: node3
        address: 10.0.1.13
        availability: drain
"""

RETURN = r"""
seconds:
  description: How long the changes took, in seconds.
  returned: success
  type: float
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import engine as docker_engine
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import reconcile as swarm_reconcile

ROLES = {"type": "str", "choices": ["manager", "worker"]}
GONE = {
    "id": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "role": {**ROLES, "required": True},
}
NODE = {
    "id": {"type": "str"},
    "name": {"type": "str", "required": True},
    "address": {"type": "str", "default": ""},
    "role": ROLES,
    "availability": {"type": "str", "choices": ["active", "pause", "drain"]},
    "labels": {"type": "dict"},
}


def main():
    module = AnsibleModule(
        argument_spec={
            **docker_engine.ARGUMENTS,
            "autolock": {"type": "bool"},
            "dispatcher_heartbeat_s": {"type": "float"},
            "task_history_limit": {"type": "int"},
            "node_certificate_expiry_s": {"type": "float"},
            "labels": {"type": "dict"},
            "nodes": {"type": "list", "elements": "dict", "default": [], "options": NODE},
            "remove": {"type": "list", "elements": "dict", "default": [], "options": GONE},
            "wait_timeout": {"type": "float", "default": 60.0},
        },
        supports_check_mode=True,
    )
    params = module.params
    start = time.monotonic()
    swarm = swarm_reconcile.Swarm(docker_engine.Engine.of(params), params["wait_timeout"])
    try:
        result = swarm_reconcile.reconcile(swarm, params, params["nodes"], params["remove"], module.check_mode)
    except docker_engine.EngineError as error:
        module.fail_json(msg=f"The swarm cannot be changed: {error}")
    module.exit_json(seconds=round(time.monotonic() - start, 3), **result)


if __name__ == "__main__":
    main()
