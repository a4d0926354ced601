#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: etcd_info
short_description: Get the status of an etcd cluster
version_added: 0.1.0
description:
  - Asks all members at once who they are, who leads, and whether they serve.
  - A member counts as healthy when it answers, follows the leader, completes a read that needs the quorum, votes, and has raised no
    alarm.
  - Does not fail when etcd is down or unhealthy; RV(problems) lists the reasons.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.etcd
  - utmstack.ha.https
  - utmstack.ha.wait
  - utmstack.ha.looks
options:
  expected_members:
    description:
      - Names that must be members. Each that is not one is a problem.
    type: list
    elements: str
    default: []
  without:
    description:
      - Names of members whose own troubles are not counted, such as one that is about to be replaced.
    type: list
    elements: str
    default: []
  ignore_alarms:
    description:
      - Whether alarms count as no problem. A member that lacks space takes part in votes all the same.
    type: bool
    default: false
  wait_for:
    description:
      - What to wait for. V(leader) is a member that leads, V(healthy) is RV(healthy).
    choices: [nothing, leader, healthy]
"""

EXAMPLES = r"""
- name: Get the etcd status
  utmstack.ha.etcd_info:
    endpoints:
      - https://10.0.1.11:2379
      - https://10.0.1.12:2379
      - https://10.0.1.13:2379
    ca_path: /etc/utmstack-ha/tls/ca.crt
    client_cert: /etc/utmstack-ha/tls/host.crt
    client_key: /etc/utmstack-ha/tls/host.key
    username: root
    password: "{{ etcd_root_password }}"
  register: etcd

- name: Verify cluster health
  ansible.builtin.assert:
    that: etcd.healthy
    fail_msg: "{{ etcd.problems | join(' ') }}"
"""

RETURN = r"""
healthy:
  description: Whether there are members and RV(problems) is empty.
  returned: always
  type: bool
problems:
  description: What is wrong, as sentences.
  returned: always
  type: list
  elements: str
  sample:
    - node3 does not answer (no answer within 5 s).
leader:
  description: Name of the member that leads, or null.
  returned: always
  type: str
  sample: node1
members:
  description: The members, by name. Those that have never started come last.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Its name, empty until it has started once.
      type: str
      sample: node1
    id:
      description: Its number, hexadecimal.
      type: str
      sample: 15309eb48fb80c71
    client_urls:
      description: Where clients reach it.
      type: list
      elements: str
      sample: ["https://10.0.1.11:2379"]
    peer_urls:
      description: Where other members reach it.
      type: list
      elements: str
      sample: ["https://10.0.1.11:2380"]
    healthy:
      description: Whether it serves and votes.
      type: bool
    leader:
      description: Whether it leads.
      type: bool
    learner:
      description: Whether it only listens and does not vote yet.
      type: bool
    version:
      description: Its version, or null where it did not answer.
      type: str
      sample: 3.5.16
    db_size_bytes:
      description: Size of its database, in bytes, or null.
      type: int
      sample: 20480
    raft_term:
      description: How many elections there have been, as this member knows, or null.
      type: int
      sample: 2
    raft_applied_index:
      description: Number of the last entry that it applied, or null.
      type: int
      sample: 58
    error:
      description: What is wrong with it, or empty.
      type: str
      sample: does not answer (Connection refused)
alarms:
  description: Alarms that members raised.
  returned: always
  type: list
  elements: dict
  contains:
    member_id:
      description: The member's number, hexadecimal.
      type: str
    alarm:
      description: Its name, C(NOSPACE) or C(CORRUPT).
      type: str
auth_enabled:
  description: Whether users must log in, or null where that could not be asked.
  returned: always
  type: bool
cluster_id:
  description: The cluster's number, hexadecimal, or null.
  returned: always
  type: str
  sample: 23737e966f06b5e9
"""

from ansible_collections.utmstack.ha.plugins.module_utils.etcd import info as ask_etcd
from ansible_collections.utmstack.ha.plugins.module_utils.operation.info_module import run


def main():
    run(ask_etcd.QUESTION)


if __name__ == "__main__":
    main()
