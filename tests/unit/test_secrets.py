# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Neither the output of a run nor a file that other accounts of a host can read shows a password."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.yaml import yaml_load
from checkout import ROOT
from expressions import behind, defined
from task_files import tasks

PASSWORDS = {"ha_secrets", "swarm_unlock_key"}
SHOWN = {f"ansible.builtin.{name}" for name in ("assert", "command", "debug", "fail", "set_fact", "shell")}
SHOWN |= {"utmstack.ha.report"}
TEMPLATE = re.compile(r"lookup\('ansible\.builtin\.template', '([^']+)'")
# A variable may say which of several.
INCLUDED = re.compile(r"{%-? *(?:include|import|from) '([^']+)'(?: ~ \w+ ~ '([^']+)')?")


def has_password(text: str, role: Path) -> bool:
    """Whether a password goes into a text: by its expressions, by what these are made of, or by a template that they read."""
    found = behind(text)
    texts = [text, *(defined()[name] for name in found & defined().keys())]
    read = [name for one in texts for name in TEMPLATE.findall(one)]
    read += ["*".join(parts).removesuffix("*") for one in texts for parts in INCLUDED.findall(one)]
    templates = [path for name in read for path in (role / "templates").glob(name)]
    return bool(found & PASSWORDS) or any(has_password(path.read_text(), role) for path in templates)


def texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    for part in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from texts(part)


def files_in(content: Any) -> Iterator[dict[str, Any]]:
    """Each mapping with the content of a file."""
    if isinstance(content, dict):
        if content.keys() & {"content", "secret_content"}:
            yield content
        for value in content.values():
            yield from files_in(value)
    elif isinstance(content, list):
        for value in content:
            yield from files_in(value)


def written() -> Iterator[tuple[str, Path, dict[str, Any], bool]]:
    """The files that tasks write, and those of the roles' vars files: where, by which role, what, and whether nothing of it is shown."""
    for task in tasks():
        if "roles" in task.path.parts:
            for file in files_in(task.content):
                yield task.where, task.path.parents[1], file, bool(task.keywords.get("no_log"))
    for path in ROOT.glob("roles/*/vars/**/*.yml"):
        role = ROOT / "roles" / path.relative_to(ROOT).parts[1]
        for file in files_in(yaml_load(path.read_text())):
            yield str(path.relative_to(ROOT)), role, file, False


def test_a_file_with_a_password_is_not_shown_and_others_cannot_read_it():
    found, secrets = [], 0
    for where, role, file, hidden in written():
        if "secret_content" in file or has_password(str(file["content"]), role):
            secrets += 1
            if not (hidden or "secret_content" in file):
                found.append(
                    f"{where}: {file.get('path', file.get('dest'))} has a password and is written by `content`"
                )
            if int(str(file.get("mode", "0600")), 8) & 0o007:
                found.append(f"{where}: everybody may read {file.get('path', file.get('dest'))}, which has a password")
    assert secrets > 14, "the test looks for files in the wrong place"
    assert not found, "\n" + "\n".join(found)


def test_no_command_line_message_or_fact_has_a_password():
    """They are shown as they are; a module's option for a password is not."""
    found, seen = [], 0
    for task in tasks():
        for call in SHOWN & task.content.keys():
            seen += 1
            shown = [*texts(task.content[call]), *texts(task.keywords.get("environment"))]
            if not task.keywords.get("no_log") and any(behind(text) & PASSWORDS for text in shown):
                found.append(task.where)
    assert seen > 100, "the test looks for tasks in the wrong place"
    # Of the key it reads only whether there is one.
    assert found == ["roles/swarm/tasks/look.yml: 'Compute the swarm bootstrap plan'"]


@pytest.mark.parametrize(
    ("role", "text", "expected"),
    [
        ("haproxy", "{{ lookup('ansible.builtin.template', 'credentials.cfg.j2') }}", True),
        ("haproxy", "{{ lookup('ansible.builtin.template', 'haproxy.cfg.j2') }}", False),
        ("redis", "{{ redis_follow_settings | to_nice_json }}\n", True),
        ("redis", "{{ lookup('ansible.builtin.template', 'redis.conf.j2') }}", False),
        ("pgbouncer", "{{ lookup('ansible.builtin.template', 'userlist.txt.j2') }}", True),
        ("postgresql", "{{ lookup('ansible.builtin.template', 'config.yml.j2') }}", True),
    ],
)
def test_where_a_password_goes(role, text, expected):
    assert has_password(text, ROOT / "roles" / role) is expected
