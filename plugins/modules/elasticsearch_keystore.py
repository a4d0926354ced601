#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: elasticsearch_keystore
short_description: Manage entries of a node's keystore
version_added: 0.1.0
description:
  - Writes the entries whose values have changed, and removes those that this module has written before and that are not
    wanted any more. Entries that others have made, such as C(keystore.seed), are left alone.
  - A keystore's values can't be read back, and its tool needs seconds for each answer. So what was written is remembered as
    salted digests beside the keystore. Where the keystore has been changed by somebody else, all entries are written again.
  - Values reach the tool through its standard input or, for entries whose names end in C(_file), through a private file.
author:
  - The utmstack.ha developers (@utmstack)
options:
  entries:
    description:
      - The entries, name to value. Where a name ends in C(_file), the value is the content of a file, as with
        C(gcs.client.default.credentials_file).
    type: dict
    required: true
  name:
    description:
      - The product.
    type: str
    choices: [elasticsearch, opensearch]
    default: elasticsearch
  home:
    description:
      - Where the product is installed.
    type: path
    required: true
  java_home:
    description:
      - The Java that runs its tool.
    type: path
  config_directory:
    description:
      - The directory of the keystore.
    type: path
    required: true
  group:
    description:
      - The group that may read the keystore.
    type: str
    default: elasticsearch
notes:
  - C(keystore.restart) and C(keystore.reload) beside the keystore are rewritten whenever an entry changes that a running server
    takes up by a restart or by C(POST _nodes/reload_secure_settings). M(utmstack.ha.service_freshness) compares with them.
attributes:
  check_mode:
    description: Tells which entries would be written or removed.
    support: full
  diff_mode:
    description: Shows the names of the entries, never a value.
    support: full
"""

EXAMPLES = r"""
- name: Set the credentials of the snapshot repository
  utmstack.ha.elasticsearch_keystore:
    home: /opt/utmstack-ha/elasticsearch
    config_directory: /etc/elasticsearch
    entries:
      s3.client.default.access_key: "{{ s3_access_key }}"
      s3.client.default.secret_key: "{{ s3_secret_key }}"
"""

RETURN = r"""
written:
  description: Names of the entries that were written.
  returned: always
  type: list
  elements: str
  sample: [s3.client.default.secret_key]
removed:
  description: Names of the entries that were removed.
  returned: always
  type: list
  elements: str
"""

import grp
import hashlib
import json
import os
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.host import file_set
from ansible_collections.utmstack.ha.plugins.module_utils.search import keystore as elasticsearch_keystore


class Keystore:
    """The keystore of one node and what is remembered of it."""

    def __init__(self, module):
        self.module = module
        params = module.params
        self.directory = params["config_directory"]
        self.path = os.path.join(self.directory, f"{params['name']}.keystore")
        self.tool = os.path.join(params["home"], "bin", f"{params['name']}-keystore")
        prefix = {"elasticsearch": "ES", "opensearch": "OPENSEARCH"}[params["name"]]
        self.environment = {f"{prefix}_PATH_CONF": self.directory}
        if params["java_home"]:
            self.environment[f"{prefix}_JAVA_HOME"] = params["java_home"]

    def run(self, *arguments, data=None):
        """Run the tool; ends with what it says where it fails."""
        code, out, err = self.module.run_command(
            [self.tool, *arguments], environ_update=self.environment, data=data, cwd="/", umask=0o027
        )
        if code:
            self.module.fail_json(msg=f"{self.tool} {' '.join(arguments)} failed: {(out + err).strip()}")
        return out

    def digest(self):
        try:
            with open(self.path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return ""

    def write(self, plan, entries):
        """Carry out the plan."""
        if not os.path.exists(self.path):
            self.run("create")
        if plan.remove:
            self.run("remove", *plan.remove)
        texts = [name for name in plan.add if not elasticsearch_keystore.is_file(name)]
        if texts:
            self.run("add", "--stdin", "--force", *texts, data="\n".join(entries[name] for name in texts))
        for name in plan.add:
            if name not in texts:
                self.add_file(name, entries[name])
        self.protect()

    def protect(self):
        """Let the server read the keystore, and nobody else."""
        os.chown(self.path, 0, grp.getgrnam(self.module.params["group"]).gr_gid)
        os.chmod(self.path, 0o640)

    def add_file(self, name, content):
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix="ansible-keystore-") as file:
            file.write(content)
            file.flush()
            self.run("add-file", "--force", name, file.name)

    def note(self, name, content, mode=0o640):
        """Write a file beside the keystore, in one piece."""
        file_set.install(file_set.Entry(self.place(name), content.encode(), mode))

    def place(self, name):
        return os.path.join(self.directory, name)

    def record(self):
        """What is remembered; nothing where it can't be read, so that all is written again."""
        try:
            with open(self.place("keystore.record"), encoding="utf-8") as file:
                return json.load(file)
        except (FileNotFoundError, json.JSONDecodeError):
            return {}


def main():
    module = AnsibleModule(
        argument_spec={
            "entries": {"type": "dict", "required": True, "no_log": True},
            "name": {"type": "str", "choices": ["elasticsearch", "opensearch"], "default": "elasticsearch"},
            "home": {"type": "path", "required": True},
            "java_home": {"type": "path"},
            "config_directory": {"type": "path", "required": True},
            "group": {"type": "str", "default": "elasticsearch"},
        },
        supports_check_mode=True,
    )
    entries = {name: str(value) for name, value in module.params["entries"].items()}
    fault = elasticsearch_keystore.fault(entries)
    if fault:
        module.fail_json(msg=fault)
    keystore = Keystore(module)
    record, digest = keystore.record(), keystore.digest()
    if digest and record.get("home", module.params["home"]) != module.params["home"] and not module.check_mode:
        # A newer server may keep it in another form, and must not have to write it when it starts.
        ours = record.get("file") == digest
        keystore.run("upgrade")
        keystore.protect()
        digest = keystore.digest()
        record["file"] = digest if ours else record.get("file")
    listed = None
    if digest and record.get("file") != digest:
        listed = keystore.run("list").split()
    plan = elasticsearch_keystore.plan_entries(record, entries, digest, listed)
    changed = bool(plan) or not digest
    if not module.check_mode:
        # Noted first: a run that dies in between rather restarts once too often.
        for name, changes in (("keystore.reload", plan.reload), ("keystore.restart", plan.restart)):
            if changes or not os.path.exists(keystore.place(name)):
                keystore.note(name, "".join(f"{change}\n" for change in changes))
        if changed:
            keystore.write(plan, entries)
        home = module.params["home"]
        if changed or (record.get("file"), record.get("home")) != (digest, home):
            record = elasticsearch_keystore.record_of(record, entries, plan, keystore.digest()) | {"home": home}
            keystore.note("keystore.record", json.dumps(record, indent=2) + "\n", 0o600)
    prepared = [f"write {name}" for name in plan.add] + [f"remove {name}" for name in plan.remove]
    module.exit_json(
        changed=changed,
        written=plan.add,
        removed=plan.remove,
        diff={"prepared": "".join(f"{keystore.path}: {line}\n" for line in prepared)} if changed else {},
    )


if __name__ == "__main__":
    main()
