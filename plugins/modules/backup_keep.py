#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_keep
short_description: Store a backup made on the controller
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Keeps files that the controller has made as a backup on the backup host that it runs on, and their record, each whole or not at all.
  - Without O(files) it only records what the controller has found, such as that a backup could not be made, or was opened.
options:
  directory:
    description: Where the repository is.
    type: path
    required: true
  cluster:
    description: The cluster whose repository it must be.
    type: str
    required: true
  host:
    description: Name of the backup host in the inventory.
    type: str
    required: true
  kind:
    description: The kind of backup.
    type: str
    required: true
  act:
    description: What was done.
    type: str
    choices: [take, verify]
    required: true
  verdict:
    description: How it ended.
    type: str
    choices: [ok, failed, unknown]
    default: ok
  reason:
    description: Why it did not end well.
    type: str
    default: ""
  label:
    description: What the backup is called. With O(files) it is the time in O(started).
    type: str
    default: ""
  source:
    description: Whom it comes from.
    type: str
    default: ""
  started:
    description: When the run began, such as V(20261130T101500Z).
    type: str
    required: true
  point:
    description: Up to when it has everything.
    type: dict
    default: {}
  manifest:
    description: What a verification compares with.
    type: dict
    default: {}
  checks:
    description: What was checked, and what was found.
    type: dict
    default: {}
  software:
    description: Versions of what took part.
    type: dict
    default: {}
  files:
    description: Names and texts of the files of a backup.
    type: dict
    default: {}
  lock_file:
    description: The lock of all runs on the host.
    type: path
    default: /run/utmstack-ha/backup.lock
attributes:
  check_mode:
    description: Writes nothing.
    support: full
  diff_mode:
    description: Records are in the repository.
    support: none
"""

EXAMPLES = r"""
- name: Store the sealed configuration
  utmstack.ha.backup_keep:
    directory: "{{ ha.backup.directory }}"
    cluster: "{{ ha.cluster }}"
    host: "{{ ha.host.name }}"
    kind: configuration
    act: take
    source: controller
    started: 20261130T101500Z
    files: "{{ configuration.files }}"
"""

RETURN = r"""
label:
  description: What the backup is called.
  returned: success
  type: str
  sample: 20261130T101500Z
seconds:
  description: How long the run has taken.
  returned: success
  type: float
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.backup import kept_by_run
from ansible_collections.utmstack.ha.plugins.module_utils.backup.repository import Repository
from ansible_collections.utmstack.ha.plugins.module_utils.common.backup import BackupError

FIELDS = (
    "host",
    "kind",
    "act",
    "verdict",
    "reason",
    "label",
    "source",
    "started",
    "point",
    "manifest",
    "checks",
    "software",
)


def main():
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "cluster": {"type": "str", "required": True},
            "host": {"type": "str", "required": True},
            "kind": {"type": "str", "required": True},
            "act": {"type": "str", "choices": ["take", "verify"], "required": True},
            "verdict": {"type": "str", "choices": ["ok", "failed", "unknown"], "default": "ok"},
            "reason": {"type": "str", "default": ""},
            "label": {"type": "str", "default": ""},
            "source": {"type": "str", "default": ""},
            "started": {"type": "str", "required": True},
            "point": {"type": "dict", "default": {}},
            "manifest": {"type": "dict", "default": {}},
            "checks": {"type": "dict", "default": {}},
            "software": {"type": "dict", "default": {}},
            "files": {"type": "dict", "default": {}},
            "lock_file": {"type": "path", "default": "/run/utmstack-ha/backup.lock"},
        },
        supports_check_mode=True,
    )
    params = module.params
    record = {name: params[name] for name in FIELDS}
    try:
        repository = Repository(params["directory"], params["cluster"])
        if module.check_mode:
            kept_by_run.moment(params["started"])
            repository.check()
            module.exit_json(changed=True, label=params["label"], seconds=0.0)
        kept = kept_by_run.keep(repository, Path(params["lock_file"]), record, params["files"])
    except BackupError as error:
        module.fail_json(msg=f"Nothing was recorded on {params['host']}: {error.reason}")
    except OSError as error:
        module.fail_json(msg=f"Nothing was recorded on {params['host']}: {error}")
    module.exit_json(changed=True, label=kept["label"], seconds=kept["seconds"])


if __name__ == "__main__":
    main()
