#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: elasticsearch_restore_plan
short_description: Plan a restore of Elasticsearch or OpenSearch from a snapshot
version_added: 0.1.0
description:
  - Tells what a restore from a snapshot would do to the cluster as it is, up to when it brings everything back, and all that stands in its way in one
    list.
  - Changes nothing. M(utmstack.ha.elasticsearch_snapshot) restores.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.search
  - utmstack.ha.https
  - utmstack.ha.looks
options:
  snapshot:
    description:
      - Name of the snapshot. V(latest) is the newest complete one that a policy took.
    type: str
    default: latest
  before:
    description:
      - With O(snapshot=latest), a time after which the snapshot has nothing, such as V(2026-11-30T12:00:00Z), or seconds since 1970.
    type: str
    default: ""
  repository:
    description:
      - Name of the repository; all are searched where none is given.
    type: str
    default: ""
  indices:
    description:
      - Names and patterns of the indices and data streams to restore, by default all. One with C(-) in front leaves out again what those before it
        selected. Names that begin with a dot are meant only by patterns that do.
    type: list
    elements: str
    default: []
  recorded:
    description:
      - Records of backups of the kind C(elasticsearch), newest last, by which RV(expected) is told.
    type: list
    elements: dict
    default: []
  rename:
    description:
      - What is put before the names of restored indices. Empty restores in place.
    type: str
    default: ""
  replicas:
    description:
      - How many replicas each restored index will have, by which the room is judged.
    type: int
    default: 0
seealso:
  - module: utmstack.ha.elasticsearch_snapshot
"""

EXAMPLES = r"""
- name: Plan a restore of all alerts from the newest snapshot
  utmstack.ha.elasticsearch_restore_plan:
    url: ["https://10.0.1.11:9200", "https://10.0.1.12:9200", "https://10.0.1.13:9200"]
    ca_path: /etc/utmstack-ha/tls/ca.crt
    username: elastic
    password: "{{ ha_secrets.elasticsearch_superuser_password }}"
    indices: ["alert-*"]
    replicas: 1
  register: restore
  run_once: true
"""

RETURN = r"""
refusals:
  description: Why it can't begin, as sentences with the remedy. Empty where it can.
  returned: success
  type: list
  elements: str
lines:
  description: The plan as lines of text.
  returned: success
  type: list
  elements: str
repository:
  description: The repository that has the snapshot.
  returned: success
  type: str
  sample: backup_repo
snapshot:
  description: The snapshot's name.
  returned: success
  type: str
  sample: daily-snap-2026.11.24
time:
  description: Up to when everything is there, in seconds since 1970. What was written after it is not.
  returned: success
  type: int
bytes:
  description: Which room the restored indices need on the data nodes, with their replicas.
  returned: success
  type: int
targets:
  description: Each index and data stream that is restored, with its name afterwards.
  returned: success
  type: dict
overwritten:
  description: Indices that are replaced.
  returned: success
  type: list
  elements: str
whole:
  description: Those of them of which all shards are there.
  returned: success
  type: list
  elements: str
incomplete:
  description: Those of them of which shards are lost.
  returned: success
  type: list
  elements: str
expected:
  description: What was recorded of the indices of the snapshot, for O(utmstack.ha.elasticsearch_snapshot#module:expected).
  returned: success
  type: dict
partial:
  description: Whether the snapshot lacks shards, none of which are of what is restored.
  returned: success
  type: bool
left:
  description: Indices of the cluster that stay as they are, without those of the server.
  returned: success
  type: list
  elements: str
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.search import client as search_client
from ansible_collections.utmstack.ha.plugins.module_utils.search import restore_plan


def main():
    module = AnsibleModule(
        argument_spec={
            **search_client.ARGUMENTS,
            "snapshot": {"type": "str", "default": "latest"},
            "before": {"type": "str", "default": ""},
            "repository": {"type": "str", "default": ""},
            "indices": {"type": "list", "elements": "str", "default": []},
            "recorded": {"type": "list", "elements": "dict", "default": []},
            "rename": {"type": "str", "default": ""},
            "replicas": {"type": "int", "default": 0},
        },
        required_together=search_client.REQUIRED_TOGETHER,
        supports_check_mode=True,
    )
    given = module.params
    try:
        plan = restore_plan.look(
            search_client.connect(given),
            given["snapshot"],
            given["repository"],
            given["indices"],
            given["rename"],
            given["replicas"],
            given["before"],
        )
    except search_client.SearchError as error:
        module.fail_json(msg=str(error), **error.facts)
    expected = restore_plan.recorded(given["recorded"], plan.repository, plan.snapshot)
    module.exit_json(changed=False, expected=expected, **asdict(plan))


if __name__ == "__main__":
    main()
