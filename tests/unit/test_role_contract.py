# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""docs/role-contract.md lists the task files that playbooks and other roles call, and no others; what it names exists and is in their argument specs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.utmstack.ha.plugins.module_utils.services.registry import SERVICES, backups, leaderships

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "role-contract.md"
COLLECTION = "utmstack.ha."
INCLUDES = ("ansible.builtin.include_role", "ansible.builtin.import_role")
ROLL = {"health", "drain", "undrain"}
SPECS = {
    path.parts[-3]: yaml.safe_load(path.read_text())["argument_specs"]
    for path in ROOT.glob("roles/*/meta/argument_specs.yml")
}
# Role and task file of a call whose role is a variable: what the variable can be is computed below.
BY_VARIABLE = {
    "{{ rolling_role }}": {*ROLL, "{{ rolling_entry_point }}"},
    "{{ rolling_switchover.role }}": {"health", "switchover"},
    "utmstack.ha.{{ rolling_host_service }}": {*ROLL, "hold", "release"},
    "utmstack.ha.{{ service_role }}": {"retire"},
}
# Verbs of whole hosts that the filter `operation_plan` passes on as they are; maintenance.yml includes the file `maintenance` by its name.
WHOLE_HOST = "reboot"


def blocks(content: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a file: plays, blocks, tasks."""
    if isinstance(content, dict):
        yield content
    for item in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from blocks(item)


def calls() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every call of a role: its name, the task file, the task."""
    for path in [*ROOT.glob("playbooks/*.yml"), *ROOT.glob("playbooks/tasks/*.yml"), *ROOT.glob("roles/*/tasks/*.yml")]:
        for block in blocks(yaml.safe_load(path.read_text())):
            for include in INCLUDES:
                if include in block:
                    yield block[include]["name"], block[include].get("tasks_from", "main"), block
            for role in block.get("roles", []) if "hosts" in block else []:
                yield role if isinstance(role, str) else role["role"], "main", block


def words(expression: str) -> set[str]:
    """The values of an expression: those in quotes of one with a condition, else the text itself."""
    return {expression} if "{{" not in expression else set(re.findall(r"'(\w+)'", expression))


def called() -> set[tuple[str, str]]:
    """Role and task file of every call, with all values that a variable role or file can have."""
    found = {(name.removeprefix(COLLECTION), file) for name, file, _task in calls() if "{{" not in name}
    for service in SERVICES.values():
        found |= {(service.role, file) for file in ("health", service.restart, service.upgrade)}
        found |= {(service.role, file) for file in ROLL if service.drain}
    for role in (service.role for service in leaderships().values()):
        found |= {(role, "health"), (role, "switchover")}
    # Roles that take their own hosts through the loop.
    for name, file, task in calls():
        given = task.get("vars", {})
        if (name, file) == (f"{COLLECTION}rolling", "loop") and "{{" not in given["rolling_role"]:
            files = words(given.get("rolling_entry_point", "restart")) | (
                ROLL if given.get("rolling_drain", True) else {"health"}
            )
            found |= {(given["rolling_role"].removeprefix(COLLECTION), file) for file in files}
    found |= {("rolling", file) for file in (*ROLL, WHOLE_HOST)}
    found |= {(service.role, file) for service in SERVICES.values() for file in service.whole_host}
    return found


def rows() -> list[list[str]]:
    """The cells of the page's tables of entry points."""
    lines = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.+?) \|$", PAGE.read_text(), re.M)
    return [list(line) for line in lines]


def test_the_page_lists_what_is_called_and_nothing_else():
    listed = {(role, file) for role, files, *_rest in rows() for file in re.findall(r"`(\w+)`", files)}
    assert {"not listed": called() - listed, "not called": listed - called()} == {
        "not listed": set(),
        "not called": set(),
    }


@pytest.mark.parametrize("role,file", sorted(called()))
def test_what_is_called_exists(role, file):
    assert (ROOT / "roles" / role / "tasks" / f"{file}.yml").is_file()


def test_no_call_by_a_variable_is_overlooked():
    by_variable = {(name, file) for name, file, _task in calls() if "{{" in name}
    assert by_variable == {(name, file) for name, files in BY_VARIABLE.items() for file in files}


def of_kinds(name: str) -> set[str]:
    """The task files that a name stands for: KIND in it is each kind of backup."""
    return {name.replace("KIND", kind) for kind in backups()}


@pytest.mark.parametrize(
    "page",
    [path for path in sorted(ROOT.glob("roles/*/README.md")) if "| task file |" in path.read_text()],
    ids=lambda path: path.parent.name,
)
def test_the_table_of_a_role_has_each_of_its_task_files(page):
    table = re.search(r"^\| task file .*?(?:\n\n|\Z)", page.read_text(), re.M | re.S)[0]
    named = set(re.findall(r"`(\w+)(?:\.yml)?`", table))
    files = {path.stem for path in page.parent.glob("tasks/*.yml")} - {"main"}
    assert files - {file for name in named for file in of_kinds(name)} == set()
    listed = re.findall(r"`(\w+)\.yml`", table)
    assert [name for name in listed if not of_kinds(name) & (files | {"main"})] == []


