#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: service_freshness
short_description: Check a running service for a pending reload or restart
version_added: 0.1.0
description:
  - Compares the time at which a service started, and at which it was last reloaded, with the last change of its files,
    its unit files and its binaries.
  - Unlike a handler it finds the same answer when an earlier run died between writing a file and restarting.
  - It only tells. What is done about it, and in which order of hosts, is the caller's decision.
  - A file's C(ctime) counts. Directories stand for all files below them, caches of Python left out.
  - Start times are computed from the time since boot, so they hold when the clock has been stepped. Where the clock was set
    back since the service started, the earlier of the two possible start times counts. The price is at most one restart more.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.freshness
  - utmstack.ha.looks
notes:
  - Only root may see what another user's process executes, so the task needs C(become).
  - A listed file that does not exist is an error. In check mode it counts as a file that is going to be created.
"""

EXAMPLES = r"""
- name: Check etcd for a pending restart
  utmstack.ha.service_freshness:
    unit: etcd
    restart_files:
      - /etc/default/etcd
      - /etc/utmstack-ha/tls/ca.crt
  register: etcd_freshness

- name: Restart etcd
  ansible.builtin.systemd_service:
    name: etcd
    state: restarted
    daemon_reload: true
  when: etcd_freshness.state == 'restart'

- name: Check HAProxy for a pending restart or reload
  utmstack.ha.service_freshness:
    unit: haproxy
    reload_files:
      - /etc/haproxy/haproxy.cfg
      - /etc/utmstack-ha/tls/host.pem
    reload_proof: workers
  register: haproxy_freshness
"""

RETURN = r"""
state:
  description:
    - C(fresh), the service runs with what is on disk. C(reload), it has to read files again. C(restart), it has to be restarted.
    - C(stopped), it does not run.
  returned: always
  type: str
  sample: restart
reasons:
  description: Why, as sentences.
  returned: always
  type: list
  elements: str
  sample:
    - /etc/default/etcd changed at 2026-03-01T12:00:00.123Z, started at 2026-02-27T08:11:12.010Z
unit:
  description: The unit's full name.
  returned: always
  type: str
  sample: etcd.service
active_state:
  description: The unit's state as systemd names it.
  returned: always
  type: str
  sample: active
enabled:
  description: Whether the unit starts at boot.
  returned: always
  type: bool
pid:
  description: The main process, or null.
  returned: always
  type: int
started:
  description: When the main process started, ISO 8601 in UTC, or null.
  returned: always
  type: str
loaded:
  description: When the service was last seen to load its files, by its start or by a reload, ISO 8601 in UTC, or null.
  returned: always
  type: str
daemon_reload:
  description: Whether systemd has to read the unit's files again.
  returned: always
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.host import freshness_module


def main():
    module = AnsibleModule(argument_spec=freshness_module.OPTIONS, supports_check_mode=True)
    module.exit_json(changed=False, **freshness_module.judge(module, module.params))


if __name__ == "__main__":
    main()
