#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_acl_load
short_description: Reload the ACL file of a running Redis or Sentinel
version_added: 0.1.0
description:
  - Logs in with the given password, or with the one that is noted on the host where the server does not know the given one yet, and has
    the server read its ACL file.
  - A server that does not run reads the file when it starts; that is no failure.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.redis
options:
  address:
    description:
      - The server's IP address.
    type: str
    required: true
  port:
    description:
      - Its TLS port.
    type: int
    required: true
  former_password_file:
    description:
      - A file of this host with the password that O(username) had before.
    type: path
  stamp:
    description:
      - A file that is touched when the server has read its file, the proof that M(utmstack.ha.service_freshness) looks at.
    type: path
attributes:
  check_mode:
    description: Logs in, and has nothing read.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Reload Sentinel's users
  utmstack.ha.redis_acl_load:
    address: 10.0.1.11
    port: 26379
    ca_path: /etc/utmstack-ha/tls/ca.crt
    username: admin
    password: "{{ redis_admin_password }}"
    stamp: /run/utmstack-ha/redis-sentinel.service.loaded
"""

RETURN = r"""
running:
  description: Whether the server answered.
  returned: success
  type: bool
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.common import directories
from ansible_collections.utmstack.ha.plugins.module_utils.redis import client as redis_client
from ansible_collections.utmstack.ha.plugins.module_utils.redis import cluster as redis_cluster


def log_in(params, open_network):
    """A connection with the first password that the server accepts, None where it does not run. Raises RedisError."""
    passwords = [params["password"]]
    if params["former_password_file"] and os.path.exists(params["former_password_file"]):
        with open(params["former_password_file"], encoding="utf-8") as file:
            passwords.append(file.read())
    for password in passwords:
        network = open_network(params["ca_path"], params["username"], password, params["timeout"])
        try:
            return network.connect(params["address"], params["port"])
        except redis_client.RedisError as error:
            if not error.answered:
                return None
            refused = error
    raise refused


def load(connection, stamp):
    """Read the file again. The stamp comes first: a file written meanwhile counts as newer."""
    if stamp:
        directories.make(os.path.dirname(stamp))
        with open(stamp, "w", encoding="utf-8"):
            os.utime(stamp)
    try:
        connection.call("ACL", "LOAD")
    except redis_client.RedisError:
        if stamp:
            os.unlink(stamp)
        raise


def main():
    module = AnsibleModule(
        argument_spec={
            **redis_cluster.LOGIN,
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "former_password_file": {"type": "path", "no_log": False},
            "stamp": {"type": "path"},
        },
        required_together=redis_cluster.REQUIRED_TOGETHER,
        supports_check_mode=True,
    )
    params = module.params
    try:
        connection = log_in(params, redis_client.Network)
        if connection is None:
            module.exit_json(changed=False, running=False)
        with connection:
            if not module.check_mode:
                load(connection, params["stamp"])
    except redis_client.RedisError as error:
        module.fail_json(msg=f"{params['address']}, port {params['port']}: {error}")
    module.exit_json(changed=True, running=True)


if __name__ == "__main__":
    main()
