#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: elasticsearch_snapshot
short_description: Create, list, restore and delete snapshots of Elasticsearch or OpenSearch
version_added: 0.1.0
description:
  - Creates a snapshot once, by its name, and waits until it is complete.
  - Lists what there is, restores all or some of it, also under other names, and deletes.
  - A restore never replaces an open index unless that is allowed. Then exactly those indices are closed that have to be, and opened again where
    the server refuses.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.search
  - utmstack.ha.https
options:
  repository:
    description:
      - Name of the repository.
    type: str
    required: true
  name:
    description:
      - Name of the snapshot. For V(listed) a pattern, by default all.
      - When one is taken, it may have date math in UTC, such as V(<before-upgrade-{now/d}>) or V(<x-{now{yyyy.MM.dd-HHmm}}>). By default it is called
        C(utmstack-) and the time to the second.
      - For V(restored), V(latest) is the newest complete one.
    type: str
  state:
    description:
      - V(taken) has a snapshot of that name, and takes it where there is none. V(listed) only looks. V(restored) restores from it. V(absent) deletes it.
    type: str
    choices: [taken, listed, restored, absent]
    default: taken
  indices:
    description:
      - Names and patterns of the indices and data streams to take or restore, by default all. One with C(-) in front leaves out again what those
        before it selected.
      - For a restore, names that begin with a dot are meant only by patterns that do, since such indices are the server's own.
    type: list
    elements: str
    default: []
  include_global_state:
    description:
      - Whether settings of the cluster, templates and (on Elasticsearch) system indices are taken or restored too.
      - OpenSearch restores it only for its administrator's certificate.
    type: bool
    default: false
  ignore_unavailable:
    description:
      - Whether named indices may be missing when a snapshot is taken.
    type: bool
    default: false
  partial:
    description:
      - Whether to create, or restore, also an incomplete snapshot. RV(snapshots[].failures) lists what is missing.
    type: bool
    default: false
  metadata:
    description:
      - What else to write into the snapshot.
    type: dict
  rename_pattern:
    description:
      - What to replace in the names of indices that are restored, a regular expression.
    type: str
  rename_replacement:
    description:
      - What to put there, with V($1) for the first group.
    type: str
  index_settings:
    description:
      - Settings that restored indices get instead of their own, such as C(index.number_of_replicas).
    type: dict
    default: {}
  ignore_index_settings:
    description:
      - Names of settings that restored indices do not get back.
    type: list
    elements: str
    default: []
  include_aliases:
    description:
      - Whether restored indices get back their aliases. Not by default when they are renamed.
    type: bool
  overwrite:
    description:
      - Whether a restore may close and replace open indices.
    type: bool
    default: false
  expected:
    description:
      - What indices of the snapshot had when it was recorded, by the names that they have in it, each with C(documents) and C(operations). Where a
        restored one has seen as many operations and has another number of documents, the module fails. Needs O(wait).
    type: dict
    default: {}
  abort:
    description:
      - Whether a snapshot that is being taken may be deleted, which gives it up.
    type: bool
    default: false
  wait:
    description:
      - Whether to wait until the snapshot is complete, or every primary shard is restored.
    type: bool
    default: true
  wait_timeout:
    description:
      - How long to wait, in seconds.
    type: float
    default: 3600.0
attributes:
  check_mode:
    description: Tells what would be taken, restored, closed and deleted.
    support: full
  diff_mode:
    description: RV(snapshots) and RV(restore) tell it all.
    support: none
seealso:
  - module: utmstack.ha.elasticsearch_snapshot_repository
  - module: utmstack.ha.elasticsearch_snapshot_policy
"""

EXAMPLES = r"""
- name: Create a snapshot before an upgrade, once a day
  utmstack.ha.elasticsearch_snapshot:
    url: ["https://10.0.1.11:9200", "https://10.0.1.12:9200", "https://10.0.1.13:9200"]
    ca_path: /etc/utmstack-ha/tls/ca.crt
    username: elastic
    password: "{{ ha_secrets.elasticsearch_superuser_password }}"
    repository: backup
    name: <before-upgrade-{now/d}>
  run_once: true