@pytest.mark.parametrize("kind", [kind for kind, one in backups().items() if one.store])
def test_a_kind_that_restore_all_restores_has_its_files(kind):
    files = {f"{kind}_plan": True, kind: True, f"{kind}_fetch": backups()[kind].files}
    assert {file: (ROOT / "roles" / "restore" / "tasks" / f"{file}.yml").is_file() for file in files} == files


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row[0]}: {row[1]}")
def test_a_variable_that_the_page_names_is_used_by_that_role(row):
    role, _files, takes, leaves = row
    text = "\n".join(path.read_text() for path in (ROOT / "roles" / role).rglob("*.yml"))
    names = re.findall(r"`([a-z]+_\w+)`", takes + leaves)
    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []


@pytest.mark.parametrize("role", sorted({service.role for service in SERVICES.values()}))
def test_what_a_host_itself_lacks_is_no_reason_against_its_own_step(role):
    tasks = ROOT / "roles" / role / "tasks"
    files = [tasks / "health.yml", ROOT / "roles" / role / "vars" / "main.yml"]
    assert any("rolling_excluded_host" in file.read_text() for file in files if file.exists())


def spec(role: str, file: str) -> dict[str, Any]:
    """The argument spec of an entry point; that of the topology's `main` has another name, of which it tells the reason."""
    return SPECS[role]["settings" if (role, file) == ("topology", "main") else file]


def test_each_entry_point_has_an_argument_spec_and_nothing_else_has():
    listed = {(role, file) for role, files, *_rest in rows() for file in re.findall(r"`(\w+)`", files)}
    assert {(role, file) for role, specs in SPECS.items() for file in specs} == listed - {("topology", "main")}


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row[0]}: {row[1]}")
def test_argument_specs_have_the_variables_that_the_page_names(row):
    role, files, *cells = row
    specs = {file: spec(role, file) for file in re.findall(r"`(\w+)`", files)}
    takes, leaves = (set(re.findall(r"`([a-z]+_\w+)`", cell)) - set(SPECS[role]) for cell in cells)
    options = {name for one in specs.values() for name in one.get("options", {})}
    if specs.keys() & {"main", "settings"}:
        # Their options are settings, which are in docs/settings.md.
        assert takes <= options
    else:
        assert takes == options
        described = " ".join(text for one in specs.values() for text in one["description"])
        assert [name for name in leaves if f"C({name})" not in described] == []


def test_a_variable_is_described_alike_by_all_roles_that_take_it():
    seen: dict[str, list[Any]] = {}
    for specs in SPECS.values():
        options = {}
        for file, one in specs.items():
            options.update(one.get("options", {}) if file not in ("main", "settings") else {})
        for name, option in options.items():
            seen.setdefault(name, []).append(option)
    assert [name for name, options in seen.items() if any(option != options[0] for option in options)] == []


@pytest.mark.parametrize(
    "role,file,task",
    [
        (name.removeprefix(COLLECTION), file, task)
        for name, file, task in calls()
        if "{{" not in name and "roles" not in task
    ],
    ids=lambda value: value if isinstance(value, str) else value["name"],
)
def test_a_call_gives_what_the_entry_point_takes(role, file, task):
    options, given = spec(role, file).get("options", {}), set(task.get("vars", {}))
    # The loop's files get what its caller gives, too.
    passed_on = {name for specs in SPECS.values() for name in specs.get("health", {}).get("options", {})}
    assert given <= set(options) | (passed_on if (role, file) == ("rolling", "loop") else set())
    # What is a mapping was left by another entry point.
    assert {name for name, one in options.items() if one.get("required") and one["type"] != "dict"} <= given


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("roles/*/tasks/*.yml")), ids=lambda path: f"{path.parts[-3]}: {path.stem}"
)
def test_calls_by_a_role_cost_no_check_at_run_time(path):
    """Roles rolling and status are called a few times in a run, some with what a person gave."""
    for task in blocks(yaml.safe_load(path.read_text())):
        for call in (task[include] for include in INCLUDES if include in task):
            if call["name"] not in (f"{COLLECTION}rolling", f"{COLLECTION}status"):
                assert call.get("rolespec_validate") is False, task["name"]


def test_nobody_waits_for_a_variable_that_the_loop_and_the_plan_no_longer_set():
    """One that is only asked whether it is defined would be missed by nobody."""
    former = re.compile(
        r"\b(?:roll_(?:host|without|role|verb|order|drain|again)|operation_(?:state|seen|answers|verb|since|hosts|todo))\b"
    )
    paths = [
        *ROOT.glob("roles/**/*.yml"),
        *ROOT.glob("playbooks/**/*.yml"),
        *ROOT.glob("tests/**/*.yml"),
        *ROOT.glob("docs/*.md"),
    ]
    paths += [path for path in ROOT.glob("tests/**/*.py") if path != Path(__file__).resolve()]
    found = {str(path.relative_to(ROOT)): former.findall(path.read_text()) for path in paths if path.is_file()}
    assert {path: names for path, names in found.items() if names} == {}
