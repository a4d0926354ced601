#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_restore_info
short_description: Get the state of a member for a restore of PostgreSQL
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Looks at the data, at what an interrupted restore has left, at safety copies of earlier ones, and at the room, whether a server runs or not.
  - What it returns of all members is what the filter P(utmstack.ha.postgresql_restore_steps#filter) decides upon.
extends_documentation_fragment:
  - utmstack.ha.looks
options:
  config_file:
    description: Patroni's configuration, as role P(utmstack.ha.postgresql#role) writes it, which names the data directory and the version.
    type: path
    default: /etc/patroni/config.yml
  beside_directory:
    description: Where data are to be restored beside the running cluster. Empty, nowhere.
    type: str
    default: ""
  beside_port:
    description: The port of a server there.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Find the data of this member
  utmstack.ha.postgresql_restore_info:
  register: seen
"""

RETURN = r"""
directory:
  description: The data directory.
  returned: success
  type: str
version:
  description: The major version that Patroni is configured with.
  returned: success
  type: str
state:
  description: State of the data, in pg_controldata's words; empty where there are none.
  returned: success
  type: str
  sample: in production
running:
  description: Whether a server runs there.
  returned: success
  type: bool
request:
  description: What a restore that is not finished was asked for; empty where there is none.
  returned: success
  type: dict
  sample: {to: latest, begin: 20261130T120000Z, timeline: 3, set: 20261130-010002F, repository: backup1}
stage:
  description: What its data are, C(none), C(partial), C(recovering), C(promoted) or C(whole).
  returned: success
  type: str
copies:
  description: The times of the safety copies, oldest first.
  returned: success
  type: list
  elements: str
  sample: [20261130T120000Z]
ready:
  description: How many files of WAL are not archived.
  returned: success
  type: int
free_bytes:
  description: Room on the file system of the data.
  returned: success
  type: int
births:
  description: When timelines began, as far as this host knows, by their numbers, in seconds since 1970.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import data as postgresql_data
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import restore


def main():
    module = AnsibleModule(
        argument_spec={
            "config_file": {"type": "path", "default": "/etc/patroni/config.yml"},
            "beside_directory": {"type": "str", "default": ""},
            "beside_port": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    params = module.params
    config = postgresql_data.configured(postgresql_data.read(params["config_file"]))
    if not config["directory"] or not config["version"]:
        module.fail_json(
            msg=f"{params['config_file']} names no data directory: Patroni is not configured here. Run site.yml first."
        )
    found = restore.look(module.run_command, config["directory"], config["version"])
    beside = (
        restore.beside_look(params["beside_directory"], params["beside_port"]) if params["beside_directory"] else {}
    )
    module.exit_json(changed=False, **found, beside=beside)


if __name__ == "__main__":
    main()
