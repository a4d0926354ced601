#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_restore
short_description: Restore a Docker swarm from the state of a manager
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Makes a swarm with this host as its only manager, of a state from a backup or of the state that the host has, also where the swarm locks its managers,
    which C(docker swarm init --force-new-cluster) can't (moby issue 36852).
  - Docker goes on meanwhile; the tasks of the host end. What the host had as a manager is kept in O(data_root) as O(copy).
  - All other members of the former swarm must have left it before, by O(state=left). A manager of it that still runs would take this host for the former one.
extends_documentation_fragment:
  - utmstack.ha.docker_engine
options:
  state:
    description:
      - V(checked), a swarm can be made of O(archive), as far as its files tell. Nothing is changed.
      - V(left), the host is in no swarm, and its state as a manager is kept.
      - V(restored), the host leads a swarm that was made of O(archive) or, without it, of its own state; where it is in no swarm, of the newest of RV(copies).
    type: str
    choices: [checked, left, restored]
    default: checked
  data_root:
    description: Docker's C(data-root).
    type: path
    default: /var/lib/docker
  archive:
    description: The state, a file on the host as backups of kind C(swarm) have it.
    type: path
  copy:
    description: Name of the directory in O(data_root) that the present state is kept in. Needed unless O(state=checked).
    type: str
  unlock_key:
    description: The unlock key of the swarm whose state it is. Needed where it locks its managers.
    type: str
  address:
    description: The address of the host, which must be that of the manager whose state it is. Needed for O(state=restored).
    type: str
  port:
    description: Port of the managers.
    type: int
    default: 2377
  data_port:
    description: Port of the overlay networks' traffic.
    type: int
    default: 4789
  address_pools:
    description: Subnets from which overlay networks get theirs, in CIDR notation. Docker's own by default.
    type: list
    elements: str
    default: []
  address_pool_prefix:
    description: Length of the prefix of each overlay network.
    type: int
    default: 24
  wait_timeout:
    description: How long to wait until the host leads the swarm, in seconds.
    type: float
    default: 90.0
attributes:
  check_mode:
    description: Looks only.
    support: full
  diff_mode:
    description: A state is not shown.
    support: none
"""

EXAMPLES = r"""
- name: Leave the former swarm, with its state kept
  utmstack.ha.swarm_restore:
    state: left
    copy: swarm.before-restore-20261130T101500Z

- name: Restore the swarm
  utmstack.ha.swarm_restore:
    state: restored
    archive: /var/lib/docker/restore/swarm.tar.gz
    copy: swarm.before-restore-20261130T101500Z
    unlock_key: "{{ swarm_unlock_key }}"
    address: 10.0.1.11
"""

RETURN = r"""
free:
  description: Free bytes of the file system of O(data_root).
  returned: success
  type: int
copies:
  description: Directories with states that restores have replaced, the newest last.
  returned: success
  type: list
  elements: str
  sample: [/var/lib/docker/swarm.before-restore-20261130T101500Z]
copy:
  description: The directory with the state that was there; empty where there was none to keep.
  returned: success
  type: str
  sample: /var/lib/docker/swarm.before-restore-20261130T101500Z
objects:
  description: How many nodes, networks, services, secrets and configs the restored swarm has.
  returned: O(state=restored), not in check mode
  type: dict
  sample: {nodes: 3, networks: 2, services: 2, secrets: 7, configs: 1}
