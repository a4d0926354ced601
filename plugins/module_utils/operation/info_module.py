# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A question as a module of its own, and as one of several in the single process of utmstack.ha.observe."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ..common.info import Question, Unanswered


def run(question: Question) -> None:
    """Be a module that asks just this."""
    module = AnsibleModule(
        argument_spec=question.arguments, required_together=question.required_together, supports_check_mode=True
    )
    try:
        module.exit_json(changed=False, **question.answer(module, module.params))
    except Unanswered as error:
        module.fail_json(msg=str(error), **error.facts)


def ask(question: Question, module: AnsibleModule, given: dict) -> dict:
    """What a module of its own would return for these options, with `failed` and `msg` where it would fail."""
    checked = ArgumentSpecValidator(question.arguments, required_together=question.required_together).validate(given)
    if checked.error_messages:
        return {"failed": True, "msg": "; ".join(checked.error_messages)}
    try:
        return {"changed": False, **question.answer(module, checked.validated_parameters)}
    except Unanswered as error:
        return {"failed": True, "msg": str(error), **error.facts}
    except Exception as error:
        # A defect in one question must not cost the answers to the others.
        return {"failed": True, "msg": f"{type(error).__name__}: {error}"}
