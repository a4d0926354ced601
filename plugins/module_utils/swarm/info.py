# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a swarm is, asked of the engine of this host."""

from __future__ import annotations

from ..common.info import Question, wait, waiting
from . import cluster as swarm
from . import deployed
from . import engine as docker_engine

MEMBER = {
    "name": {"type": "str", "required": True},
    "address": {"type": "str", "required": True},
    "role": {"type": "str", "choices": ["manager", "worker"], "required": True},
    "availability": {"type": "str", "choices": ["active", "pause", "drain", ""], "default": ""},
    "labels": {"type": "dict"},
}


def reached(found: dict, goal: str) -> bool:
    """Whether the swarm is as far as the caller waits for."""
    return goal == "nothing" or (goal == "leader" and swarm.led(found)) or (goal == "healthy" and found["healthy"])


def look(engine: docker_engine.Engine, given: dict) -> dict:
    """The state of the swarm and, where asked for, of its services."""
    found = swarm.look(engine, given["unlock_key"])
    problems = swarm.assess(found, given["expected_members"], given["without"], given["services"])
    problems += swarm.lacking(found, given["expected_services"], given["replicas_away"])
    binding = given["gateway_binding"]
    wrong = bool(binding) and found["gateway"] is not None and found["gateway"]["binding"] != binding
    return {**found, "gateway_wrong": wrong, "problems": problems, "healthy": not problems}


def answer(_module, given: dict) -> dict:
    engine = docker_engine.Engine.of(given)
    return wait(lambda: look(engine, given), reached, given, 0.5)


QUESTION = Question(
    {
        **docker_engine.ARGUMENTS,
        "expected_members": {"type": "list", "elements": "dict", "default": [], "options": MEMBER},
        "without": {"type": "list", "elements": "str", "default": []},
        "services": {"type": "bool", "default": False},
        "expected_services": {"type": "list", "elements": "str", "default": []},
        "replicas_away": {"type": "int", "default": 0},
        "unlock_key": {"type": "str", "default": "", "no_log": True},
        "gateway_binding": {"type": "str", "default": ""},
        **waiting("leader", "healthy", seconds=60.0),
    },
    answer,
    deployed=deployed.look,
)
