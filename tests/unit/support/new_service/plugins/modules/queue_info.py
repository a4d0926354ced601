#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looks at the brokers of a queue."""

from __future__ import annotations

from ansible_collections.utmstack.ha.plugins.module_utils.operation.info_module import run
from ansible_collections.utmstack.ha.plugins.module_utils.queue import info as ask_queue

if __name__ == "__main__":
    run(ask_queue.QUESTION)
