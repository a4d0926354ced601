# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The pages that are generated are those of the code."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

spec = importlib.util.spec_from_file_location("pages_generate", ROOT / "tests" / "pages" / "generate.py")
generate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(generate)


@pytest.mark.parametrize("name", generate.PAGES)
def test_the_page_is_what_the_code_says(name):
    assert (ROOT / "docs" / name).read_text() == generate.PAGES[name](), f"run `make pages`, and commit docs/{name}"


def test_every_role_is_in_the_page_of_settings_or_is_internal():
    roles = {path.parent.parent.name for path in ROOT.glob("roles/*/meta/argument_specs.yml")}
    assert roles == {*generate.ROLES, *generate.INTERNAL_ROLES}


def test_every_listener_is_said_who_connects_to_it():
    assert set(generate.CONNECTS) == {(entry.key, entry.bind) for entry in generate.LISTENERS}


def test_settings_that_the_page_of_ports_names_exist():
    known = {name for name, _spec in generate.settings()}
    text = generate.ports()
    named = re.findall(r"`((?:ha|postgresql|haproxy|swarm|keepalived|backend|elasticsearch|drill)_\w+)`", text)
    assert [name for name in named if name not in known and name not in generate.DEFAULT_PORTS] == []
