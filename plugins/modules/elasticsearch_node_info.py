#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: elasticsearch_node_info
short_description: Get a host's Elasticsearch or OpenSearch node data and cluster UUID
version_added: 0.1.0
description:
  - Tells, without asking the server, whether there is a node's data, of which cluster, and whether the node is still forming one.
  - What follows from it is decided with the filter P(utmstack.ha.elasticsearch_bootstrap_plan#filter).
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
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
"""

EXAMPLES = r"""
- name: Check existing Elasticsearch data
  utmstack.ha.elasticsearch_node_info:
    data_directory: /var/lib/elasticsearch
    first_boot_file: /var/lib/utmstack-ha/elasticsearch/first-boot
    cluster_file: /var/lib/utmstack-ha/elasticsearch/cluster
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
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.search import node as elasticsearch_node


def main():
    names = ("data_directory", "first_boot_file", "cluster_file")
    module = AnsibleModule(
        argument_spec={name: {"type": "path", "required": True} for name in names},
        supports_check_mode=True,
    )
    params = module.params
    module.exit_json(
        changed=False,
        data=elasticsearch_node.has_data(params["data_directory"]),
        forming=elasticsearch_node.initial_masters(params["first_boot_file"]),
        cluster_uuid=elasticsearch_node.cluster_uuid(params["cluster_file"]),
    )


if __name__ == "__main__":
    main()
