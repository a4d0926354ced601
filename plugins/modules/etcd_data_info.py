#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: etcd_data_info
short_description: Get information about existing etcd data on a host
version_added: 0.1.0
description:
  - Tells whether a data directory holds a member's data, and whether that member was still forming or joining its cluster.
  - Such a host is decided upon with the filter P(utmstack.ha.etcd_bootstrap_plan#filter).
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.looks
options:
  data_directory:
    description:
      - etcd's C(data-dir).
    type: path
    required: true
  first_boot_file:
    description:
      - Environment file that is there only until the member has formed or joined its cluster.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Check existing etcd data
  utmstack.ha.etcd_data_info:
    data_directory: /var/lib/etcd/utmstack
    first_boot_file: /var/lib/etcd/utmstack.first-boot
  register: etcd_data
"""

RETURN = r"""
data:
  description: Whether there is a member's write-ahead log.
  returned: always
  type: bool
forming:
  description: The initial cluster that the host was started with and has not finished to form, or empty.
  returned: always
  type: str
  sample: node1=https://10.0.1.11:2380,node2=https://10.0.1.12:2380,node3=https://10.0.1.13:2380
"""

import os

from ansible.module_utils.basic import AnsibleModule


def has_data(directory):
    """Whether a member has written there. Without a log there is nothing that etcd could start from."""
    try:
        return any(name.endswith(".wal") for name in os.listdir(os.path.join(directory, "member", "wal")))
    except (FileNotFoundError, NotADirectoryError):
        return False


def initial_cluster(path):
    """The initial cluster in the environment file, where it says that the cluster is new."""
    try:
        with open(path, encoding="utf-8") as file:
            pairs = (line.strip().split("=", 1) for line in file if "=" in line and not line.startswith("#"))
            settings = {name: value.strip('"') for name, value in pairs}
    except FileNotFoundError:
        return ""
    return settings.get("ETCD_INITIAL_CLUSTER", "") if settings.get("ETCD_INITIAL_CLUSTER_STATE") == "new" else ""


def main():
    module = AnsibleModule(
        argument_spec={
            "data_directory": {"type": "path", "required": True},
            "first_boot_file": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    # In this order: a member that gets ready in between has written its log before its file goes.
    forming = initial_cluster(module.params["first_boot_file"])
    module.exit_json(changed=False, data=has_data(module.params["data_directory"]), forming=forming)


if __name__ == "__main__":
    main()
