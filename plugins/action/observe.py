# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Asks a host by the module of the same name, and keeps what was found also where it can't be reached."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.utmstack.ha.plugins.module_utils.operation.infos import QUESTIONS


class ActionModule(ActionBase):
    """A dead host costs one connection attempt, and stops nothing."""

    _VALID_ARGS = frozenset(("questions",))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return {reachable, error, answers}."""
        result = super().run(tmp, task_vars)
        questions, secrets = {}, {}
        for name, question in self._task.args["questions"].items():
            if len(question) != 1 or not question.keys() <= QUESTIONS.keys():
                known = ", ".join(sorted(QUESTIONS))
                raise AnsibleError(f"question {name} must name exactly one of {known}, not {', '.join(question)}")
            ((module, given),) = question.items()
            # Apart from the rest, so that they are logged nowhere and the rest is.
            secrets[name] = QUESTIONS[module].secrets(given or {})
            open_options = {option: value for option, value in (given or {}).items() if option not in secrets[name]}
            questions[name] = {module: open_options}
        asked = {"questions": questions, "secrets": secrets}
        try:
            answer = self._execute_module(module_args=asked, task_vars=task_vars)
        except AnsibleConnectionFailure as error:
            answer = {"unreachable": True, "msg": " ".join(str(error).split())}
        except AnsibleError as error:
            answer = {"failed": True, "msg": " ".join(str(error).split())}
        found = {"changed": False, "reachable": not answer.get("unreachable"), "error": "", "answers": {}}
        if not found["reachable"]:
            return {**result, **found, "error": answer.get("msg", "")}
        if answer.get("failed"):
            # The host is there and can't run the module. That is an answer, too, and no failure of this task.
            said = {key: value for key, value in answer.items() if key not in ("invocation", "exception")}
            return {**result, **found, "answers": dict.fromkeys(questions, said)}
        return {**result, **answer}
