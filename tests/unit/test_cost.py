# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every task of every host would pay for is paid for once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# As the strategies of Ansible do before they fork, by which all tasks have it.
LOADED = """
import gc, sys
sys.path.insert(0, sys.argv[1])
import conftest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import action_loader, init_plugin_loader, lookup_loader
from ansible.template import Templar, trust_as_template
init_plugin_loader()
action_loader.get("utmstack.ha.topology", class_only=True)
before = set(sys.modules)
# What a task does in its own process.
task = Templar(loader=DataLoader(), variables={"hosts": {"node1": {}}})
assert task.template(trust_as_template("{{ hosts | combine({'node2': {}}) | list | utmstack.ha.by_host({'node1': {}, 'node2': {}}, 'x', default=1) }}"))
assert task.evaluate_conditional(trust_as_template("hosts | length > 0 and 'node1' is match('node')"))
action_loader.get("ansible.builtin.normal", class_only=True)
for name in ("file", "template"):
    lookup_loader.get(f"ansible.builtin.{name}", class_only=True)
print(*gc.get_threshold())
print(*set(sys.modules) - before)
print(*(name for name in before if name.startswith("ansible_collections.utmstack.ha.plugins.filter.")))
"""


@pytest.fixture(scope="module")
def process() -> list[list[str]]:
    """Of the process that tasks are forked from: when garbage is looked for, what a task has to load itself, and the filters that are there."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(ROOT / "tests" / "unit")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.split() for line in done.stdout.split("\n")]


def test_the_process_that_all_tasks_are_forked_from_has_the_filters(process):
    """Each task that needs one compiled all of them again: 0.2 s, on each host."""
    loaded = {name.rpartition(".")[2] for name in process[2]}
    assert loaded == {path.stem for path in (ROOT / "plugins" / "filter").glob("*.py")}


def test_a_task_loads_nothing_that_other_tasks_load_as_well(process):
    """Ansible's own filters, tests, lookups and its usual action: some 15 ms of each task with a condition, on each host."""
    assert not process[1]


def test_tasks_do_not_look_for_garbage_all_the_time(process):
    """A third of the time in which Ansible puts a module together. It is still looked for, so a long run does not grow."""
    assert int(process[0][0]) >= 50_000
    assert all(int(rounds) > 0 for rounds in process[0])
