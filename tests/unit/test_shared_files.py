# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is shared names no service. Redis stands for all of them: it is in its own paths, and in few files besides, each with a reason."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OWN = re.compile("redis|sentinel")
# `option redispatch` is HAProxy's.
NAMED = re.compile("redis(?!patch)", re.IGNORECASE)
ALLOWED = {
    "meta/runtime.yml": "action groups list modules by name",
    "playbooks/site.yml": "imports each service's playbook",
    "plugins/module_utils/backup/kinds.py": "imports the code of each kind of backup, since hosts get what is imported by name",
    "plugins/module_utils/operation/infos.py": "imports each information module, since Ansible ships what is imported by name",
    "plugins/module_utils/services/registry.py": "imports each service's object",
    "roles/backend/defaults/main.yml": "the application's user of it is a setting",
    "roles/backend/meta/argument_specs.yml": "the application's user of it is a setting",
    "roles/backend/vars/main.yml": "the application's user and password of it",
    "roles/drill/vars/main/scenarios.yml": "scenarios are lists of faults by name",
    "roles/haproxy/README.md": "lists the ports of the virtual IP",
    "roles/haproxy/defaults/main.yml": "idle time and allowed networks of its port are settings",
    "roles/haproxy/meta/argument_specs.yml": "idle time and allowed networks of its port are settings",
}


def naming() -> set[str]:
    """The shared files that name Redis."""
    found = set()
    for folder in ("plugins", "roles", "playbooks", "meta"):
        for path in (ROOT / folder).rglob("*"):
            name = str(path.relative_to(ROOT))
            shared = (
                path.is_file() and "__pycache__" not in path.parts and not name.startswith("playbooks/collections/")
            )
            if shared and not OWN.search(name) and NAMED.search(path.read_text(encoding="utf-8", errors="ignore")):
                found.add(name)
    return found


def test_a_shared_file_names_no_service_without_a_reason():
    found = naming()
    assert {"without a reason": found - ALLOWED.keys(), "no longer needed": ALLOWED.keys() - found} == {
        "without a reason": set(),
        "no longer needed": set(),
    }, "what is a service's own belongs into its object (docs/add-a-service.md)"
