#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: etcd_auth
short_description: Manage etcd's users, roles and authentication
version_added: 0.1.0
description:
  - Brings users, their passwords, roles and the permissions of the roles to what is declared, and enables authentication.
  - Goes in the order that etcd needs, so a run that died half-way is completed by the next one.
  - Tries whether each declared password works, and sets those that do not.
  - Users and roles that are not declared are left alone.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.etcd
  - utmstack.ha.https
options:
  users:
    description:
      - The users. C(root) gets the role C(root) by itself.
      - To change the password of C(root), give the old one in O(password) and the new one here.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the user.
        type: str
        required: true
      password:
        description: Its password.
        type: str
        required: true
      roles:
        description: The roles it holds, and no others. Left as they are where this is not given.
        type: list
        elements: str
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
      permissions:
        description: What it may do, and nothing else.
        type: list
        elements: dict
        default: []
        suboptions:
          prefix:
            description: Prefix of the keys that are covered, an empty one for all keys. Either this or O(roles[].permissions[].key).
            type: str
          key:
            description: The only key that is covered.
            type: str
          access:
            description: What may be done with these keys.
            type: str
            choices: [read, write, readwrite]
            default: readwrite
  enabled:
    description:
      - Whether users must log in. Needs a user C(root).
    type: bool
    default: true
attributes:
  check_mode:
    description: Reads, tries passwords and tells what would change.
    support: full
  diff_mode:
    description: Shows users, roles and permissions. Of passwords it shows only whether the declared one works.
    support: full
"""

EXAMPLES = r"""
- name: Grant Patroni its own prefix and enable authentication
  utmstack.ha.etcd_auth:
    endpoints:
      - https://10.0.1.11:2379
      - https://10.0.1.12:2379
      - https://10.0.1.13:2379
    ca_path: /etc/utmstack-ha/tls/ca.crt
    client_cert: /etc/utmstack-ha/tls/host.crt
    client_key: /etc/utmstack-ha/tls/host.key
    username: root
    password: "{{ etcd_root_password }}"
    roles:
      - name: patroni
        permissions:
          - prefix: /service/
            access: readwrite
    users:
      - name: root
        password: "{{ etcd_root_password }}"
      - name: patroni
        password: "{{ etcd_patroni_password }}"
        roles: [patroni]
  run_once: true
"""

RETURN = r"""
auth_enabled:
  description: Whether users must log in, after this module.
  returned: success
  type: bool
steps:
  description: The requests that were, or in check mode would be, sent. Without passwords.
  returned: success
  type: list
  elements: str
  sample:
    - role/add patroni
    - role/grant patroni
    - user/add root
    - user/grant root
    - enable
"""

import json

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.etcd import auth as etcd_auth
from ansible_collections.utmstack.ha.plugins.module_utils.etcd import client as etcd
from ansible_collections.utmstack.ha.plugins.module_utils.etcd import cluster as etcd_cluster

_PERMISSION = {
    "prefix": {"type": "str"},
    "key": {"type": "str", "no_log": False},
    "access": {"type": "str", "choices": ["read", "write", "readwrite"], "default": "readwrite"},
}
_ROLE = {
    "name": {"type": "str", "required": True},
    "permissions": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": _PERMISSION,
        "mutually_exclusive": [("prefix", "key")],
        "required_one_of": [("prefix", "key")],
    },
}
_USER = {
    "name": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "roles": {"type": "list", "elements": "str"},
}


def endpoint_of(client):
    """A member that follows a leader. Raises EtcdError where there is none, as users are kept by the quorum."""
    views = client.everywhere(client.endpoints, lambda endpoint: etcd_cluster.view(client, endpoint))
    chosen = etcd_cluster.best_endpoint(views)
    if not chosen or not views[chosen].leader_id:
        seen = (f"{url}: {view.error or view.health or 'sees no leader'}" for url, view in views.items())
        raise etcd.EtcdError(f"the cluster has no leader ({', '.join(seen)})")
    return chosen


def summary(step):
    """A step without what must not be shown."""
    subject = step.body.get("name") or step.body.get("user") or step.body.get("role") or ""
    return f"{step.path.removeprefix('/v3/auth/')} {subject}".strip()


def main():
    module = AnsibleModule(
        argument_spec={
            **etcd.ARGUMENTS,
            "users": {"type": "list", "elements": "dict", "default": [], "options": _USER},
            "roles": {"type": "list", "elements": "dict", "default": [], "options": _ROLE},
            "enabled": {"type": "bool", "default": True},
        },
        required_together=etcd.REQUIRED_TOGETHER,
        supports_check_mode=True,
    )
    step = None
    try:
        wanted, passwords = etcd_auth.wanted_state(module.params)
        client = etcd.Client.of(module.params)
        endpoint = endpoint_of(client)
        current = etcd_auth.read_state(client, endpoint, passwords)
        steps = etcd_auth.plan(current, wanted, passwords)
        for step in [] if module.check_mode else steps:
            client.call(endpoint, step.path, step.body)
    except ValueError as error:
        module.fail_json(msg=str(error))
    except etcd.EtcdError as error:
        doing = f"{summary(step)} failed" if step else "etcd's users cannot be read"
        hint = f". Is it the password of {client.username}?" if not step and error.says(etcd.WRONG_PASSWORD) else ""
        module.fail_json(msg=f"{doing}: {error}{hint}")
    texts = [
        json.dumps(etcd_auth.shown(state, passwords), indent=2) + "\n"
        for state in (current, etcd_auth.applied(current, wanted))
    ]
    module.exit_json(
        changed=bool(steps),
        auth_enabled=current.enabled if module.check_mode else wanted.enabled,
        steps=[summary(step) for step in steps],
        diff={"before": texts[0], "after": texts[1]} if steps else {"before": "", "after": ""},
    )


if __name__ == "__main__":
    main()
