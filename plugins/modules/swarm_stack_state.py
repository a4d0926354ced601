#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_stack_state
short_description: Stop or start the replicas of a stack
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - For work during which the application must not write, such as a restore of its stores. The services stay, with their definition, secrets
    and networks; only the number of their replicas changes, and the former one is kept in a label of the service.
  - The next deployment by M(utmstack.ha.swarm_stack) starts a stopped stack, too.
extends_documentation_fragment:
  - utmstack.ha.docker_engine
options:
  name:
    description: Name of the stack. One that is not there is stopped already, and there is nothing to start.
    type: str
    required: true
  state:
    description:
      - V(stopped), no replica is left of services that have a number of replicas. Those that run on every node are not touched, see RV(everywhere).
      - V(started), services that were stopped have their replicas again.
    type: str
    choices: [stopped, started]
    required: true
  wait_timeout:
    description: How long to wait for the replicas, in seconds.
    type: float
    default: 300.0
attributes:
  check_mode:
    description: Tells which services would be stopped or started.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Stop the application
  utmstack.ha.swarm_stack_state:
    name: utmstack
    state: stopped
"""

RETURN = r"""
services:
  description: Names of the services whose replicas were, or in check mode would be, stopped or started.
  returned: success
  type: list
  elements: str
  sample: [utmstack_backend]
present:
  description: Names of all services of the stack.
  returned: success
  type: list
  elements: str
everywhere:
  description: Names of services that run on every node, and go on.
  returned: success
  type: list
  elements: str
unreachable_nodes:
  description: Nodes that do not answer, on which replicas may still run.
  returned: success
  type: list
  elements: str
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import engine as docker_engine
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import stack_state
from ansible_collections.utmstack.ha.plugins.module_utils.swarm.engine import EngineError
from ansible_collections.utmstack.ha.plugins.module_utils.swarm.stack_look import look


def wait(engine, stack, state, limit_s, clock=time.monotonic, sleep=time.sleep):
    """What was seen last, and what was lacking then. Raises EngineError where the swarm can't be asked any more."""
    end = clock() + limit_s
    while True:
        try:
            seen = look(engine, stack)
            lacking = stack_state.lacking(seen, state)
        except EngineError:
            if clock() > end:
                raise
            sleep(1)
            continue
        if not lacking or clock() > end:
            return seen, lacking
        sleep(1)


def main():
    module = AnsibleModule(
        argument_spec={
            **docker_engine.ARGUMENTS,
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": list(stack_state.STATES), "required": True},
            "wait_timeout": {"type": "float", "default": 300.0},
        },
        supports_check_mode=True,
    )
    params = module.params
    engine = docker_engine.Engine.of(params)
    lacking = []
    try:
        seen = look(engine, params["name"])
        due = {name: spec for name, raw in seen.services.items() if (spec := stack_state.change(raw, params["state"]))}
        if not module.check_mode:
            for name, spec in due.items():
                raw = seen.services[name]
                engine.post(f"/services/{raw['ID']}/update?version={raw['Version']['Index']}", spec)
            seen, lacking = wait(engine, params["name"], params["state"], params["wait_timeout"])
    except EngineError as error:
        module.fail_json(msg=f"The stack {params['name']} can't be {params['state']}: {error}")
    result = {
        "changed": bool(due),
        "services": sorted(due),
        "present": sorted(seen.services),
        "everywhere": stack_state.everywhere(seen),
        "unreachable_nodes": stack_state.unknown(seen),
    }
    if lacking:
        module.fail_json(
            msg=f"The stack {params['name']} was not {params['state']} within {params['wait_timeout']:g} s. {' '.join(lacking)}",
            **result,
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
