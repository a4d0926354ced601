#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_member
short_description: Initialize, join, unlock or leave a Docker swarm
version_added: 0.1.0
description:
  - Changes the membership of the host's own Docker engine. It never leaves one swarm for another by itself.
  - Before the host enters a swarm, the network C(docker_gwbridge) is made with O(gateway_binding), so that ports published in host mode
    are bound to that address only and not to every address of the host. Docker itself would make it without.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.docker_engine
options:
  state:
    description:
      - V(initialized), the host is in a swarm. Where it is in none, it makes one.
      - V(joined), the host is in a swarm. Where it is in none, it joins the one of O(remote_addresses).
      - V(unlocked), a manager that waits for the unlock key gets it.
      - V(left), the host is in no swarm. It leaves without asking the managers.
    type: str
    choices: [initialized, joined, unlocked, left]
    required: true
  address:
    description:
      - The host's address, for members to reach it and for the traffic of overlay networks. Needed to make or join a swarm.
    type: str
  port:
    description:
      - Port of the managers.
    type: int
    default: 2377
  data_port:
    description:
      - Port of the overlay networks' traffic. It is the swarm's, so it counts with O(state=initialized) only.
    type: int
    default: 4789
  address_pools:
    description:
      - Subnets from which overlay networks get theirs, in CIDR notation. Docker's own by default. Counts with O(state=initialized) only.
    type: list
    elements: str
    default: []
  address_pool_prefix:
    description:
      - Length of the prefix of each overlay network.
    type: int
    default: 24
  labels:
    description:
      - Labels of the swarm. Counts with O(state=initialized) only.
    type: dict
    default: {}
  gateway_binding:
    description:
      - IPv4 address to which ports published in host mode are bound. All addresses by default.
    type: str
    default: ""
  gateway_subnet:
    description:
      - Subnet of the network C(docker_gwbridge), in CIDR notation. Docker chooses one by default.
    type: str
    default: ""
  remote_addresses:
    description:
      - Addresses of managers to join, each with its port. Needed for O(state=joined).
    type: list
    elements: str
    default: []
  join_token:
    description:
      - Secret that admits the host, as a manager or as a worker. Needed for O(state=joined).
    type: str
  unlock_key:
    description:
      - The swarm's unlock key. Needed for O(state=unlocked).
    type: str
  wait_timeout:
    description:
      - How long to wait until Docker has done it, in seconds.
    type: float
    default: 90.0
attributes:
  check_mode:
    description: Tells what would change.
    support: full
  diff_mode:
    description: Shows the state of the membership.
    support: full
"""

EXAMPLES = r"""
- name: Initialize a swarm
  utmstack.ha.swarm_member:
    state: initialized
    address: 10.0.1.11
    gateway_binding: 10.0.1.11

- name: Join a swarm
  utmstack.ha.swarm_member:
    state: joined
    address: 10.0.1.12
    gateway_binding: 10.0.1.12
    remote_addresses: ["10.0.1.11:2377"]
    join_token: "{{ keys.manager_token }}"
  no_log: true

- name: Unlock a restarted manager
  utmstack.ha.swarm_member:
    state: unlocked
    unlock_key: "{{ swarm_unlock_key }}"
"""

RETURN = r"""
state:
  description: The host's part in a swarm afterwards, as Docker names it.
  returned: success
  type: str
  sample: active
node_id:
  description: The host's number in its swarm, or empty.
  returned: success
  type: str
seconds:
  description: How long the change took, in seconds.
  returned: success
  type: float
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import cluster as swarm
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import engine as docker_engine
from ansible_collections.utmstack.ha.plugins.module_utils.swarm.engine import EngineError

# Docker answers so when the host goes on joining in the background.
GOES_ON = "will continue in the background"


def membership(engine):
    """The state of the membership and the node's number. Raises EngineError."""
    found = engine.get("/info").get("Swarm") or {}
    return found.get("LocalNodeState") or "inactive", found.get("NodeID", ""), found.get("Error", "")


def gateway_body(binding, subnet):
    """The network by which containers of overlay networks reach the outside, as Docker makes it, and where it publishes ports."""
    options = {
        "com.docker.network.bridge.name": swarm.GATEWAY,
        "com.docker.network.bridge.enable_icc": "false",
        "com.docker.network.bridge.enable_ip_masquerade": "true",
    }
    if binding:
        options[swarm.BINDING] = binding
    body = {"Name": swarm.GATEWAY, "Driver": "bridge", "Options": options}
    if subnet:
        body["IPAM"] = {"Driver": "default", "Config": [{"Subnet": subnet}]}
    return body


