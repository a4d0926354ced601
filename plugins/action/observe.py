# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Asks a host by the module of the same name, and keeps what was found also where it can't be reached."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.utmstack.ha.plugins.module_utils.questions import QUESTIONS


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
        unreached = {"changed": False, "reachable": False, "answers": {}}
        asked = {"questions": questions, "secrets": secrets}
        try:
            answer = self._execute_module(module_args=asked, task_vars=task_vars)
        except AnsibleConnectionFailure as error:
            return {**result, **unreached, "error": " ".join(str(error).split())}
        if answer.get("unreachable"):
            return {**result, **unreached, "error": answer.get("msg", "")}
        return {**result, **answer}
