#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: elasticsearch_user
short_description: Manage users and roles of Elasticsearch or OpenSearch
version_added: 0.1.0
description:
  - Brings users that the cluster keeps itself, their passwords, and roles to what is declared. On Elasticsearch these are native users, on
    OpenSearch the internal users of its security plugin.
  - Tries whether each declared password works, and sets those that do not.
  - Goes in an order that locks nobody out, so a run that died half-way is completed by the next one.
  - Users and roles that are not declared are left alone.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.search
  - utmstack.ha.https
options:
  users:
    description:
      - The users.
      - To change the password of the user that the module itself acts as, give the old one in O(password) and the new one here.
      - A built-in user of Elasticsearch, such as C(elastic), whose password is only in the keystore of each node until then, gets it in the cluster.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the user.
        type: str
        required: true
      password:
        description: Its password. Needed unless the user shall be absent.
        type: str
      update_password:
        description: Whether a user that is there gets this password, or only one that is made.
        type: str
        choices: [always, on_create]
        default: always
      roles:
        description: The roles it holds, and no others. Left as they are where this is not given.
        type: list
        elements: str
      state:
        description: Whether there shall be such a user.
        type: str
        choices: [present, absent]
        default: present
  roles:
    description:
      - The roles.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the role.
        type: str
        required: true
      cluster:
        description:
          - What it may do with the cluster, named as Elasticsearch names its cluster privileges.
          - V(manage_snapshots) means all about snapshots and repositories. Elasticsearch has no name of its own for that.
          - On OpenSearch V(all), V(monitor), V(manage), V(manage_index_templates), V(manage_ingest_pipelines), V(manage_ilm), V(manage_slm),
            V(create_snapshot) and V(monitor_snapshot) are translated. Other names are passed on, so its own action groups can be used.
        type: list
        elements: str
        default: []
      indices:
        description:
          - What it may do with which indices.
          - On OpenSearch the right to use requests for several indices at once, such as C(_bulk), is added by itself.
        type: list
        elements: dict
        default: []
        suboptions:
          names:
            description: Names or patterns.
            type: list
            elements: str
            required: true
          privileges:
            description:
              - Named as Elasticsearch names its index privileges.
              - On OpenSearch V(all), V(read), V(write), V(index), V(create_doc), V(delete), V(create_index), V(delete_index), V(manage), V(monitor),
                V(view_index_metadata), V(maintenance) and V(auto_configure) mean the same. Other names are passed on.
            type: list
            elements: str
            required: true
      state:
        description: Whether there shall be such a role.
        type: str
        choices: [present, absent]
        default: present
attributes:
  check_mode:
    description: Reads, tries passwords and tells what would change.
    support: full
  diff_mode:
    description: Shows the declared users and roles. Of passwords it shows only whether the declared one works.
    support: full
"""

EXAMPLES = r"""
- name: Create a user with minimal privileges for the application
  utmstack.ha.elasticsearch_user:
    url: ["https://10.0.1.11:9200", "https://10.0.1.12:9200", "https://10.0.1.13:9200"]
    ca_path: /etc/utmstack-ha/tls/ca.crt
    username: elastic
    password: "{{ ha_secrets.elasticsearch_superuser_password }}"
    roles:
      - name: utmstack
        cluster: [monitor, manage_index_templates]
        indices:
          - names: ["v11-*", "log-*", "alert-*"]
            privileges: [read, write, create_index, manage]
    users:
      - name: elastic
        password: "{{ ha_secrets.elasticsearch_superuser_password }}"
      - name: utmstack
        password: "{{ ha_secrets.elasticsearch_application_password }}"
        roles: [utmstack]
  run_once: true
"""

RETURN = r"""
steps:
  description: The requests that were, or in check mode would be, sent. Without passwords.
  returned: success
  type: list
  elements: str
  sample:
    - role utmstack
    - user utmstack
    - password of elastic
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.search import client as search_client
from ansible_collections.utmstack.ha.plugins.module_utils.search import security as search_security

_STATE = {"type": "str", "choices": ["present", "absent"], "default": "present"}
_USER = {
    "name": {"type": "str", "required": True},
    "password": {"type": "str", "no_log": True},
    "update_password": {"type": "str", "choices": ["always", "on_create"], "default": "always", "no_log": False},
    "roles": {"type": "list", "elements": "str"},
    "state": _STATE,
}
_INDICES = {
    "names": {"type": "list", "elements": "str", "required": True},
    "privileges": {"type": "list", "elements": "str", "required": True},
}
_ROLE = {
    "name": {"type": "str", "required": True},
    "cluster": {"type": "list", "elements": "str", "default": []},
    "indices": {"type": "list", "elements": "dict", "default": [], "options": _INDICES},
    "state": _STATE,
}


def carry_out(client, steps, users):
    """Send the steps, going on with the new password once the acting user's own was changed. Raises SearchError."""
    passwords = {user["name"]: user["password"] for user in users}
    for step in steps:
        try:
            client.act(
                step.method, step.path, step.body, f"Setting {step.summary}", allowed=(404,) * (step.body is None)
            )
        except search_client.Refused as error:
            raise search_client.SearchError(f"{error}{search_security.remedy(error.reply)}") from error
        acting = client.credentials[0] if client.credentials else ""
        if step.summary == f"password of {acting}":
            client.credentials = (acting, passwords[acting])


def main():
    module = AnsibleModule(
        argument_spec={
            **search_client.ARGUMENTS,
            "users": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": _USER,
                "required_if": [("state", "present", ("password",))],
            },
            "roles": {"type": "list", "elements": "dict", "default": [], "options": _ROLE},
        },
        required_together=search_client.REQUIRED_TOGETHER,
        supports_check_mode=True,
    )
    users, roles = module.params["users"], module.params["roles"]
    try:
        client = search_client.connect(module.params)
        api = search_security.api_of(search_security.log_in(client, users))
        current = search_security.read(client, api, users, roles)
        steps = search_security.plan(api, current, users, roles, module.params["username"])
        if not module.check_mode:
            carry_out(client, steps, users)
    except search_client.Refused as error:
        module.fail_json(msg=str(error) + search_security.remedy(error.reply))
    except search_client.SearchError as error:
        module.fail_json(msg=str(error), **error.facts)
    before, after = (search_security.shown(current, users, roles, api, after) for after in (False, True))
    module.exit_json(
        changed=bool(steps),
        steps=[step.summary for step in steps],
        diff=search_client.shown(before, after),
    )


if __name__ == "__main__":
    main()