"""

import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.common import directories
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import engine as docker_engine
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import state as swarm_state
from ansible_collections.utmstack.ha.plugins.module_utils.swarm.engine import EngineError
from ansible_collections.utmstack.ha.plugins.module_utils.swarm.state import StateError

ARCHIVE = "swarm.tar.gz"
COPY = "swarm.before-restore-"
LEAVE_S = 120.0


def keep(root, copy):
    """Keep the state of a manager in a directory beside it; returns the archive, or None where there is none to keep. Raises StateError, OSError."""
    place = root.parent / copy
    if place.exists():
        raise StateError(f"{place} is there already")
    try:
        swarm_state.tree(root)
    except StateError:
        return None
    directories.make(place, 0o700)
    with open(place / ARCHIVE, "xb+", opener=swarm_state.private) as archive:
        swarm_state.copy(root, archive, lambda: {"objects": {}})
    return place / ARCHIVE


def copies(root):
    """The safety copies of earlier restores, the newest last."""
    return [path.parent for path in sorted(root.parent.glob(f"{COPY}*/{ARCHIVE}"))]


def empty(root):
    """Remove what is in a directory, and not the directory."""
    for path in root.iterdir() if root.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def restore(engine, params, root, archive, staged):
    """Make a swarm of the state in an archive. Raises StateError, EngineError, OSError."""
    locks = swarm_state.place(archive, staged, params["unlock_key"] or "")
    leave(engine)
    empty(root)
    directories.make(root, 0o700)
    for path in staged.iterdir():
        path.rename(root / path.name)
    pools = params["address_pools"]
    body = swarm_state.init_body(
        params["address"], params["port"], locks, params["data_port"], pools, params["address_pool_prefix"]
    )
    engine.post("/swarm/init", body, params["wait_timeout"])
    found = swarm_state.look_again(engine, params["wait_timeout"])
    return {kind: len(numbers) for kind, numbers in found["objects"].items()}


def leave(engine):
    """Leave whatever swarm the host is in, with its tasks ended. Raises EngineError."""
    state = (engine.get("/info").get("Swarm") or {}).get("LocalNodeState") or "inactive"
    if state != "inactive":
        engine.post("/swarm/leave?force=1", None, LEAVE_S)
    return state != "inactive"


def main():
    module = AnsibleModule(
        argument_spec={
            **docker_engine.ARGUMENTS,
            "state": {"type": "str", "choices": ["checked", "left", "restored"], "default": "checked"},
            "data_root": {"type": "path", "default": "/var/lib/docker"},
            "archive": {"type": "path"},
            "copy": {"type": "str"},
            "unlock_key": {"type": "str", "no_log": True},
            "address": {"type": "str"},
            "port": {"type": "int", "default": 2377},
            "data_port": {"type": "int", "default": 4789},
            "address_pools": {"type": "list", "elements": "str", "default": []},
            "address_pool_prefix": {"type": "int", "default": 24},
            "wait_timeout": {"type": "float", "default": 90.0},
        },
        required_if=[("state", "left", ["copy"]), ("state", "restored", ["copy", "address"])],
        supports_check_mode=True,
    )
    params = module.params
    root = Path(params["data_root"], "swarm")
    engine = docker_engine.Engine.of(params)
    staged = root.parent / "swarm.restoring"
    former = copies(root)
    result = {
        "copies": [str(one) for one in former],
        "changed": params["state"] != "checked",
        "copy": "",
        "free": shutil.disk_usage(root.parent).free if root.parent.is_dir() else 0,
    }
    if module.check_mode:
        module.exit_json(**result)
    try:
        shutil.rmtree(staged, ignore_errors=True)
        directories.make(staged, 0o700)
        archive = Path(params["archive"]) if params["archive"] else None
        if archive and params["state"] == "checked":
            swarm_state.place(archive, staged, params["unlock_key"] or "")
        elif params["state"] != "checked":
            kept = keep(root, params["copy"])
            result["copy"] = str(kept.parent) if kept else ""
            if params["state"] == "left":
                result["changed"] = leave(engine)
            elif archive or kept or former:
                result["objects"] = restore(engine, params, root, archive or kept or former[-1] / ARCHIVE, staged)
            else:
                raise StateError("it has no state of a manager, and no archive was given")
    except (StateError, EngineError, OSError) as error:
        module.fail_json(msg=f"The swarm cannot be {params['state']} on this host: {error}", **result)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
