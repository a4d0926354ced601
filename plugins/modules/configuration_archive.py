# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does all of it on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: configuration_archive
short_description: Create a sealed archive of the platform's configuration
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Packs the inventory, the secrets directory, variables beside the playbooks and C(ansible.cfg) in memory, and seals them to public keys by
    C(age), or where that is not installed by the Python package C(pyrage).
  - What can't be sealed is no failure of the task. RV(verdict) and RV(reason) say so, for a record.
options:
  cluster:
    description: Name of the cluster.
    type: str
    required: true
  secrets_directory:
    description: The directory of passwords and local CA on the controller.
    type: path
    required: true
  recipients:
    description: Public keys, C(age1...) or C(ssh-ed25519 ...). What opens the archive must not be in it.
    type: list
    elements: str
    required: true
  kept:
    description: What M(utmstack.ha.backup_kept_info) returned of the backup host. A configuration that is there is not sealed again.
    type: list
    elements: dict
    default: []
  failed_before:
    description: Whether the last run has failed on that host. The same failure is not needed twice.
    type: bool
    default: false
  force:
    description: Whether it is sealed in any case.
    type: bool
    default: false
attributes:
  check_mode:
    description: Changes nothing anyway.
    support: full
  diff_mode:
    description: Nothing of the configuration is ever shown.
    support: none
"""

EXAMPLES = r"""
- name: Create the sealed archive
  utmstack.ha.configuration_archive:
    cluster: "{{ ha.cluster }}"
    secrets_directory: "{{ ha.secrets_dir }}"
    recipients: ["age1pyfwgntuvvhzmqc9ed7ayvd56x3uqn68pelyvkt9s2ny7l20vd9sn3shpt"]
  register: configuration
"""

RETURN = r"""
needed:
  description: Whether the backup host has something to keep or to record.
  returned: success
  type: bool
verdict:
  description: V(ok), or V(failed) where it could not be sealed.
  returned: success
  type: str
reason:
  description: Why it could not be sealed, with the remedy; else empty.
  returned: success
  type: str
files:
  description: Names and texts of the files to keep. What is secret in them is sealed.
  returned: when needed
  type: dict
manifest:
  description: A checksum of the content, and the recipients.
  returned: success
  type: dict
"""
