# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an information module asks: a module of its own, and one of several in the single process of utmstack.ha.observe."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator


class Unanswered(Exception):
    """There is no answer, for the reason given. facts: what is known all the same."""

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.facts = facts


@dataclass(frozen=True)
class Question:
    """arguments and required_together: as AnsibleModule takes them.

    answer: what the module returns, but for `changed`, of the module (for running programs) and its options. It raises
    Unanswered, and never ends the module.
    """

    arguments: dict[str, dict]
    answer: Callable[[AnsibleModule, dict], dict]
    required_together: Sequence[Sequence[str]] = ()

    def run(self) -> None:
        """Be a module that asks just this."""
        module = AnsibleModule(
            argument_spec=self.arguments, required_together=self.required_together, supports_check_mode=True
        )
        try:
            module.exit_json(changed=False, **self.answer(module, module.params))
        except Unanswered as error:
            module.fail_json(msg=str(error), **error.facts)

    def secrets(self, given: dict) -> dict:
        """Those of the options given that must not be logged."""
        return {name: value for name, value in given.items() if self.arguments.get(name, {}).get("no_log")}

    def ask(self, module: AnsibleModule, given: dict) -> dict:
        """What a module of its own would return for these options, with `failed` and `msg` where it would fail."""
        checked = ArgumentSpecValidator(self.arguments, required_together=self.required_together).validate(given)
        if checked.error_messages:
            return {"failed": True, "msg": "; ".join(checked.error_messages)}
        try:
            return {"changed": False, **self.answer(module, checked.validated_parameters)}
        except Unanswered as error:
            return {"failed": True, "msg": str(error), **error.facts}
        except Exception as error:
            # A defect in one question must not cost the answers to the others.
            return {"failed": True, "msg": f"{type(error).__name__}: {error}"}


def wait(look: Callable[[], dict], reached: Callable[[dict, str], bool], given: dict, pause_s: float = 0.3) -> dict:
    """Look until what the option wait_for names is reached, or wait_timeout is over; what was seen last."""
    end = time.monotonic() + given["wait_timeout"]
    found = look()
    while not reached(found, given["wait_for"]) and time.monotonic() < end:
        time.sleep(pause_s)
        found = look()
    return found
