# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible's default output without what says nothing to an operator, and with tables beneath the task that shows them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: brief
type: stdout
short_description: Show Ansible's default output without lines about included files
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - The default output, except that a task which only includes others is not shown unless it fails, or unless C(-v) is given.
  - What M(utmstack.ha.report) prints comes after the name of its task. With other output plugins it comes before, where skipped tasks are hidden.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - set as C(stdout_callback)
"""

from ansible.playbook.task_include import TaskInclude
from ansible.plugins.callback.default import CallbackModule as Default


class CallbackModule(Default):
    """Ansible's events. What is not here is the default's."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "utmstack.ha.brief"

    def v2_playbook_on_include(self, included_file):
        if self._display.verbosity:
            super().v2_playbook_on_include(included_file)

    def v2_runner_on_ok(self, result):
        if self._display.verbosity or not isinstance(result.task, TaskInclude):
            super().v2_runner_on_ok(result)
        if result.task.action == "utmstack.ha.report":
            self._display.display("\n" + result.result["text"])
