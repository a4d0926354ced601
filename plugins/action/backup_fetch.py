# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Puts together on the controller what the module of the same name reads on the host, part by part."""

from __future__ import annotations

import base64
import hashlib
import os
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

PART = 16 * 1024 * 1024


class ActionModule(ActionBase):
    """Files are written for their owner alone, and only those of the given names."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fetch all files, and return how many bytes they had. Raises AnsibleActionFail where one is not what the record says."""
        result = super().run(tmp, task_vars)
        _valid, arguments = self.validate_argument_spec(
            {
                "path": {"type": "path", "required": True},
                "files": {"type": "dict", "required": True},
                "dest": {"type": "path", "required": True},
            }
        )
        if self._task.check_mode:
            return {**result, "changed": False, "fetched_bytes": 0}
        total = 0
        for name, wanted in arguments["files"].items():
            parts = os.path.normpath(name).split(os.sep)
            if os.path.isabs(name) or os.pardir in parts:
                raise AnsibleActionFail(
                    f"{name} is outside of the backup's directory. The record is not to be trusted."
                )
            target = os.path.join(arguments["dest"], name)
            os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
            found, size = self._fetch(arguments["path"], name, target, task_vars)
            total += size
            if found != wanted:
                raise AnsibleActionFail(
                    f"{os.path.join(arguments['path'], name)} has the SHA-256 {found}, and its record says {wanted}: this backup is damaged. "
                    "Take another one; playbooks/status.yml shows them."
                )
        return {**result, "changed": True, "fetched_bytes": total}

    def _fetch(self, path: str, name: str, target: str, task_vars: dict[str, Any] | None) -> tuple[str, int]:
        """Write one file; return its SHA-256 and its size."""
        digest, size = hashlib.sha256(), 0
        with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            while True:
                asked = {"path": path, "files": {name: ""}, "offset": size, "length": PART}
                answer = self._execute_module("utmstack.ha.backup_fetch", asked, task_vars=task_vars)
                if answer.get("failed"):
                    raise AnsibleActionFail(str(answer.get("msg", "")))
                part = base64.b64decode(answer["part"])
                file.write(part)
                digest.update(part)
                size += len(part)
                if len(part) < PART:
                    return digest.hexdigest(), size
