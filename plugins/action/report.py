# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prints a text as it is: a table stays one whatever the settings of the output are."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """The result has the text, too, for those who read results."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Print the text and return it."""
        result = super().run(tmp, task_vars)
        _valid, arguments = self.validate_argument_spec({"text": {"type": "str", "required": True}})
        # Where skipped tasks are not shown, the task's name is printed after it: then the empty line sets it apart.
        self._display.display("\n" + arguments["text"])
        return {**result, "changed": False, "text": arguments["text"]}
