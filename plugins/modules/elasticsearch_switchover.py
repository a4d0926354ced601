#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: elasticsearch_switchover
short_description: Move the elected master of Elasticsearch or OpenSearch to another node
version_added: 0.1.0
description:
  - Excludes the elected master from voting, waits until another node is master, and lets it vote again, whatever happened.
  - Who takes over the cluster decides, unless O(to) names one; then all others are excluded.
  - At least three nodes must be able to vote. While nodes are excluded, of three voters one alone votes, and its loss at that moment would
    leave the cluster without a master until it is back. They are removed as soon as another node leads.
  - Exclusions that an operation has left which died are removed in any case.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.search
  - utmstack.ha.https
options:
  host:
    description:
      - Name of the node that shall not be master. Nothing changes where it is none. By default whoever is master hands over.
    type: str
  to:
    description:
      - Name of the node that shall be master. Nothing changes where it is.
    type: str
  only_clear:
    description:
      - Only removes exclusions from voting, and nobody hands over.
    type: bool
    default: false
  wait_timeout:
    description:
      - How long the hand-over may take, in seconds.
    type: float
    default: 60.0
attributes:
  check_mode:
    description: Tells whether the master would hand over, and refuses what it would refuse.
    support: full
  diff_mode:
    description: Shows who is master.
    support: full
"""

EXAMPLES = r"""
- name: Switch over the elected master before a reboot
  utmstack.ha.elasticsearch_switchover:
    url: ["https://10.0.1.11:9200", "https://10.0.1.12:9200", "https://10.0.1.13:9200"]
    ca_path: /etc/utmstack-ha/tls/ca.crt
    username: elastic
    password: "{{ ha_secrets.elasticsearch_superuser_password }}"
    host: node1
"""

RETURN = r"""
master:
  description: Who is master now. In check mode, who is before.
  returned: success
  type: str
  sample: node2
old_master:
  description: Who was master before.
  returned: success
  type: str
  sample: node1
cleared:
  description: Names of nodes that were excluded from voting before.
  returned: success
  type: list
  elements: str
seconds:
  description: How long it took until another was master and every node could vote again, in seconds.
  returned: success
  type: float
  sample: 0.83
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.search import client as search_client
from ansible_collections.utmstack.ha.plugins.module_utils.search import switchover as search_switchover


def main():
    module = AnsibleModule(
        argument_spec={
            **search_client.ARGUMENTS,
            "host": {"type": "str"},
            "to": {"type": "str"},
            "only_clear": {"type": "bool", "default": False},
            "wait_timeout": {"type": "float", "default": 60.0},
        },
        required_together=search_client.REQUIRED_TOGETHER,
        supports_check_mode=True,
    )
    given = module.params
    try:
        answer = search_switchover.switch_over(
            search_client.connect(given),
            given["host"],
            given["to"],
            given["only_clear"],
            given["wait_timeout"],
            module.check_mode,
        )
    except search_client.SearchError as error:
        module.fail_json(msg=f"The elected master is not handed over: {error}", **error.facts)
    after = answer["master"]
    if module.check_mode and answer["changed"] and not given["only_clear"]:
        after = given["to"] or f"another than {answer['old_master']}"
    module.exit_json(
        diff={"before": f"master {answer['old_master']}\n", "after": f"master {after}\n"} if answer["changed"] else {},
        **answer,
    )


if __name__ == "__main__":
    main()
