#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_switchover
short_description: Switch over the Redis master without losing acknowledged writes
version_added: 0.1.0
description:
  - Holds writes on the master, waits until its replicas have all that it has, lets Sentinel promote one, makes the old master its
    replica and closes its clients' connections, so that they look for the new one.
  - A bare C(SENTINEL FAILOVER) loses what clients write to the old master until Sentinel tells it, some ten seconds.
  - Where a step fails, writes go on at the old master, unless there is a new one already.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.redis
  - utmstack.ha.redis.whole
options:
  host:
    description:
      - Name of the data node that shall not be master. Nothing changes where it is none.
    type: str
    required: true
  to:
    description:
      - Name of the data node that shall be master. Without it, Sentinel chooses. It takes some ten seconds more, but clients do not wait
        for them.
    type: str
  wait_timeout:
    description:
      - How long another node may take to become master, in seconds. Clients wait for that long.
    type: float
    default: 20.0
attributes:
  check_mode:
    description: Tells whether the master would move.
    support: full
  diff_mode:
    description: Shows who is master.
    support: full
"""

EXAMPLES = r"""
- name: Switch over the master before a reboot
  utmstack.ha.redis_switchover:
    host: node1
    master_name: utmstack-redis
    members: &hosts
      - {name: node1, address: 10.0.1.11}
      - {name: node2, address: 10.0.1.12}
      - {name: node3, address: 10.0.1.13}
    sentinels: *hosts
    ca_path: /etc/utmstack-ha/tls/ca.crt
    username: admin
    password: "{{ redis_admin_password }}"
"""

RETURN = r"""
master:
  description: Who is master now. In check mode, who is before.
  returned: success
  type: str
  sample: node2
seconds:
  description: How long it took, in seconds.
  returned: success
  type: float
  sample: 1.92
held_seconds:
  description: How long writes were held, in seconds.
  returned: success
  type: float
  sample: 1.61
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.redis import client as redis_client
from ansible_collections.utmstack.ha.plugins.module_utils.redis import cluster as redis_cluster
from ansible_collections.utmstack.ha.plugins.module_utils.redis import switchover as redis_handover


def main():
    module = AnsibleModule(
        argument_spec={
            **redis_cluster.WHOLE,
            "host": {"type": "str", "required": True},
            "to": {"type": "str"},
            "wait_timeout": {"type": "float", "default": 20.0},
        },
        required_together=redis_cluster.REQUIRED_TOGETHER,
        supports_check_mode=True,
    )
    params = module.params
    hosts = redis_cluster.Hosts.of(params)
    for name in (params["host"], params["to"] or params["host"]):
        if name not in hosts.members:
            module.fail_json(msg=f"{name} is none of members: {', '.join(hosts.members)}")
    start = time.monotonic()
    try:
        run = redis_handover.Handover(
            hosts, redis_cluster.network_of(params), params["host"], params["wait_timeout"], params["to"]
        )
        before = run.check()["master"]
        leads = before == params["host"]
        after = run.run() if leads and not module.check_mode else before
    except (redis_client.RedisError, redis_handover.HandoverError) as error:
        module.fail_json(msg=f"The master of {params['master_name']} is not handed over by {params['host']}: {error}")
    shown = params["to"] or "another than " + before if leads and module.check_mode else after
    module.exit_json(
        changed=leads,
        master=after,
        seconds=round(time.monotonic() - start, 3),
        held_seconds=round(run.held, 3),
        diff={"before": f"master {before}\n", "after": f"master {shown}\n"},
    )


if __name__ == "__main__":
    main()
