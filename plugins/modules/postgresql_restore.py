#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_restore
short_description: Restore PostgreSQL's data on a host by pgBackRest
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - The steps of a restore on one host, outside of Patroni. Each looks at what is there and does what is missing, so each can be done again.
  - Data are restored into DIRECTORY.restore, and get their name at the end. What was there is kept as DIRECTORY.before-restore-TIME.
  - V(pushed), V(recovered), V(promoted) and V(beside) have to run as the user of the data. The roles use C(ha.postgresql.python) as interpreter for that.
options:
  state:
    description:
      - V(pushed), a stopped server has archived all that it has written.
      - V(begun), the host knows what is asked for; another restore that is not finished is refused.
      - V(set_aside), what is in O(directory) is kept as DIRECTORY.before-restore-TIME. One that is there is not written over.
      - V(recovered), the files are restored, and a server on a socket alone has recovered to the target and stands there.
      - V(promoted), it has begun a timeline of its own, the repositories have its history, and it is stopped.
      - V(adopted), the data are in O(directory).
      - V(finished), nothing is left of what was asked for but safety copies.
      - V(beside), a server of its own runs in O(directory) at O(port), promoted, and archives nothing.
    type: str
    choices: [pushed, begun, set_aside, recovered, promoted, adopted, finished, beside]
    required: true
  directory:
    description: The data directory.
    type: path
    required: true
  version:
    description: The major version of PostgreSQL.
    type: str
    required: true
  request:
    description: What is asked for, C(to), C(begin), C(timeline), C(set) and C(repository). Needed for V(begun).
    type: dict
    default: {}
  begin:
    description: The time in the name of the safety copy. Needed for V(set_aside).
    type: str
    default: ""
  owner:
    description: The account that the data belong to.
    type: str
    default: postgres
  port:
    description: Port of the socket of the server.
    type: int
    default: 5432
  max_connections:
    description: Connections that the cluster accepts now; a recovery needs as many as there ever were.
    type: int
    default: 0
  stanza:
    description: pgBackRest's name of the cluster.
    type: str
    default: ""
  config:
    description: pgBackRest's configuration.
    type: path
    default: /etc/pgbackrest/pgbackrest.conf
  repository:
    description: The backup host.
    type: str
    default: ""
  set:
    description: The backup.
    type: str
    default: ""
  timeline:
    description: The timeline to follow.
    type: int
    default: 0
  type:
    description: What O(target) is. V(latest) has none.
    type: str
    choices: [latest, time, lsn, name, xid]
    default: latest
  target:
    description: Where the recovery ends.
    type: str
    default: ""
  segment:
    description: The last file of WAL that is there without a gap, by which the end of a recovery to V(latest) is known.
    type: str
    default: ""
  archive:
    description: The name of the cluster's archive in the repository, such as V(17-1). Needed for V(promoted).
    type: str
    default: ""
  system_identifier:
    description: The number that the restored data must have. Empty, any.
    type: str
    default: ""
  timeout:
    description: How long a restore and its recovery may take, in seconds.
    type: int
    default: 86400
attributes:
  check_mode:
    description: Does nothing.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Restore and recover the data
  utmstack.ha.postgresql_restore:
    state: recovered
    directory: /var/lib/postgresql/17/utmstack
    version: "17"
    stanza: utmstack
    repository: backup1
    set: 20261130-010002F
    timeline: 3
    type: time
    target: 2026-11-30 12:00:00.000000+00
  become: true
  vars:
    ansible_python_interpreter: "{{ ha.postgresql.python }}"
    ansible_pipelining: true
"""

RETURN = r"""
commit:
  description: The time of the last commit that was recovered, in seconds since 1970. Null where it is not known any more.
  returned: O(state=recovered), O(state=beside)
  type: float
lsn:
  description: The position of the recovery.
  returned: O(state=recovered)
  type: str
  sample: 0/A000120
databases:
  description: By database, C(tables) with how many rows each has.
  returned: O(state=promoted) where it was to be done, O(state=beside)
  type: dict
