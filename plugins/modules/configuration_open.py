# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does all of it on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: configuration_open
short_description: Restore a sealed configuration on the controller
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Opens an archive that M(utmstack.ha.configuration_archive) has sealed, and with O(directory) puts its files there. The archive's names are
    checked before anything is written.
  - What is in the directory otherwise is moved aside as a whole, and never written over.
options:
  archive:
    description: The sealed archive, a file on the controller.
    type: path
  sealed:
    description: Its text, in place of a file.
    type: str
  identity:
    description: The file of the private key on the controller. One with a passphrase can't be used, since nothing asks for it.
    type: path
    required: true
  directory:
    description: Where the files are to be. Without it, the archive is only opened and compared with its manifest.
    type: path
attributes:
  check_mode:
    description: Opens the archive and tells what would be written.
    support: full
  diff_mode:
    description: Nothing of the configuration is ever shown.
    support: none
"""

EXAMPLES = r"""
- name: Restore the configuration
  utmstack.ha.configuration_open:
    archive: /media/stick/configuration.age
    identity: /media/stick/key.txt
    directory: /srv/utmstack
  register: configuration
"""

RETURN = r"""
cluster:
  description: The cluster whose configuration it is.
  returned: success
  type: str
made:
  description: When it was sealed, in seconds since 1970.
  returned: success
  type: int
files:
  description: Names of all files in it.
  returned: success
  type: list
  elements: str
differs:
  description: Names of the files that the directory has not, or has otherwise, or has besides.
  returned: with O(directory)
  type: list
  elements: str
safety_copy:
  description: Where the former content of the directory is; empty where there was none.
  returned: with O(directory)
  type: str
secrets:
  description: The directory of passwords and local CA, within O(directory).
  returned: with O(directory)
  type: str
lines:
  description: What is done, for a person.
  returned: with O(directory)
  type: list
  elements: str
"""
