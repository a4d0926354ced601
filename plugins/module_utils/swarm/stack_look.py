# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A stack as its swarm has it, asked of a manager."""

from __future__ import annotations

import json
import urllib.parse

from . import stack as swarm_stack
from .engine import Engine


def filtered(path: str, **filters: str) -> str:
    """A path with Docker's filters."""
    return f"{path}?filters=" + urllib.parse.quote(json.dumps({name: [value] for name, value in filters.items()}))


def look(engine: Engine, stack: str) -> swarm_stack.Seen:
    """The stack as the swarm has it. Raises EngineError."""
    in_stack = {"label": f"{swarm_stack.NAMESPACE}={stack}"}
    services = engine.get(filtered("/services", **in_stack) + "&status=true")
    tasks = engine.get(filtered("/tasks", **in_stack)) if services else []
    names = {raw["ID"]: raw["Spec"]["Name"] for raw in services}
    by_service: dict = {}
    for task in tasks:
        by_service.setdefault(names.get(task["ServiceID"]), []).append(task)
    ours = {"label": f"{swarm_stack.STACK}={stack}"}
    return swarm_stack.Seen(
        services={raw["Spec"]["Name"]: raw for raw in services},
        tasks=by_service,
        nodes=engine.get("/nodes"),
        secrets=engine.get(filtered("/secrets", **ours)),
        configs=engine.get(filtered("/configs", **ours)),
    )
