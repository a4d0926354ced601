#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_stack
short_description: Deploy a stack on a Docker swarm and wait for healthy services
version_added: 0.1.0
description:
  - Compares a Compose definition with what the swarm has, deploys it with C(docker stack deploy) where they differ, and waits until every replica
    runs the new definition and is healthy. When Docker took a service back to its former definition, the module fails with what the tasks said.
  - Secrets and configs are versioned by their content, since Swarm can't change them. Old versions go when no service uses them any more, nor would
    after a rollback.
  - The host must be a manager. The definition is kept in the swarm itself, so it may be another manager each time.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.docker_engine
options:
  name:
    description:
      - Name of the stack, the first part of the names of its services.
    type: str
    required: true
  definition:
    description:
      - The stack in the format of Compose 3.8, C(services), C(networks), C(volumes) and so on, as a dictionary. Values that are null are left out.
      - It is taken literally. A dollar needs no doubling, and variables are not replaced.
      - Services name O(secrets) and O(configs) by their keys. The versions are entered by the module.
    type: dict
    required: true
  secrets:
    description:
      - Secrets of the stack, name to content.
    type: dict
    default: {}
  configs:
    description:
      - Configs of the stack, name to content. They are not secret.
    type: dict
    default: {}
  config_files:
    description:
      - Configs of the stack whose content is in files on this host, name to path.
    type: dict
    default: {}
  registry:
    description:
      - Where to log in before images are fetched. Every node gets what it needs for that with its tasks.
    type: dict
    suboptions:
      url:
        description: The registry as images name it, for example V(ghcr.io). Docker Hub is V(https://index.docker.io/v1/).
        type: str
        required: true
      username:
        description: The user.
        type: str
        required: true
      password:
        description: The user's password or token.
        type: str
        required: true
  resolve_image:
    description:
      - Whether the registry is asked which image a name stands for, so that all nodes run the same. V(never) is for images that are loaded on the nodes.
    type: str
    choices: [always, changed, never]
    default: always
  restart:
    description:
      - Whether replicas are replaced one after the other although nothing has changed, for example since files that they have read are new.
    type: bool
    default: false
  wait_timeout:
    description:
      - How long to wait until all replicas serve, in seconds.
    type: float
    default: 300.0
attributes:
  check_mode:
    description: Tells what would change.
    support: full
  diff_mode:
    description: Shows the definition, but no secret.
    support: full
"""

EXAMPLES = r"""
- name: Deploy the application
  utmstack.ha.swarm_stack:
    name: utmstack
    definition:
      services:
        backend:
          image: utmstack/backend:v10.9.4
          environment:
            DB_PASS_FILE: /run/secrets/DB_PASS
          secrets: [DB_PASS]
          networks: [utmstack]
          deploy:
            replicas: 3
            update_config: {parallelism: 1, delay: 10s, failure_action: rollback}
      networks:
        utmstack: {driver: overlay}
    secrets:
      DB_PASS: "{{ database_password }}"
"""

RETURN = r"""
reasons:
  description: Why the stack was, or in check mode would be, deployed. Empty when nothing changed.
  returned: always
  type: list
  elements: str
  sample: ["utmstack_backend comes from another definition"]
healthy:
  description: Whether all replicas serve.
  returned: always
  type: bool
problems:
  description: What the services lack, as sentences.
  returned: always
  type: list
  elements: str
services:
  description: The services, by name.
  returned: always
  type: dict
  sample: {"utmstack_backend": {"running": 3, "desired": 3, "image": "utmstack/backend:v10.9.4"}}
removed:
  description: Names of old versions of secrets and configs that were removed.
  returned: always
  type: list
  elements: str
seconds:
  description: How long it took, in seconds.
  returned: always
  type: float
"""

import base64
import contextlib
import json
import os
import shutil
import tempfile
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import engine as docker_engine
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import stack as swarm_stack
from ansible_collections.utmstack.ha.plugins.module_utils.swarm.engine import EngineError
from ansible_collections.utmstack.ha.plugins.module_utils.swarm.stack_look import look


def create_versions(engine, stack, kind, contents, present):
    """Create those secrets or configs that are not there yet; `contents` by their full names. Raises EngineError."""
    there = {item["Spec"]["Name"] for item in present}
    for name, content in contents.items():
        if name not in there:
            data = base64.b64encode(content.encode()).decode()
            engine.post(f"/{kind}/create", {"Name": name, "Labels": {swarm_stack.STACK: stack}, "Data": data})


class Stack:
    """One run of the module."""

    def __init__(self, module, engine, clock=time.monotonic, sleep=time.sleep):
        self.module, self.engine, self.params = module, engine, module.params
        self.name = self.params["name"]
        self._clock, self._sleep = clock, sleep
        salt = engine.get("/swarm")["ID"]
        self.contents = {}
        for kind in ("secrets", "configs"):
            self.contents[kind] = {name: str(content) for name, content in self.params[kind].items()}
        self.contents["configs"] |= {name: self._read(path) for name, path in self.params["config_files"].items()}
        self.whole = swarm_stack.compose(self.params["definition"], self.name, *self.contents.values(), salt)
        self.mark = swarm_stack.fingerprint(self.whole)
        self.versions = {
            kind: {self.whole[kind][name]["name"]: content for name, content in contents.items()}
            for kind, contents in self.contents.items()
        }
        kept = f"{self.name}_{swarm_stack.KEPT}_{self.mark}"
        self.versions["configs"][kept] = json.dumps(self.whole, sort_keys=True)

    def _read(self, path):
        """A config's content from a file of this host. Raises EngineError; in check mode a missing file is empty."""
        try:
            with open(path, encoding="utf-8") as file:
                return file.read()
        except OSError as error:
            if self.module.check_mode:
                return ""
            raise EngineError(f"{path} can't be read: {error.strerror}") from error

    def deploy(self, seen):
        """Create what is new and hand the definition to Docker. Raises EngineError."""
        for kind, present in (("secrets", seen.secrets), ("configs", seen.configs)):
            create_versions(self.engine, self.name, kind, self.versions[kind], present)
        definition = swarm_stack.literal(swarm_stack.labelled(self.whole, self.mark))
        home = tempfile.mkdtemp(prefix="ansible-swarm-stack-")
        try:
            command = [self.module.get_bin_path("docker", required=True), "--config", home, "stack", "deploy"]
            command += ["--compose-file", "-", "--prune", "--resolve-image", self.params["resolve_image"]]
            registry = self.params["registry"]
            if registry:
                secret = base64.b64encode(f"{registry['username']}:{registry['password']}".encode()).decode()
                with open(os.open(os.path.join(home, "config.json"), os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                    json.dump({"auths": {registry["url"]: {"auth": secret}}}, file)
                command.append("--with-registry-auth")
            # Newer clients would wait, and give up by a time of their own.
            if "--detach" in self.module.run_command([*command[:1], "stack", "deploy", "--help"])[1]:
                command.append("--detach=true")
            code, out, err = self.module.run_command([*command, self.name], data=json.dumps(definition))
        finally:
            shutil.rmtree(home)
        if code != 0:
            raise EngineError(" ".join((err or out).split()))

    def restart(self, seen):
        """Have all replicas replaced, as fast as the services' own settings say. Raises EngineError."""
        for raw in seen.services.values():
            spec = raw["Spec"]
            template = spec["TaskTemplate"]
            spec = {**spec, "TaskTemplate": {**template, "ForceUpdate": template.get("ForceUpdate", 0) + 1}}
            self.engine.post(f"/services/{raw['ID']}/update?version={raw['Version']['Index']}", spec)

    def wait(self, former):
        """Wait until all replicas serve; returns what was seen last, what is lacking and what has failed for good.

        former: numbers of tasks that were there before. After a failure it goes on until the former definition serves again, so that
        what it tells is how things stay. Raises EngineError where the swarm can't be asked any more, an election in between waited for.
        """
        end = self._clock() + self.params["wait_timeout"]
        failed = []
        while True:
            try:
                seen = look(self.engine, self.name)
            except EngineError:
                if self._clock() > end:
                    raise
                self._sleep(1)
                continue
            lacking, now_failed = swarm_stack.progress(seen, self.mark, former)
            failed = failed or now_failed
            if (now_failed and swarm_stack.settled(seen)) or not (lacking or now_failed) or self._clock() > end:
                return seen, lacking, failed
            self._sleep(1)

    def tidy(self, seen):
        """Remove versions that no service uses or would use after a rollback, and definitions that none comes from.

        Returns their names. What Docker does not give up, since someone else uses it, stays.
        """
        used = swarm_stack.referenced(seen.services)
        keep = {f"{self.name}_{swarm_stack.KEPT}_{mark}" for mark in swarm_stack.marks(seen)}
        removed = []
        for kind, items in (("secrets", seen.secrets), ("configs", seen.configs)):
            for item in swarm_stack.superfluous(items, used, keep):
                with contextlib.suppress(EngineError):
                    self.engine.delete(f"/{kind}/{item['ID']}")
                    removed.append(item["Spec"]["Name"])
        return removed


def run(module, engine):
    """What the module returns. Raises EngineError."""
    stack = Stack(module, engine)
    seen = look(engine, stack.name)
    reasons = swarm_stack.differences(seen, stack.whole, stack.name, stack.mark)
    before = next(
        (found for mark in swarm_stack.marks(seen) if (found := swarm_stack.kept_definition(seen, stack.name, mark))),
        None,
    )
    result = {"reasons": reasons, "removed": [], "problems": []}
    if reasons:
        result["diff"] = {"before": swarm_stack.shown(before), "after": swarm_stack.shown(stack.whole)}
    elif module.params["restart"]:
        reasons.append("the replicas are to be replaced")
    if not module.check_mode:
        if result.get("diff"):
            stack.deploy(seen)
        elif module.params["restart"]:
            stack.restart(seen)
        seen, lacking, failed = stack.wait(
            {task["ID"] for tasks in seen.tasks.values() for task in tasks} if reasons else set()
        )
        result["problems"] = failed + lacking
        if failed:
            result["problems"] += swarm_stack.standing(seen)
        if failed or not lacking:
            result["removed"] = stack.tidy(seen)
    result["services"] = {
        name: {
            "running": (raw.get("ServiceStatus") or {}).get("RunningTasks", 0),
            "desired": (raw.get("ServiceStatus") or {}).get("DesiredTasks", 0),
            "image": raw["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"],
        }
        for name, raw in seen.services.items()
    }
    return {"changed": bool(reasons or result["removed"]), "healthy": not result["problems"], **result}


def main():
    module = AnsibleModule(
        argument_spec={
            **docker_engine.ARGUMENTS,
            "name": {"type": "str", "required": True},
            "definition": {"type": "dict", "required": True},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
            "configs": {"type": "dict", "default": {}},
            "config_files": {"type": "dict", "default": {}},
            "registry": {
                "type": "dict",
                "options": {
                    "url": {"type": "str", "required": True},
                    "username": {"type": "str", "required": True},
                    "password": {"type": "str", "required": True, "no_log": True},
                },
            },
            "resolve_image": {"type": "str", "choices": ["always", "changed", "never"], "default": "always"},
            "restart": {"type": "bool", "default": False},
            "wait_timeout": {"type": "float", "default": 300.0},
        },
        supports_check_mode=True,
    )
    name = module.params["name"]
    start = time.monotonic()
    try:
        result = run(module, docker_engine.Engine.of(module.params))
    except EngineError as error:
        if module.check_mode and "not a swarm manager" in str(error):
            module.exit_json(
                changed=True,
                reasons=["there is no swarm yet"],
                healthy=False,
                problems=[],
                services={},
                removed=[],
                seconds=0.0,
            )
        module.fail_json(msg=f"The stack {name} cannot be deployed: {error}")
    result["seconds"] = round(time.monotonic() - start, 3)
    if result["problems"]:
        module.fail_json(
            msg=f"The stack {name} did not become healthy within {result['seconds']:g} s. {' '.join(result['problems'])}",
            **result,
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
