# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: observe
short_description: Ask a host several questions and keep all answers
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Runs information modules on a host, one after the other, and returns what each of them returned.
  - Neither a module that fails nor a host that does not answer fails the task, since that is what one wants to know.
options:
  questions:
    description:
      - The questions by a name of your own. Each is a dictionary of one module's full name and its options.
    type: dict
    required: true
attributes:
  check_mode:
    description: Hands check mode on to the modules. Those that only look answer the same.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Look at the host
  utmstack.ha.observe:
    questions:
      vip:
        utmstack.ha.vip_info:
          address: 10.0.1.100
      haproxy:
        utmstack.ha.haproxy_info:
  register: seen
"""

RETURN = r"""
reachable:
  description: Whether the host could be connected to.
  returned: always
  type: bool
error:
  description: Why it could not, or empty.
  returned: always
  type: str
answers:
  description: What each module returned, by the name of the question. C(failed) and C(msg) where it failed.
  returned: always
  type: dict
"""
