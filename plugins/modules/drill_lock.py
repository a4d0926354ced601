#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks a host for a drill, and ends the lock."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drill_lock
author: The utmstack.ha developers (@utmstack)
version_added: 0.1.0
short_description: Lock a host for one drill at a time
description:
  - Notes on the host that this run of Ansible drills it, since when, and until when at most. Another run, also one on another
    controller, is told whose the lock is, which is no failure of this task.
  - A lock ends with its time. One whose run has died on this very controller is taken over at once.
attributes:
  check_mode:
    description: Tells whether the lock could be had, and touches nothing.
    support: full
  diff_mode:
    description: It has no state that a difference could show.
    support: none
options:
  state:
    description: Whether the host is locked.
    type: str
    choices: [present, absent]
    default: present
  seconds:
    description: When the lock ends by itself, unless it is renewed.
    type: float
    default: 600
  doing:
    description: What the drill does now, for whoever is refused meanwhile.
    type: str
    default: ""
  again:
    description: Whether the lock has to be there already, to be renewed.
    type: bool
    default: false
  anyone:
    description: Whether V(absent) ends the lock of whoever has it, and not only that of this run.
    type: bool
    default: false
  holder:
    description: Who this run is. The action of the same name says it.
    type: dict
  instead_of:
    description: The run that has died. The action of the same name says it.
    type: str
    default: ""
  notes:
    description: The directory where the lock is noted.
    type: path
    default: /var/lib/utmstack-ha/drill
"""

EXAMPLES = r"""
- name: Lock all hosts for ten minutes
  utmstack.ha.drill_lock:
    seconds: 600
    doing: the first turn
  register: locked

- name: Release the lock
  utmstack.ha.drill_lock:
    state: absent
"""

RETURN = r"""
mine:
  description: Whether the host is locked for this run.
  type: bool
  returned: with O(state=present)
holder:
  description:
    - Who has the lock, or with O(state=absent) had it; none where nobody does.
    - It has C(id), C(user), C(controller), C(pid), C(doing), and C(since) and C(until) in seconds since 1970.
  type: dict
  returned: always
  sample: {id: "ctl1 4f1a 4711 123", user: root, controller: ctl1, pid: 4711, doing: 03-etcd-sigkill, since: 1772366400.5, until: 1772367000.5}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.drill.fault.lock import NOTES, Lock


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "seconds": {"type": "float", "default": 600},
            "doing": {"type": "str", "default": ""},
            "again": {"type": "bool", "default": False},
            "anyone": {"type": "bool", "default": False},
            "holder": {"type": "dict"},
            "instead_of": {"type": "str", "default": ""},
            "notes": {"type": "path", "default": NOTES},
        },
        supports_check_mode=True,
    )
    given, lock = module.params, Lock(module.params["notes"])
    if not given["holder"]:
        module.fail_json(msg="holder is missing: use this as a task of a playbook, whose run is the holder.")
    try:
        if given["state"] == "absent":
            held = lock.free("" if given["anyone"] else given["holder"]["id"], module.check_mode)
            module.exit_json(changed=bool(held), holder=held)
        result = lock.take(given["holder"], given["seconds"], given["again"], given["instead_of"], module.check_mode)
    except OSError as error:
        module.fail_json(msg=f"The lock of this host can't be kept: {error}.")
    # That it lasts longer now is no change of the host.
    module.exit_json(changed=result["mine"] and not given["again"], **result)


if __name__ == "__main__":
    main()
