# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The tasks of roles, playbooks and scenarios as Ansible runs them: under which conditions, and how often a file is reached.

What is imported is part of the file that imports it: the import's condition becomes one of each task, which is skipped by itself and
registers that it was. What is included with a condition that is false leaves nothing. The condition of a block around an include is one of
each task that is included, too: where it becomes false within, the rest is skipped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ansible.module_utils.common.yaml import yaml_load
from checkout import IS_CHECKOUT, ROOT

INCLUDES = tuple(f"ansible.builtin.{how}_{what}" for how in ("include", "import") for what in ("tasks", "role"))
LISTS = ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks")
COLLECTION = "utmstack.ha."


@dataclass(frozen=True)
class Task:
    """A task, the conditions of the blocks around it, and its keywords with those that it inherits of these and of its play."""

    path: Path
    content: dict[str, Any]
    around: tuple[str, ...]
    keywords: dict[str, Any]

    @property
    def conditions(self) -> tuple[str, ...]:
        return self.around + listed(self.content.get("when"))

    @property
    def where(self) -> str:
        return f"{self.path.relative_to(ROOT)}: {self.content.get('name')!r}"


def listed(value: Any) -> tuple[str, ...]:
    """The conditions of a keyword such as `when`."""
    return tuple(str(one) for one in (value if isinstance(value, list) else [] if value is None else [value]))


def tasks_in(
    path: Path, content: Any, around: tuple[str, ...] = (), outer: dict[str, Any] | None = None
) -> Iterator[Task]:
    """Every task, however deep; no blocks, and no plays."""
    for item in content if isinstance(content, list) else []:
        inner = [key for key in LISTS if key in item]
        keywords = (outer or {}) | {key: value for key, value in item.items() if key not in LISTS}
        for key in inner:
            yield from tasks_in(path, item[key], (*around, *listed(item.get("when"))), keywords)
        if not inner and "hosts" not in item:
            yield Task(path, item, around, keywords)


@cache
def files() -> tuple[Path, ...]:
    """All files with tasks."""
    found = [*ROOT.glob("roles/*/tasks/**/*.yml"), *ROOT.glob("playbooks/*.yml"), *ROOT.glob("playbooks/tasks/*.yml")]
    return tuple(sorted([*found, *(ROOT.glob("molecule/*/*.yml") if IS_CHECKOUT else [])]))


@cache
def tasks() -> tuple[Task, ...]:
    return tuple(task for path in files() for task in tasks_in(path, yaml_load(path.read_text())))


@dataclass(frozen=True)
class Way:
    """How a file is reached: by which task, whether that imports it, and the conditions by which each of its tasks is skipped by itself."""

    by: Task
    static: bool
    conditions: tuple[str, ...]


def target(task: Task) -> tuple[Path, bool, Any] | None:
    """The file that a task imports or includes, whether it is an import, and what is to apply to its tasks; none where a variable says which."""
    for key in INCLUDES:
        call = task.content.get(key)
        if call is None:
            continue
        how = {"file": call} if isinstance(call, str) else call
        if key.endswith("_role"):
            role = ROOT / "roles" / how["name"].removeprefix(COLLECTION)
            place = role / "tasks" / f"{how.get('tasks_from', 'main')}.yml"
        else:
            place = task.path.parent / how["file"]
        return (place, "import_" in key, how.get("apply")) if "{{" not in str(place) else None
    return None


@cache
def ways() -> dict[Path, list[Way]]:
    """How each file is reached, by the tasks that name it."""
    found: dict[Path, list[Way]] = {}
    for task in tasks():
        if (to := target(task)) is not None:
            path, static, applied = to
            conditions = task.conditions if static else listed((applied or {}).get("when"))
            found.setdefault(path, []).append(Way(task, static, conditions))
    return found


@cache
def shared_entry_points() -> frozenset[str]:
    """The task files that several roles have for role rolling, which calls them by a variable (docs/role-contract.md)."""
    specs = [yaml_load(path.read_text())["argument_specs"] for path in ROOT.glob("roles/*/meta/argument_specs.yml")]
    names = Counter(name for spec in specs for name in spec)
    return frozenset(name for name, roles in names.items() if roles > 1) - {"main"}


def called_by_variable(path: Path) -> bool:
    return "roles" in path.parts and (path not in ways() or path.stem in shared_entry_points())


@cache
def reached_again(path: Path) -> bool:
    """Whether a file's tasks can run more than once in a play: several tasks name it, or one in a loop, or one of a file that is."""
    to_it = ways().get(path, [])
    again = any("loop" in way.by.content or reached_again(way.by.path) for way in to_it)
    return called_by_variable(path) or len(to_it) > 1 or again


@dataclass(frozen=True)
class Chain:
    """One way to a file: the conditions that skip each of its tasks by itself, and those that hold where any of them runs."""

    skips: frozenset[str] = frozenset()
    holds: frozenset[str] = frozenset()


@cache
def chains(path: Path) -> list[Chain]:
    """All ways to a file, each from a play, or from a call by a variable. What skips a role as a whole is none of its tasks' own."""
    found = [Chain()] if called_by_variable(path) else []
    for way in ways().get(path, []):
        for before in chains(way.by.path):
            of_role = frozenset(way.conditions if "roles" in way.by.path.parts else ())
            skips = before.skips | of_role if way.static else of_role
            found.append(Chain(skips, before.holds | frozenset(way.by.conditions)))
    return found or [Chain()]
