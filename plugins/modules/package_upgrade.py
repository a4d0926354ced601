#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: package_upgrade
short_description: Upgrade Debian packages to given versions without restarting services
version_added: 0.1.0
description:
  - Fetches packages beforehand, or installs them, also held ones, which stay held. No package is removed, none taken to an older version,
    and the host's own configuration files stay.
  - Services are not restarted by the packages, not even those of a library that is pulled along. RV(units) tells which of them have to be.
  - A run of dpkg that was interrupted is finished first, so a second call finishes what a first one left half done.
  - Unlike M(ansible.builtin.apt) it can fetch without installing, finishes what was interrupted, and tells what has to restart.
author:
  - The utmstack.ha developers (@utmstack)
options:
  packages:
    description: Package to version, as Debian writes versions.
    type: dict
    required: true
  state:
    description: V(fetched) only has the archives on the host, and looks whether there is space to unpack them.
    type: str
    choices: [installed, fetched]
    default: installed
  units:
    description: As in M(utmstack.ha.package_info), to tell afterwards which of them have to restart.
    type: dict
    default: {}
  validate:
    description:
      - Commands that have the new programs judge the present configuration. Where one fails, the module does, while the services still
        run with the old programs.
    type: list
    elements: list
    default: []
  hold:
    description:
      - Packages that are held at the end, where they are installed. What was held before stays so anyway, but for a run that died.
    type: list
    elements: str
    default: []
  lock_timeout:
    description: How long to wait for another process that holds the package manager, or for an earlier run that still changes packages, in seconds.
    type: int
    default: 300
notes:
  - It needs root.
attributes:
  check_mode:
    description: Tells which packages would change.
    support: full
  diff_mode:
    description: Tells the versions before and after.
    support: full
"""

EXAMPLES = r"""
- name: Download packages before draining the host
  utmstack.ha.package_upgrade:
    packages: {haproxy: 3.0.11-1+deb13u5}
    state: fetched

- name: Install the downloaded packages
  utmstack.ha.package_upgrade:
    packages: {haproxy: 3.0.11-1+deb13u5}
    units: {haproxy.service: []}
    validate:
      - [/usr/sbin/haproxy, -c, -f, /etc/haproxy/haproxy.cfg]
  register: haproxy_upgraded
"""

RETURN = r"""
packages:
  description: Those that changed or would change, with their versions before, C(from), and after, C(to).
  returned: success
  type: dict
  sample: {haproxy: {from: 3.0.11-1+deb13u4, to: 3.0.11-1+deb13u5}}
units:
  description: As M(utmstack.ha.package_info) returns them.
  returned: success
  type: dict
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.host import package_manager as packages_host
from ansible_collections.utmstack.ha.plugins.module_utils.host import packages

UNPACKED_BELOW = "/usr"


def due(manager, wanted):
    """The packages that are not as wanted, by name to what dpkg says of them. Raises PackageError for what would be no upgrade."""
    present = manager.installed(wanted)
    absent = sorted(set(wanted) - set(present))
    if absent:
        raise packages.PackageError(f"{', '.join(absent)} can't be upgraded: not installed.")
    older = [
        f"{name} {present[name]['version']} is newer than {version}"
        for name, version in sorted(wanted.items())
        if packages.compare(version, present[name]["version"]) < 0
    ]
    if older:
        raise packages.PackageError(f"Packages are not taken to older versions: {'; '.join(older)}.")
    return {
        name: package
        for name, package in present.items()
        if package["version"] != wanted[name] or package["status"] != "installed"
    }


def fetch(manager, versions):
    space = os.statvfs(UNPACKED_BELOW)
    return manager.fetch(versions, space.f_bavail * space.f_frsize // 1024) if versions else False


def install(module, manager, wanted):
    """Install what is due; returns whether anything changed."""
    with packages.services_left_alone(module.params["lock_timeout"]):
        repaired = manager.repair()
        versions = {name: wanted[name] for name in due(manager, wanted)}
        if versions:
            manager.install(versions)
    held = manager.hold(module.params["hold"])
    left = due(manager, wanted)
    if left:
        raise packages.PackageError(
            f"The package manager reported success, but {', '.join(sorted(left))} are not as wanted."
        )
    for command in module.params["validate"]:
        code, out, errors = module.run_command([str(word) for word in command])
        if code != 0:
            raise packages.PackageError(
                f"The new version is installed, and refuses the present configuration: `{' '.join(map(str, command))}` says (rc {code}) "
                f"{(out + errors).strip()[-1500:]} The service still runs with its old program: do not restart it before that is repaired."
            )
    return repaired or bool(versions or held)


def main():
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "dict", "required": True},
            "state": {"type": "str", "choices": ["installed", "fetched"], "default": "installed"},
            "units": {"type": "dict", "default": {}},
            "validate": {"type": "list", "elements": "list", "default": []},
            "hold": {"type": "list", "elements": "str", "default": []},
            "lock_timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    manager, wanted = packages_host.of(module), module.params["packages"]
    try:
        before = due(manager, wanted)
        changed = bool(before)
        if module.params["state"] == "fetched" and not module.check_mode:
            changed = fetch(manager, {name: wanted[name] for name in before})
        elif not module.check_mode:
            changed = install(module, manager, wanted)
    except packages.PackageError as error:
        module.fail_json(msg=str(error))
    changes = {name: {"from": package["version"], "to": wanted[name]} for name, package in sorted(before.items())}
    module.exit_json(
        changed=changed,
        packages=changes,
        units=packages_host.units(module, module.params["units"]),
        diff={
            "before": "".join(f"{name} {change['from']}\n" for name, change in changes.items()),
            "after": "".join(f"{name} {change['to']}\n" for name, change in changes.items()),
        },
    )


if __name__ == "__main__":
    main()
