#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Injects a fault for a drill, and undoes it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drill_fault
author: The utmstack.ha developers (@utmstack)
version_added: 0.1.0
short_description: Inject or revert a drill's fault
description:
  - Notes a fault on the host, arms a timer that undoes it, injects it, and returns when it is seen to have taken effect.
    A fault without effect is undone at once, and the module fails.
  - Undoes one fault, or all that are noted on the host, and returns when nothing is seen of them any more.
attributes:
  check_mode:
    description: Tells whether the host can have the fault, or which faults there are to undo, and touches nothing.
    support: full
  diff_mode:
    description: It has no state that a difference could show.
    support: none
options:
  id:
    description:
      - The fault's name on this host, of letters, digits and hyphens.
      - Without it, V(absent) undoes all faults.
    type: str
  state:
    description: Whether the fault is there.
    type: str
    choices: [present, absent]
    default: present
  fault:
    description:
      - What the fault is, with C(kind), V(signal), V(partition), V(lossy), V(fill), V(dead), V(hung), V(clock), V(certificate),
        V(unshare) or V(command), and what that kind takes, as the drill plans it.
    type: dict
  limit:
    description: When the fault is undone by itself, in seconds.
    type: float
    default: 300
  effect_timeout:
    description: How long the fault may take until its effect is seen, in seconds.
    type: float
    default: 15
  notes:
    description: The directory where faults are noted.
    type: path
    default: /var/lib/utmstack-ha/drill
  package:
    description: The package of Python, a directory, in which C(drill.fault.keeper) is the program that undoes a fault by itself.
    type: path
    default: /usr/local/lib/utmstack-ha/python/utmstack_ha
"""

EXAMPLES = r"""
- name: Freeze etcd for at most two minutes
  utmstack.ha.drill_fault:
    id: 01-etcd
    fault: {kind: signal, signal: STOP, units: [etcd.service], only: main, what: etcd}
    limit: 120

- name: Revert all leftover faults of this host
  utmstack.ha.drill_fault:
    state: absent
"""

RETURN = r"""
injected:
  description: When the fault was injected, in seconds since 1970.
  type: float
  returned: when a fault was injected
effect:
  description: When its effect was seen, in seconds since 1970.
  type: float
  returned: when a fault was injected
refused:
  description: Why this host can't have the fault, with the remedy; empty where it can.
  type: str
  returned: with O(state=present)
undone:
  description: The faults that were undone, or in check mode would be, each with C(id) and C(at), in seconds since 1970.
  type: list
  elements: dict
  returned: with O(state=absent)
  sample: [{id: 01-etcd, at: 1772366400.5}]
"""

import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.drill.fault.host import FaultError, Refused
from ansible_collections.utmstack.ha.plugins.module_utils.drill.fault.keeper import NOTES, PACKAGE, Keeper
from ansible_collections.utmstack.ha.plugins.module_utils.drill.fault.kinds import KINDS


def inject(module: AnsibleModule, keeper: Keeper) -> dict:
    """What the module returns for a fault that is to be there."""
    given = module.params
    if given["fault"].get("kind") not in KINDS:
        module.fail_json(msg=f"fault has kind {given['fault'].get('kind')!r}; give one of {', '.join(KINDS)}.")
    if given["id"] in keeper.found():
        return {"changed": False, "refused": ""}
    if module.check_mode:
        refused = keeper.refusal(given["fault"])
        return {"changed": not refused, "refused": refused}
    return {
        "changed": True,
        "refused": "",
        **keeper.inject(given["id"], given["fault"], given["limit"], given["effect_timeout"]),
    }


def undo(module: AnsibleModule, keeper: Keeper) -> dict:
    """What the module returns where there is to be no fault."""
    idents = [ident for ident in keeper.found() if module.params["id"] in (None, ident)]
    undone = [{"id": ident, "at": None if module.check_mode else keeper.undo(ident)} for ident in idents]
    return {"changed": bool(undone), "undone": undone}


def main():
    module = AnsibleModule(
        argument_spec={
            "id": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "fault": {"type": "dict"},
            "limit": {"type": "float", "default": 300},
            "effect_timeout": {"type": "float", "default": 15},
            "notes": {"type": "path", "default": NOTES},
            "package": {"type": "path", "default": PACKAGE},
        },
        required_if=[("state", "present", ["id", "fault"])],
        supports_check_mode=True,
    )
    if module.params["id"] and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", module.params["id"]):
        module.fail_json(msg=f"id {module.params['id']!r} has other characters than letters, digits and hyphens.")
    keeper = Keeper(module.params["notes"], module.params["package"])
    try:
        result = (inject if module.params["state"] == "present" else undo)(module, keeper)
    except Refused as error:
        module.fail_json(msg=f"{error}.", refused=str(error))
    except (FaultError, OSError) as error:
        module.fail_json(msg=f"{error}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
