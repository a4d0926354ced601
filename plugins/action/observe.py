# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs information modules on a host and keeps what each said, also where the host can't be reached."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """One task per host instead of one per question: a dead host costs one connection attempt, and stops nothing."""

    _VALID_ARGS = frozenset(("questions",))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return {reachable, error, answers}."""
        result = super().run(tmp, task_vars)
        answers: dict[str, dict[str, Any]] = {}
        known = {"changed": False, "reachable": True, "error": "", "answers": answers}
        for name, question in self._task.args["questions"].items():
            if len(question) != 1:
                raise AnsibleError(f"question {name} must name exactly one module, not {len(question)}")
            ((module, arguments),) = question.items()
            try:
                answer = self._execute_module(module_name=module, module_args=arguments or {}, task_vars=task_vars)
            except AnsibleConnectionFailure as error:
                return {**result, **known, "reachable": False, "error": " ".join(str(error).split())}
            except AnsibleError as error:
                answer = {"failed": True, "msg": " ".join(str(error).split())}
            if answer.get("unreachable"):
                return {**result, **known, "reachable": False, "error": answer.get("msg", "")}
            # A failure among the answers is what was asked for, not a failure of this task.
            answers[name] = {key: value for key, value in answer.items() if key not in ("invocation", "exception")}
        return {**result, **known}
