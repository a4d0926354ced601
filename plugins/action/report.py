# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prints a text as it is: a table stays one whatever the settings of the output are."""

from __future__ import annotations

from typing import Any

from ansible import constants as C
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """The result has the text, too, for those who read results."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Print the text, unless the output does, and return it."""
        result = super().run(tmp, task_vars)
        _valid, arguments = self.validate_argument_spec({"text": {"type": "str", "required": True}})
        # The callback of this collection prints it beneath the task's name. Others print the name after it, where skipped tasks are not
        # shown: then the empty line sets it apart.
        if C.DEFAULT_STDOUT_CALLBACK.rpartition(".")[2] != "brief":
            self._display.display("\n" + arguments["text"])
        return {**result, "changed": False, "text": arguments["text"]}
