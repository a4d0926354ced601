#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_data_info
short_description: Get information about existing Redis and Sentinel data on a host
version_added: 0.1.0
description:
  - Tells whether there is anything for Redis to load, what room is left beside it, and which master the sentinel of this host last knew. Needs no
    server.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.looks
options:
  data_directory:
    description:
      - Where Redis keeps its data.
    type: path
    required: true
  sentinel_file:
    description:
      - The file that Sentinel keeps its state in.
    type: path
    required: true
  master_name:
    description:
      - The name under which the master is watched.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Check existing Redis data
  utmstack.ha.redis_data_info:
    data_directory: /var/lib/redis
    sentinel_file: /var/lib/redis/sentinel.conf
    master_name: utmstack-redis
  register: redis_data
"""

RETURN = r"""
data:
  description: Whether there is anything for Redis to load.
  returned: success
  type: bool
free_bytes:
  description: How many bytes are free where Redis has its data, or will have them.
  returned: success
  type: int
copies:
  description: Safety copies that restores have left there, oldest first.
  returned: success
  type: list
  elements: str
  sample: [before-restore-20261130T020007Z]
watched:
  description: Address of the master that the sentinel's file names, empty where there is none.
  returned: success
  type: str
  sample: 10.0.1.11
epoch:
  description: The number of the failover that made this master.
  returned: success
  type: int
  sample: 3
"""

import os
import shutil

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.redis import bootstrap as redis_bootstrap
from ansible_collections.utmstack.ha.plugins.module_utils.redis import restore as redis_restore
from ansible_collections.utmstack.ha.plugins.module_utils.redis import start as redis_start


def free_bytes(path):
    """The room of the file system of a directory, also of one that is yet to be made."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return shutil.disk_usage(path).free


def main():
    module = AnsibleModule(
        argument_spec={
            "data_directory": {"type": "path", "required": True},
            "sentinel_file": {"type": "path", "required": True},
            "master_name": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        watched, epoch = redis_bootstrap.watched(redis_start.read(params["sentinel_file"]), params["master_name"])
        data = redis_start.has_data(params["data_directory"])
    except OSError as error:
        module.fail_json(
            msg=f"{error.filename} can't be read: {error.strerror}. The module has to run as root (become)"
        )
    module.exit_json(
        changed=False,
        data=data,
        free_bytes=free_bytes(params["data_directory"]),
        copies=redis_restore.copies(params["data_directory"]),
        watched=watched,
        epoch=epoch,
    )


if __name__ == "__main__":
    main()
