# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A variable that a role or a playbook reads is set somewhere, or has a default where it is read: also in files that few runs include."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import expressions
import pytest
import yaml
from ansible_collections.utmstack.ha.plugins.module_utils.topology import role_specs
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
OF_A_ROLE = re.compile(rf"(?:{'|'.join([*ROLES, 'ha', 'switchover'])})_\w+")


def read_by(text: str) -> set[str]:
    """The variables of roles that a text with expressions reads; without those that may be missing there."""
    names = {name for name in expressions.names(text) if OF_A_ROLE.fullmatch(name)}
    # Macros call one another.
    names -= set(re.findall(r"macro (\w+)", text))
    return {name for name in names if not re.search(rf"\b{name}\s*(?:\|\s*default\b|is (?:not )?defined)", text)}


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


def known() -> set[str]:
    """What any file sets, and what an operator may give a role."""
    found: set[str] = set()
    for path in FILES:
        content = yaml.safe_load(path.read_text())
        found.update(content if {"vars", "defaults"} & set(path.relative_to(ROOT).parts) else set_in(content))
    return found | set(role_specs.settings())


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{{ etcd_a | list }} and {{ redis_b.c }}", {"etcd_a", "redis_b"}),
        ("{{ etcd_a | default([]) }}{{ 1 if redis_b is defined else 2 }}", set()),
        ("{% set etcd_a = other %}{{ etcd_a }}", set()),
    ],
)
def test_what_a_text_reads(text, names):
    assert read_by(text) == names


def test_every_variable_that_is_read_is_set_somewhere():
    given, missing, seen = known(), [], 0
    for path in [*FILES, *TEMPLATES]:
        content = path.read_text() if path in TEMPLATES else yaml.safe_load(path.read_text())
        for text in texts(content):
            names = read_by(text)
            seen += len(names)
            missing += [f"{path.relative_to(ROOT)}: {name}" for name in sorted(names - given)]
    assert seen > 1000, "the test looks in the wrong place"
    assert not missing, "\n" + "\n".join(missing)
