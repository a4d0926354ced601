#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: etcd_restore
short_description: Restore the data of an etcd member from a snapshot
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Makes the data of a member of a snapshot and puts them into the place of the present ones, which stay beside them.
  - Each member of the cluster has to be restored from the same snapshot, with the same O(token) and O(initial_cluster).
  - Revisions are bumped and marked as compacted where the release of etcd can do that (3.5), so that no client takes old data for new ones.
  - etcd must not run on the host.
options:
  data_directory:
    description: etcd's C(data-dir).
    type: path
    required: true
  state:
    description:
      - V(restored), the data are made of O(snapshot). Data that carry O(label) already are left as they are.
      - V(finished), the data count as any other, and the next restore begins anew.
    type: str
    choices: [restored, finished]
    default: restored
  snapshot:
    description: The file, on the host.
    type: path
  sha256:
    description: The checksum of O(snapshot) in the record of the backup.
    type: str
  label:
    description: Label of the backup.
    type: str
  stamp:
    description: End of the name of the safety copy, a time.
    type: str
  name:
    description: Name of the member.
    type: str
  peer_url:
    description: Where its peers reach the member.
    type: str
  initial_cluster:
    description: All members, as C(NAME=URL), separated by commas.
    type: str
  token:
    description: Token of the new cluster. It must not be that of the lost one.
    type: str
  host:
    description: Name of the host in the inventory, for RV(copies).
    type: str
    default: ""
  owner:
    description: The account of the data.
    type: str
    default: etcd
  unit:
    description: Unit of systemd that must be stopped.
    type: str
    default: etcd.service
attributes:
  check_mode:
    description: Looks, and tells whether data would be restored.
    support: full
  diff_mode:
    description: Data are not shown.
    support: none
"""

EXAMPLES = r"""
- name: Restore this member from a snapshot
  utmstack.ha.etcd_restore:
    data_directory: /var/lib/etcd/utmstack
    snapshot: /var/lib/utmstack-ha/restore/snapshot.db
    sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    label: 20261130T023000Z
    stamp: 20261130T101500Z
    name: node1
    peer_url: https://10.0.1.11:2380
    initial_cluster: node1=https://10.0.1.11:2380,node2=https://10.0.1.12:2380,node3=https://10.0.1.13:2380
    token: restored-20261130T023000Z
"""

RETURN = r"""
label:
  description: Label of the backup that the data were made of, while the restore is not finished; else empty.
  returned: success
  type: str
  sample: 20261130T023000Z
data:
  description: Whether there are data of a member.
  returned: success
  type: bool
free:
  description: Free bytes of the file system of O(data_directory).
  returned: success
  type: int
safety:
  description: Directories with data that restores have replaced.
  returned: success
  type: list
  elements: str
  sample: [/var/lib/etcd/utmstack.before-restore-20261130T101500Z]
copies:
  description: RV(safety) with O(host), as records have it.
  returned: success
  type: list
  elements: dict
  sample: [{host: node1, path: /var/lib/etcd/utmstack.before-restore-20261130T101500Z}]
safety_copy:
  description: The one that this run has made; empty where there was nothing to keep.
  returned: success
  type: str
version:
  description: Release of etcd on the host; empty where it is not installed.
  returned: success
  type: str
  sample: 3.5.16
bumps:
  description: Whether this release can bump revisions.
  returned: success
  type: bool
"""

import pwd
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.common.backup import BackupError
from ansible_collections.utmstack.ha.plugins.module_utils.etcd import backup, restore

NEEDED = ("snapshot", "sha256", "label", "stamp", "name", "peer_url", "initial_cluster", "token")


def main():
    module = AnsibleModule(
        argument_spec={
            "data_directory": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["restored", "finished"], "default": "restored"},
            "snapshot": {"type": "path"},
            "sha256": {"type": "str"},
            "label": {"type": "str"},
            "stamp": {"type": "str"},
            "name": {"type": "str"},
            "peer_url": {"type": "str"},
            "initial_cluster": {"type": "str"},
            "token": {"type": "str", "no_log": False},
            "host": {"type": "str", "default": ""},
            "owner": {"type": "str", "default": "etcd"},
            "unit": {"type": "str", "default": "etcd.service"},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        seen = restore.look(params["data_directory"])
        if params["state"] == "finished":
            changed, made = bool(seen["label"]), {}
            if changed and not module.check_mode:
                restore.finish(params["data_directory"])
        else:
            changed = seen["label"] != params["label"] or not seen["label"]
            made = put(module, params) if changed and not module.check_mode else {}
    except (BackupError, OSError) as error:
        module.fail_json(msg=f"etcd was not restored here, and its former data are kept: {error}.")
    if not module.check_mode:
        seen = restore.look(params["data_directory"])
    said = module.run_command(["etcd", "--version"])[1] if module.get_bin_path("etcd") else ""
    found = re.search(r"etcd Version: (\S+)", said)
    module.exit_json(
        changed=changed,
        **seen,
        copies=[{"host": params["host"], "path": path} for path in seen["safety"]],
        safety_copy=made.get("safety_copy", ""),
        version=found[1] if found else "",
        bumps=bool(found) and bool(backup.bump_flags()),
    )


def put(module, params):
    missing = [name for name in NEEDED if not params[name]]
    if missing:
        module.fail_json(msg=f"state=restored needs {', '.join(missing)}.")
    if module.run_command(["systemctl", "is-active", "--quiet", params["unit"]])[0] == 0:
        module.fail_json(msg=f"{params['unit']} runs, so its data were left alone. Stop it on all members first.")
    try:
        account = pwd.getpwnam(params["owner"])
    except KeyError:
        module.fail_json(
            msg=f"There is no account {params['owner']} on this host. Is etcd installed? Run site.yml first."
        )
    return restore.put(
        params["data_directory"],
        params["snapshot"],
        params["sha256"],
        params["label"],
        params["stamp"],
        {key: params[key] for key in ("name", "peer_url", "token", "initial_cluster")},
        (account.pw_uid, account.pw_gid),
    )


if __name__ == "__main__":
    main()