- name: Restore yesterday's alerts beside today's
  utmstack.ha.elasticsearch_snapshot:
    url: ["https://10.0.1.11:9200", "https://10.0.1.12:9200", "https://10.0.1.13:9200"]
    ca_path: /etc/utmstack-ha/tls/ca.crt
    username: elastic
    password: "{{ ha_secrets.elasticsearch_superuser_password }}"
    repository: backup
    name: latest
    state: restored
    indices: ["alert-*"]
    rename_pattern: ^(.*)$
    rename_replacement: restored-$1
  register: back
  run_once: true
"""

RETURN = r"""
snapshots:
  description:
    - The snapshot that was taken, restored or deleted, or all that are listed, oldest first.
    - Empty where it would be taken, in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: nightly-2026.11.24
    state:
      description: C(SUCCESS), C(PARTIAL), C(FAILED) or C(IN_PROGRESS).
      type: str
    indices:
      description: Names of the indices in it.
      type: list
      elements: str
    data_streams:
      description: Names of the data streams in it.
      type: list
      elements: str
    start_time:
      description: When it began.
      type: str
      sample: "2026-11-24T01:30:00.012Z"
    end_time:
      description: When it was complete.
      type: str
    duration_s:
      description: How long it took, in seconds.
      type: float
    shards:
      description: How many shards it should have.
      type: int
    failed_shards:
      description: How many of them are not in it.
      type: int
    failures:
      description: Which ones, and why.
      type: list
      elements: str
    include_global_state:
      description: Whether settings and templates are in it.
      type: bool
    policy:
      description: The policy that took it, or null.
      type: str
name:
  description: Name of the snapshot, with date math resolved; of a list, the pattern.
  returned: success
  type: str
  sample: before-upgrade-2026.11.24
restore:
  description: What the restore does, or in check mode would do.
  returned: for O(state=restored)
  type: dict
  contains:
    targets:
      description: Each index in the snapshot that is restored, with its name afterwards.
      type: dict
      sample: {alert-2026.11.23: restored-alert-2026.11.23}
    data_streams:
      description: Each data stream that is restored, with its name afterwards.
      type: dict
    overwritten:
      description: Indices that are replaced.
      type: list
      elements: str
    closed:
      description: Those of them that are closed first.
      type: list
      elements: str
restored:
  description: The indices as they are once restored. Empty in check mode, and when not waited for.
  returned: for O(state=restored)
  type: list
  elements: dict
  contains:
    index:
      description: Its name.
      type: str
    documents:
      description: How many documents it has.
      type: int
    shards:
      description: How many primary shards it has.
      type: int
    replicas:
      description: How many replicas each of them should have.
      type: int
    status:
      description: V(green), or V(yellow) while the replicas are being copied.
      type: str
compared:
  description: Indices that have as many documents as O(expected) says, with their names in the snapshot. Others were written to after it was taken.
  returned: for O(state=restored)
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.search import backup as search_backup
from ansible_collections.utmstack.ha.plugins.module_utils.search import client as search_client
from ansible_collections.utmstack.ha.plugins.module_utils.search import snapshot as search_snapshot


def take(module, snapshots, given):
    """A snapshot of that name."""
    now = search_snapshot.utc_now()
    name = search_snapshot.resolve(given["name"] or search_snapshot.generated(now), now)
    body = {name: given[name] for name in ("include_global_state", "ignore_unavailable", "partial")}
    if given["indices"]:
        body["indices"] = ",".join(given["indices"])
    if given["metadata"]:
        body["metadata"] = given["metadata"]
    changed, found = snapshots.take(name, body, given["wait"], given["wait_timeout"], module.check_mode)
    return {"changed": changed, "name": name, "snapshots": [search_snapshot.told(found)] if found else []}


