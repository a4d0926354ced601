#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: elasticsearch_health
short_description: Get the health of an Elasticsearch or OpenSearch cluster
version_added: 0.1.0
description:
  - Asks every node at once who it is and which master it follows, and one of them about the cluster as a whole.
  - So it notices what a single node cannot tell, such as two clusters where there should be one.
  - Does not fail when the cluster is down or unhealthy; RV(problems) lists the reasons.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.search
  - utmstack.ha.https
  - utmstack.ha.wait
  - utmstack.ha.looks
options:
  expected_nodes:
    description:
      - Names that must be nodes of the cluster. Each that is not one is a problem.
      - Where there are as many as in O(url), they have to be in the same order, so that a node that does not answer can be named.
    type: list
    elements: str
    default: []
  without:
    description:
      - Names of nodes whose own troubles are not counted, such as one that is about to restart.
    type: list
    elements: str
    default: []
  accept_status:
    description:
      - The worst status that is no problem. To compare with how the cluster was before, give what it was.
    type: str
    choices: [red, yellow, green]
    default: green
  ignore_settings:
    description:
      - Whether settings that an operation changed for a while count as no problem, as during that operation.
    type: bool
    default: false
  settings:
    description:
      - Cluster settings to compare, as M(utmstack.ha.elasticsearch_cluster_settings) takes them. They are no problem where they differ.
    type: dict
  wait_for:
    description:
      - What to wait for. V(master) is an elected one, V(nodes) all of O(expected_nodes) but those in O(without), V(yellow) and
        V(green) that status or a better one, V(healthy) is RV(healthy).
    choices: [nothing, master, nodes, yellow, green, healthy]
  wait_timeout:
    default: 60.0
"""

EXAMPLES = r"""
- name: Get the health of Elasticsearch
  utmstack.ha.elasticsearch_health:
    url: ["https://10.0.1.11:9200", "https://10.0.1.12:9200", "https://10.0.1.13:9200"]
    ca_path: /etc/utmstack-ha/tls/ca.crt
    username: elastic
    password: "{{ ha_secrets.elasticsearch_superuser_password }}"
    expected_nodes: [node1, node2, node3]
  register: search

- name: Verify cluster health
  ansible.builtin.assert:
    that: search.healthy
    fail_msg: "{{ search.problems | join(' ') }}"

- name: Wait for node2 and at least the previous status
  utmstack.ha.elasticsearch_health:
    url: ["https://10.0.1.11:9200", "https://10.0.1.12:9200", "https://10.0.1.13:9200"]
    ca_path: /etc/utmstack-ha/tls/ca.crt
    username: elastic
    password: "{{ ha_secrets.elasticsearch_superuser_password }}"
    expected_nodes: [node1, node2, node3]
    accept_status: "{{ search.status }}"
    wait_for: healthy
    wait_timeout: 300
"""

RETURN = r"""
healthy:
  description: Whether there is a cluster and RV(problems) is empty.
  returned: always
  type: bool
reached:
  description: Whether what O(wait_for) names was there at last.
  returned: always
  type: bool
problems:
  description: What is wrong, as sentences.
  returned: always
  type: list
  elements: str
  sample:
    - node3 is not in the cluster.
    - "The cluster is yellow: 2 shards are not assigned: events[0]r, events[1]r (NODE_LEFT)."
status:
  description: V(green), V(yellow) or V(red), or null where nobody could say.
  returned: always
  type: str
  sample: green
master:
  description: Name of the elected master, or null.
  returned: always
  type: str
  sample: node2
cluster_uuid:
  description: The cluster's identifier, or null.
  returned: always
  type: str
  sample: M02XZ8LDSJ2Wj956lhL4Ag
cluster_name:
  description: The cluster's name, or null.
  returned: always
  type: str
  sample: utmstack
nodes:
  description: The nodes of the cluster, by name.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: node1
    address:
      description: Its IP address.
      type: str
      sample: 10.0.1.11
    roles:
      description: What it does in the cluster.
      type: list
      elements: str
      sample: [data, ingest, master]
    version:
      description: Its version.
      type: str
      sample: 8.19.4
    master:
      description: Whether it is the elected master.
      type: bool
absent_nodes:
  description: Those of O(expected_nodes) that are not in the cluster. All of them where there is no cluster.
  returned: always
  type: list
  elements: str
unassigned:
  description: How many shards are not assigned to a node, or null.
  returned: always
  type: int
  sample: 0
initializing:
  description: How many shards are being copied or recovered, or null.
  returned: always
  type: int
  sample: 0
relocating:
  description: How many shards are moving to another node, or null.
  returned: always
  type: int
  sample: 0
whole:
  description:
    - Whether every shard has all the copies that it can have. That is so when the cluster is green, and while versions are mixed also when all
      replicas that are missing wait for another node to be upgraded, since a replica never goes to a node older than its primary's.
  returned: always
  type: bool
awaiting_upgrade:
  description: How many replicas wait for that.
  returned: always
  type: int
  sample: 0
excluded_from_voting:
  description: Names of nodes that must not vote on the elected master, as during a hand-over.
  returned: always
  type: list
  elements: str
changed_settings:
  description: Settings that an operation changes for a while, and that are changed now.
  returned: always
  type: dict
  sample: {cluster.routing.allocation.enable: primaries}
settings_differ:
  description: Whether other settings count than O(settings), also where the cluster did not tell them. False without O(settings).
  returned: always
  type: bool
"""

from ansible_collections.utmstack.ha.plugins.module_utils.operation.info_module import run
from ansible_collections.utmstack.ha.plugins.module_utils.search import info as ask_search


def main():
    run(ask_search.QUESTION)


if __name__ == "__main__":
    main()
