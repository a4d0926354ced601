#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: shared_directory
short_description: Verify a directory is shared by all hosts
version_added: 0.1.0
description:
  - Leaves a mark of this host in a directory, as the user that will work in it, and looks for the marks of the others.
  - Run it on all hosts, then once more with O(require). A host whose directory is another one than that of the others, because
    a share is not mounted there for example, does not see their marks.
  - Marks stay, as C(.utmstack-ha.<name>), so that a later run finds all of them at once.
  - Missing directories are made.
author:
  - The utmstack.ha developers (@utmstack)
options:
  path:
    description:
      - The directory.
    type: path
    required: true
  name:
    description:
      - This host's name in its mark.
    type: str
    required: true
  others:
    description:
      - The names of all hosts that share the directory.
    type: list
    elements: str
    required: true
  owner:
    description:
      - The user that will work in the directory.
    type: str
    required: true
  require:
    description:
      - Whether to fail where there are RV(doubts).
    type: bool
    default: false
attributes:
  check_mode:
    description: Nothing is written, so that only the marks of earlier runs are seen.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Create a marker in the snapshot directory
  utmstack.ha.shared_directory:
    path: /mnt/snapshots/elasticsearch
    name: "{{ inventory_hostname }}"
    others: "{{ ansible_play_hosts }}"
    owner: elasticsearch
  register: snapshots_directory

- name: Verify a shared directory on all nodes
  utmstack.ha.shared_directory:
    path: /mnt/snapshots/elasticsearch
    name: "{{ inventory_hostname }}"
    others: "{{ ansible_play_hosts }}"
    owner: elasticsearch
    require: true
  when: snapshots_directory.doubts | length > 0
"""

RETURN = r"""
doubts:
  description: Why the directory may not be the one that the others use, as sentences.
  returned: always
  type: list
  elements: str
  sample:
    - /mnt/snapshots on node3 does not have the marks of node1, node2.
"""

import os
import pwd
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.common import directories

MARK = ".utmstack-ha.{}"


def make(path):
    """Make the directory; whoever enters it must also get through its parents."""
    directories.make(path.parent)
    directories.make(path, 0o750)


def have_directory(path, user):
    """Make the directory where it is missing, as the user where that may do it. Returns whether it was missing."""
    if path.is_dir():
        return False
    try:
        with directories.acting_as(user):
            make(path)
    except PermissionError:
        make(path)
        os.chown(path, user.pw_uid, user.pw_gid)
    return True


def leave_mark(path, name, user):
    """Leave this host's mark. Returns whether it was missing. Raises OSError, KeyError."""
    made = have_directory(path, user)
    mark = path / MARK.format(name)
    with directories.acting_as(user):
        if mark.exists():
            os.utime(mark)
            return made
        mark.write_text("A mark of the role utmstack.ha.elasticsearch: all nodes must see the marks of all.\n")
    return True


def look(path, name, others, owner, number):
    """The doubts, as sentences. `number` is that of the owner's account on this host, None where that is not known."""
    apart, missing = {}, []
    for other in others:
        try:
            found = (path / MARK.format(other)).stat().st_uid
        except (FileNotFoundError, NotADirectoryError):
            missing.append(other)
            continue
        if number is not None and found != number:
            apart.setdefault(found, []).append(other)
    doubts = []
    if missing:
        doubts.append(
            f"{path} on {name} does not have the marks of {', '.join(missing)}: it is not the directory that they use. A place "
            "for snapshots has to be one directory on all nodes. Mount the same share (NFS, CephFS …) there on every host."
        )
    if apart:
        numbers = "; ".join(f"{one} on {', '.join(hosts)}" for one, hosts in apart.items())
        doubts.append(
            f"The account {owner} has the number {number} on {name}, but {numbers}, and {path} is shared by number. Give the "
            "account the same number on all hosts (elasticsearch_uid), with the server stopped and its files handed over."
        )
    return doubts


def main():
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "name": {"type": "str", "required": True},
            "others": {"type": "list", "elements": "str", "required": True},
            "owner": {"type": "str", "required": True},
            "require": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    params = module.params
    path, name, owner = Path(params["path"]), params["name"], params["owner"]
    changed, user = not (path / MARK.format(name)).exists(), None
    try:
        user = pwd.getpwnam(owner)
        if not module.check_mode:
            changed = leave_mark(path, name, user)
    except KeyError:
        if not module.check_mode:
            module.fail_json(msg=f"There is no user {owner} on this host.")
    except OSError as error:
        module.fail_json(
            msg=f"The user {owner} cannot write into {path}: {error}. Mount the share there, and give the directory to {owner} "
            f"(uid {user.pw_uid} on this host)."
        )
    doubts = look(path, name, params["others"], owner, user and user.pw_uid)
    if doubts and params["require"]:
        module.fail_json(msg=" ".join(doubts), doubts=doubts)
    module.exit_json(changed=changed, doubts=doubts)


if __name__ == "__main__":
    main()
