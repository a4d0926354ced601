#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: elasticsearch_node_info
short_description: Get a host's Elasticsearch or OpenSearch node data, cluster UUID and pending restart
version_added: 0.1.0
description:
  - Tells, without asking the server, whether there is a node's data, of which cluster, and whether the node is still forming one, and
    whether the server runs with what is on disk.
  - What follows from it is decided with the filter P(utmstack.ha.elasticsearch_bootstrap_plan#filter).
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.freshness.service
  - utmstack.ha.looks
options:
  data_directory:
    description:
      - The server's C(path.data).
    type: path
    required: true
  first_boot_file:
    description:
      - File with the options for the first start, which is there only until the cluster has formed.
    type: path
    required: true
  cluster_file:
    description:
      - File that names the cluster which this host was last seen in.
    type: path
    required: true
  service:
    description:
      - The server's service, with the options of M(utmstack.ha.service_freshness). What that module returns is returned as well.
"""

EXAMPLES = r"""
- name: Check existing Elasticsearch data
  utmstack.ha.elasticsearch_node_info:
    data_directory: /var/lib/elasticsearch
    first_boot_file: /var/lib/utmstack-ha/elasticsearch/first-boot
    cluster_file: /var/lib/utmstack-ha/elasticsearch/cluster
    service:
      unit: elasticsearch
      restart_files: [/etc/elasticsearch/elasticsearch.yml]
  register: elasticsearch_node
"""

RETURN = r"""
data:
  description: Whether a node has written its state.
  returned: always
  type: bool
forming:
  description: The initial masters that the node was started with and has not finished to form a cluster with.
  returned: always
  type: list
  elements: str
  sample: [node1, node2, node3]
cluster_uuid:
  description: The cluster that the data belongs to as far as this host was told, or empty.
  returned: always
  type: str
  sample: XkqVbH0gQSOjhv1J8tYb3A
state:
  description:
    - C(fresh), the service runs with what is on disk. C(reload), it has to read files again. C(restart), it has to be restarted.
    - C(stopped), it does not run.
  returned: with O(service)
  type: str
  sample: restart
reasons:
  description: Why, as sentences.
  returned: with O(service)
  type: list
  elements: str
  sample:
    - /etc/default/etcd changed at 2026-03-01T12:00:00.123Z, started at 2026-02-27T08:11:12.010Z
unit:
  description: The unit's full name.
  returned: with O(service)
  type: str
  sample: etcd.service
active_state:
  description: The unit's state as systemd names it.
  returned: with O(service)
  type: str
  sample: active
enabled:
  description: Whether the unit starts at boot.
  returned: with O(service)
  type: bool
pid:
  description: The main process, or null.
  returned: with O(service)
  type: int
started:
  description: When the main process started, ISO 8601 in UTC, or null.
  returned: with O(service)
  type: str
loaded:
  description: When the service was last seen to load its files, by its start or by a reload, ISO 8601 in UTC, or null.
  returned: with O(service)
  type: str
daemon_reload:
  description: Whether systemd has to read the unit's files again.
  returned: with O(service)
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.host import freshness_module
from ansible_collections.utmstack.ha.plugins.module_utils.search import node as elasticsearch_node


def main():
    names = ("data_directory", "first_boot_file", "cluster_file")
    module = AnsibleModule(
        argument_spec={
            **{name: {"type": "path", "required": True} for name in names},
            "service": {"type": "dict", "options": freshness_module.OPTIONS},
        },
        supports_check_mode=True,
    )
    params = module.params
    module.exit_json(
        changed=False,
        data=elasticsearch_node.has_data(params["data_directory"]),
        forming=elasticsearch_node.initial_masters(params["first_boot_file"]),
        cluster_uuid=elasticsearch_node.cluster_uuid(params["cluster_file"]),
        **(freshness_module.judge(module, params["service"]) if params["service"] else {}),
    )


if __name__ == "__main__":
    main()
