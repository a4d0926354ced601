#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_restore_plan
short_description: Choose the backup and the timeline of a restore of PostgreSQL
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Runs on a backup host, and reads its repository. It changes nothing.
  - The timeline is the one that was live at the target. PostgreSQL's own default, the newest, may lead along another branch and end well with the wrong
    rows.
  - What can't be reached is in RV(faults), all of it; the module itself fails only where the repository can't be read.
extends_documentation_fragment:
  - utmstack.ha.looks
options:
  stanza:
    description: pgBackRest's name of the cluster.
    type: str
    required: true
  config:
    description: pgBackRest's configuration.
    type: path
    default: /etc/pgbackrest/pgbackrest.conf
  directory:
    description: Directory of the backups, whose records are read. Empty, none are.
    type: str
    default: ""
  to:
    description: V(latest), V(time:2026-11-30T12:00:00Z), V(lsn:0/A000120), V(name:NAME) or V(xid:NUMBER).
    type: str
    required: true
  timeline:
    description: The timeline, where RV(options) has several.
    type: int
  set:
    description: The backup. Empty, the newest from which the target can be reached.
    type: str
    default: ""
  kept:
    description: Labels of the backups that no verification has found damaged. Empty, all of them count.
    type: list
    elements: str
    default: []
  births:
    description: When timelines began, as far as the members know, by their numbers, in seconds since 1970.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Plan a restore to a point in time
  utmstack.ha.postgresql_restore_plan:
    stanza: utmstack
    to: time:2026-11-30T12:00:00Z
  delegate_to: backup1
  register: planned
"""

RETURN = r"""
faults:
  description: Why the target can't be reached, sentences with their remedy.
  returned: success
  type: list
  elements: str
timeline:
  description: The timeline to follow.
  returned: success
  type: int
options:
  description: The timelines that may be meant, where that is not certain, each with C(timeline), C(born) and C(ends).
  returned: success
  type: list
  elements: dict
set:
  description: The backup to begin with.
  returned: success
  type: str
  sample: 20261130-010002F
bytes:
  description: Size of the restored data.
  returned: success
  type: int
segment:
  description: The last file of WAL that is there without a gap.
  returned: success
  type: str
  sample: "00000003000000000000002A"
moment:
  description: Up to when everything is there, in seconds since 1970. The time of the last commit where C(exact), else when its WAL was archived.
  returned: success
  type: float
exact:
  description: Whether RV(moment) is that of a commit.
  returned: success
  type: bool
seconds:
  description: How long the restore will take by those that were measured, or null.
  returned: success
  type: float
system_identifier:
  description: The number of the cluster whose backups these are.
  returned: success
  type: str
version:
  description: The major version of its PostgreSQL.
  returned: success
  type: str
archive:
  description: The name of its archive in the repository.
  returned: success
  type: str
  sample: 17-1
births:
  description: When timelines began, by all who know, by their numbers.
  returned: success
  type: dict
"""

import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.common.backup import BackupError
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import repository_look


def records(directory):
    """The records of PostgreSQL's backups and restores, oldest first; what can't be read is left out."""
    found = []
    for path in sorted(Path(directory, "records", "postgresql").glob("*.json")) if directory else []:
        try:
            found.append(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            continue
    return found


def main():
    module = AnsibleModule(
        argument_spec={
            "stanza": {"type": "str", "required": True},
            "config": {"type": "path", "default": "/etc/pgbackrest/pgbackrest.conf"},
            "directory": {"type": "str", "default": ""},
            "to": {"type": "str", "required": True},
            "timeline": {"type": "int"},
            "set": {"type": "str", "default": ""},
            "kept": {"type": "list", "elements": "str", "default": []},
            "births": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    try:
        found = repository_look.look(module.params, records(module.params["directory"]))
    except BackupError as error:
        module.fail_json(msg=f"The repository of {module.params['stanza']} can't be read: {error.reason}")
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
