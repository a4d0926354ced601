#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_restore_plan
short_description: Select the backup and the timeline of a restore of PostgreSQL
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Runs on a backup host, and reads its repository. It changes nothing.
  - The timeline is the one that was live at the target. PostgreSQL's own default, the newest, may lead along another branch and end well with the wrong
    rows.
  - What can't be reached is in RV(faults), all of it, and so is a repository that can't be read. Another backup host's may do.
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
    description: Directory of the backups, whose records say which are usable and how long restores took.
    type: path
    required: true
  cluster:
    description: The cluster whose repository it must be. Empty, any.
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
  births:
    description: By member, when timelines began as far as it knows, by their numbers, in seconds since 1970.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Plan a restore to a point in time
  utmstack.ha.postgresql_restore_plan:
    stanza: utmstack
    directory: /var/backups/utmstack
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

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.backup import record as records
from ansible_collections.utmstack.ha.plugins.module_utils.backup.repository import Repository, kept
from ansible_collections.utmstack.ha.plugins.module_utils.common.backup import BackupError
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import repository_look, timeline

KIND = "postgresql"


def main():
    module = AnsibleModule(
        argument_spec={
            "stanza": {"type": "str", "required": True},
            "config": {"type": "path", "default": "/etc/pgbackrest/pgbackrest.conf"},
            "directory": {"type": "path", "required": True},
            "cluster": {"type": "str", "default": ""},
            "to": {"type": "str", "required": True},
            "timeline": {"type": "int"},
            "set": {"type": "str", "default": ""},
            "births": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    params = module.params
    born = timeline.births(
        *({int(key): float(value) for key, value in one.items()} for one in params["births"].values())
    )
    repository = Repository(params["directory"], params["cluster"])
    try:
        if params["cluster"]:
            repository.check()
        usable = [one["label"] for one in kept(repository, KIND)]
        known = records.read(params["directory"], KIND)[0]
        found = repository_look.look({**params, "births": born, "kept": usable}, known)
    except BackupError as error:
        found = {**repository_look.NOTHING, "faults": [f"The repository can't be read: {error.reason}."]}
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
