# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Locks a host by the module of the same name, as the run of Ansible that this is, and takes the place of one that died here."""

from __future__ import annotations

import os
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.utmstack.ha.plugins.module_utils.drill.fault.lock import dead, holder_of


class ActionModule(ActionBase):
    """Whether another run is still alive is known on its controller only, so it is looked at here."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what the module returns."""
        result = super().run(tmp, task_vars)
        given = dict(self._task.args)
        # A task runs in a process of its own, whose parent is the run.
        given["holder"] = {**holder_of(os.getppid()), "doing": given.pop("doing", "")}
        answer = self._execute_module(module_args=given, task_vars=task_vars)
        held = answer.get("holder")
        if not answer.get("mine", True) and held and not given.get("again") and dead(held):
            answer = self._execute_module(module_args={**given, "instead_of": held["id"]}, task_vars=task_vars)
        return {**result, **answer}
