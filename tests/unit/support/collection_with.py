# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""This collection with the service in new_service/ added to it as docs/add-a-service.md says, in a directory of its own."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from ansible_collections.utmstack.ha.plugins.module_utils import services
from checkout import ROOT

NEW = Path(__file__).resolve().parent / "new_service"
# The lines that the page asks for: in the registry, among the information modules, and in site.yml.
LINES = {
    "plugins/module_utils/services/registry.py": (
        ("from . import (\n    backend,\n", "from . import (\n    queue,\n    backend,\n"),
        ("        redis,\n        swarm,\n", "        redis,\n        queue,\n        swarm,\n"),
    ),
    "plugins/module_utils/operation/infos.py": (
        (
            "from ..vip import info as ask_vip\n",
            "from ..vip import info as ask_vip\nfrom ..queue import info as ask_queue\n",
        ),
        ("QUESTIONS = {\n", 'QUESTIONS = {\n    "utmstack.ha.queue_info": ask_queue.QUESTION,\n'),
    ),
    "plugins/module_utils/backup/kinds.py": (
        (
            "from ..redis import backup as of_redis\n",
            "from ..queue import backup as of_queue\nfrom ..redis import backup as of_redis\n",
        ),
        ("] = {\n", '] = {\n    "queue": of_queue,\n'),
    ),
    "playbooks/site.yml": (
        (
            "- name: Deploy the Docker swarm\n",
            "- name: Deploy the queue\n  ansible.builtin.import_playbook: queue.yml\n  tags: [queue]\n\n- name: Deploy the Docker swarm\n",
        ),
    ),
}


def queue_service() -> Any:
    """The service's object, as if its file lay beside those of the others."""
    return _module("services.queue", "services/queue.py").SERVICE


def queue_backup() -> Any:
    """The code of its kind of backup, likewise."""
    return _module("queue.backup", "queue/backup.py")


def _module(name: str, file: str) -> Any:
    parent = services.__name__.rpartition(".")[0]
    spec = importlib.util.spec_from_file_location(f"{parent}.{name}", NEW / "plugins/module_utils" / file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build(home: Path, stand_ins: dict[str, str]) -> Path:
    """The collection below `home`; returns its directory. stand_ins: file to content, in place of the collection's own."""
    place = home / "ansible_collections/utmstack/ha"
    given = {str(path.relative_to(NEW)): path.read_text() for path in NEW.rglob("*") if path.suffix in (".py", ".yml")}
    for name, changes in LINES.items():
        text = (ROOT / name).read_text()
        for former, line in changes:
            assert text.count(former) == 1, f"{name} has no {former!r} any more; see docs/add-a-service.md"
            text = text.replace(former, line)
        given[name] = text
    for name, text in (given | stand_ins).items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    _fill(place, ROOT)
    return place


def _fill(place: Path, source: Path) -> None:
    """Link to all that is not there, at the highest level that has nothing of its own."""
    for path in source.iterdir():
        own = place / path.name
        if path.name in (".git", "collections", "tests"):
            continue
        if own.is_dir() and not own.is_symlink():
            _fill(own, path)
        elif not own.exists():
            own.symlink_to(path)
