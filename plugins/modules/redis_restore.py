#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_restore
short_description: Restore a backup into the data directory of a stopped Redis
version_added: 0.1.0
description:
  - Moves the data of a server that does not run into a directory beside them, the safety copy, which needs no room.
  - Puts a backup (RDB) where the server reads it when it starts, for one with an append-only file as that file's base.
  - Starts and stops nothing.
author:
  - The utmstack.ha developers (@utmstack)
options:
  data_directory:
    description:
      - Where the server has its data.
    type: path
    required: true
  copy:
    description:
      - Name of the safety copy in that directory, beginning with C(before-restore-). It must not be there yet.
    type: str
    required: true
  source:
    description:
      - The backup, which stays where it is. Without one the data are only moved away, as on hosts that copy from the master.
    type: path
  owner:
    description:
      - The account of the server.
    type: str
    required: true
  append_only:
    description:
      - Whether the server has an append-only file.
    type: bool
    default: true
  append_directory:
    description:
      - The server's C(appenddirname).
    type: str
    default: appendonlydir
  append_file:
    description:
      - The server's C(appendfilename).
    type: str
    default: appendonly.aof
  database_file:
    description:
      - The server's C(dbfilename).
    type: str
    default: dump.rdb
attributes:
  check_mode:
    description: Tells what would be moved.
    support: full
  diff_mode:
    description: RV(moved) and RV(path) tell it all.
    support: none
seealso:
  - module: utmstack.ha.redis_data_info
"""

EXAMPLES = r"""
- name: Move the present data away and put the backup in their place
  utmstack.ha.redis_restore:
    data_directory: /var/lib/redis/demo
    copy: before-restore-20261130T020007Z
    source: /var/lib/redis/demo/restore/dump.rdb
    owner: redis
"""

RETURN = r"""
moved:
  description: What was moved into the safety copy. Where there was nothing, there is no copy.
  returned: success
  type: list
  elements: str
  sample: [appendonlydir, dump.rdb]
copy:
  description: The safety copy; empty where there is none.
  returned: success
  type: str
  sample: /var/lib/redis/demo/before-restore-20261130T020007Z
path:
  description: Where the backup is now; empty without O(source).
  returned: success
  type: str
"""

import pwd
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.redis import restore as redis_restore


def main():
    module = AnsibleModule(
        argument_spec={
            "data_directory": {"type": "path", "required": True},
            "copy": {"type": "str", "required": True},
            "source": {"type": "path"},
            "owner": {"type": "str", "required": True},
            "append_only": {"type": "bool", "default": True},
            "append_directory": {"type": "str", "default": "appendonlydir"},
            "append_file": {"type": "str", "default": "appendonly.aof"},
            "database_file": {"type": "str", "default": "dump.rdb"},
        },
        supports_check_mode=True,
    )
    given = module.params
    if not re.fullmatch(redis_restore.COPY + r"[A-Za-z0-9_-]+", given["copy"]):
        module.fail_json(msg=f"copy is {given['copy']!r}, and has to read like {redis_restore.COPY}20261130T020007Z.")
    names = ("append_only", "append_directory", "append_file", "database_file")
    places = redis_restore.Places(given["data_directory"], **{name: given[name] for name in names})
    path = ""
    try:
        account = pwd.getpwnam(given["owner"])
        moved = redis_restore.move_away(places, given["copy"], module.check_mode)
        if given["source"] and not module.check_mode:
            path = redis_restore.put(places, given["source"], (account.pw_uid, account.pw_gid))
    except KeyError:
        module.fail_json(msg=f"There is no account {given['owner']}. Deploy Redis with site.yml first.")
    except OSError as error:
        module.fail_json(
            msg=f"{error.filename or given['data_directory']}: {error.strerror}. Start the run again when that is mended."
        )
    module.exit_json(
        changed=bool(moved or given["source"]),
        moved=moved,
        copy=places.path(given["copy"]) if moved else "",
        path=path,
    )


if __name__ == "__main__":
    main()
