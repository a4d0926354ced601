#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: elasticsearch_replicas
short_description: Ensure a minimum number of replicas of every index
version_added: 0.1.0
description:
  - Raises C(number_of_replicas) where it is below a floor, in legacy, composable and component templates and in open indices. It never lowers it.
  - Keeps a legacy template C(utmstack-ha-replicas) with the pattern C(*) that makes the floor the rule for all indices which no composable
    template covers, whatever other legacy templates say. It gives way to those that ask for more.
  - Leaves alone indices that expand their replicas by themselves, hidden ones, those of the server itself, and mounted snapshots.
  - An application that makes composable templates, or names a number when it makes an index, can still go below. So this is to be repeated.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.search
  - utmstack.ha.https
options:
  minimum:
    description:
      - The floor. V(0) raises nothing, and removes the template of a floor that there was before.
      - More than the number of data nodes less one cannot be assigned, and would leave the cluster yellow.
    type: int
    default: 1
  indices:
    description:
      - Patterns of the indices to raise. Those of data streams count by the name of the stream.
      - As with files, a name that begins with a dot is meant only by a pattern that does.
    type: list
    elements: str
    default: ["*"]
attributes:
  check_mode:
    description: Tells what would be raised.
    support: full
  diff_mode:
    description: Shows the numbers of replicas of what is raised.
    support: full
"""

EXAMPLES = r"""
- name: Set at least one replica of every index
  utmstack.ha.elasticsearch_replicas:
    url: ["https://10.0.1.11:9200", "https://10.0.1.12:9200", "https://10.0.1.13:9200"]
    ca_path: /etc/utmstack-ha/tls/ca.crt
    username: elastic
    password: "{{ ha_secrets.elasticsearch_superuser_password }}"
    minimum: 1
  run_once: true
"""

RETURN = r"""
raised:
  description: What was raised, or in check mode would be, as sentences.
  returned: always
  type: list
  elements: str
  sample:
    - "template log: 1 replica instead of 0"
    - "index log-2026.11.24: 1 replica instead of 0"
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.search import client as search_client
from ansible_collections.utmstack.ha.plugins.module_utils.search import replicas as search_replicas


def carry_out(client, steps):
    """Send all steps, also after one was refused. Raises SearchError that tells which were, and why."""
    refused = []
    for step in steps:
        try:
            client.act(step.method, step.path, step.body, f"Raising {step.subject}")
        except search_client.Refused as error:
            if error.reply.status != 404:  # deleted meanwhile
                refused.append(str(error))
    if refused:
        raise search_client.SearchError(" ".join(refused), raised=[str(step) for step in steps])


def main():
    module = AnsibleModule(
        argument_spec={
            **search_client.ARGUMENTS,
            "minimum": {"type": "int", "default": 1},
            "indices": {"type": "list", "elements": "str", "default": ["*"]},
        },
        required_together=search_client.REQUIRED_TOGETHER,
        supports_check_mode=True,
    )
    try:
        client = search_client.connect(module.params)
        state = {name: client.get(path, f"The {name}", missing=(404,)) for name, path in search_replicas.READS.items()}
        steps = search_replicas.plan(state, module.params["minimum"], module.params["indices"])
        if not module.check_mode:
            carry_out(client, steps)
    except search_client.SearchError as error:
        module.fail_json(msg=str(error), **error.facts)
    before, after = (search_replicas.shown(steps, after) for after in (False, True))
    module.exit_json(changed=bool(steps), raised=[str(step) for step in steps], diff=search_client.shown(before, after))


if __name__ == "__main__":
    main()
