#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_keys_info
short_description: Get join tokens and unlock key of a Docker swarm
version_added: 0.1.0
description:
  - Reads the tokens that admit new nodes, and the key that unlocks managers after a restart. The host must be a manager.
  - B(The result is secret). Call it with C(no_log).
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.docker_engine
  - utmstack.ha.looks
"""

EXAMPLES = r"""
- name: Read the join tokens
  utmstack.ha.swarm_keys_info:
  register: keys
  no_log: true
"""

RETURN = r"""
manager_token:
  description: Admits a manager.
  returned: success
  type: str
worker_token:
  description: Admits a worker.
  returned: success
  type: str
unlock_key:
  description: Unlocks managers after a restart. Empty where the swarm has no autolock.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import engine as docker_engine


def read(engine):
    """The secrets. Raises EngineError."""
    tokens = engine.get("/swarm")["JoinTokens"]
    return {
        "manager_token": tokens["Manager"],
        "worker_token": tokens["Worker"],
        "unlock_key": (engine.get("/swarm/unlockkey") or {}).get("UnlockKey", ""),
    }


def main():
    module = AnsibleModule(argument_spec=docker_engine.ARGUMENTS, supports_check_mode=True)
    try:
        found = read(docker_engine.Engine.of(module.params))
    except docker_engine.EngineError as error:
        module.fail_json(msg=f"The swarm's tokens cannot be read on this host: {error}")
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
