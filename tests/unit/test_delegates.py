# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A dry run on bare hosts skips the services' tasks, and Ansible still computes where each would run: that must not fail."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from role_templates import role_variables

ROOT = Path(__file__).resolve().parents[2]


def tasks(content: Any) -> Iterator[dict[str, Any]]:
    for item in content if isinstance(content, list) else []:
        yield item
        for key in ("block", "rescue", "always"):
            yield from tasks(item.get(key))


def delegated() -> list[tuple[str, dict[str, Any]]]:
    """Each task that names its host by an expression, with its role."""
    return [
        (path.parts[-3], task)
        for path in sorted(ROOT.glob("roles/*/tasks/**/*.yml"))
        for task in tasks(yaml.safe_load(path.read_text()))
        if "{{" in str(task.get("delegate_to", ""))
    ]


def reached(text: str, known: dict[str, Any], seen: set[str]) -> Iterator[str]:
    """The expression, and those of all variables that it is made of."""
    yield text
    for name in set(re.findall(r"\w+", text)) & known.keys() - seen:
        yield from reached(str(known[name]), known, seen | {name})


@pytest.mark.parametrize(
    ("role", "task"), delegated(), ids=lambda value: value if isinstance(value, str) else value["name"]
)
def test_where_a_task_runs_can_be_computed_before_anything_was_found(role, task):
    variables = ROOT / "roles" / role / "vars"
    known = (role_variables(role) if variables.exists() else {}) | task.get("vars", {})
    for text in reached(task["delegate_to"], known, set()):
        for call in re.findall(r"by_host\(([^()]*)\)", text):
            assert "default=" in call, text
