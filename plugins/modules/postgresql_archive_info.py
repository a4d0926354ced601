#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_archive_info
short_description: Get the state of WAL archiving on a PostgreSQL host
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Tells how far the WAL of the host it runs on has got into the repositories of the backup hosts, what waits on the host's disk, for how
    long the disk lasts for it, and what is missing.
  - Asks the PostgreSQL server of the host, its disk, and the state that C(postgresql-archive.timer) keeps. No repository is asked.
options:
  settings:
    description:
      - The settings that role P(utmstack.ha.postgresql#role) has written for the timer.
    type: path
    default: /etc/utmstack-ha/postgresql-archive.json
extends_documentation_fragment:
  - utmstack.ha.looks
seealso:
  - module: utmstack.ha.patroni_info
"""

EXAMPLES = r"""
- name: Get the state of WAL archiving
  utmstack.ha.postgresql_archive_info:
  become: true
  register: archive

- name: Show archive problems
  ansible.builtin.debug:
    var: archive.problems
"""

RETURN = r"""
healthy:
  description: Whether RV(problems) is empty.
  returned: success
  type: bool
  sample: true
problems:
  description: What is wrong, a sentence each, with what to do.
  returned: success
  type: list
  elements: str
  sample: []
archiving:
  description: Whether the server archives its WAL by pgBackRest.
  returned: success
  type: bool
  sample: true
primary:
  description: Whether the server takes writes. Only the primary archives.
  returned: success
  type: bool
  sample: true
archived:
  description: The last file that all repositories have acknowledged to this server, empty where there is none.
  returned: success
  type: str
  sample: 00000003000000000000001E
archived_at:
  description: When that was, in seconds since 1970, V(null) where there was none.
  returned: success
  type: float
  sample: 1796065470.1
failing:
  description: Whether the last try has failed.
  returned: success
  type: bool
  sample: false
behind_s:
  description: For how long at most the oldest write that no repository has is there, in seconds. V(null) on a standby, and before the first.
  returned: success
  type: int
  sample: 14
waiting:
  description: How many files wait for the archive.
  returned: success
  type: int
  sample: 0
oldest_waiting_s:
  description: For how long the oldest of them waits, in seconds, V(null) where none does.
  returned: success
  type: int
  sample: 12
wal_bytes:
  description: The size of all WAL on the disk.
  returned: success
  type: int
  sample: 1073741824
free_bytes:
  description: What is free on its volume.
  returned: success
  type: int
  sample: 21474836480
rate_bytes_s:
  description: WAL in bytes a second over the last hour, V(null) where less than five minutes of it are known.
  returned: success
  type: float
  sample: 8192.0
full_in_s:
  description: In how many seconds that rate would fill the volume if nothing were archived, V(null) where the rate is not known or 0.
  returned: success
  type: int
  sample: 2621440
slot:
  description: The slot by which the server keeps WAL that is not in all repositories, with C(position) and C(status). V(null) where it has none.
  returned: success
  type: dict
  sample: {position: 0/1F000000, status: reserved}
spool_errors:
  description: What pgBackRest says of files that it could not send.
  returned: success
  type: list
  elements: str
  sample: []
gaps:
  description: WAL that a repository lacks and that no member has any more, since the newest full backup.
  returned: success
  type: list
  elements: str
  sample: [00000007000000000000001F to 000000070000000000000021]
state_s:
  description: How old the last look of the timer is, in seconds. V(null) where there was none.
  returned: success
  type: int
  sample: 6
error:
  description: What kept the timer from its work, empty where nothing did.
  returned: success
  type: str
  sample: ""
"""

from ansible_collections.utmstack.ha.plugins.module_utils.operation.info_module import run
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import archive_info as ask_archive


def main():
    run(ask_archive.QUESTION)


if __name__ == "__main__":
    main()
