#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: elasticsearch_snapshot_policy
short_description: Manage scheduled snapshot policies of Elasticsearch or OpenSearch
version_added: 0.1.0
description:
  - Sets by which schedule the cluster takes snapshots, and which it deletes again. On Elasticsearch this is snapshot lifecycle management (SLM), on
    OpenSearch snapshot management (SM).
  - One form serves both. What only one of them knows is said at the option.
  - Where the server has neither, RV(supported) is V(false) and nothing is changed, or the module fails, as O(unsupported) says.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.search
  - utmstack.ha.https
options:
  name:
    description:
      - Name of the policy.
    type: str
    required: true
  schedule:
    description:
      - When to take a snapshot, in UTC. Second, minute, hour, day, month and weekday, as SLM reads them, for example V(0 30 1 * * ?) for half past one.
      - Translated for OpenSearch, which knows neither seconds nor C(L), C(W) and C(#). Elasticsearch also takes intervals such as V(30m).
      - Needed unless the policy shall be absent.
    type: str
  repository:
    description:
      - Where to put the snapshots. Needed unless the policy shall be absent.
    type: str
  snapshot_name:
    description:
      - What the snapshots are called, with date math. An identifier is appended. By default the policy's name and the day.
      - Only for Elasticsearch. On OpenSearch they are called after the policy, the time and an identifier.
    type: str
  indices:
    description:
      - Names and patterns of what is in the snapshots. By default everything.
    type: list
    elements: str
  config:
    description:
      - More that is said when a snapshot is taken, such as C(include_global_state), C(ignore_unavailable), C(partial), C(metadata), or
        C(feature_states) (Elasticsearch only).
    type: dict
    default: {}
  retention:
    description:
      - Which snapshots of the policy are deleted. None are by default.
    type: dict
    suboptions:
      expire_after:
        description: Those older than this, such as V(30d).
        type: str
      min_count:
        description: How many are kept however old they are.
        type: int
      max_count:
        description: How many are kept at most.
        type: int
  execute:
    description:
      - Whether to take a snapshot at once, at each run. OpenSearch cannot.
    type: bool
    default: false
  state:
    description:
      - Whether there shall be such a policy. Snapshots that it took stay.
    type: str
    choices: [present, absent]
    default: present
  unsupported:
    description:
      - What to do where the server has no such policies.
    type: str
    choices: [fail, report]
    default: fail
attributes:
  check_mode:
    description: Tells whether the policy would be set, changed or deleted. Nothing is executed.
    support: full
  diff_mode:
    description: Shows the policy in the server's own form.
    support: full
seealso:
  - module: utmstack.ha.elasticsearch_snapshot_repository
  - module: utmstack.ha.elasticsearch_snapshot
"""

EXAMPLES = r"""
- name: Create nightly snapshots with a retention of one month
  utmstack.ha.elasticsearch_snapshot_policy:
    url: ["https://10.0.1.11:9200", "https://10.0.1.12:9200", "https://10.0.1.13:9200"]
    ca_path: /etc/utmstack-ha/tls/ca.crt
    username: elastic
    password: "{{ ha_secrets.elasticsearch_superuser_password }}"
    name: nightly
    schedule: 0 30 1 * * ?
    repository: backup
    retention:
      expire_after: 30d
      min_count: 7
      max_count: 60
    unsupported: report
  register: policy
  run_once: true
"""

RETURN = r"""
supported:
  description: Whether the server has such policies.
  returned: success
  type: bool
reason:
  description: Why not, with the server's own words, or empty.
  returned: success
  type: str
  sample: "Elasticsearch 8.19.4 has no snapshot lifecycle management here: no handler found for uri [/_slm/policy/nightly] and method [GET]."
policy:
  description: The policy in the server's own form, as it is after this, or null.
  returned: success
  type: dict
  sample: {schedule: "0 30 1 * * ?", name: "<nightly-{now/d}>", repository: backup, config: {}}
snapshot:
  description: Name of the snapshot that O(execute) began, or null.
  returned: success
  type: str
  sample: nightly-2026.11.24-gwrqoo2xtea3q57vvg0uea
status:
  description: How the policy went so far, where the server says so.
  returned: success
  type: dict
  contains:
    last_success:
      description: Name of the last snapshot that succeeded, or null.
      type: str
    last_failure:
      description: Name of the last snapshot that failed, or null.
      type: str
    in_progress:
      description: Name of the snapshot that is being taken, or null.
      type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.search import client as search_client
from ansible_collections.utmstack.ha.plugins.module_utils.search import policy as search_policy

_RETENTION = {"expire_after": {"type": "str"}, "min_count": {"type": "int"}, "max_count": {"type": "int"}}


def wanted_policy(given):
    """The policy that the parameters ask for, None for none."""
    if given["state"] == "absent":
        return None
    config = {name: value for name, value in given["config"].items() if value is not None}
    if given["indices"]:
        config["indices"] = given["indices"]
    retention = {name: value for name, value in (given["retention"] or {}).items() if value is not None}
    name = given["snapshot_name"] or f"<{given['name']}-{{now/d}}>"
    return search_policy.Policy(given["schedule"], name, given["repository"], config, retention)


def main():
    module = AnsibleModule(
        argument_spec={
            **search_client.ARGUMENTS,
            "name": {"type": "str", "required": True},
            "schedule": {"type": "str"},
            "repository": {"type": "str"},
            "snapshot_name": {"type": "str"},
            "indices": {"type": "list", "elements": "str"},
            "config": {"type": "dict", "default": {}},
            "retention": {"type": "dict", "options": _RETENTION},
            "execute": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "unsupported": {"type": "str", "choices": ["fail", "report"], "default": "fail"},
        },
        required_if=[("state", "present", ("schedule", "repository"))],
        required_together=search_client.REQUIRED_TOGETHER,
        supports_check_mode=True,
    )
    given = module.params
    try:
        client = search_client.connect(given)
        result = search_policy.reconcile(
            client, given["name"], wanted_policy(given), given["execute"], module.check_mode
        )
    except search_policy.Unsupported as error:
        if given["unsupported"] == "fail":
            module.fail_json(msg=str(error))
        module.exit_json(changed=False, supported=False, reason=str(error), policy=None, snapshot=None, status={})
    except search_client.Refused as error:
        module.fail_json(msg=str(error) + search_policy.remedy(error.reply.reason))
    except search_client.SearchError as error:
        module.fail_json(msg=str(error), **error.facts)
    if result["stopped"]:
        module.warn(
            "Snapshot lifecycle management is stopped, so no policy is executed. Start it with POST _slm/start."
        )
    module.exit_json(
        changed=result["changed"],
        supported=True,
        reason="",
        policy=result["after"],
        snapshot=result["snapshot"],
        status=result["status"],
        diff=search_client.shown(result["before"], result["after"]),
    )


if __name__ == "__main__":
    main()
