# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an information module asks: which options it takes, and how it answers. Knows nothing of Ansible."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .deployed import Deployed, Host


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
    deployed: what the component tells for module deployed_info.
    """

    arguments: dict[str, dict]
    answer: Callable[[Any, dict], dict]
    required_together: Sequence[Sequence[str]] = ()
    deployed: Callable[[Host], Deployed] | None = None

    def secrets(self, given: dict) -> dict:
        """Those of the options given that must not be logged."""
        return {name: value for name, value in given.items() if self.arguments.get(name, {}).get("no_log")}


def waiting(*states: str, seconds: float = 30.0) -> dict[str, dict]:
    """The options of a module that may wait for one of these states, by default for so many seconds."""
    return {
        "wait_for": {"type": "str", "choices": ["nothing", *states], "default": "nothing"},
        "wait_timeout": {"type": "float", "default": seconds},
    }


def wait(look: Callable[[], dict], reached: Callable[[dict, str], bool], given: dict, pause_s: float = 0.3) -> dict:
    """Look until what the option wait_for names is reached, or wait_timeout is over; what was seen last."""
    end = time.monotonic() + given["wait_timeout"]
    found = look()
    while not reached(found, given["wait_for"]) and time.monotonic() < end:
        time.sleep(pause_s)
        found = look()
    return found
