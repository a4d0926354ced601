#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_record
short_description: Record a restore in a repository of backups
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Writes one record, which is never changed. Status names the safety copies of restores by them, and plans tell how long restores take.
  - Runs on a backup host. A directory without the marker of the cluster's repository is refused.
options:
  directory:
    description: Directory of the backups.
    type: path
    required: true
  cluster:
    description: Name of the cluster.
    type: str
    required: true
  kind:
    description: The kind of backup that was restored.
    type: str
    required: true
  host:
    description: The host on which it was restored.
    type: str
    required: true
  started:
    description: When it began, in seconds since 1970.
    type: float
    required: true
  content:
    description: Further fields of the record, such as C(seconds), C(bytes), C(label), C(point) and C(safety).
    type: dict
    default: {}
attributes:
  check_mode:
    description: Writes nothing.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Record the restore
  utmstack.ha.backup_record:
    directory: "{{ ha.backup.directory }}"
    cluster: "{{ ha.cluster }}"
    kind: etcd
    host: node1
    started: "{{ restore_started }}"
    content:
      bytes: 2819040
      safety: [{host: node1, path: /var/lib/etcd/utmstack.before-restore-20261130T120000Z}]
  delegate_to: backup1
"""

RETURN = r"""
path:
  description: The record.
  returned: success
  type: str
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.backup import record as records
from ansible_collections.utmstack.ha.plugins.module_utils.backup.repository import Repository
from ansible_collections.utmstack.ha.plugins.module_utils.common.backup import BackupError


def main():
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "cluster": {"type": "str", "required": True},
            "kind": {"type": "str", "required": True},
            "host": {"type": "str", "required": True},
            "started": {"type": "float", "required": True},
            "content": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    params = module.params
    record = records.new(params["cluster"], params["kind"], records.RESTORE, params["host"], params["started"])
    record |= {"verdict": records.OK, "seconds": round(time.time() - params["started"], 1), **params["content"]}
    try:
        Repository(params["directory"], params["cluster"]).check()
        path = "" if module.check_mode else str(records.seal(params["directory"], record))
    except (BackupError, OSError) as error:
        module.fail_json(msg=f"The restore could not be recorded: {getattr(error, 'reason', error)}")
    module.exit_json(changed=True, path=path)


if __name__ == "__main__":
    main()
