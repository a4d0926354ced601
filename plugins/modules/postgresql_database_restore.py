#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_database_restore
short_description: Restore one database of PostgreSQL from its dump
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Loads a dump into a database NAME_restored_LABEL beside the present one, and then lets it take its place by two renames in one transaction. The former
    one is kept as NAME_before_LABEL, closed to clients.
  - Owner, settings and rights of the database itself are those of the present one. Its roles have to be there.
  - Has to run on the leader as the user of the data. The roles use C(ha.postgresql.python) as interpreter for that.
options:
  state:
    description:
      - V(planned), only looks.
      - V(loaded), the restored database is there, whole.
      - V(swapped), it has taken the place of the present one, whose clients were ended.
    type: str
    choices: [planned, loaded, swapped]
    required: true
  database:
    description: The name of the database.
    type: str
    required: true
  label:
    description: The label of the backup.
    type: str
    required: true
  dump:
    description: The dump, as C(pg_dump --format=custom) wrote it. Needed for V(loaded).
    type: path
  owner:
    description: Who owns the database where there is none at present.
    type: str
    default: postgres
  port:
    description: Port of the server's socket.
    type: int
    default: 5432
  version:
    description: The major version of the server.
    type: str
    required: true
attributes:
  check_mode:
    description: Only looks.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Load the dump beside the database
  utmstack.ha.postgresql_database_restore:
    state: loaded
    database: utmstack
    label: 20261130T020007Z
    dump: /var/lib/postgresql/restore/utmstack.dump
    version: "17"
  become: true
  vars:
    ansible_python_interpreter: "{{ ha.postgresql.python }}"
    ansible_pipelining: true
"""

RETURN = r"""
restored:
  description: The name of the restored database until it takes the place of the present one.
  returned: success
  type: str
former:
  description: The name of the former database from then on.
  returned: success
  type: str
progress:
  description: What is there, C(absent), C(partial), C(loaded) or C(swapped).
  returned: success
  type: str
bytes:
  description: Size of the present database, or 0.
  returned: success
  type: int
free_bytes:
  description: Room where the data are.
  returned: success
  type: int
rows:
  description: Rows by table of the restored database.
  returned: O(state=loaded), O(state=swapped)
  type: dict
"""

import shutil

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import database_restore


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["planned", "loaded", "swapped"], "required": True},
            "database": {"type": "str", "required": True},
            "label": {"type": "str", "required": True},
            "dump": {"type": "path"},
            "owner": {"type": "str", "default": "postgres"},
            "port": {"type": "int", "default": 5432},
            "version": {"type": "str", "required": True},
        },
        required_if=[("state", "loaded", ["dump"])],
        supports_check_mode=True,
    )
    params = module.params

    def run(words, text):
        return module.run_command(words, data=text, environ_update={"LC_ALL": "C.UTF-8"})

    work = database_restore.Database(run, params["database"], params["label"], params["port"], params["version"])
    changed, rows = False, {}
    try:
        if not module.check_mode and params["state"] != "planned":
            changed = work.load(params["dump"], params["owner"]) if params["state"] == "loaded" else work.swap()
            rows = {"rows": work.counts()}
        facts = work.facts()
    except database_restore.DatabaseError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=changed,
        restored=work.restored,
        former=work.former,
        progress=work.state(facts),
        bytes=facts["bytes"] or 0,
        free_bytes=shutil.disk_usage(facts["directory"]).free,
        **rows,
    )


if __name__ == "__main__":
    main()
