#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: package_hold
short_description: Hold Debian packages at their versions
version_added: 0.1.0
description:
  - Holds all of the given packages in one call, so that neither C(apt upgrade) nor unattended upgrades replace them.
  - Packages that are not installed are passed over.
author:
  - The utmstack.ha developers (@utmstack)
options:
  packages:
    description: Names of packages.
    type: list
    elements: str
    required: true
seealso:
  - module: ansible.builtin.dpkg_selections
attributes:
  check_mode:
    description: Tells which packages would be held.
    support: full
  diff_mode:
    description: Tells which packages were not held.
    support: full
"""

EXAMPLES = r"""
- name: Leave upgrades of etcd to the rolling operation
  utmstack.ha.package_hold:
    packages: [etcd-server, etcd-client]
"""

RETURN = r"""
held:
  description: Those that were not held before.
  returned: success
  type: list
  elements: str
  sample: [etcd-server]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.host import package_manager as packages_host
from ansible_collections.utmstack.ha.plugins.module_utils.host import packages


def main():
    module = AnsibleModule(
        argument_spec={"packages": {"type": "list", "elements": "str", "required": True}}, supports_check_mode=True
    )
    manager, names = packages_host.of(module), module.params["packages"]
    free = sorted(name for name, package in manager.installed(names).items() if not package["held"])
    try:
        if free and not module.check_mode:
            manager.hold(free)
    except packages.PackageError as error:
        module.fail_json(msg=str(error))
    before, after = ("".join(f"{name} {word}\n" for name in free) for word in ("install", "hold"))
    module.exit_json(changed=bool(free), held=free, diff={"before": before, "after": after})


if __name__ == "__main__":
    main()
