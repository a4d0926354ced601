# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A variable that a role or a playbook reads is set somewhere, and one that they set is read: also in files that few runs include.

Where a variable is read with a default, a misspelt name of it, on either side, would be passed over by Ansible.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import expressions
import pytest
from ansible.module_utils.common.yaml import yaml_load
from ansible_collections.utmstack.ha.plugins.module_utils.topology import role_specs
from ansible_collections.utmstack.ha.plugins.module_utils.topology.components import FORMER_NAMES
from checkout import ROOT

# Keys whose value is an expression without braces, keys that name a variable, and those whose keys are variables.
BARE = {"when", "until", "changed_when", "failed_when", "that"}
NAMES = {"register", "loop_var", "index_var"}
SETS = {"vars", "ansible.builtin.set_fact"}
FILES = sorted(
    path
    for pattern in (
        "roles/*/tasks/*.yml",
        "roles/*/vars/**/*.yml",
        "roles/*/defaults/*.yml",
        "playbooks/*.yml",
        "playbooks/tasks/*.yml",
    )
    for path in ROOT.glob(pattern)
)
TEMPLATES = sorted(path for path in ROOT.glob("roles/*/templates/**/*") if path.is_file())
ROLES = sorted(path.name for path in ROOT.glob("roles/*"))
WORD = re.compile(r"\w+")
# Of the switchover of a role, whose name the reader puts together; and of a loop whose rounds are alike.
READ_OTHERWISE = {f"{role}_switched" for role in ("elasticsearch", "etcd", "keepalived", "redis", "swarm")} | {
    "drill_heal_time"
}
OF_A_ROLE = re.compile(rf"(?:{'|'.join([*ROLES, 'ha', 'switchover'])})_\w+")


def read_by(text: str) -> set[str]:
    """The variables of roles that a text with expressions reads."""
    names = {name for name in expressions.names(text) if OF_A_ROLE.fullmatch(name)}
    # Macros call one another.
    return names - set(re.findall(r"macro (\w+)", text))


def needed_by(text: str) -> set[str]:
    """Those of them that may not be missing there."""
    return {
        name for name in read_by(text) if not re.search(rf"\b{name}\s*(?:\|\s*default\b|is (?:not )?defined)", text)
    }


def texts(content: Any, bare: bool = False) -> Iterator[str]:
    """Every text of a file; those that are an expression by themselves with braces."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from texts(value, key in BARE)
    elif isinstance(content, list):
        for value in content:
            yield from texts(value, bare)
    elif isinstance(content, str):
        yield f"{{{{ {content} }}}}" if bare and "{{" not in content else content


def set_in(content: Any) -> Iterator[str]:
    """The variables that plays and tasks set, however deep."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key in SETS and isinstance(value, dict):
                yield from value
            if key in NAMES and isinstance(value, str):
                yield value
            yield from set_in(value)
    elif isinstance(content, list):
        for value in content:
            yield from set_in(value)


@cache
def contents() -> dict[Path, Any]:
    return {
        path: path.read_text() if path in TEMPLATES else yaml_load(path.read_text()) for path in [*FILES, *TEMPLATES]
    }


@cache
def set_by_files() -> set[str]:
    """What any file sets."""
    found: set[str] = set()
    for path in FILES:
        content = contents()[path]
        found.update(content if {"vars", "defaults"} & set(path.relative_to(ROOT).parts) else set_in(content))
    return found


def given() -> set[str]:
    """What a caller, or an operator, may give an entry point of a role."""
    specs = [yaml_load(path.read_text())["argument_specs"] for path in ROOT.glob("roles/*/meta/argument_specs.yml")]
    return {name for spec in specs for entry_point in spec.values() for name in entry_point.get("options", {})}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{{ etcd_a | list }} and {{ redis_b.c }}", {"etcd_a", "redis_b"}),
        ("{{ etcd_a | default([]) }}{{ 1 if redis_b is defined else 2 }}", set()),
        ("{{ etcd_a | default([]) }}{{ redis_b }}", {"redis_b"}),
        ("{% set etcd_a = other %}{{ etcd_a }}", set()),
    ],
)
def test_what_a_text_needs(text, names):
    assert needed_by(text) == names


def test_every_variable_that_is_read_is_set_somewhere():
    known, missing, seen = set_by_files() | set(role_specs.settings()), [], 0
    for path, content in contents().items():
        for text in texts(content):
            names = needed_by(text)
            seen += len(names)
            missing += [f"{path.relative_to(ROOT)}: {name}" for name in sorted(names - known)]
    assert seen > 1000, "the test looks in the wrong place"
    assert not missing, "\n" + "\n".join(missing)


def test_a_variable_that_may_be_missing_is_set_or_given_by_somebody():
    known = set_by_files() | given() | FORMER_NAMES.keys()
    missing = [
        f"{path.relative_to(ROOT)}: {name}"
        for path, content in contents().items()
        for text in texts(content)
        for name in sorted(read_by(text) - known)
    ]
    assert not missing, "\n" + "\n".join(missing)


def test_every_variable_that_is_set_is_read_somewhere():
    # By its name in quotes, too, as by_host takes it.
    read = {
        word for content in contents().values() for text in texts(content) if "{" in text for word in WORD.findall(text)
    }
    # Python reads settings.
    unread = {name for name in set_by_files() if OF_A_ROLE.fullmatch(name)} - read - set(role_specs.settings())
    assert {name for name in unread if name not in READ_OTHERWISE} == set()
    assert READ_OTHERWISE - unread == set()
