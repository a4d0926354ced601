# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A restore says that nothing was changed only where that is so: in no task after the first one that changes a host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.utmstack.ha.plugins.module_utils.services.registry import backups
from checkout import ROOT
from task_files import COLLECTION, INCLUDES

TELLS = re.compile(r"\b[Nn]othing was (?:changed|stopped)\b")
# What only looks, asks or tells, and what is kept on the controller.
LOOKS = re.compile(
    r"ansible\.builtin\.(?:assert|debug|fail|meta|pause|set_fact|setup|slurp|stat|import_playbook|tempfile)"
    r"|utmstack\.ha\.(?:\w+_info|\w+_plan|backup_fetch|report|observe|secrets|topology)"
)
# No service is stopped for these, and no data are changed: a host is prepared as by site.yml, a standby follows the leader again.
HARMLESS = (ROOT / "playbooks" / "tasks" / "prepare.yml", ROOT / "roles" / "postgresql" / "tasks" / "follow.yml")
# A rolling change of hosts, by role rolling, is no restore's own.
UNFOLLOWED = ("rolling_entry_point",)
KEYWORDS = {
    "name", "when", "vars", "register", "loop", "loop_control", "run_once", "delegate_to", "become", "changed_when", "failed_when", "check_mode",
    "until", "retries", "delay", "module_defaults", "any_errors_fatal", "ignore_unreachable", "tags", "diff", "notify", "no_log", "args",
    "environment", "async", "poll", "block", "rescue", "always", "delegate_facts", "throttle", "become_user",
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """A task of a run: where it is, what it is, whether it changes a host, and the variables given on the way to it."""

    where: str
    content: dict[str, Any]
    changes: bool
    given: dict[str, Any]


def play_steps(playbook: Path, other: tuple[str, ...]) -> Iterator[Step]:
    """The tasks of a playbook. other: conditions of what another run of it does."""
    for play in yaml.safe_load(playbook.read_text()):
        for part in ("pre_tasks", "tasks", "post_tasks"):
            own = [item for item in play.get(part) or [] if item.get("when") not in other]
            yield from steps(playbook, own, {})


def steps(path: Path, items: list[dict[str, Any]], given: dict[str, Any]) -> Iterator[Step]:
    """The tasks in the order in which they run, with those that they include; of a rescue after all of its block."""
    for item in items:
        known = given | item.get("vars", {})
        for part in ("block", "rescue", "always"):
            yield from steps(path, item.get(part) or [], known)
        if "block" in item:
            continue
        files = list(included(path, item, known))
        for file in files:
            if file not in HARMLESS:
                yield from steps(file, yaml.safe_load(file.read_text()) or [], known)
        if not files:
            yield Step(f"{path.relative_to(ROOT)}: {item['name']!r}", item, changes(item), known)


def included(path: Path, item: dict[str, Any], given: dict[str, Any]) -> Iterator[Path]:
    for key in INCLUDES:
        if key not in item:
            continue
        call = item[key]
        how = {"file": call} if isinstance(call, str) else call
        name = how.get("tasks_from", "main") + ".yml" if key.endswith("_role") else how["file"]
        place = (
            ROOT / "roles" / how["name"].removeprefix(COLLECTION) / "tasks" if key.endswith("_role") else path.parent
        )
        for file in resolved(name, given):
            if (place / file).exists():
                yield place / file


def resolved(name: str, given: dict[str, Any]) -> list[str]:
    """The files that a name with a variable stands for: by what was given for it, or any kind of backup."""
    found = re.search(r"\{\{ (\w+) \}\}", name)
    if not found:
        return [name]
    value = str(given.get(found[1], "{{"))
    if "{{" in value and found[1] in UNFOLLOWED:
        return []
    values = [value] if "{{" not in value else list(backups()) if found[1] == "restore_kind" else []
    assert values, f"{name}: nobody says what {found[1]} is"
    return [name.replace(found[0], one) for one in values]


def changes(item: dict[str, Any]) -> bool:
    (action,) = [key for key in item if key not in KEYWORDS]
    options = item[action] if isinstance(item[action], dict) else {}
    looks = (
        LOOKS.fullmatch(action)
        or item.get("check_mode") is True
        or item.get("changed_when") is False
        or options.get("state") == "planned"
    )
    here = str(item.get("delegate_to", "")) == "localhost"
    return not looks and not here


def false_messages(found: list[Step]) -> list[str]:
    """The tasks that say that nothing was changed after one that has changed something."""
    first = next((place for place, step in enumerate(found) if step.changes), len(found))
    default = yaml.safe_load((ROOT / "roles" / "restore" / "defaults" / "main.yml").read_text())["restore_state"]
    wrong = []
    for step in found[first:]:
        text = str(step.content)
        if "restore_state" in text:
            text += str(step.given.get("restore_state", default))
        if TELLS.search(text):
            wrong.append(f"{step.where}, after {found[first].where}")
    return wrong


PLAYBOOKS = sorted(ROOT.glob("playbooks/restore_*.yml"))
TO, BESIDE, IN_PLACE = (
    "to is defined",
    "to is defined and beside_directory is defined",
    "to is defined and beside_directory is not defined",
)
DATABASE, REMOVE = "database is defined", "remove is defined"
# Of which tasks a run has only some: conditions of the others.
RUNS = {
    "restore_postgresql": [(BESIDE, DATABASE, REMOVE), (IN_PLACE, DATABASE, REMOVE), (TO, BESIDE, IN_PLACE, REMOVE), (TO, BESIDE, IN_PLACE, DATABASE)],
    "restore_etcd": [(REMOVE,)],
    "restore_swarm": [(REMOVE,)],
}  # fmt: skip


@pytest.mark.parametrize(
    ("playbook", "other"),
    [
        pytest.param(path, other, id=f"{path.stem}-{number}")
        for path in PLAYBOOKS
        for number, other in enumerate(RUNS.get(path.stem, [()]))
    ],
)
def test_a_restore_says_that_nothing_was_changed_only_where_that_is_so(playbook, other):
    conditions = {item.get("when") for play in yaml.safe_load(playbook.read_text()) for item in play.get("tasks") or []}
    assert set(other) <= conditions, "a condition of the playbook has changed"
    found = list(play_steps(playbook, other))
    assert any(step.changes for step in found)
    told = [step for step in found if TELLS.search(str(step.content)) or "restore_state" in str(step.content)]
    assert told or playbook.stem in ("restore_config", "restore_copy"), "the test follows no includes"
    assert false_messages(found) == []


def test_a_refusal_after_a_stop_that_denies_it_is_found():
    found = list(
        steps(
            ROOT / "playbooks" / "restore_etcd.yml",
            [
                {"name": "Stop", "ansible.builtin.systemd_service": {"name": "etcd.service", "state": "stopped"}},
                {
                    "name": "Validate",
                    "ansible.builtin.include_role": {"name": "utmstack.ha.restore", "tasks_from": "validate"},
                },
            ],
            {},
        )
    )
    assert len(false_messages(found)) == 1
