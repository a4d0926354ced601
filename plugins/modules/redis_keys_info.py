#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_keys_info
short_description: Get the number of keys of a Redis server
version_added: 0.1.0
description:
  - Waits until the server has loaded its data, and counts its keys by database.
  - Compares them with what a backup had, where that is given. Keys that end at some time may be fewer by now.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.redis
  - utmstack.ha.redis.one
  - utmstack.ha.looks
options:
  expected:
    description:
      - How many C(keys) there should be, and how many of them end at some time (C(expires)).
    type: dict
  wait_timeout:
    description:
      - How long to wait for a server that does not answer yet, or loads its data, in seconds.
    type: float
    default: 0.0
"""

EXAMPLES = r"""
- name: Compare the keys with a backup
  utmstack.ha.redis_keys_info:
    address: 10.0.1.11
    ca_path: /etc/utmstack-ha/tls/ca.crt
    username: admin
    password: "{{ ha_secrets.redis_admin_password }}"
    expected: {keys: 120, expires: 3}
    wait_timeout: 300
  register: redis_keys
"""

RETURN = r"""
databases:
  description: By database, all keys and those that end at some time.
  returned: success
  type: dict
  sample: {db0: {keys: 120, expires: 3}}
keys:
  description: All keys of all databases.
  returned: success
  type: int
expires:
  description: Those of them that end at some time.
  returned: success
  type: int
difference:
  description: What is not as expected, as a sentence; empty where all is.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.redis import client as redis_client
from ansible_collections.utmstack.ha.plugins.module_utils.redis import cluster as redis_cluster
from ansible_collections.utmstack.ha.plugins.module_utils.redis import keys as redis_keys


def main():
    module = AnsibleModule(
        argument_spec={
            **redis_cluster.LOGIN,
            **redis_cluster.ONE,
            "expected": {"type": "dict", "no_log": False},
            "wait_timeout": {"type": "float", "default": 0.0},
        },
        required_together=redis_cluster.REQUIRED_TOGETHER,
        supports_check_mode=True,
    )
    given = module.params
    try:
        with redis_cluster.reach(given) as connection:
            found = redis_keys.keyspace(connection.call("INFO", "keyspace"))
    except redis_client.RedisError as error:
        module.fail_json(msg=f"{given['address']}, port {given['port']}: {error}")
    there = redis_keys.totals(found)
    difference = redis_keys.difference(given["expected"], there) if given["expected"] else ""
    module.exit_json(changed=False, databases=found, difference=difference, **there)


if __name__ == "__main__":
    main()