timeline:
  description: The timeline that the data have begun.
  returned: O(state=promoted)
  type: int
sent:
  description: Files of WAL that were archived.
  returned: O(state=pushed)
  type: list
  elements: str
left:
  description: Files of WAL that could not be archived.
  returned: O(state=pushed)
  type: list
  elements: str
"""

import os
import pwd
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import data as postgresql_data
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import restore

SPEC = {
    "state": {
        "type": "str",
        "choices": ["pushed", "begun", "set_aside", "recovered", "promoted", "adopted", "finished", "beside"],
        "required": True,
    },
    "directory": {"type": "path", "required": True},
    "version": {"type": "str", "required": True},
    "request": {"type": "dict", "default": {}},
    "begin": {"type": "str", "default": ""},
    "owner": {"type": "str", "default": "postgres"},
    "port": {"type": "int", "default": 5432},
    "max_connections": {"type": "int", "default": 0},
    "stanza": {"type": "str", "default": ""},
    "config": {"type": "path", "default": restore.CONFIG},
    "repository": {"type": "str", "default": ""},
    "set": {"type": "str", "default": ""},
    "timeline": {"type": "int", "default": 0},
    "type": {"type": "str", "choices": ["latest", "time", "lsn", "name", "xid"], "default": "latest"},
    "target": {"type": "str", "default": ""},
    "segment": {"type": "str", "default": ""},
    "archive": {"type": "str", "default": ""},
    "system_identifier": {"type": "str", "default": ""},
    "timeout": {"type": "int", "default": 86400},
}
FIELDS = ("stanza", "repository", "set", "timeline", "type", "target", "segment", "config")


def run(module):
    """What the module returns. Raises RestoreError and OSError."""
    params, state = module.params, module.params["state"]
    places = restore.Places(params["directory"])
    source = restore.Source(**{name: params[name] for name in FIELDS})
    if state == "pushed":
        found = restore.push(source, params["directory"])
        return {"changed": bool(found["sent"]), **found}
    if state in ("begun", "set_aside"):
        entry = pwd.getpwnam(params["owner"])
        owner = (entry.pw_uid, entry.pw_gid)
        if state == "begun":
            return {"changed": restore.begin(places, params["request"], owner)}
        return {"changed": restore.set_aside(places, params["begin"], owner)}
    if state == "adopted":
        return {"changed": restore.adopt(module.run_command, places, params["version"])}
    if state == "finished":
        return {"changed": restore.finish(places)}
    beside = state == "beside"
    if not beside and restore.adopted(places):
        return {"changed": False}
    place = Path(f"{params['directory']}.server") if beside else places.work
    server = restore.Server(
        place, params["version"], params["port"], limit_s=params["timeout"], max_connections=params["max_connections"],
        archiving="" if beside else restore.archive_command(source.archive_words(places.data)),
        data=Path(params["directory"]) if beside else places.data, sockets=restore.SOCKETS if beside else restore.sockets(places.work),
    )  # fmt: skip
    work = restore.Restore(source, server)
    with work.alone():
        if state == "promoted":
            return work.promote(module.run_command, f"archive/{params['stanza']}/{params['archive']}")
        found = work.beside(module.run_command) if beside else work.recover(module.run_command)
    seen = postgresql_data.controldata(module.run_command, str(server.data), params["version"])["system_identifier"]
    if params["system_identifier"] and seen != params["system_identifier"]:
        raise restore.RestoreError(
            f"The restored data are those of cluster {seen}, and not of {params['system_identifier']}."
        )
    return found


def main():
    module = AnsibleModule(
        argument_spec=SPEC,
        required_if=[
            ("state", "begun", ["request"]),
            ("state", "set_aside", ["begin"]),
            ("state", "promoted", ["archive"]),
        ],
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=True)
    os.umask(0o077)
    try:
        result = run(module)
    except restore.RestoreError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"{error.filename or module.params['directory']}: {error.strerror}. Nothing of what was kept is changed."
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
