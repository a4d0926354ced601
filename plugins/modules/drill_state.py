#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does all of it on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drill_state
short_description: Record a step of a drill
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Changes the fact C(drill_state), which has all that a drill knows of itself while it runs. Only this task changes it. It is run once,
    for all hosts. A step that is skipped or fails leaves the state as it was.
options:
  step:
    description: What has happened.
    type: str
    required: true
    choices:
      - plan
      - begin
      - turn
      - target
      - answer
      - lead
      - ledger
      - inject
      - leaders
      - undo
      - look
      - looked
      - heal
      - judge
      - stop
  seen:
    description: What the step takes, by name, as C(STEPS) of C(module_utils/drill/scenario/state.py) lists it. Nothing else is accepted.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Nothing is changed but the fact.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Record the current leaders
  utmstack.ha.drill_state:
    step: leaders
    seen:
      platform: "{{ status_platform }}"
  run_once: true
"""

RETURN = r"""
ansible_facts:
  description: The new state.
  returned: success
  type: dict
  contains:
    drill_state:
      description: As C(module_utils/drill/scenario/state.py) describes it.
      type: dict
      returned: success
"""
