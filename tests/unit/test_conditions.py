# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A condition over several tasks or hosts holds for all of them.

Ansible asks the condition of a block, or of an import, again before each task in it, also before those that the block includes: where one
of them changes what the condition reads, the rest is skipped and nobody is told. And it asks that of a task with run_once on the first host
only: where that one's answer is no, the task runs nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.yaml import yaml_load
from checkout import ROOT
from expressions import behind, behind_condition, defined
from task_files import LISTS, Task, chains, files, listed, target, tasks, tasks_in

# A condition of one host: its name, or what the topology has for it.
OF_ONE_HOST = re.compile(r"\binventory_hostname\b|\bha\.host\.")


@dataclass(frozen=True)
class Scope:
    """Tasks with a condition around them, and the variables that are given with it."""

    where: str
    conditions: tuple[str, ...]
    given: dict[str, Any]
    tasks: list[Task]


def with_callees(task: Task, seen: tuple[Path, ...] = ()) -> Iterator[Task]:
    """A task and all those that it imports or includes by name."""
    yield task
    called = target(task)
    if called is not None and called[0] not in seen:
        for other in tasks():
            if other.path == called[0]:
                yield from with_callees(other, (*seen, other.path))


def scopes(path: Path, content: Any) -> Iterator[Scope]:
    """The blocks and imports with a condition."""
    for item in content if isinstance(content, list) else []:
        inner = [key for key in LISTS if key in item]
        imports = any(key.startswith("ansible.builtin.import_") for key in item)
        if "when" in item and (inner or imports):
            within = [task for key in inner for task in tasks_in(path, item[key])] or [Task(path, item, (), {})]
            found = [other for task in within for other in with_callees(task)]
            yield Scope(f"{path}: {item['name']!r}", listed(item["when"]), item.get("vars", {}), found)
        for key in inner:
            yield from scopes(path, item[key])


def sets(task: Task) -> set[str]:
    return {*task.content.get("ansible.builtin.set_fact", {}), *listed(task.content.get("register"))}


def changed_within(scope: Scope) -> list[str]:
    """Which tasks of a scope change what its condition reads."""
    reads = {name for condition in scope.conditions for name in behind_condition(condition)}
    reads |= {name for variable in reads & scope.given.keys() for name in behind(str(scope.given[variable]))}
    return [f"{scope.where}: {name} is set by {task.where}" for task in scope.tasks for name in reads & sets(task)]


def test_no_task_changes_the_condition_that_it_is_under():
    found = [scope for path in files() for scope in scopes(path, yaml_load(path.read_text()))]
    assert len(found) > 30, "the test looks for blocks and imports in the wrong place"
    assert [fault for scope in found for fault in changed_within(scope)] == []


@pytest.mark.parametrize(
    ("condition", "faults"),
    [("not etcd_done | default(false)", 1), ("etcd_wanted", 1), ("ha.etcd.members | length > 1", 0)],
)
def test_a_block_whose_condition_becomes_false_within_is_found(condition, faults):
    block = {
        "name": "Do it once",
        "when": condition,
        "vars": {"etcd_wanted": "{{ etcd_done is not defined }}"},
        "block": [
            {"name": "Look", "ansible.builtin.include_tasks": "look.yml"},
            {"name": "Note", "ansible.builtin.set_fact": {"etcd_done": True}},
        ],
    }
    (scope,) = scopes(ROOT / "roles/etcd/tasks/main.yml", [block])
    assert {"etcd_plan", "etcd_cluster"} <= {name for task in scope.tasks for name in sets(task)}
    assert len(changed_within(scope)) == faults


def asks_one_host(condition: str, results: set[str]) -> bool:
    """Whether another host might answer otherwise: by its name, or by what it has registered itself."""
    names = behind_condition(condition)
    texts = [condition, *(defined()[name] for name in names & defined().keys())]
    return bool(names & results) or any(OF_ONE_HOST.search(text) for text in texts)


def test_what_runs_once_does_not_depend_on_the_first_host():
    once = [task for task in tasks() if task.keywords.get("run_once")]
    assert len(once) > 100, "the test looks for tasks in the wrong place"
    of_each = {
        name for task in tasks() if not task.keywords.get("run_once") for name in listed(task.content.get("register"))
    }
    found = []
    for task in once:
        skips = {condition for chain in chains(task.path) for condition in chain.skips}
        found += [f"{task.where}: {one}" for one in {*task.conditions, *skips} if asks_one_host(one, of_each)]
    assert found == []


@pytest.mark.parametrize(
    ("condition", "one"),
    [
        ("inventory_hostname == etcd_plan.host", True),
        ("'redis' in ha.host.groups", True),
        ("redis_freshness.state == 'stopped'", True),
        ("redis_is_member", True),
        ("redis_stopped | length > 0", False),
        ("ha.redis.members | length > 1", False),
    ],
)
def test_a_condition_of_one_host_is_told_from_one_of_all(condition, one):
    assert asks_one_host(condition, {"redis_freshness"}) is one
