#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: observe
short_description: Collect the status of several services of a host in one call
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Asks what several information modules of this collection ask, at once and in one process, and returns what each would.
  - Neither a question that fails nor a host that does not answer fails the task, since that is what one wants to know.
options:
  questions:
    description:
      - The questions by a name of your own. Each is a dictionary of one module's full name and its options.
      - The modules are M(utmstack.ha.host_info) and those that tell of a service, such as M(utmstack.ha.etcd_info). Another one is refused with
        the names of all.
    type: dict
    required: true
  secrets:
    description:
      - Filled by the action plugin of this name. The options which must not be logged, by the names of the questions.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Hands check mode on to the modules. Those that only look answer the same.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Collect the status of a host
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

from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.operation.info_module import ask as ask_one
from ansible_collections.utmstack.ha.plugins.module_utils.operation.infos import QUESTIONS


def main():
    module = AnsibleModule(
        argument_spec={
            "questions": {"type": "dict", "required": True},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    questions, secrets = module.params["questions"], module.params["secrets"]

    def ask(name):
        ((asked, given),) = questions[name].items()
        return ask_one(QUESTIONS[asked], module, {**(given or {}), **secrets.get(name, {})})

    # Each mostly waits for the network.
    with ThreadPoolExecutor(len(questions) or 1) as pool:
        answers = dict(zip(questions, pool.map(ask, questions)))
    module.exit_json(changed=False, reachable=True, error="", answers=answers)


if __name__ == "__main__":
    main()
