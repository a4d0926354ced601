#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_parameters_check
short_description: Validate planned PostgreSQL parameters and pg_hba lines
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Finds parameters that PostgreSQL does not know, values that it can't read, limits that Patroni or PostgreSQL would not keep, parameters
    that another setting is for, and lines that C(pg_hba.conf) could not have.
  - A running server would ignore most of them, and not start with them any more after its next crash.
  - The installed program is asked how it reads the values (C(postgres -C)). It starts no server and reads no data.
options:
  version:
    description: Major version of the installed PostgreSQL.
    type: str
    required: true
  configuration:
    description: Patroni's whole dynamic configuration.
    type: dict
    required: true
  local:
    description: Parameters that are in the member's own file; they go before those of O(configuration).
    type: dict
    default: {}
  users:
    description: The parameters that the user has set. Those that a setting of this collection is for, or that Patroni sets, are faults.
    type: dict
    default: {}
  hba:
    description: The user's lines for C(pg_hba.conf).
    type: list
    elements: str
    default: []
  members:
    description: How many members the cluster has.
    type: int
    default: 1
  memory_mb:
    description: The host's memory, in MB; 0 where it is not known.
    type: int
    default: 0
  config_file:
    description: Patroni's present configuration file, for RV(bootstrap).
    type: path
    default: /etc/patroni/config.yml
extends_documentation_fragment:
  - utmstack.ha.looks
seealso:
  - module: utmstack.ha.patroni_config
"""

EXAMPLES = r"""
- name: Check the parameters
  utmstack.ha.postgresql_parameters_check:
    version: "17"
    configuration:
      ttl: 20
      postgresql:
        parameters: {work_mem: 7MB}
    users: {work_mem: 7MB}
    members: 3
  register: checked
  failed_when: checked.faults | length > 0
"""

RETURN = r"""
faults:
  description: What is wrong, a sentence each.
  returned: success
  type: list
  elements: str
  sample: ['PostgreSQL does not take work_mem = banana: invalid value for parameter "work_mem": "banana".']
bootstrap:
  description: The dynamic configuration that the present O(config_file) has for a new cluster, which is what the last run wanted.
  returned: success
  type: dict
  sample: {ttl: 20}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import cluster as patroni
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import rules as postgresql_rules
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import data as postgresql_data


def main():
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "str", "required": True},
            "configuration": {"type": "dict", "required": True},
            "local": {"type": "dict", "default": {}},
            "users": {"type": "dict", "default": {}},
            "hba": {"type": "list", "elements": "str", "default": []},
            "members": {"type": "int", "default": 1},
            "memory_mb": {"type": "int", "default": 0},
            "config_file": {"type": "path", "default": "/etc/patroni/config.yml"},
        },
        supports_check_mode=True,
    )
    given = module.params
    parameters = patroni.parameters(given["configuration"]) | given["local"]
    faults = [
        *postgresql_rules.owned_faults(given["users"]),
        *postgresql_rules.archive_faults(parameters, given["users"]),
        *postgresql_rules.configuration_faults(given["configuration"]),
        *postgresql_rules.parameter_faults(parameters, given["members"], given["memory_mb"]),
        *postgresql_rules.hba_faults(given["hba"]),
    ]
    program = f"/usr/lib/postgresql/{given['version']}/bin/postgres"
    if os.path.exists(program):

        def run(command):
            return module.run_command(command, environ_update={"LC_ALL": "C"})

        faults += postgresql_rules.program_faults(run, program, parameters)
    module.exit_json(changed=False, faults=faults, bootstrap=postgresql_data.bootstrap(given["config_file"]))


if __name__ == "__main__":
    main()
