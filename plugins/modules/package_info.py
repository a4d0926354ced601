#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: package_info
short_description: Get installed, available and held versions of Debian packages and their running services
version_added: 0.1.0
description:
  - Looks at packages and units in one call. It changes nothing, but for the lists of the repositories where O(refresh) asks for it.
author:
  - The utmstack.ha developers (@utmstack)
options:
  packages:
    description: Names of packages. Those that neither the host nor its repositories know are left out.
    type: list
    elements: str
    required: true
  units:
    description:
      - Units to look at, each with the programs that it executes besides its main one, or reads, such as a Python program's modules.
      - Units and programs that the host does not have are left out.
    type: dict
    default: {}
  refresh:
    description:
      - Fetch the repositories' lists anew before. It fails where one of them can't be had, and is left out in check mode.
    type: bool
    default: false
  lock_timeout:
    description: How long to wait for another process that holds the package manager, in seconds.
    type: int
    default: 300
attributes:
  check_mode:
    description: The module looks at the lists that the host has.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Get available versions of etcd
  utmstack.ha.package_info:
    packages: [etcd-server, etcd-client]
    units:
      etcd.service: []
    refresh: true
  register: etcd_packages
"""

RETURN = r"""
packages:
  description:
    - By name C(installed), a version or null; C(status), as dpkg names it, C(installed) where nothing is left half done; C(held);
      C(candidate), the version that the repositories and the host's preferences give; C(offered), all versions that a repository has.
  returned: success
  type: dict
  sample: {etcd-server: {installed: 3.5.16-4, status: installed, held: true, candidate: 3.5.16-4, offered: [3.5.16-4]}}
units:
  description:
    - By name C(state), C(fresh) where the unit runs with the programs and unit files on the disk, C(restart) where it does not,
      C(stopped); and C(reasons), sentences.
  returned: success
  type: dict
  sample: {etcd.service: {state: restart, reasons: ["process 711 runs a deleted /usr/bin/etcd"]}}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.host import package_manager as packages_host
from ansible_collections.utmstack.ha.plugins.module_utils.host import packages


def main():
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "str", "required": True},
            "units": {"type": "dict", "default": {}},
            "refresh": {"type": "bool", "default": False},
            "lock_timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    manager = packages_host.of(module)
    refresh = module.params["refresh"] and not module.check_mode
    try:
        if refresh:
            manager.refresh()
        found = manager.look(module.params["packages"])
    except packages.PackageError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=refresh, packages=found, units=packages_host.units(module, module.params["units"]))


if __name__ == "__main__":
    main()