def newest(snapshots):
    """The name of the newest snapshot that is whole."""
    whole = [one["snapshot"] for one in snapshots.find("*") if one["state"] == "SUCCESS"]
    if not whole:
        raise search_client.SearchError(f"There is no complete snapshot in {snapshots.repository}.")
    return whole[-1]


def restore(module, client, snapshots, given):
    """What is in the snapshot, back in the cluster."""
    name = newest(snapshots) if given["name"] == "latest" else given["name"]
    found = snapshots.restorable(name, given["partial"])
    renaming = (given["rename_pattern"], given["rename_replacement"])
    todo = search_snapshot.plan_restore(
        found, search_snapshot.existing_indices(client), given["indices"], *renaming, given["overwrite"]
    )
    aliases = given["include_aliases"] if given["include_aliases"] is not None else not given["rename_pattern"]
    body = {
        "indices": ",".join(todo.sources),
        "include_global_state": given["include_global_state"],
        "partial": given["partial"],
        "include_aliases": aliases,
        "index_settings": given["index_settings"],
        "ignore_index_settings": given["ignore_index_settings"],
    }
    if given["rename_pattern"]:
        body["rename_pattern"], body["rename_replacement"] = renaming
    there, same = [], []
    if not module.check_mode:
        search_snapshot.restore(client, snapshots, name, todo, body, given["wait_timeout"])
        if given["wait"]:
            there = search_snapshot.restored(client, list(todo.targets.values()), given["wait_timeout"])
            same = search_backup.same(client, todo.targets, given["expected"])
    return {
        "changed": True,
        "name": name,
        "snapshots": [search_snapshot.told(found)],
        "restore": {
            "targets": todo.targets,
            "data_streams": todo.data_streams,
            "overwritten": todo.overwritten,
            "closed": todo.to_close,
        },
        "restored": there,
        "compared": same,
    }


def act(module, given):
    """Do what the state asks for. Raises SearchError."""
    client = search_client.connect(given)
    snapshots = search_snapshot.Snapshots(client, given["repository"])
    if given["state"] == "taken":
        return take(module, snapshots, given)
    if given["state"] == "restored":
        return restore(module, client, snapshots, given)
    if given["state"] == "absent":
        found = snapshots.delete(given["name"], given["abort"], module.check_mode)
        gone = [search_snapshot.told(found)] if found else []
        return {"changed": bool(found), "name": given["name"], "snapshots": gone}
    pattern = given["name"] or "*"
    return {
        "changed": False,
        "name": pattern,
        "snapshots": [search_snapshot.told(one) for one in snapshots.find(pattern)],
    }


def main():
    module = AnsibleModule(
        argument_spec={
            **search_client.ARGUMENTS,
            "repository": {"type": "str", "required": True},
            "name": {"type": "str"},
            "state": {"type": "str", "choices": ["taken", "listed", "restored", "absent"], "default": "taken"},
            "indices": {"type": "list", "elements": "str", "default": []},
            "include_global_state": {"type": "bool", "default": False},
            "ignore_unavailable": {"type": "bool", "default": False},
            "partial": {"type": "bool", "default": False},
            "metadata": {"type": "dict"},
            "rename_pattern": {"type": "str"},
            "rename_replacement": {"type": "str"},
            "index_settings": {"type": "dict", "default": {}},
            "ignore_index_settings": {"type": "list", "elements": "str", "default": []},
            "include_aliases": {"type": "bool"},
            "overwrite": {"type": "bool", "default": False},
            "expected": {"type": "dict", "default": {}},
            "abort": {"type": "bool", "default": False},
            "wait": {"type": "bool", "default": True},
            "wait_timeout": {"type": "float", "default": 3600.0},
        },
        required_if=[("state", "restored", ("name",)), ("state", "absent", ("name",))],
        required_together=[*search_client.REQUIRED_TOGETHER, ("rename_pattern", "rename_replacement")],
        supports_check_mode=True,
    )
    try:
        result = act(module, module.params)
    except search_client.SearchError as error:
        module.fail_json(msg=str(error), **error.facts)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
