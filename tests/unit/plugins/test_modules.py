# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options that modules document, with those of their fragments, are those that they take; `ansible-test sanity` takes minutes for it."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.utmstack.ha.plugins.module_utils.operation import info_module
from checkout import ROOT

PLUGINS = Path(__file__).resolve().parents[3] / "plugins"
PACKAGE = "ansible_collections.utmstack.ha.plugins"
# Of those with an action plugin the arguments are not all the user's.
MODULES = sorted(
    path.stem for path in (PLUGINS / "modules").glob("*.py") if not (PLUGINS / "action" / path.name).exists()
)

# What of an option is compared, and what stands for nothing.
ATTRIBUTES = {"type": "str", "default": None, "required": False, "choices": None, "elements": None}


class Taken(Exception):
    """What a module told Ansible to take."""


def documented(documentation: dict[str, Any]) -> dict[str, Any]:
    """The options as ansible-doc shows them: a module's own words come before a fragment's, and a fragment's before those after it."""
    options = documentation.get("options", {})
    for name in documentation.get("extends_documentation_fragment", []):
        file, _dot, part = name.removeprefix("utmstack.ha.").partition(".")
        fragment = importlib.import_module(f"{PACKAGE}.doc_fragments.{file}").ModuleDocFragment
        for option, words in yaml.safe_load(getattr(fragment, part.upper() or "DOCUMENTATION"))["options"].items():
            options[option] = words | options.get(option, {})
    return options


def differences(described: dict[str, Any], taken: dict[str, Any], of: str = "") -> list[str]:
    """What is documented of options otherwise than it is taken, those within options as well."""
    found = [f"{of}{name}" for name in described.keys() ^ taken.keys()]
    for name in described.keys() & taken.keys():
        words, spec = described[name], taken[name]
        for key, nothing in ATTRIBUTES.items():
            if words.get(key, nothing) != spec.get(key, nothing):
                found.append(f"{of}{name}: {key}")
        found += differences(words.get("suboptions", {}), spec.get("options", {}), f"{of}{name}.")
    return found


@pytest.mark.parametrize("name", MODULES)
def test_a_module_documents_what_it_takes(name, monkeypatch):
    def take(*, argument_spec, **_more):
        raise Taken(argument_spec)

    module = importlib.import_module(f"{PACKAGE}.modules.{name}")
    monkeypatch.setattr(module, "AnsibleModule", take, raising=False)
    monkeypatch.setattr(info_module, "AnsibleModule", take)
    with pytest.raises(Taken) as taken:
        module.main()
    (spec,) = taken.value.args
    assert differences(documented(yaml.safe_load(module.DOCUMENTATION)), spec) == []


def test_a_plain_assignment_of_a_documentation_fragment_is_a_literal():
    """Sanity's yamllint ends with a traceback at any other."""
    for path in sorted((ROOT / "plugins" / "doc_fragments").glob("*.py")):
        classes = [one for one in ast.parse(path.read_text()).body if isinstance(one, ast.ClassDef)]
        assigned = [one for defined in classes for one in defined.body if isinstance(one, ast.Assign)]
        assert all(isinstance(one.value, ast.Constant) for one in assigned), path.name
