# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Loads the collection's filters where it is imported: in the process that all tasks of a run are forked from.

Every task of every host is a process of its own. Ansible compiles the files of a collection anew in each that needs one of its filters, all
files of filters and whatever they import, which costs more than most tasks do; a fork has what was loaded before. Ansible loads
action plugins before it forks.
"""

from __future__ import annotations

import contextlib
import importlib
from pathlib import Path

# Of another collection, which the roles' addresses go through.
with contextlib.suppress(ImportError):
    importlib.import_module("ansible_collections.ansible.utils.plugins.filter.ipaddr")
for _path in sorted((Path(__file__).parents[1] / "filter").glob("*.py")):
    # What can't be loaded is told by Ansible where a task needs it.
    with contextlib.suppress(ImportError):
        importlib.import_module(f"{__package__.rpartition('.')[0]}.filter.{_path.stem}")
