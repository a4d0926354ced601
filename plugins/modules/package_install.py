#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: package_install
short_description: Install Debian packages without starting services
version_added: 0.1.0
description:
  - Installs packages in one transaction, in the versions that the repositories prefer, without those that are only recommended. The host's
    own configuration files stay.
  - What an interrupted run of dpkg has left half done is finished first, also where no package is to be installed. Lists and archives are
    fetched anew where an installation fails with those that are there.
  - Services are not started by the packages. The C(policy-rc.d) by which that is done is gone afterwards, also where a run was killed or the
    power went while it was there; one of the host's own comes back.
  - Unlike M(ansible.builtin.apt) it survives being interrupted. That one keeps the host's own C(policy-rc.d) in a temporary directory.
author:
  - The utmstack.ha developers (@utmstack)
options:
  packages:
    description: The packages.
    type: list
    elements: str
    default: []
  hold:
    description:
      - Packages that are held at the end, where they are installed, so that neither C(apt upgrade) nor unattended upgrades replace them.
    type: list
    elements: str
    default: []
  cache_valid_time:
    description: The age, in seconds, up to which the repositories' lists are not fetched anew.
    type: int
    default: 3600
  lock_timeout:
    description: How long to wait for another process that holds the package manager, or for an earlier run that still changes packages, in seconds.
    type: int
    default: 300
notes:
  - It needs root.
seealso:
  - module: ansible.builtin.dpkg_selections
attributes:
  check_mode:
    description: Tells whether packages are missing, or an interrupted installation would be finished.
    support: full
  diff_mode:
    description: Tells the packages.
    support: full
"""

EXAMPLES = r"""
- name: Install PostgreSQL and Patroni
  utmstack.ha.package_install:
    packages: [patroni, postgresql-17]
    hold: [patroni]
"""

RETURN = r"""
installed:
  description: Those that were not installed before.
  returned: success
  type: list
  elements: str
  sample: [patroni]
repaired:
  description: Whether an interrupted installation was finished, or in check mode, would be.
  returned: success
  type: bool
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.host import package_manager as packages_host
from ansible_collections.utmstack.ha.plugins.module_utils.host import packages

LISTS = "/var/lib/apt/lists"


def missing(manager, names):
    present = manager.installed(names)
    return sorted(name for name in names if present.get(name, {}).get("status") != "installed")


def stale(seconds):
    """Whether the repositories' lists are older than that, or not there."""
    return not os.path.isdir(LISTS) or time.time() - os.stat(LISTS).st_mtime > seconds


def finish(module, manager, interrupted):
    """Finish what was interrupted; returns whether there was anything. What can't be finished matters only where it is needed."""
    try:
        return manager.repair() or interrupted
    except packages.PackageError as error:
        module.warn(f"dpkg has packages that are not installed properly, and can't finish them: {error}")
        return False


def main():
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "str", "default": []},
            "hold": {"type": "list", "elements": "str", "default": []},
            "cache_valid_time": {"type": "int", "default": 3600},
            "lock_timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    manager, names = packages_host.of(module), module.params["packages"]
    absent, held = missing(manager, names), []
    try:
        if module.check_mode:
            repaired = packages.left_over() or bool(manager.broken())
        else:
            with packages.services_left_alone(module.params["lock_timeout"]) as died:
                repaired = finish(module, manager, died or bool(manager.broken()))
                due = missing(manager, names)
                if due:
                    manager.add(due, refresh=stale(module.params["cache_valid_time"]))
            if left := missing(manager, names):
                raise packages.PackageError(f"apt reported success, but {', '.join(left)} are not installed.")
            held = manager.hold(module.params["hold"])
    except packages.PackageError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(absent or held) or repaired,
        installed=absent,
        repaired=repaired,
        diff={"before": "", "after": "".join(f"{name}\n" for name in absent)},
    )


if __name__ == "__main__":
    main()
