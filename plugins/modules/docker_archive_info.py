#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_archive_info
short_description: Get the image ID and names from a Docker image archive
version_added: 0.1.0
description:
  - Reads an image archive, as C(docker save) writes it, without a Docker engine. It may be compressed with gzip, bzip2 or xz.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.looks
options:
  path:
    description:
      - The archive. It must contain exactly one image.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Get the image of an archive on the controller
  utmstack.ha.docker_archive_info:
    path: /srv/images/backend.tar.gz
  register: archive
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
id:
  description: The image's number, as engines name it after loading it.
  returned: success
  type: str
  sample: sha256:2f3c6f1e0b1f6f6d7a8e0c7a8f1d5b1f2c3d4e5f60718293a4b5c6d7e8f90123
tags:
  description: The names that the image has in the archive.
  returned: success
  type: list
  elements: str
  sample: ["utmstack/backend:v10.9.4"]
entrypoint:
  description: The program that the image runs.
  returned: success
  type: list
  elements: str
command:
  description: The arguments that it gets, or the program where there is no entrypoint.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import image_archive as docker_archive


def main():
    module = AnsibleModule(argument_spec={"path": {"type": "path", "required": True}}, supports_check_mode=True)
    try:
        found = docker_archive.read(module.params["path"])
    except docker_archive.ArchiveError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{module.params['path']} can't be read: {error.strerror}")
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
