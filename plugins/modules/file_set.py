#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installs files that belong together, after a command has judged all of them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: file_set
author: The utmstack.ha developers (@utmstack)
version_added: 0.1.0
short_description: Install a set of files after validating all files together
description:
  - Compares any number of files and directories with what the host has and writes those that differ, in one task.
  - Commands may judge files before they are written. They see the new version of each file that differs and the present
    version of the others, so a configuration in several files is judged as it will be.
  - Each file is written beside its place and then renamed, so that no reader sees half of one. Parent directories are made.
  - In check mode it also works where the programs, users and directories are not there yet.
extends_documentation_fragment:
  - utmstack.ha.freshness.service
  - utmstack.ha.freshness.further_services
attributes:
  check_mode:
    description: Reports what would change. The commands in O(validate) are not run.
    support: full
  diff_mode:
    description: Shows the difference of each file, but for those with O(files[].secret_content).
    support: full
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Where the file belongs. A symbolic link is followed.
        type: path
        required: true
      content:
        description: What is in it. Either this or O(files[].secret_content) must be given.
        type: str
      secret_content:
        description: What is in it, kept out of all output.
        type: str
      mode:
        description: Its mode, an octal number in quotes. Without it V(0644), and V(0600) with O(files[].secret_content).
        type: str
      owner:
        description: Its owner.
        type: str
        default: root
      group:
        description: Its group.
        type: str
        default: root
  directories:
    description: Directories, made before the files.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The directory.
        type: path
        required: true
      mode:
        description: Its mode, an octal number in quotes.
        type: str
        default: "0755"
      owner:
        description: Its owner.
        type: str
        default: root
      group:
        description: Its group.
        type: str
        default: root
  absent:
    description:
      - Files and directories, with all that is in them, that the present ones take the place of. They are removed when all files are written,
        so that programs which use the former ones until then find them.
    type: list
    elements: path
    default: []
  validate:
    description:
      - Commands, each a list of words. A word that is the path of a file in the set stands for the new version of that file.
      - All must succeed before any of the files that they name is written. Files that they do not name, such as the scripts
        that a configuration mentions, are written before. They run only when the content of a file they name changes.
    type: list
    elements: list
    default: []
  tolerate:
    description:
      - Regular expressions. A command in O(validate) that fails counts as successful where each line that it prints is matched by one of them
        from its beginning, as where it also looks at other hosts, of which one may be away.
    type: list
    elements: str
    default: []
  service:
    description:
      - A service that reads the files, with the options of M(utmstack.ha.service_freshness). What that module returns is returned as well, as
        of the time when all files are written.
  further_services:
    description:
      - Other services that read the files, each like O(service).
"""

EXAMPLES = r"""
- name: Install a configuration in two files
  utmstack.ha.file_set:
    files:
      - path: /etc/haproxy/credentials.cfg
        secret_content: "{{ lookup('ansible.builtin.template', 'credentials.cfg.j2') }}"
        mode: "0600"
      - path: /etc/haproxy/haproxy.cfg
        content: "{{ lookup('ansible.builtin.template', 'haproxy.cfg.j2') }}"
    validate:
      - [/usr/sbin/haproxy, -c, -f, /etc/haproxy/credentials.cfg, -f, /etc/haproxy/haproxy.cfg]
    service:
      unit: haproxy
      reload_files: [/etc/haproxy/credentials.cfg, /etc/haproxy/haproxy.cfg]
      reload_proof: workers
  register: haproxy_freshness
"""

RETURN = r"""
changed_paths:
  description: The files and directories that were, or in check mode would be, changed or removed.
  type: list
  elements: str
  returned: success
  sample: [/etc/haproxy/haproxy.cfg]
state:
  description:
    - C(fresh), the service runs with what is on disk. C(reload), it has to read files again. C(restart), it has to be restarted.
    - C(stopped), it does not run.
  returned: with O(service)
  type: str
  sample: restart
reasons:
  description: Why, as sentences.
  returned: with O(service)
  type: list
  elements: str
  sample:
    - /etc/default/etcd changed at 2026-03-01T12:00:00.123Z, started at 2026-02-27T08:11:12.010Z
unit:
  description: The unit's full name.
  returned: with O(service)
  type: str
  sample: etcd.service
active_state:
  description: The unit's state as systemd names it.
  returned: with O(service)
  type: str
  sample: active
enabled:
  description: Whether the unit starts at boot.
  returned: with O(service)
  type: bool
pid:
  description: The main process, or null.
  returned: with O(service)
  type: int
started:
  description: When the main process started, ISO 8601 in UTC, or null.
  returned: with O(service)
  type: str