def ensure_gateway(engine, binding, subnet):
    """Have the network before the host enters a swarm. Raises EngineError."""
    network = engine.find(f"/networks/{swarm.GATEWAY}")
    if network is not None:
        options = network.get("Options") or {}
        subnets = [one.get("Subnet") for one in (network.get("IPAM") or {}).get("Config") or []]
        if options.get(swarm.BINDING, "") == binding and (not subnet or subnet in subnets):
            return
        engine.delete(f"/networks/{swarm.GATEWAY}")
    engine.post("/networks/create", gateway_body(binding, subnet))


def init_body(params):
    """What POST /swarm/init takes."""
    listen = swarm.join_address(params["address"], params["port"])
    return {
        "ListenAddr": listen,
        "AdvertiseAddr": listen,
        "DataPathAddr": params["address"],
        "DataPathPort": params["data_port"],
        "DefaultAddrPool": params["address_pools"],
        "SubnetSize": params["address_pool_prefix"],
        "Spec": {"Labels": params["labels"]},
    }


def join_body(params):
    """What POST /swarm/join takes."""
    listen = swarm.join_address(params["address"], params["port"])
    return {
        "ListenAddr": listen,
        "AdvertiseAddr": listen,
        "DataPathAddr": params["address"],
        "RemoteAddrs": params["remote_addresses"],
        "JoinToken": params["join_token"],
        "Availability": "active",
    }


def change(engine, params):
    """Carry out the one change. Raises EngineError."""
    state, limit = params["state"], params["wait_timeout"]
    if state in ("initialized", "joined"):
        ensure_gateway(engine, params["gateway_binding"], params["gateway_subnet"])
    try:
        if state == "initialized":
            engine.post("/swarm/init", init_body(params), limit)
        elif state == "joined":
            engine.post("/swarm/join", join_body(params), limit)
        elif state == "unlocked":
            engine.post("/swarm/unlock", {"UnlockKey": params["unlock_key"]}, limit)
        else:
            engine.post("/swarm/leave?force=1", None, limit)
    except EngineError as error:
        if GOES_ON not in str(error):
            raise


def reached(goal, state):
    """Whether the membership is as wanted."""
    if goal == "unlocked":
        return state != "locked"
    return state == "inactive" if goal == "left" else state == "active"


def settled(engine, params, sleep=time.sleep, clock=time.monotonic):
    """Wait until the membership is as wanted; returns what it is then. Raises EngineError that says what was seen."""
    end = clock() + params["wait_timeout"]
    while True:
        state, number, complaint = membership(engine)
        # An unlocked manager is pending until it has found the others; that is for the gate to wait for.
        if reached(params["state"], state):
            return state, number
        if clock() > end:
            raise EngineError(f"the host's swarm state is {state} after {params['wait_timeout']:g} s. {complaint}")
        sleep(0.3)


def main():
    module = AnsibleModule(
        argument_spec={
            **docker_engine.ARGUMENTS,
            "state": {"type": "str", "choices": ["initialized", "joined", "unlocked", "left"], "required": True},
            "address": {"type": "str"},
            "port": {"type": "int", "default": 2377},
            "data_port": {"type": "int", "default": 4789},
            "address_pools": {"type": "list", "elements": "str", "default": []},
            "address_pool_prefix": {"type": "int", "default": 24},
            "labels": {"type": "dict", "default": {}},
            "gateway_binding": {"type": "str", "default": ""},
            "gateway_subnet": {"type": "str", "default": ""},
            "remote_addresses": {"type": "list", "elements": "str", "default": []},
            "join_token": {"type": "str", "no_log": True},
            "unlock_key": {"type": "str", "no_log": True},
            "wait_timeout": {"type": "float", "default": 90.0},
        },
        required_if=[
            ("state", "initialized", ["address"]),
            ("state", "joined", ["address", "remote_addresses", "join_token"]),
            ("state", "unlocked", ["unlock_key"]),
        ],
        supports_check_mode=True,
    )
    params = module.params
    engine = docker_engine.Engine.of(params)
    start = time.monotonic()
    try:
        try:
            before, number, _complaint = membership(engine)
        except EngineError:
            # In a dry run Docker may not run yet.
            if not module.check_mode:
                raise
            before, number = "stopped", ""
        goal = params["state"]
        if goal in ("initialized", "joined") and before == "locked":
            raise EngineError("the host is a manager that waits for the unlock key")
        wanted = {"initialized": "active", "joined": "active", "unlocked": "active", "left": "inactive"}[goal]
        changed = not reached(goal, before)
        after = wanted if changed else before
        if changed and not module.check_mode:
            change(engine, params)
            after, number = settled(engine, params)
    except EngineError as error:
        module.fail_json(msg=f"This host cannot be {params['state']}: {error}")
    module.exit_json(
        changed=changed,
        state=after,
        node_id=number,
        seconds=round(time.monotonic() - start, 3),
        diff={"before": f"swarm: {before}\n", "after": f"swarm: {after}\n"},
    )


if __name__ == "__main__":
    main()
