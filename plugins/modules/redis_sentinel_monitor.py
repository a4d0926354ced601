#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_sentinel_monitor
short_description: Configure the monitored master of a Sentinel
version_added: 0.1.0
description:
  - Makes one sentinel watch a master where it does not, and brings the settings that it watches it with up to date.
  - A master that is watched already stays the one that it is, whatever O(master_address) says. This module never moves a master.
  - Sentinel keeps what it is told in its own file.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.redis
options:
  address:
    description:
      - The sentinel's IP address.
    type: str
    required: true
  port:
    description:
      - Its TLS port.
    type: int
    default: 26379
  master_name:
    description:
      - The name under which the master is watched.
    type: str
    required: true
  master_address:
    description:
      - The master's IP address, for a sentinel that does not watch it yet.
    type: str
    required: true
  master_port:
    description:
      - The master's TLS port.
    type: int
    default: 6379
  quorum:
    description:
      - How many sentinels must miss the master before one of them may be elected to replace it.
    type: int
    required: true
  settings:
    description:
      - Further settings of this master by the names that C(SENTINEL SET) takes, for example C(down-after-milliseconds).
    type: dict
    default: {}
  wait_timeout:
    description:
      - How long to wait for a sentinel that does not answer yet, in seconds.
    type: float
    default: 0.0
attributes:
  check_mode:
    description: Tells what would change.
    support: full
  diff_mode:
    description: Shows the settings that change.
    support: full
"""

EXAMPLES = r"""
- name: Monitor the master
  utmstack.ha.redis_sentinel_monitor:
    address: 10.0.1.11
    ca_path: /etc/utmstack-ha/tls/ca.crt
    username: admin
    password: "{{ redis_admin_password }}"
    master_name: utmstack-redis
    master_address: 10.0.1.12
    quorum: 2
    settings:
      down-after-milliseconds: 1500
      failover-timeout: 10000
"""

RETURN = r"""
master_address:
  description: The address of the master that this sentinel watches.
  returned: success
  type: str
  sample: 10.0.1.12
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.redis import client as redis_client
from ansible_collections.utmstack.ha.plugins.module_utils.redis import cluster as redis_cluster


def watched(connection, name):
    """What the sentinel says of the master, None where it does not watch it."""
    try:
        return redis_client.pairs(connection.call("SENTINEL", "MASTER", name))
    except redis_client.RedisError as error:
        if error.answered and "No such master" in str(error):
            return None
        raise


def differences(found, wanted):
    """The settings to set: those that differ, and those that Sentinel does not tell of a master that it does not watch yet."""
    return {name: value for name, value in wanted.items() if found.get(name) != value}


def listing(settings):
    return "".join(f"{name} {value}\n" for name, value in sorted(settings.items()))


def reconcile(connection, params, check):
    """Watch the master and set what differs. Returns the module's result."""
    name = params["master_name"]
    wanted = {"quorum": str(params["quorum"]), **{key: str(value) for key, value in params["settings"].items()}}
    found = watched(connection, name)
    address = found["ip"] if found else params["master_address"]
    if not found and not check:
        connection.call("SENTINEL", "MONITOR", name, address, params["master_port"], params["quorum"])
        found = watched(connection, name)
        before, changes = {}, differences(found, wanted)
        after = {"watches": f"{address} {params['master_port']}", **wanted}
    else:
        changes = differences(found or {}, wanted)
        before = {key: found[key] for key in changes if key in found} if found else {}
        after = changes if found else {"watches": f"{address} {params['master_port']}", **wanted}
    unknown = sorted(key for key in changes if found and key not in found)
    if unknown:
        raise redis_client.RedisError(f"Sentinel has no setting {', '.join(unknown)} for a master")
    if changes and not check:
        connection.call("SENTINEL", "SET", name, *(word for pair in changes.items() for word in pair))
    return {
        "changed": bool(after),
        "master_address": address,
        "diff": {"before": listing(before), "after": listing(after)},
    }


def main():
    module = AnsibleModule(
        argument_spec={
            **redis_cluster.LOGIN,
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "default": 26379},
            "master_name": {"type": "str", "required": True},
            "master_address": {"type": "str", "required": True},
            "master_port": {"type": "int", "default": 6379},
            "quorum": {"type": "int", "required": True},
            "settings": {"type": "dict", "default": {}},
            "wait_timeout": {"type": "float", "default": 0.0},
        },
        required_together=redis_cluster.REQUIRED_TOGETHER,
        supports_check_mode=True,
    )
    params = module.params
    try:
        with redis_cluster.reach(params) as connection:
            result = reconcile(connection, params, module.check_mode)
    except redis_client.RedisError as error:
        module.fail_json(msg=f"The sentinel on {params['address']}, port {params['port']}: {error}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
