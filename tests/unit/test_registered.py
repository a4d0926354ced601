# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a task registers is not replaced by another task, nor by the same one where it is skipped the next time.

A task that is skipped registers that it was, in the place of what an earlier task has found. So a variable is registered by one task only.
Where that one can be skipped by what changes within a run, and its file is reached more than once, what reads the variable elsewhere has
to count with there being no result. What is included, not imported, under a condition registers nothing where the condition is false.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest
from ansible.module_utils.common.yaml import yaml_load
from ansible_collections.utmstack.ha.plugins.module_utils.topology import role_specs
from checkout import ROOT
from expressions import behind_condition, defined
from task_files import Task, chains, listed, reached_again, tasks, ways

# What does not change within a run, beside settings and what a role's files make of them.
CONSTANT = {"ha", "ha_secrets", "groups", "inventory_hostname", "base_bare"}
CONSTANT |= {"ansible_check_mode", "ansible_limit", "ansible_play_hosts", "ansible_play_hosts_all"}
# Variables whose being replaced is what their reader wants, and why.
REPLACED = {
    "restore_answers": "read of the host that has just asked, before it asks again",
    "drill_said_host": "read of the host of the present turn only, where the task has just run",
    "drill_said_controller": "read of the host of the present turn only, where the task has just run",
    "topology_result": "read only where a host has no topology yet, which is what the task is skipped by",
}
READERS = {
    path: path.read_text()
    for pattern in ("roles/*/tasks/*.yml", "roles/*/vars/**/*.yml", "roles/*/templates/**/*", "playbooks/**/*.yml")
    for path in ROOT.glob(pattern)
    if path.is_file()
}


def registering() -> dict[str, list[Task]]:
    """The tasks that register each variable."""
    found = defaultdict(list)
    for task in tasks():
        if "register" in task.content:
            found[task.content["register"]].append(task)
    return found


@cache
def constants() -> frozenset[str]:
    defaults = [yaml_load(path.read_text()) or {} for path in ROOT.glob("roles/*/defaults/*.yml")]
    return frozenset({*CONSTANT, *role_specs.settings(), *(name for one in defaults for name in one)})


@cache
def setters(variable: str) -> list[Task]:
    """The tasks that register or set a variable."""
    return [
        task
        for task in tasks()
        if variable == task.content.get("register") or variable in task.content.get("ansible.builtin.set_fact", {})
    ]


@cache
def may_change(condition: str) -> bool:
    """Whether a condition can be true at one time of a run and false at another, by something that is not set just once."""
    found = behind_condition(condition) - constants() - defined().keys()
    return any(len(setters(name)) != 1 or reached_again(setters(name)[0].path) for name in found)


def skipped_by(task: Task) -> list[str]:
    """The conditions by which a task may be skipped after it was not: those that change, and those that do not hold on all ways to it."""
    always = frozenset(task.conditions) | frozenset.intersection(*(chain.holds for chain in chains(task.path)))
    skips = frozenset(task.conditions).union(*(chain.skips for chain in chains(task.path)))
    return sorted(one for one in skips if one not in always or may_change(one))


def after(path: Path) -> set[Path]:
    """The file, and those whose tasks run after its own only: whoever always calls it, and whom nobody else calls."""
    callers = {
        way.by.path for way in ways().get(path, []) if not any(map(may_change, way.conditions + way.by.conditions))
    }
    callees = {other for other, to_it in ways().items() if all(way.by.path == path for way in to_it)}
    return {path, *callers, *callees}


def reads_carelessly(text: str, variable: str) -> bool:
    """Whether a text reads a variable without counting with there being no result."""
    cared_for = rf"\b{variable}(?:\.\w+)*\s*(?:\| *default\b|is (?:not )?(?:defined|skipped))"
    return bool(re.search(rf"\b{variable}\b", re.sub(cared_for, "", text)))


def fault(variable: str, task: Task) -> str:
    """What is wrong with a variable that one task registers, empty where nothing is."""
    conditions = skipped_by(task)
    if not conditions:
        return ""
    others = [other.where for other in setters(variable) if other is not task]
    if others:
        return f"{variable} is set by {others[0]}, and replaced where {task.where} is skipped by {conditions}"
    if not reached_again(task.path):
        return ""
    mine = after(task.path)
    careless = [path for path, text in READERS.items() if path not in mine and reads_carelessly(text, variable)]
    where = ", ".join(str(path.relative_to(ROOT)) for path in careless)
    return (
        f"{where}: {variable} is no result any more where {task.where} is skipped by {conditions}" if careless else ""
    )


def test_a_variable_is_registered_by_one_task():
    found = registering()
    assert len(found) > 90, "the test looks for tasks in the wrong place"
    several = [f"{name}: {[task.where for task in those]}" for name, those in found.items() if len(those) > 1]
    assert not several, "\n" + "\n".join(several)


def test_what_was_registered_is_not_replaced_by_a_task_that_is_skipped():
    found = {name: fault(name, those[0]) for name, those in registering().items()}
    faults = {name: text for name, text in found.items() if text}
    assert {name: text for name, text in faults.items() if name not in REPLACED} == {}
    assert REPLACED.keys() - faults.keys() == set(), "these need no exception"


def test_a_task_waits_for_its_own_result_and_is_judged_by_it():
    """By another's it would wait for what does not change any more."""
    results, found = registering().keys(), []
    for task in tasks():
        for key in ("until", "failed_when", "changed_when"):
            conditions = [str(one) for one in listed(task.content.get(key))]
            foreign = {name for one in conditions for name in behind_condition(one)} & results - {
                task.content.get("register")
            }
            found += [f"{task.where}: {key} reads {name}" for name in sorted(foreign)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("condition", "changes"),
    [
        ("not ansible_check_mode and ha.etcd.members | length > 1", False),
        ("elasticsearch_snapshot_repositories | length > 0", False),
        ("redis_is_member", False),
        ("rolling_excluded_host is not defined", True),
        ("redis_stopped | length > 0", True),
        ("inventory_hostname == drill_state.target.host", True),
    ],
)
def test_a_condition_changes_by_what_a_run_finds_and_not_by_settings(condition, changes):
    assert may_change(condition) is changes


@pytest.mark.parametrize(
    ("text", "careless"),
    [
        ("{{ etcd_a.leader }}", True),
        ("{{ etcd_a.leader | default('') }}", False),
        ("{{ {} if etcd_a is skipped else 1 }}", False),
        ("{{ etcd_a.b.c | default([]) }} {{ etcd_a.leader }}", True),
        ("hostvars, 'etcd_a'", True),
        ("etcd_all", False),
    ],
)
def test_who_reads_a_result_that_may_not_be_there_says_so(text, careless):
    assert reads_carelessly(text, "etcd_a") is careless


def test_what_is_imported_is_skipped_task_by_task_and_what_is_included_is_not():
    """As PostgreSQL's gate was once, whose being skipped took the place of the status."""
    postgresql = ROOT / "roles" / "postgresql" / "tasks"
    assert {chain.skips for chain in chains(postgresql / "take_back.yml")} == {frozenset({"not ansible_check_mode"})}
    assert {chain.skips for chain in chains(postgresql / "health.yml")} == {frozenset()}
    assert reached_again(postgresql / "health.yml") and not reached_again(postgresql / "run.yml")
