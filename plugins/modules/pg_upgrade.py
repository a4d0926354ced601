#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_upgrade
short_description: Check, run or revert pg_upgrade in link mode
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Makes empty data of the new version like the old ones (encoding, locale and its provider, checksums, segment size), has
    C(pg_upgrade --check) judge, and runs C(pg_upgrade --link).
  - It works in a directory beside O(new_directory), which appears when all is done and not before. What an interrupted run left is thrown
    away and made anew.
  - Has to run as the user of the data. The roles use C(ha.postgresql.python) as interpreter for that, so that sudo need not allow it.
options:
  state:
    description:
      - V(checked), the running old server can be upgraded. It is not touched.
      - V(upgraded), its data are. The server has to be stopped.
      - V(restored), the old data have their C(pg_control) back that pg_upgrade had put away. Only where no server has run on the new data.
    type: str
    choices: [checked, upgraded, restored]
    required: true
  old_version:
    description: The old major version.
    type: str
    required: true
  old_directory:
    description: The old data directory.
    type: path
    required: true
  new_version:
    description: The new major version. Its packages have to be installed.
    type: str
  new_directory:
    description: The new data directory, on the same file system.
    type: path
  port:
    description: Port of the old server.
    type: int
    default: 5432
  parameters:
    description:
      - PostgreSQL's parameters that the new server will run with. Those that it does not know, and values that it does not take, are
        faults.
    type: dict
    default: {}
  long_transaction:
    description: Age in seconds from which an open transaction is a fault.
    type: int
    default: 60
attributes:
  check_mode:
    description: Not run; a check needs the new version's packages and its empty data.
    support: none
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Run pg_upgrade checks on the running server
  utmstack.ha.pg_upgrade:
    state: checked
    old_version: "15"
    old_directory: /var/lib/postgresql/15/utmstack
    new_version: "17"
    new_directory: /var/lib/postgresql/17/utmstack
  become: true
  vars:
    ansible_python_interpreter: "{{ ha.postgresql.python }}"
    ansible_pipelining: true
"""

RETURN = r"""
extensions:
  description: SQL statements that update extensions of which the new version has newer ones; empty where there are none.
  returned: when O(state=upgraded)
  type: str
faults:
  description: Why the data can't be upgraded, a sentence each.
  returned: when O(state=checked) failed
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import pg_upgrade


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["checked", "upgraded", "restored"], "required": True},
            "old_version": {"type": "str", "required": True},
            "old_directory": {"type": "path", "required": True},
            "new_version": {"type": "str"},
            "new_directory": {"type": "path"},
            "port": {"type": "int", "default": 5432},
            "parameters": {"type": "dict", "default": {}},
            "long_transaction": {"type": "int", "default": 60},
        },
        required_if=[("state", value, ["new_version", "new_directory"]) for value in ("checked", "upgraded")],
        supports_check_mode=False,
    )
    params = module.params
    if params["state"] == "restored":
        module.exit_json(changed=pg_upgrade.restore(params["old_directory"]))
    upgrade = pg_upgrade.Upgrade(
        module.run_command,
        pg_upgrade.Side(params["old_version"], params["old_directory"]),
        pg_upgrade.Side(params["new_version"], params["new_directory"]),
        params["port"],
        params["parameters"],
    )
    try:
        with upgrade.alone():
            result = upgrade.check(params["long_transaction"]) if params["state"] == "checked" else upgrade.upgrade()
    except pg_upgrade.UpgradeError as error:
        module.fail_json(msg=str(error), **error.facts)
    except OSError as error:
        module.fail_json(
            msg=f"{error.filename} can't be made or read by the user of the data: {error.strerror}. Give that user the directory above it"
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
