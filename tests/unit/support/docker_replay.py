# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plays back what a real Docker engine answered, in place of its socket.

fixtures/docker_VERSION.json has scenes; each is what one engine of a swarm of three said at one moment, path to [status, reply].
A request that changes something is noted and answered with success; then the next of the scenes given holds.
"""

from __future__ import annotations

import json
import urllib.parse
from pathlib import Path

from ansible.module_utils.testing import patch_module_args
from ansible_collections.utmstack.ha.plugins.module_utils.swarm import engine as docker_engine

SCENES = json.loads((Path(__file__).parents[1] / "fixtures" / "docker_26.1.5.json").read_text())["scenes"]


class Server:
    """An engine that goes through the scenes: the next one begins with each change, until the last."""

    def __init__(self, *scenes, refuse=None):
        self._scenes = [SCENES[scene] if isinstance(scene, str) else scene for scene in scenes]
        self._refuse = dict(refuse or {})
        self.changes: list[tuple[str, str, object]] = []

    def request(self, method, target, body, timeout):
        """What docker_engine.local() returns."""
        scene = self._scenes[min(len(self.changes), len(self._scenes) - 1)]
        if method != "GET":
            path = target.split("?")[0]
            for start, answer in self._refuse.items():
                if path.startswith(start) and answer:
                    status, message = answer.pop(0)
                    return status, json.dumps({"message": message}).encode()
            self.changes.append((method, target, json.loads(body) if body else None))
            return 200, b'{"ID": "new"}'
        status, reply = self._answer(scene, target)
        return status, (reply if isinstance(reply, str) else json.dumps(reply)).encode()

    @staticmethod
    def _answer(scene, target):
        if target in scene:
            return scene[target]
        if target.startswith("/nodes/"):
            status, nodes = scene["/nodes"]
            found = [node for node in nodes if node["ID"] == target.removeprefix("/nodes/")] if status == 200 else []
            return (200, found[0]) if found else (404, {"message": "node not found"})
        if target.startswith(("/tasks", "/secrets", "/configs")):
            return 200, []
        raise AssertionError(f"never asked when this was recorded: {urllib.parse.unquote(target)}")

    def engine(self):
        return docker_engine.Engine(self.request)


def run(module, server, monkeypatch, capsys, check=False, **options):
    """Run a module as Ansible does, against the server; returns its answer."""
    monkeypatch.setattr(docker_engine, "local", lambda path: server.request)
    with patch_module_args({"_ansible_check_mode": check, "_ansible_diff": True, **options}):
        try:
            module.main()
        except SystemExit:
            return json.loads(capsys.readouterr().out)
    raise AssertionError("the module did not exit")
