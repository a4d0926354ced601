#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: opensearch_internal_users
short_description: Write OpenSearch's initial internal users
version_added: 0.1.0
description:
  - Writes C(internal_users.yml) of OpenSearch's security plugin, which it reads once, when it makes its index of users.
    Later on M(utmstack.ha.elasticsearch_user) is the way.
  - Passwords are kept as bcrypt hashes. A hash that fits its password stays as it is, so a second run changes nothing.
  - Needs C(python3-bcrypt) on the host. In check mode it is skipped without.
author:
  - The utmstack.ha developers (@utmstack)
options:
  path:
    description:
      - The file.
    type: path
    required: true
  users:
    description:
      - The users. No others stay in the file.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The user's name.
        type: str
        required: true
      password:
        description: Its password, up to 72 bytes.
        type: str
        required: true
      backend_roles:
        description: Its backend roles. The plugin maps C(admin) to all access.
        type: list
        elements: str
        default: []
  group:
    description:
      - The group that may read the file.
    type: str
    default: elasticsearch
attributes:
  check_mode:
    description: Tells whether the file would change.
    support: full
  diff_mode:
    description: Shows the names of the users whose entry changes.
    support: full
"""

EXAMPLES = r"""
- name: Write OpenSearch's initial user
  utmstack.ha.opensearch_internal_users:
    path: /etc/elasticsearch/opensearch-security/internal_users.yml
    users:
      - name: admin
        password: "{{ opensearch_admin_password }}"
        backend_roles: [admin]
"""

RETURN = r"""
users:
  description: Names of the users whose entry changed.
  returned: always
  type: list
  elements: str
  sample: [admin]
"""

import json

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.host import file_set
from ansible_collections.utmstack.ha.plugins.module_utils.search import password_hash

HEAD = "# Written by the role utmstack.ha.elasticsearch. OpenSearch reads it once, when it makes its index of users.\n"


def present_users(path):
    """The users in the file, name to entry; none where it isn't one that this module wrote."""
    text = (file_set.look(path).content or b"").decode("utf-8", "replace")
    try:
        users = json.loads(text.removeprefix(HEAD))
    except json.JSONDecodeError:
        return {}
    return users if isinstance(users, dict) else {}


def wanted_users(present, wanted):
    """The file's content: the entries that fit are kept as they are."""
    users = {"_meta": {"type": "internalusers", "config_version": 2}}
    for user in wanted:
        before = present.get(user["name"], {})
        fits = password_hash.verify(user["password"], before.get("hash", ""))
        users[user["name"]] = {
            "hash": before["hash"] if fits else password_hash.make(user["password"]),
            "reserved": False,
            "backend_roles": user["backend_roles"],
        }
    return users


def main():
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "users": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "password": {"type": "str", "required": True, "no_log": True},
                    "backend_roles": {"type": "list", "elements": "str", "default": []},
                },
            },
            "group": {"type": "str", "default": "elasticsearch"},
        },
        supports_check_mode=True,
    )
    path = module.params["path"]
    if password_hash.bcrypt is None and module.check_mode:
        module.exit_json(
            skipped=True, msg=f"Without python3-bcrypt nobody knows whether {path} changes; role base installs it."
        )
    if password_hash.bcrypt is None:
        module.fail_json(
            msg=f"{path} needs Debian's package python3-bcrypt, which role base installs: run playbooks/base.yml before."
        )
    try:
        present = present_users(path)
        wanted = wanted_users(present, module.params["users"])
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"{path} cannot be made: {error}")
    names = sorted(name for name in present.keys() | wanted.keys() if present.get(name) != wanted.get(name))
    # JSON is YAML, too.
    content = (HEAD + json.dumps(wanted, indent=2) + "\n").encode()
    entry = file_set.Entry(path, content, 0o640, "root", module.params["group"], secret=True)
    found = file_set.look(path)
    changed = file_set.differs(entry, found)
    if changed and not module.check_mode:
        try:
            file_set.install(entry)
        except (KeyError, OSError) as error:
            module.fail_json(msg=f"Cannot install {path}: {error}")
    diff = {"prepared": "".join(f"{path}: user {name} changes\n" for name in names)} if changed else {}
    module.exit_json(changed=changed, users=[name for name in names if name != "_meta"], diff=diff)


if __name__ == "__main__":
    main()
