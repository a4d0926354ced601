#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_info
short_description: Get the state of HAProxy's backends and servers
version_added: 0.1.0
description:
  - Asks the HAProxy of this host, through its runtime socket, for its own figures and the state of every server.
  - Fails where the socket does not answer, since then HAProxy does not run or does not run with our configuration.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.looks
options:
  socket:
    description:
      - The runtime socket.
    type: path
    default: /run/haproxy/admin.sock
  backends:
    description:
      - Only these backends are returned. Default is all.
    type: list
    elements: str
  timeout:
    description:
      - How long to wait for the socket, in seconds.
    type: float
    default: 3
"""

EXAMPLES = r"""
- name: Get HAProxy's servers
  utmstack.ha.haproxy_info:
  become: true
  register: haproxy

- name: Verify the write port has one server
  ansible.builtin.assert:
    that: haproxy.backends | selectattr('name', 'eq', 'postgresql_write') | map(attribute='servers_up') | first == 1
"""

RETURN = r"""
version:
  description: HAProxy's version.
  returned: success
  type: str
  sample: 3.0.11-1+deb13u1
process:
  description: Figures of the process that answered.
  returned: success
  type: dict
  contains:
    version:
      description: HAProxy's version.
      type: str
    pid:
      description: Process number of the worker.
      type: int
    uptime_seconds:
      description: How long the worker has been running, that is, since the last reload.
      type: int
    node:
      description: Name of the node.
      type: str
    stopping:
      description: Whether it is on its way out.
      type: bool
    connections:
      description: Connections now.
      type: int
    connections_max:
      description: The most that it accepts.
      type: int
frontends:
  description: Every frontend.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name.
      type: str
    status:
      description: Status, as C(OPEN).
      type: str
    sessions:
      description: Sessions now.
      type: int
backends:
  description: Every backend that has servers.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name.
      type: str
    status:
      description: C(UP) or C(DOWN).
      type: str
    up:
      description: Whether at least one server takes sessions.
      type: bool
    sessions:
      description: Sessions now.
      type: int
    servers_up:
      description: How many servers take sessions.
      type: int
    servers:
      description: The servers of the backend.
      type: list
      elements: dict
      contains:
        name:
          description: Name.
          type: str
        address:
          description: Address and port.
          type: str
        status:
          description: Status as HAProxy writes it, such as C(UP), C(DOWN), C(MAINT), C(DRAIN), C(UP 1/2), C(no check).
          type: str
        up:
          description: Whether it takes new sessions.
          type: bool
        check:
          description: Result of the last health check, such as C(L7OK), C(L7STS), C(L4CON), C(L4TOUT).
          type: str
        check_code:
          description: The code that the check got (such as an HTTP status), or null.
          type: int
        check_seen:
          description: What the last check saw, in words.
          type: str
        check_ms:
          description: How long the last check took, in milliseconds.
          type: int
        weight:
          description: Weight.
          type: int
        backup:
          description: Whether it is a backup server.
          type: bool
        sessions:
          description: Sessions now.
          type: int
        sessions_total:
          description: Sessions since the last reload.
          type: int
        seconds_in_status:
          description: How long it has had this status, in seconds.
          type: int
        failed_checks:
          description: Failed checks while it was up.
          type: int
"""

from ansible_collections.utmstack.ha.plugins.module_utils.haproxy import info as ask_haproxy
from ansible_collections.utmstack.ha.plugins.module_utils.operation.info_module import run


def main():
    run(ask_haproxy.QUESTION)


if __name__ == "__main__":
    main()
