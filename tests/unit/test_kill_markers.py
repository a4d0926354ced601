# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The tests that kill a run at a task name one that there is: otherwise they wait for the whole run and fail at its end."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
from checkout import ROOT

TESTS = sorted([*ROOT.glob("tests/testinfra/**/test_*.py"), *ROOT.glob("molecule/*/test_*.py")])
# As a run prints it: "etcd : Start etcd".
TASKS = [
    f"{path.parts[len(ROOT.parts) + 1]} : {name}"
    for path in ROOT.glob("roles/*/tasks/*.yml")
    for name in re.findall(r"- name: [\"']?(.*?)[\"']?$", path.read_text(), re.MULTILINE)
]


def values_of(parameter: str, function: ast.FunctionDef, constants: dict[str, ast.expr]) -> list[str]:
    """What a parameter of a test is given, or a loop in it goes through: a list of the file by its name."""
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.literal_eval(decorator.args[0]) == parameter:
            return ast.literal_eval(decorator.args[1])
    for loop in ast.walk(function):
        if isinstance(loop, ast.For) and getattr(loop.target, "id", "") == parameter:
            for name in ast.walk(loop.iter):
                if isinstance(name, ast.Name) and name.id in constants:
                    return ast.literal_eval(constants[name.id])
    raise AssertionError(f"{function.name} kills at {parameter}, of which this test does not find the values")


def markers() -> Iterator[tuple[str, str]]:
    """The file of each test that kills a run, and the pattern of the task."""
    for path in TESTS:
        file = ast.parse(path.read_text())
        lists = (
            one for one in file.body if isinstance(one, ast.Assign) and isinstance(one.value, ast.List | ast.Tuple)
        )
        constants = {one.targets[0].id: one.value for one in lists if isinstance(one.targets[0], ast.Name)}
        for function in ast.walk(file):
            for call in ast.walk(function) if isinstance(function, ast.FunctionDef) else ():
                if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "kill_when":
                    marker = call.args[0].args[0]
                    given = (
                        [marker.value]
                        if isinstance(marker, ast.Constant)
                        else values_of(marker.id, function, constants)
                    )
                    yield from ((path.name, pattern) for pattern in given)


@pytest.mark.parametrize(("file", "pattern"), sorted(set(markers())))
def test_a_run_is_killed_at_a_task_that_there_is(file, pattern):
    # Each of the names that a pattern offers.
    for name in pattern.split("|"):
        assert any(re.search(name, task) for task in TASKS), f"{file}: no task is named {name!r}"
