# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Takes a drill a step further: its state is the fact drill_state, and what a step makes of it is in module_utils/drill/scenario/state.py."""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils.drill.scenario.state import STEPS, changed


class ActionModule(ActionBase):
    """A fact, and nothing registered: a step that is skipped or fails leaves the state as it was."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the new state as a fact."""
        result = super().run(tmp, task_vars)
        spec = {
            "step": {"type": "str", "required": True, "choices": list(STEPS)},
            "seen": {"type": "dict", "default": {}},
        }
        _valid, given = self.validate_argument_spec(spec)
        state = (task_vars or {}).get("ansible_facts", {}).get("drill_state", {})
        try:
            new = changed(state, given["step"], time.time(), given["seen"])
        except ValueError as error:
            raise AnsibleActionFail(f"{error}") from error
        return {**result, "changed": False, "ansible_facts": {"drill_state": new}}
