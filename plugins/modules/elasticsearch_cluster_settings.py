#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: elasticsearch_cluster_settings
short_description: Manage persistent settings of an Elasticsearch or OpenSearch cluster
version_added: 0.1.0
description:
  - Makes the dynamic settings that the cluster keeps what O(settings) asks for, in one request with only what differs.
  - Settings that are not named stay as they are.
  - They are kept as persistent settings. Transient settings of the same names are reset, since they would win.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.search
  - utmstack.ha.https
options:
  settings:
    description:
      - The settings, with flat names or nested. V(null) resets one to its default; such a name may contain V(*).
      - Values are compared as the server keeps them, so V(true), V("true") and, for lists, V(a,b) are no differences. V(1m) and V(60s) are.
    type: dict
    required: true
attributes:
  check_mode:
    description: Tells what would change. The server judges names and values only when they are sent.
    support: full
  diff_mode:
    description: Shows the settings that are named, before and after.
    support: full
"""

EXAMPLES = r"""
- name: Limit recoveries and reset shard allocation
  utmstack.ha.elasticsearch_cluster_settings:
    url: ["https://10.0.1.11:9200", "https://10.0.1.12:9200", "https://10.0.1.13:9200"]
    ca_path: /etc/utmstack-ha/tls/ca.crt
    username: elastic
    password: "{{ ha_secrets.elasticsearch_superuser_password }}"
    settings:
      indices.recovery.max_bytes_per_sec: 100mb
      cluster:
        routing:
          allocation:
            enable: null
  run_once: true
"""

RETURN = r"""
changed_settings:
  description: What was sent, or would be in check mode. V(null) resets a setting.
  returned: success
  type: dict
  sample: {persistent: {indices.recovery.max_bytes_per_sec: 100mb}, transient: {cluster.routing.allocation.enable: null}}
settings:
  description: All persistent settings afterwards, flat, with values as the server keeps them.
  returned: success
  type: dict
  sample: {indices.recovery.max_bytes_per_sec: 100mb}
"""

import fnmatch

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.search import client as search_client
from ansible_collections.utmstack.ha.plugins.module_utils.search import settings as search_settings


def named(settings, wanted):
    """Those of the settings that are named."""
    return {
        kind: {name: value for name, value in values.items() if any(fnmatch.fnmatch(name, one) for one in wanted)}
        for kind, values in settings.items()
    }


def main():
    module = AnsibleModule(
        argument_spec={**search_client.ARGUMENTS, "settings": {"type": "dict", "required": True}},
        required_together=search_client.REQUIRED_TOGETHER,
        supports_check_mode=True,
    )
    wanted = search_settings.flat(module.params["settings"])
    try:
        client = search_client.connect(module.params)
        current = client.get("/_cluster/settings?flat_settings=true", "The cluster's settings")
        current = {kind: current.get(kind, {}) for kind in ("persistent", "transient")}
        change = search_settings.plan(current, wanted)
        if change and not module.check_mode:
            client.act("PUT", "/_cluster/settings", change.body, "Changing the cluster's settings")
    except search_client.Refused as error:
        module.fail_json(msg=str(error) + search_settings.remedy(error.reply.reason))
    except search_client.SearchError as error:
        module.fail_json(msg=str(error), **error.facts)
    after = search_settings.applied(current, change)
    module.exit_json(
        changed=bool(change),
        changed_settings=change.body,
        settings=after["persistent"],
        diff=search_client.shown(named(current, wanted), named(after, wanted)),
    )


if __name__ == "__main__":
    main()