loaded:
  description: When the service was last seen to load its files, by its start or by a reload, ISO 8601 in UTC, or null.
  returned: with O(service)
  type: str
daemon_reload:
  description: Whether systemd has to read the unit's files again.
  returned: with O(service)
  type: bool
further_services:
  description: By the unit as O(further_services) names it what is returned for O(service).
  returned: success
  type: dict
  sample: {patroni-dcs-check.timer: {state: fresh, enabled: true}}
"""

import os
import shutil
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.host import file_set, freshness_module

_ATTRIBUTES = {"owner": {"type": "str", "default": "root"}, "group": {"type": "str", "default": "root"}}
_FILE = {
    "path": {"type": "path", "required": True},
    "content": {"type": "str"},
    "secret_content": {"type": "str", "no_log": True},
    "mode": {"type": "str"},
    **_ATTRIBUTES,
}
_DIRECTORY = {"path": {"type": "path", "required": True}, "mode": {"type": "str", "default": "0755"}, **_ATTRIBUTES}


def wanted_entries(params):
    """The entries that the parameters ask for, directories first. Raises ValueError for a mode that is none."""
    entries = [
        file_set.Entry(item["path"], None, file_set.mode_of(item["mode"]), item["owner"], item["group"])
        for item in params["directories"]
    ]
    for item in params["files"]:
        secret = item["secret_content"] is not None
        content = (item["secret_content"] if secret else item["content"]).encode()
        mode = file_set.mode_of(item["mode"] or ("0600" if secret else "0644"))
        entries.append(file_set.Entry(item["path"], content, mode, item["owner"], item["group"], secret))
    return entries


def judge(module, changed):
    """Let the commands see the new versions of the files they name; end with what they say when one fails."""
    directory = tempfile.mkdtemp(prefix="ansible-file-set-")
    try:
        staged = file_set.stage(changed, directory)
        for command in module.params["validate"]:
            code, out, err = module.run_command([staged.get(word, word) for word in map(str, command)])
            if code != 0 and not file_set.tolerable(out + err, module.params["tolerate"]):
                shown = (out + err).strip()
                for path, place in staged.items():
                    shown = shown.replace(place, path)
                module.fail_json(
                    msg=f"{', '.join(staged)} not written: {' '.join(map(str, command))} refuses it (rc {code}): {shown}"
                )
    finally:
        shutil.rmtree(directory)


def install(module, entries):
    """Write the entries; end with a message that names the one that can't be written."""
    for entry in entries:
        try:
            file_set.install(entry)
        except (KeyError, OSError) as error:
            module.fail_json(msg=f"Cannot install {entry.path}: {error}")


def remove(module, paths):
    """Remove what is no longer used; end with a message that names what can't be removed."""
    for path in paths:
        try:
            file_set.remove(path)
        except OSError as error:
            module.fail_json(msg=f"Cannot remove {path}: {error}")


def main():
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": _FILE,
                "mutually_exclusive": [("content", "secret_content")],
                "required_one_of": [("content", "secret_content")],
            },
            "directories": {"type": "list", "elements": "dict", "default": [], "options": _DIRECTORY},
            "absent": {"type": "list", "elements": "path", "default": []},
            "validate": {"type": "list", "elements": "list", "default": []},
            "tolerate": {"type": "list", "elements": "str", "default": []},
            "service": {"type": "dict", "options": freshness_module.OPTIONS},
            "further_services": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": freshness_module.OPTIONS,
            },
        },
        supports_check_mode=True,
    )
    try:
        pairs = [(entry, file_set.look(entry.path)) for entry in wanted_entries(module.params)]
    except (ValueError, OSError) as error:
        module.fail_json(msg=str(error))
    pairs = [(entry, found) for entry, found in pairs if file_set.differs(entry, found)]
    absent = [path for path in module.params["absent"] if os.path.lexists(path)]
    if not module.check_mode:
        named = {word for command in module.params["validate"] for word in command}
        judged = [entry for entry, found in pairs if entry.path in named]
        install(module, [entry for entry, found in pairs if entry.path not in named])
        if any(entry.content != found.content for entry, found in pairs if entry in judged):
            judge(module, judged)
        install(module, judged)
        remove(module, absent)
    service = module.params["service"]
    module.exit_json(
        **(freshness_module.judge(module, service) if service else {}),
        further_services={
            other["unit"]: freshness_module.judge(module, other) for other in module.params["further_services"]
        },
        changed=bool(pairs or absent),
        changed_paths=[entry.path for entry, found in pairs] + absent,
        diff=[file_set.difference(entry, found) for entry, found in pairs]
        + [{"prepared": f"{path} (removed)\n"} for path in absent],
    )


if __name__ == "__main__":
    main()
