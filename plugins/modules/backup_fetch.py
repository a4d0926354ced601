#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_fetch
short_description: Fetch the files of a backup to the controller
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Fetches files in parts of some megabytes, so that neither the host nor the controller needs the memory that a whole file takes, and compares the
    checksum of each with the one that the backup's record has.
  - The action plugin of the same name puts the parts together; this is what runs on the host. M(ansible.builtin.fetch) keeps a file that only root may
    read in memory, as a whole.
options:
  path:
    description: Directory of the backup on the host.
    type: path
    required: true
  files:
    description: Names of the files, relative to O(path), with their SHA-256.
    type: dict
    required: true
  dest:
    description: Directory on the controller. It has to be there.
    type: path
  offset:
    description: Where a part begins, in bytes. Given by the action plugin.
    type: int
    default: 0
  length:
    description: Length of a part, in bytes. Given by the action plugin.
    type: int
    default: 0
attributes:
  check_mode:
    description: Fetches nothing.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Fetch the newest snapshot of etcd
  utmstack.ha.backup_fetch:
    path: "{{ backup.path }}"
    files: "{{ backup.record.files }}"
    dest: /tmp/restore
  delegate_to: backup1
"""

RETURN = r"""
fetched_bytes:
  description: How many bytes were fetched.
  returned: success
  type: int
"""

import base64
import os

from ansible.module_utils.basic import AnsibleModule


def main():
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "files": {"type": "dict", "required": True},
            "dest": {"type": "path"},
            "offset": {"type": "int", "default": 0},
            "length": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    params = module.params
    (name,) = params["files"]
    try:
        with open(os.path.join(params["path"], name), "rb") as file:
            file.seek(params["offset"])
            part = file.read(params["length"])
    except OSError as error:
        module.fail_json(msg=f"{os.path.join(params['path'], name)} can't be read: {error.strerror}")
    module.exit_json(changed=False, part=base64.b64encode(part).decode())


if __name__ == "__main__":
    main()
