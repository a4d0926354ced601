#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_data_info
short_description: Get PostgreSQL data directories and Patroni's configuration of a host
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Looks at data directories by their files and by C(pg_controldata), whether a server runs or not.
  - What it returns of all hosts is what the filter P(utmstack.ha.postgresql_upgrade_plan#filter) decides upon.
extends_documentation_fragment:
  - utmstack.ha.looks
options:
  config_file:
    description: Patroni's configuration, as role P(utmstack.ha.postgresql#role) writes it.
    type: path
    default: /etc/patroni/config.yml
  directories:
    description:
      - Where data may lie, besides the directory that Patroni is configured with. Patterns such as V(/var/lib/postgresql/*/utmstack) are
        looked up.
    type: list
    elements: str
    default: []
  target:
    description: Where the data of a new version are to be.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Find PostgreSQL data directories
  utmstack.ha.postgresql_data_info:
    directories: ["/var/lib/postgresql/*/utmstack"]
    target: /var/lib/postgresql/17/utmstack
  register: postgresql_data
"""

RETURN = r"""
config:
  description:
    - What Patroni is configured with, C(directory), C(version), and C(closed), whether clients are kept away; empty texts where it is not.
  returned: success
  type: dict
  sample: {directory: /var/lib/postgresql/15/utmstack, version: "15", closed: false}
patroni:
  description: Whether Patroni's unit is active.
  returned: success
  type: bool
prepared:
  description: Whether an upgrade to O(target) has made its empty data.
  returned: success
  type: bool
begun:
  description: Whether pg_upgrade was started there, and has not finished.
  returned: success
  type: bool
target:
  description: O(target) as C(directory); C(empty), whether nothing is there yet; number of the file system's C(device) and its C(free_bytes).
  returned: success
  type: dict
  sample: {directory: /var/lib/postgresql/17/utmstack, empty: true, device: 2049, free_bytes: 21474836480}
data:
  description:
    - The data directories that were found. C(control) is C(present), C(disabled) where pg_upgrade has put it away, or C(absent).
    - C(running), whether a server runs there, at C(port). C(state), C(checkpoint), C(timeline) and C(system_identifier) are
      pg_controldata's words. C(device) and C(size_bytes) are those of the directory.
  returned: success
  type: list
  elements: dict
  sample:
    - {directory: /var/lib/postgresql/15/utmstack, version: "15", control: present, state: in production, checkpoint: 0/17529B0, timeline: "1",
       system_identifier: "7712295033673263039", running: true, port: 5432, device: 2049, size_bytes: 40894464}
"""

import glob
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import data as postgresql_data
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import pg_upgrade


def main():
    module = AnsibleModule(
        argument_spec={
            "config_file": {"type": "path", "default": "/etc/patroni/config.yml"},
            "directories": {"type": "list", "elements": "str", "default": []},
            "target": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    config = postgresql_data.configured(postgresql_data.read(params["config_file"]))
    found = [place for pattern in params["directories"] for place in sorted(glob.glob(pattern))]
    places = dict.fromkeys([*filter(None, [config["directory"]]), *found, params["target"]])
    upgrade = pg_upgrade.Places(params["target"])
    data = [one for one in (postgresql_data.look(module.run_command, place) for place in places) if one["version"]]
    for one in data:
        one |= {"device": os.stat(one["directory"]).st_dev, "size_bytes": postgresql_data.size(one["directory"])}
    module.exit_json(
        changed=False,
        config=config,
        patroni=module.run_command(["systemctl", "is-active", "--quiet", "patroni.service"])[0] == 0,
        prepared=upgrade.prepared(),
        begun=upgrade.data.is_dir(),
        target={"directory": params["target"], **postgresql_data.place(params["target"])},
        data=data,
    )


if __name__ == "__main__":
    main()
