# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prepares the process that all tasks of a run are forked from, where it is imported.

Every task of every host is a process of its own. What it has to load first, and was not loaded before the fork, it loads anew, which costs
more than most tasks do: all files of filters and whatever they import for one filter, Ansible's own filters and tests for one condition.
Ansible loads action plugins before it forks.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
from pathlib import Path

from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import action_loader, lookup_loader
from ansible.template import Templar, trust_as_template

# By Python's own, (700, 10, 10), each process looks for garbage a dozen times while it puts a module together: a third of that work. What
# a run leaves behind are hardly ever circles: after a thousand tasks the controller's memory is the same, 64 MB.
GARBAGE = (100_000, 50, 50)

gc.set_threshold(*GARBAGE)

# Of another collection, which the roles' addresses go through.
with contextlib.suppress(ImportError):
    importlib.import_module("ansible_collections.ansible.utils.plugins.filter.ipaddr")
for _path in sorted((Path(__file__).parents[1] / "filter").glob("*.py")):
    # What can't be loaded is told by Ansible where a task needs it.
    with contextlib.suppress(ImportError):
        importlib.import_module(f"{__package__.rpartition('.')[0]}.filter.{_path.stem}")

# Ansible's own: filters and tests all together with the first of them, the action of each module that has none, the lookups of the roles.
Templar(loader=DataLoader()).template(trust_as_template("{{ [] | length is defined }}"))
action_loader.get("ansible.builtin.normal", class_only=True)
for _name in ("file", "template"):
    lookup_loader.get(f"ansible.builtin.{_name}", class_only=True)
