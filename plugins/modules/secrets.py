# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does all of it on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: secrets
short_description: Read the platform's passwords and generate missing ones
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Returns all passwords that the roles of this collection share. Those set as variables of the same name win, others
    are read from C(passwords.yml) on the controller, and those that are missing are generated (32 letters and digits)
    and appended to that file.
  - The file may be encrypted with ansible-vault; it is written back with the same vault
    password and identity. The directory is made with mode 0700 and the file with 0600.
options:
  directory:
    description: Directory on the controller for C(passwords.yml), an absolute path.
    type: path
    required: true
  store:
    description: Secrets that a service made by itself, to be kept with the others; C(swarm_unlock_key) is the only one.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Missing passwords are generated for the rest of the run, reported as a change, and not stored.
    support: full
  diff_mode:
    description: Passwords are never shown.
    support: none
notes:
  - The result is never logged, as with C(no_log); messages of failures name the password and never tell its value.
  - Call it with C(run_once), as the result is the same for all hosts.
"""

EXAMPLES = r"""
- name: Read passwords and generate missing ones
  utmstack.ha.secrets:
    directory: "{{ ha.secrets_dir }}"
  register: result
  run_once: true

- name: Store Swarm's unlock key
  utmstack.ha.secrets:
    directory: "{{ ha.secrets_dir }}"
    store:
      swarm_unlock_key: "{{ swarm_key.stdout }}"
  run_once: true
"""

RETURN = r"""
secrets:
  description: Password by name, C(etcd_root_password) for example.
  returned: success
  type: dict
path:
  description: The file on the controller.
  returned: success
  type: str
  sample: /srv/site/inventory/.secrets/passwords.yml
generated:
  description: Names of the passwords that were made in this run.
  returned: success
  type: list
  elements: str
"""
