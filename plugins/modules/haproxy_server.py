#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_server
short_description: Drain or enable servers in HAProxy's backends
version_added: 0.1.0
description:
  - Sets the administrative state of servers in the HAProxy of this host, through its runtime socket, and can wait until their
    sessions have ended or, when enabled again, until they are up.
  - A server that tracks another follows it by itself.
  - The state lasts over reloads of HAProxy as role haproxy makes them, not over a restart.
  - Where no HAProxy runs, nothing is to be done, since it sends nobody anything. RV(running) tells.
author:
  - The utmstack.ha developers (@utmstack)
options:
  name:
    description:
      - Names of the servers.
    type: list
    elements: str
    required: true
  backends:
    description:
      - The backends in which they are taken out or back. There is no default, as a server may be in a backend for another reason
        than its health, as those of PostgreSQL are.
      - A backend or server that this HAProxy does not have is told in RV(absent) and is no failure.
    type: list
    elements: str
    required: true
  state:
    description:
      - V(ready) takes them back; their health checks decide again.
      - V(drain) sends them no new sessions and lets those that they have end.
      - V(maint) stops their health checks, too, and so they are down. Requests under way go on.
    type: str
    choices: [ready, drain, maint]
    required: true
  only_from:
    description:
      - Only servers in one of these states are changed. Any, where it is empty.
    type: list
    elements: str
    choices: [ready, drain, maint]
    default: []
  allow_last:
    description:
      - Whether a backend may be left without any server that is up. Otherwise that is a failure, and nothing is changed.
    type: bool
    default: false
  wait_timeout:
    description:
      - How long to wait for the sessions to end or for the servers to be up, in seconds. RV(reached) tells whether they did.
    type: float
    default: 0
  wait_sessions:
    description:
      - How many sessions a server may still have when the waiting ends.
    type: int
    default: 0
  wait_if_alone:
    description:
      - Whether a server is waited for to be up also where no other server of its backend is up, as when there is no application yet.
    type: bool
    default: true
  socket:
    description:
      - The runtime socket. It needs the level C(admin).
    type: path
    default: /run/haproxy/admin.sock
  timeout:
    description:
      - How long to wait for the socket, in seconds.
    type: float
    default: 3
attributes:
  check_mode:
    description: Tells what would be changed and does not wait.
    support: full
  diff_mode:
    description: Shows the administrative states of the servers that change.
    support: full
seealso:
  - module: utmstack.ha.haproxy_info
"""

EXAMPLES = r"""
- name: Drain node2 and wait at most half a minute
  utmstack.ha.haproxy_server:
    name: [node2]
    backends: [api, websocket, grpc]
    state: drain
    wait_timeout: 30
  become: true

- name: Enable node2 and wait for its health checks
  utmstack.ha.haproxy_server:
    name: [node2]
    backends: [api, websocket, grpc]
    state: ready
    wait_timeout: 60
  become: true
"""

RETURN = r"""
running:
  description: Whether an HAProxy runs here.
  returned: success
  type: bool
reached:
  description: Whether the sessions had ended, or the servers were up, in time. True where none runs.
  returned: success
  type: bool
seconds:
  description: How long it took, in seconds.
  returned: success
  type: float
  sample: 1.52
set:
  description: The servers whose state was set, or would be in check mode, each as backend/server.
  returned: success
  type: list
  elements: str
  sample: [api/node2, grpc/node2]
servers:
  description: The servers that are meant, as they are at last.
  returned: success
  type: list
  elements: dict
  contains:
    backend:
      description: The backend's name.
      type: str
    name:
      description: The server's name.
      type: str
    admin:
      description: Its administrative state.
      type: str
    status:
      description: Its status as HAProxy writes it.
      type: str
    sessions:
      description: Sessions now.
      type: int
absent:
  description: Those that this HAProxy does not have, each as backend/server.
  returned: success
  type: list
  elements: str
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.haproxy import runtime as haproxy

PAUSE_S = 0.25


def shown(servers, changes, state=None):
    """The states of the servers that change, one a line."""
    return "".join(
        f"{one['backend']}/{one['name']} {state or one['admin']}\n"
        for one in servers
        if (one["backend"], one["name"]) in changes
    )


def main():
    states = [haproxy.READY, haproxy.DRAIN, haproxy.MAINT]
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "list", "elements": "str", "required": True},
            "backends": {"type": "list", "elements": "str", "required": True},
            "state": {"type": "str", "choices": states, "required": True},
            "only_from": {"type": "list", "elements": "str", "choices": states, "default": []},
            "allow_last": {"type": "bool", "default": False},
            "wait_timeout": {"type": "float", "default": 0},
            "wait_sessions": {"type": "int", "default": 0},
            "wait_if_alone": {"type": "bool", "default": True},
            "socket": {"type": "path", "default": "/run/haproxy/admin.sock"},
            "timeout": {"type": "float", "default": 3},
        },
        supports_check_mode=True,
    )
    given = module.params
    path, state = given["socket"], given["state"]

    def asked(command):
        return haproxy.ask(path, command, given["timeout"])

    def chosen(backends, servers):
        rows = [
            {"backend": name, **{key: server[key] for key in ("name", "admin", "status", "sessions")}}
            for name, backend in backends.items()
            for server in backend["servers"]
        ]
        return [row for row in rows if (row["backend"], row["name"]) in servers]

    start = time.monotonic()
    try:
        backends = haproxy.look(asked, path)
        servers, changes, absent, faults = haproxy.plan(
            backends, given["name"], given["backends"], state, given["only_from"], given["allow_last"]
        )
        if faults:
            raise haproxy.HAProxyError(" ".join(faults))
        before = chosen(backends, servers)
        if changes and not module.check_mode:
            said = asked(haproxy.command(changes, state)).strip()
            if said:
                raise haproxy.HAProxyError(f"HAProxy does not do it: {' '.join(said.split())}")
        # What is left alone is not waited for, either.
        awaited = changes if given["only_from"] else servers
        reached = module.check_mode
        while not reached:
            backends = haproxy.look(asked, path)
            reached = haproxy.arrived(backends, awaited, state, given["wait_sessions"], given["wait_if_alone"])
            if time.monotonic() - start >= given["wait_timeout"]:
                break
            time.sleep(0 if reached else PAUSE_S)
    except haproxy.NotRunning:
        module.exit_json(changed=False, running=False, reached=True, seconds=0.0, set=[], servers=[], absent=[])
    except OSError as error:
        module.fail_json(msg=f"HAProxy does not answer on {path}: {error.strerror or error}.")
    except haproxy.HAProxyError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(changes),
        running=True,
        reached=reached,
        seconds=round(time.monotonic() - start, 3),
        set=[f"{backend}/{name}" for backend, name in changes],
        servers=chosen(backends, servers),
        absent=absent,
        diff={"before": shown(before, changes), "after": shown(before, changes, state)},
    )


if __name__ == "__main__":
    main()
