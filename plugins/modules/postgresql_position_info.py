#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_position_info
short_description: Get the timeline and the end of the WAL of PostgreSQL data
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Reads C(pg_controldata), and the WAL from the last checkpoint to its last valid record by C(pg_waldump), whether a server runs or not.
  - What it returns of all members is what the filter P(utmstack.ha.patroni_positions#filter) decides upon.
extends_documentation_fragment:
  - utmstack.ha.looks
options:
  directory:
    description: The data directory.
    type: path
    required: true
  unit:
    description: Unit of systemd that runs PostgreSQL.
    type: str
    default: patroni.service
"""

EXAMPLES = r"""
- name: Get the position of PostgreSQL's data
  utmstack.ha.postgresql_position_info:
    directory: /var/lib/postgresql/17/utmstack
  register: postgresql_position
"""

RETURN = r"""
version:
  description: The data's major version; empty where there are no data.
  returned: success
  type: str
  sample: "17"
system_identifier:
  description: Number of the data; empty where they can't be read.
  returned: success
  type: str
  sample: "7712295033673263039"
state:
  description: State of the data, in pg_controldata's words.
  returned: success
  type: str
  sample: shut down in recovery
timeline:
  description: The timeline of the end of the WAL; 0 where there are no data.
  returned: success
  type: int
  sample: 7
lsn:
  description: WAL location of the end of the WAL.
  returned: success
  type: str
  sample: 0/304F428
data_lsn:
  description:
    - WAL location up to which there are data. It is before RV(lsn) where a clean stop has written its records last, a checkpoint and where
      WAL is archived a switch of segments before.
  returned: success
  type: str
  sample: 0/304F388
running:
  description: Whether a server runs on the data.
  returned: success
  type: bool
masked:
  description: Whether O(unit) is masked, so that nothing starts it.
  returned: success
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import position as postgresql_position


def main():
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "unit": {"type": "str", "default": "patroni.service"},
        },
        supports_check_mode=True,
    )
    found = postgresql_position.look(module.run_command, module.params["directory"])
    state = module.run_command(["systemctl", "is-enabled", module.params["unit"]])[1].strip()
    module.exit_json(changed=False, masked=state.startswith("masked"), **found)


if __name__ == "__main__":
    main()
