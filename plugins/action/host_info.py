# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the module of the same name, and compares the host's clock with the controller's."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase

from ..module_utils.host.clocks import reading

# A reading that is less exact, in seconds, is repeated once: the connection is open by then.
EXACT_S = 1.0


class ActionModule(ActionBase):
    """The time of asking is only known here."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what the module found, with `clock`."""
        result = super().run(tmp, task_vars)
        sent = time.time()
        result.update(self._execute_module(task_vars=task_vars))
        received = time.time()
        if "time" in result:
            result["clock"] = reading(sent, result["time"], received)
            if result["clock"]["uncertainty_s"] > EXACT_S:
                result["clock"] = min(result["clock"], self._again(), key=lambda one: one["uncertainty_s"])
        return result

    def _again(self) -> dict[str, float]:
        """Return a reading by the shortest question that there is; without an answer, one of no worth."""
        sent = time.time()
        said = self._low_level_execute_command("date +%s.%N", sudoable=False)
        received = time.time()
        try:
            return reading(sent, float(said["stdout"].split()[-1]), received)
        except (IndexError, ValueError):
            return {"offset_s": 0.0, "uncertainty_s": float("inf")}
