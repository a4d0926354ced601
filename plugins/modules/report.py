# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does all of it on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Print text without Ansible's quoting
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Prints lines and tables so that they can be read with each setting of the output; M(ansible.builtin.debug) shows a text of several
    lines as one quoted string unless C(callback_result_format) is V(yaml).
options:
  text:
    description: What is printed.
    type: str
    required: true
attributes:
  check_mode:
    description: Nothing is changed.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Show the plan
  utmstack.ha.report:
    text: "{{ ha | utmstack.ha.plan }}"
  run_once: true
"""

RETURN = r"""
text:
  description: What was printed.
  returned: success
  type: str
"""
