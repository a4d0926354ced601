#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_config
short_description: Manage settings of a running Redis and return pending restarts
version_added: 0.1.0
description:
  - Compares settings with those that the server runs with, and changes those that differ and may change while it runs, all or none.
  - Those that only a start reads are told in RV(restart). Restarting is the caller's decision.
  - Writes no file. What the server is to start with is up to the caller.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.redis
  - utmstack.ha.redis.one
options:
  settings:
    description:
      - Settings by name, as in the server's configuration file. V(null) leaves one alone.
    type: dict
    default: {}
  secret_settings:
    description:
      - The same for settings whose values stay out of all output, such as C(masterauth).
    type: dict
    default: {}
  reload:
    description:
      - Whether the server reads its ACL file and its certificates again.
    type: bool
    default: false
  stamp:
    description:
      - A file that is touched when the server has read them, the proof that M(utmstack.ha.service_freshness) looks at.
    type: path
  wait_timeout:
    description:
      - How long to wait for a server that does not answer yet, in seconds.
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
- name: Reconcile settings of the running server
  utmstack.ha.redis_config:
    address: 10.0.1.11
    ca_path: /etc/utmstack-ha/tls/ca.crt
    username: admin
    password: "{{ redis_admin_password }}"
    settings:
      maxmemory: 512mb
      save: 3600 1 300 100
    secret_settings:
      masterauth: "{{ redis_replication_password }}"
  register: redis_reconciled
"""

RETURN = r"""
changed_settings:
  description: Names of the settings that were, or in check mode would be, changed.
  returned: success
  type: list
  elements: str
  sample: [maxmemory]
restart:
  description: Names of the settings that differ and that only a start reads.
  returned: success
  type: list
  elements: str
  sample: [io-threads]
unknown:
  description: Names of settings that the server does not tell, such as C(loadmodule). They can't be compared.
  returned: success
  type: list
  elements: str
  sample: []
"""

import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.common import directories
from ansible_collections.utmstack.ha.plugins.module_utils.redis import client as redis_client
from ansible_collections.utmstack.ha.plugins.module_utils.redis import cluster as redis_cluster
from ansible_collections.utmstack.ha.plugins.module_utils.redis import settings as redis_settings

TLS_FILES = ("tls-cert-file", "tls-key-file", "tls-ca-cert-file")
_ARGUMENT = re.compile(r"related to argument '([^']+)'\) - can't set (?:immutable|protected) config")


def present(connection, names):
    """The settings that the server runs with."""
    return redis_client.pairs(connection.call("CONFIG", "GET", *names)) if names else {}


def change(connection, settings):
    """Change all or none. Returns those that turned out to be for a start only; raises RedisError for a bad one."""
    left, waiting = dict(settings), {}
    while left:
        try:
            connection.call("CONFIG", "SET", *(word for pair in left.items() for word in pair))
            break
        except redis_client.RedisError as error:
            found = _ARGUMENT.search(str(error))
            if not found or found.group(1) not in left:
                raise
            waiting[found.group(1)] = left.pop(found.group(1))
    return waiting


def reload(connection, stamp):
    """Read the ACL file and the certificates again. The stamp comes first: a file written meanwhile counts as newer."""
    if stamp:
        directories.make(os.path.dirname(stamp))
        with open(stamp, "w", encoding="utf-8"):
            os.utime(stamp)
    try:
        connection.call("ACL", "LOAD")
        files = present(connection, TLS_FILES)
        # Setting a file's name to what it is makes the server read it again.
        connection.call("CONFIG", "SET", *(word for pair in files.items() for word in pair))
    except redis_client.RedisError:
        if stamp:
            os.unlink(stamp)
        raise


def listing(settings, secret):
    """Settings for a diff."""
    return "".join(f"{name} {'(secret)' if name in secret else settings[name]}\n" for name in sorted(settings))


def reconcile(connection, params, check):
    """Look, change, look again. Returns the module's result."""
    secret = {name.lower() for name in params["secret_settings"]}
    wanted = {**params["settings"], **params["secret_settings"]}
    names = [name.lower() for name, value in wanted.items() if value is not None]
    before = present(connection, names)
    plan = redis_settings.plan(wanted, before)
    after, restart = {**before, **plan.change}, dict(plan.restart)
    if not check:
        restart |= change(connection, plan.change)
        # Some values are only spelled differently; the server knows.
        after = present(connection, names) if plan.change else before
    changed = [name for name in before if after[name] != before[name]]
    return {
        "changed_settings": sorted(changed),
        "restart": sorted(restart),
        "unknown": sorted(plan.unknown),
        "diff": {
            "before": listing({name: before[name] for name in changed}, secret),
            "after": listing({name: after[name] for name in changed}, secret),
        },
    }


def main():
    module = AnsibleModule(
        argument_spec={
            **redis_cluster.LOGIN,
            **redis_cluster.ONE,
            "settings": {"type": "dict", "default": {}},
            "secret_settings": {"type": "dict", "default": {}, "no_log": True},
            "reload": {"type": "bool", "default": False},
            "stamp": {"type": "path"},
            "wait_timeout": {"type": "float", "default": 0.0},
        },
        required_together=redis_cluster.REQUIRED_TOGETHER,
        supports_check_mode=True,
    )
    params = module.params
    try:
        with redis_cluster.reach(params) as connection:
            if params["reload"] and not module.check_mode:
                reload(connection, params["stamp"])
            result = reconcile(connection, params, module.check_mode)
    except redis_client.RedisError as error:
        module.fail_json(msg=f"Redis on {params['address']}, port {params['port']}: {error}")
    module.exit_json(changed=params["reload"] or bool(result["changed_settings"]), **result)


if __name__ == "__main__":
    main()
