#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: elasticsearch_upgrade_check
short_description: Check the upgrade path of an Elasticsearch or OpenSearch cluster
version_added: 0.1.0
description:
  - Compares the versions that the nodes run with O(version). A step back, a step that the product does not support and another
    product are faults.
  - Versions that are mixed are taken for an upgrade that was interrupted, and RV(order) has those nodes that are left.
  - Before an upgrade begins, it also looks whether all nodes are there, whether every shard has its copies, and how old the newest
    snapshot is; before a major step also for indices that the new version could not open, and for what the server calls deprecated.
  - Changes nothing. Does not fail because of what it finds, and neither where no node answers.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.search
  - utmstack.ha.https
  - utmstack.ha.looks
options:
  name:
    description:
      - The product that is wanted.
    type: str
    choices: [elasticsearch, opensearch]
    default: elasticsearch
  version:
    description:
      - The version that is wanted.
    type: str
    required: true
  expected_nodes:
    description:
      - Names of the nodes that have to be there before an upgrade begins.
    type: list
    elements: str
    default: []
  wait_timeout:
    description:
      - How long to wait, before an upgrade begins, until every shard has its copies, in seconds. An index that has just been made is
        without for a moment.
    type: float
    default: 60.0
"""

EXAMPLES = r"""
- name: Check the upgrade to the next version
  utmstack.ha.elasticsearch_upgrade_check:
    url: ["https://10.0.1.11:9200", "https://10.0.1.12:9200", "https://10.0.1.13:9200"]
    ca_path: /etc/utmstack-ha/tls/ca.crt
    username: elastic
    password: "{{ ha_secrets.elasticsearch_superuser_password }}"
    version: 9.2.0
    expected_nodes: [node1, node2, node3]
  register: upgrade

- name: Verify the upgrade path
  ansible.builtin.assert:
    that: upgrade.faults | length == 0
    fail_msg: "{{ upgrade.faults | join(' ') }}"
"""

RETURN = r"""
needed:
  description: Whether a node runs another version.
  returned: success
  type: bool
step:
  description: How far the step is, from the oldest version that runs. V(none), V(patch), V(minor) or V(major).
  returned: success
  type: str
from:
  description: The oldest version that runs, or null where no node answers.
  returned: success
  type: str
  sample: 8.19.4
to:
  description: The version that is wanted.
  returned: success
  type: str
  sample: 9.2.0
order:
  description: Names of the nodes to be upgraded, those that cannot be master first and the elected master last.
  returned: success
  type: list
  elements: str
  sample: [node1, node3, node2]
done:
  description: Names of the nodes that run the wanted version.
  returned: success
  type: list
  elements: str
faults:
  description: Why the upgrade must not begin or go on, as sentences.
  returned: success
  type: list
  elements: str
warnings_found:
  description: What is to be known before, as sentences.
  returned: success
  type: list
  elements: str
deprecated:
  description: All that the server calls deprecated, before a major step.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.search import client as search_client
from ansible_collections.utmstack.ha.plugins.module_utils.search import snapshot as search_snapshot
from ansible_collections.utmstack.ha.plugins.module_utils.search import upgrade as search_upgrade


def main():
    module = AnsibleModule(
        argument_spec={
            **search_client.ARGUMENTS,
            "name": {"type": "str", "choices": ["elasticsearch", "opensearch"], "default": "elasticsearch"},
            "version": {"type": "str", "required": True},
            "expected_nodes": {"type": "list", "elements": "str", "default": []},
            "wait_timeout": {"type": "float", "default": 60.0},
        },
        required_together=search_client.REQUIRED_TOGETHER,
        supports_check_mode=True,
    )
    given = module.params
    try:
        search_upgrade.numbers(given["version"])
        answer = search_upgrade.examine(
            search_client.connect(given),
            given["name"],
            given["version"],
            given["expected_nodes"],
            search_snapshot.utc_now(),
            given["wait_timeout"],
        )
    except ValueError as error:
        module.fail_json(msg=f"version: {error}")
    except search_client.SearchError as error:
        module.fail_json(msg=f"The upgrade check failed: {error}", **error.facts)
    found = answer.pop("warnings")
    for text in found:
        module.warn(text)
    module.exit_json(changed=False, warnings_found=found, **answer)


if __name__ == "__main__":
    main()
