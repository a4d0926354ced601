# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plays back what real etcd servers answered, in place of the network.

fixtures/etcd_VERSION.json has scenes; each is the exchanges of one run of a module with three members on 127.0.0.11-13:
what was asked of whom, and the reply, or why there was none.
"""

from __future__ import annotations

import io
import json
import urllib.error
from collections import defaultdict
from pathlib import Path

from ansible.module_utils.testing import patch_module_args
from ansible_collections.utmstack.ha.plugins.module_utils.etcd import client as etcd

VERSIONS = ("3.4.23", "3.5.16")
ENDPOINTS = [f"https://127.0.0.1{number}:2379" for number in (1, 2, 3)]
_RECORDINGS = {
    version: json.loads((Path(__file__).parents[1] / "fixtures" / f"etcd_{version}.json").read_text())["scenes"]
    for version in VERSIONS
}


class Server:
    """The members of one scene. The last reply to a question is repeated; a question that was never asked is an error."""

    def __init__(self, version: str, scene: str):
        self.asked: list[tuple[str, str, dict | None]] = []
        self._replies = defaultdict(list)
        for exchange in _RECORDINGS[version][scene]:
            self._replies[self._key(exchange["endpoint"], exchange["path"], exchange["body"])].append(exchange)

    @staticmethod
    def _key(endpoint, path, body):
        return endpoint, path, json.dumps(body, sort_keys=True)

    def open(self, request, timeout):
        """What urllib's opener does."""
        endpoint = request.full_url.removesuffix(request.selector)
        body = json.loads(request.data) if request.data else None
        self.asked.append((endpoint, request.selector, body))
        replies = self._replies[self._key(endpoint, request.selector, body)]
        if not replies:
            raise AssertionError(f"never asked when this was recorded: {endpoint} {request.selector} {body}")
        exchange = replies.pop(0) if len(replies) > 1 else replies[0]
        if "error" in exchange:
            raise urllib.error.URLError(OSError(111, exchange["error"]))
        reply = exchange["reply"]
        data = io.BytesIO((reply if isinstance(reply, str) else json.dumps(reply)).encode())
        if exchange["status"] >= 400:
            raise urllib.error.HTTPError(request.full_url, exchange["status"], "", {}, data)
        return data

    def sent(self, *paths: str) -> list[dict | None]:
        """Bodies of the requests to these paths."""
        return [body for _endpoint, path, body in self.asked if path in paths]


def run(module, server, monkeypatch, capsys, check=False, **options):
    """Run a module as Ansible does, against the server; returns its answer."""
    monkeypatch.setattr(etcd.https, "opener", lambda *files: server.open)
    arguments = {
        "endpoints": ENDPOINTS,
        "username": "root",
        "password": "rootpw",
        "_ansible_check_mode": check,
        "_ansible_diff": True,
        **options,
    }
    with patch_module_args(arguments):
        try:
            module.main()
        except SystemExit:
            return json.loads(capsys.readouterr().out)
    raise AssertionError("the module did not exit")
