# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every task of every host would pay for is paid for once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# As the strategies of Ansible do before they fork, by which all tasks have it.
LOADED = """
import sys
sys.path.insert(0, sys.argv[1])
import conftest
from ansible.plugins.loader import action_loader, init_plugin_loader
init_plugin_loader()
action_loader.get("utmstack.ha.topology", class_only=True)
print(*(name for name in sys.modules if name.startswith("ansible_collections.utmstack.ha.plugins.filter.")))
"""


def test_the_process_that_all_tasks_are_forked_from_has_the_filters():
    """Each task that needs one compiled all of them again: 0.2 s, on each host."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(ROOT / "tests" / "unit")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.rpartition(".")[2] for name in done.stdout.split()}
    assert loaded == {path.stem for path in (ROOT / "plugins" / "filter").glob("*.py")}
