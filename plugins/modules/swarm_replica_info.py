#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_replica_info
short_description: Get containers of a Swarm service on this host
version_added: 0.1.0
description:
  - Asks the Docker engine of the host for the containers of a service, and whether they have started before files changed that they read.
  - Tells whether an image is there, too. The host need not be a manager.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.docker_engine
  - utmstack.ha.looks
options:
  service:
    description:
      - Full name of the service.
    type: str
    required: true
  image:
    description:
      - An image by its number or name. RV(image_present) tells whether the engine has it.
    type: str
    default: ""
  files:
    description:
      - Files that the containers read when they start.
    type: list
    elements: path
    default: []
"""

EXAMPLES = r"""
- name: Check the certificate of the running backend
  utmstack.ha.swarm_replica_info:
    service: utmstack_backend
    files: [/etc/utmstack-ha/tls/host.crt]
  register: replica
"""

RETURN = r"""
image_present:
  description: Whether the engine has the image; false where none was asked for.
  returned: success
  type: bool
containers:
  description: The containers of the service that run on this host.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Its number.
      type: str
    started:
      description: When it started, ISO 8601 in UTC.
      type: str
    health:
      description: C(healthy), C(unhealthy) or C(starting), or empty where it has no health check.
      type: str
stale:
  description: Why containers have to be replaced, as sentences.
  returned: success
  type: list
  elements: str
"""

import json
import os
import urllib.parse
from datetime import datetime

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import engine as docker_engine


def seconds(text):
    """Docker's time as seconds since 1970; its nanoseconds are more digits than Python takes."""
    head, _dot, rest = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(head + "+00:00").timestamp() + float(f"0.{rest or 0}")


def containers(engine, service):
    """The running containers of the service. Raises EngineError."""
    filters = urllib.parse.quote(json.dumps({"label": [f"com.docker.swarm.service.name={service}"]}))
    found = []
    for listed in engine.get(f"/containers/json?filters={filters}"):
        state = (engine.find(f"/containers/{listed['Id']}/json") or {}).get("State")
        if state and state.get("Running"):
            health = (state.get("Health") or {}).get("Status", "")
            found.append(
                {"id": listed["Id"], "started": state["StartedAt"], "health": "" if health == "none" else health}
            )
    return found


def stale(found, changed):
    """Why containers are out of date; `changed` are the files with the times of their last change."""
    return [
        f"{path} is newer than the container {one['id'][:12]}"
        for one in found
        for path, when in changed.items()
        if when > seconds(one["started"])
    ]


def main():
    module = AnsibleModule(
        argument_spec={
            **docker_engine.ARGUMENTS,
            "service": {"type": "str", "required": True},
            "image": {"type": "str", "default": ""},
            "files": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    params = module.params
    engine = docker_engine.Engine.of(params)
    found, present = [], False
    try:
        found = containers(engine, params["service"])
        image = params["image"]
        present = bool(image) and engine.find(f"/images/{urllib.parse.quote(image)}/json") is not None
    except docker_engine.EngineError as error:
        # In a dry run Docker may not run yet.
        if not module.check_mode:
            module.fail_json(msg=f"The containers of {params['service']} cannot be looked at: {error}")
    changed = {path: os.stat(path).st_mtime for path in params["files"] if os.path.exists(path)}
    module.exit_json(changed=False, image_present=present, containers=found, stale=stale(found, changed))


if __name__ == "__main__":
    main()
