#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: elasticsearch_snapshot_repository
short_description: Register a snapshot repository and verify access from every node
version_added: 0.1.0
description:
  - Registers a place for snapshots in Elasticsearch or OpenSearch, and lets every node prove that it can use it.
  - Where the proof fails, a new repository is not left registered and a changed one is made what it was. So no snapshot goes where it cannot
    be read again.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.search
  - utmstack.ha.https
options:
  name:
    description:
      - Name of the repository.
    type: str
    required: true
  type:
    description:
      - Its type, such as V(fs), V(s3), V(gcs), V(azure), V(hdfs) or V(url). Needed unless it shall be absent.
      - Some are plugins, which have to be on every node.
    type: str
  settings:
    description:
      - Its settings, as the type's documentation names them. They are all that count; others are removed.
      - Credentials are none of them. They are entries in the keystore of every node.
      - For V(fs), the C(location) has to be in a directory of C(path.repo) on every node, and the same shared folder on all.
    type: dict
    default: {}
  verify:
    description:
      - Whether every node shall prove, at each run, that it can read and write the repository.
      - Nodes only read a repository with the setting C(readonly). They prove that they can.
    type: bool
    default: true
  verify_timeout:
    description:
      - How long that may take, in seconds.
    type: float
    default: 60.0
  state:
    description:
      - Whether there shall be such a repository. V(absent) unregisters it and deletes nothing that is in it.
      - It is refused while a snapshot is being taken in it.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    description: Tells whether it would be registered, changed or removed. Nothing is proven.
    support: full
  diff_mode:
    description: Shows type and settings.
    support: full
seealso:
  - module: utmstack.ha.elasticsearch_snapshot_policy
  - module: utmstack.ha.elasticsearch_snapshot
"""

EXAMPLES = r"""
- name: Register a repository in a shared directory
  utmstack.ha.elasticsearch_snapshot_repository:
    url: ["https://10.0.1.11:9200", "https://10.0.1.12:9200", "https://10.0.1.13:9200"]
    ca_path: /etc/utmstack-ha/tls/ca.crt
    username: elastic
    password: "{{ ha_secrets.elasticsearch_superuser_password }}"
    name: backup
    type: fs
    settings:
      location: /mnt/snapshots/elasticsearch
      compress: true
  run_once: true

- name: Register an S3 repository with credentials from the keystore
  utmstack.ha.elasticsearch_snapshot_repository:
    url: ["https://10.0.1.11:9200", "https://10.0.1.12:9200", "https://10.0.1.13:9200"]
    ca_path: /etc/utmstack-ha/tls/ca.crt
    username: elastic
    password: "{{ ha_secrets.elasticsearch_superuser_password }}"
    name: backup
    type: s3
    settings:
      bucket: utmstack-snapshots
      base_path: production
  run_once: true
"""

RETURN = r"""
nodes:
  description: Names of the nodes that proved it. Empty when nothing was to be proven, and in check mode.
  returned: success
  type: list
  elements: str
  sample: [node1, node2, node3]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.search import client as search_client
from ansible_collections.utmstack.ha.plugins.module_utils.search import repository as search_repository


def main():
    module = AnsibleModule(
        argument_spec={
            **search_client.ARGUMENTS,
            "name": {"type": "str", "required": True},
            "type": {"type": "str"},
            "settings": {"type": "dict", "default": {}},
            "verify": {"type": "bool", "default": True},
            "verify_timeout": {"type": "float", "default": 60.0},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ("type",))],
        required_together=search_client.REQUIRED_TOGETHER,
        supports_check_mode=True,
    )
    given = module.params
    try:
        client = search_client.connect(given)
        if given["state"] == "absent":
            result = search_repository.remove(client, given["name"], module.check_mode)
        else:
            wanted = search_repository.Repository.of(given["type"], given["settings"])
            result = search_repository.reconcile(
                client, given["name"], wanted, given["verify"], given["verify_timeout"], module.check_mode
            )
    except search_client.SearchError as error:
        module.fail_json(msg=str(error), **error.facts)
    module.exit_json(
        changed=result["changed"], nodes=result["nodes"], diff=search_client.shown(result["before"], result["after"])
    )


if __name__ == "__main__":
    main()
