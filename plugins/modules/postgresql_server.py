#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_server
short_description: Stop an unmanaged PostgreSQL instance and return its last checkpoint
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Stops the server of a data directory by C(pg_ctl), where one runs, and tells what C(pg_controldata) says then.
  - A standby is stopped only when it has replayed what O(after) says, so that it has all of its primary.
  - Has to run as the user of the data. The roles use C(ha.postgresql.python) as interpreter for that, so that sudo need not allow it.
options:
  directory:
    description: The data directory.
    type: path
    required: true
  version:
    description: The data's major version.
    type: str
    required: true
  after:
    description: WAL location of a record that the server has to have replayed before it is stopped, such as V(0/17529B0).
    type: str
    default: ""
  port:
    description: Port of the server, by which it is asked what it has replayed.
    type: int
    default: 5432
  timeout:
    description: How long that, and then the stop, may take, in seconds.
    type: int
    default: 120
attributes:
  check_mode:
    description: Tells whether a server would be stopped.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Stop the primary
  utmstack.ha.postgresql_server:
    directory: /var/lib/postgresql/15/utmstack
    version: "15"
  become: true
  vars:
    ansible_python_interpreter: "{{ ha.postgresql.python }}"
    ansible_pipelining: true
  register: stopped
"""

RETURN = r"""
state:
  description: State of the data, in pg_controldata's words.
  returned: success
  type: str
  sample: shut down
checkpoint:
  description: WAL location of the latest checkpoint.
  returned: success
  type: str
  sample: 0/17529B0
system_identifier:
  description: Number of the data.
  returned: success
  type: str
  sample: "7712295033673263039"
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import data as postgresql_data
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import pg_upgrade


def main():
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "version": {"type": "str", "required": True},
            "after": {"type": "str", "default": ""},
            "port": {"type": "int", "default": 5432},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    params = module.params
    runs = postgresql_data.running(params["directory"])
    side = pg_upgrade.Side(params["version"], params["directory"])
    if runs and not module.check_mode:
        try:
            pg_upgrade.stop(
                module.run_command, side, params["after"], params["port"], params["timeout"], time.monotonic, time.sleep
            )
        except pg_upgrade.UpgradeError as error:
            module.fail_json(msg=str(error))
    found = postgresql_data.controldata(module.run_command, params["directory"], params["version"])
    module.exit_json(changed=runs, **{name: found[name] for name in ("state", "checkpoint", "system_identifier")})


if __name__ == "__main__":
    main()
