# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Says what a run waits for, while it waits."""

from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: notification
short_description: Show the running task and its hosts during long waits
version_added: 0.1.0
author: The utmstack.ha developers (@utmstack)
description:
  - Modules of this collection wait for a state inside themselves, and print nothing until it has come. This prints a line for each task
    that shows no result for a while, with the hosts that have not answered yet.
  - It changes nothing else, and works with each stdout callback.
options:
  after_s:
    description: After how many seconds without a result the first line is shown. Further ones follow in twice that time.
    type: float
    default: 5
    env:
      - name: UTMSTACK_HA_PROGRESS_AFTER_S
    ini:
      - section: callback_progress
        key: after_s
requirements:
  - enabled in ansible.cfg, C(callbacks_enabled = utmstack.ha.progress)
"""

import threading
import time

from ansible.plugins.callback import CallbackBase


class Waiting:
    """What is waited for. Events come from Ansible's thread, the question from the one that prints."""

    def __init__(self, after_s: float):
        self.after_s = after_s
        self.hosts: list[str] = []
        self.name = ""
        self.began = self.shown = 0.0
        self.times = 0

    def start(self, name: str, now: float) -> None:
        """A task begins, on hosts that are told by `add`."""
        self.hosts = []
        self.name, self.began = name, now
        self.seen(now)

    def add(self, host: str) -> None:
        """A host begins the task."""
        self.hosts = [*self.hosts, host]

    def end(self, host: str, now: float) -> None:
        """A host has ended it."""
        self.hosts = [one for one in self.hosts if one != host]
        self.seen(now)

    def seen(self, now: float) -> None:
        """Something was printed by others."""
        self.shown, self.times = now, 0

    def line(self, now: float) -> str:
        """What is to be printed now, or nothing."""
        hosts = self.hosts
        if not hosts or now - self.shown < self.after_s * (2 if self.times else 1):
            return ""
        self.shown, self.times = now, self.times + 1
        return f"    ... {self.name}: running for {now - self.began:.0f} s on {', '.join(hosts)}"


class CallbackModule(CallbackBase):
    """Ansible's events, and a thread that looks at the clock."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "utmstack.ha.progress"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._ended = threading.Event()
        self._waiting = Waiting(0)

    def v2_playbook_on_start(self, playbook):
        self._waiting = Waiting(self.get_option("after_s"))
        # Ansible holds the lock of its display while it forks, so another thread may print.
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        while not self._ended.wait(min(1, self._waiting.after_s / 5)):
            line = self._waiting.line(time.monotonic())
            if line:
                self._display.display(line)

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._waiting.start(task.get_name().strip(), time.monotonic())

    def v2_playbook_on_handler_task_start(self, task):
        self._waiting.start(task.get_name().strip(), time.monotonic())

    def v2_runner_on_start(self, host, task):
        self._waiting.add(host.get_name())

    def _host_ended(self, result):
        self._waiting.end(result.host.get_name(), time.monotonic())

    def v2_runner_on_ok(self, result):
        self._host_ended(result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._host_ended(result)

    def v2_runner_on_unreachable(self, result):
        self._host_ended(result)

    def v2_runner_on_skipped(self, result):
        self._host_ended(result)

    def v2_runner_item_on_ok(self, result):
        self._waiting.seen(time.monotonic())

    def v2_runner_item_on_failed(self, result):
        self._waiting.seen(time.monotonic())

    def v2_playbook_on_stats(self, stats):
        self._ended.set()
