#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_kept_info
short_description: List the usable backups of a backup host
version_added: 0.1.0
description:
  - Lists the good backups of a kind that are kept on the backup host that it runs on. One that a verification has found damaged is left out.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.looks
options:
  directory:
    description:
      - Where the repository is.
    type: path
    required: true
  cluster:
    description:
      - The cluster whose repository it must be. Without it, any will do.
    type: str
    default: ""
  kind:
    description:
      - The kind of backup.
    type: str
    required: true
seealso:
  - module: utmstack.ha.backup_info
"""

EXAMPLES = r"""
- name: List the usable backups
  utmstack.ha.backup_kept_info:
    directory: "{{ ha.backup.directory }}"
    cluster: "{{ ha.cluster }}"
    kind: postgresql
  become: true
  register: backups

- name: Show the newest one
  ansible.builtin.debug:
    msg: "{{ backups.kept | last }}"
"""

RETURN = r"""
kept:
  description: The usable backups, newest last.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: The kind.
      type: str
    label:
      description: What it is called.
      type: str
      sample: 20261130T020007Z
    path:
      description: The directory with its files; empty where the kind's own tool keeps it.
      type: str
    record:
      description: The record of the run that took it.
      type: dict
    verified:
      description: Whether its newest verification found it good.
      type: bool
    point:
      description: Up to when it has everything.
      type: dict
      sample: {time: 1796039126}
"""

from ansible_collections.utmstack.ha.plugins.module_utils.backup import info as ask_backup
from ansible_collections.utmstack.ha.plugins.module_utils.operation.info_module import run


def main():
    run(ask_backup.KEPT)


if __name__ == "__main__":
    main()
