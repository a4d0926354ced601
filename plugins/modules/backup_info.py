#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_info
short_description: Get the state of the backups of a backup host
version_added: 0.1.0
description:
  - Reads the records of the backup host that it runs on, and says of each kind of backup when the last good one was taken, when one was verified
    by restoring it, and what is wrong.
  - What no record says is not known, and counts as a problem. So does a repository that is not mounted.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.looks
options:
  settings_file:
    description:
      - The settings of the backup program, which role backup writes.
    type: path
    default: /etc/utmstack-ha/backup.json
  kinds:
    description:
      - The kinds that are wanted. One of them that the program does not take is a problem. Empty for those that it takes.
    type: list
    elements: str
    default: []
  estimate:
    description:
      - Whether RV(estimate) is wanted, for which all files of the repository are looked at.
    type: bool
    default: false
seealso:
  - module: utmstack.ha.backup_kept_info
"""

EXAMPLES = r"""
- name: Get the state of the backups
  utmstack.ha.backup_info:
  become: true
  register: backups

- name: Verify every kind was backed up within the last hour
  ansible.builtin.assert:
    that: backups.kinds | selectattr('age_s', 'none') | list == [] and backups.kinds | map(attribute='age_s') | max < 3600
"""

RETURN = r"""
healthy:
  description: Whether there is no problem.
  returned: always
  type: bool
directory:
  description: Where the repository is; empty where it could not be looked at.
  returned: always
  type: str
free:
  description: Bytes that are free there, or null.
  returned: always
  type: int
total:
  description: Size of its file system in bytes, or null.
  returned: always
  type: int
kinds:
  description: How each kind stands.
  returned: always
  type: list
  elements: dict
  contains:
    kind:
      description: Its name.
      type: str
    title:
      description: What it is called.
      type: str
    verdict:
      description: C(ok); C(failed), where the last run failed; C(unknown), where anything else is wrong.
      type: str
    take:
      description: Verdict of the last backup.
      type: str
    verify:
      description: Verdict of the last verification.
      type: str
    source:
      description: The host that the newest good backup was taken from.
      type: str
    point:
      description: Up to when the newest good backup has everything, in seconds since 1970, or null.
      type: int
    age_s:
      description: How long ago that is, or null.
      type: int
    verified:
      description: Up to when the newest backup has everything that was verified, in seconds since 1970, or null.
      type: int
    verified_age_s:
      description: How long ago it was verified, or null.
      type: int
    bytes:
      description: Size of the newest good backup, or null.
      type: int
    seconds:
      description: How long it took, or null.
      type: float
    verify_seconds:
      description: How long the last good verification took, or null.
      type: float
    kept:
      description: How many good backups are kept.
      type: int
    problems:
      description: What is wrong, as sentences with the remedy.
      type: list
      elements: str
remote_copy:
  description: How the copy at the remote stands; empty where there is no remote.
  returned: always
  type: dict
  contains:
    title:
      description: What the remote is called.
      type: str
    verdict:
      description: C(ok); C(failed), where the last copy failed; C(unknown), where anything else is wrong.
      type: str
    copy:
      description: Verdict of the last copy.
      type: str
    point:
      description: Up to when the last good copy has everything, in seconds since 1970, or null.
      type: int
    age_s:
      description: How long ago that is, or null.
      type: int
    bytes:
      description: Size of what it compared, or null.
      type: int
    files:
      description: How many files that were, or null.
      type: int
    seconds:
      description: How long it took, or null.
      type: float
estimate:
  description: What each kind will need, of what was measured. Empty without O(estimate).
  returned: always
  type: list
  elements: dict
  contains:
    kind:
      description: Its name.
      type: str
    title:
      description: What it is called.
      type: str
    newest:
      description: Size of the newest good backup in bytes, or null.
      type: int
    kept:
      description: Size of all that are kept, by their records.
      type: int
    a_day:
      description: Bytes that come in a day, WAL among them, or null where that is not measured yet.
      type: int
    needed:
      description: Bytes of all that will be kept, or null where that is not measured yet.
      type: int
    days:
      description: For how many days that is.
      type: int
    restored:
      description: Bytes of what a restore of the newest backup makes, or null.
      type: int
    restore_s:
      description: How long that takes, by the last restores, or else by the last verifications, in seconds, or null where neither was measured.
      type: float
    elsewhere:
      description: Whether it lies in a repository of the service's own, and takes no room of the backup host.
      type: bool
used:
  description: Bytes of all files of the repository, or null without O(estimate).
  returned: always
  type: int
safety:
  description: Copies of what restores have replaced, which are still there.
  returned: always
  type: list
  elements: dict
  contains:
    host:
      description: The host that has it.
      type: str
    path:
      description: Where it is.
      type: str
    kind:
      description: The kind that was restored.
      type: str
    since:
      description: When the restore began, in seconds since 1970.
      type: int
guard:
  description: What the minutely look has found of kinds that have one.
  returned: always
  type: dict
problems:
  description: What is wrong besides the kinds' own problems, as sentences.
  returned: always
  type: list
  elements: str
"""

from ansible_collections.utmstack.ha.plugins.module_utils.backup import info as ask_backup
from ansible_collections.utmstack.ha.plugins.module_utils.operation.info_module import run


def main():
    run(ask_backup.QUESTION)


if __name__ == "__main__":
    main()
