# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The collection works as a plain checkout and as a copy installed from the built tarball, by real commands; rules that all tasks keep."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def run(*command, cwd, config=None):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    if config is not None:
        environment["ANSIBLE_CONFIG"] = str(config)
    done = subprocess.run(
        [str(BIN / command[0]), *map(str, command[1:])],
        cwd=cwd, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tarball(tmp_path_factory):
    target = tmp_path_factory.mktemp("built")
    run("ansible-galaxy", "collection", "build", "--output-path", target, cwd=ROOT)
    return next(target.glob("utmstack-ha-*.tar.gz"))


def test_the_tarball_holds_the_collection_and_nothing_of_the_workshop(tarball):
    with tarfile.open(tarball) as archive:
        names = {name.split("/", 1)[0] for name in archive.getnames()}
    assert names >= {"MANIFEST.json", "meta", "playbooks", "plugins", "roles", "LICENSE", "README.md", "inventories"}
    assert not names & {".git", ".venv", ".lab", "collections", "ansible.cfg"}


def test_an_installed_copy_shows_its_plan(tarball, tmp_path):
    run("ansible-galaxy", "collection", "install", tarball, "--no-deps", "--offline", "-p", tmp_path, cwd=tmp_path)
    config = tmp_path / "ansible.cfg"
    config.write_text(f"[defaults]\ncollections_path = {tmp_path}\n")
    inventory = ROOT / "inventories" / "three_node"
    shown = run("ansible-playbook", "-i", inventory, "utmstack.ha.plan", cwd=tmp_path, config=config)
    assert "Synchronous mode strict" in shown
    assert "DEPRECATION" not in shown


@pytest.mark.parametrize("playbook", ["site.yml", "playbooks/site.yml"])
def test_a_plain_checkout_finds_its_own_roles_and_modules(playbook):
    listed = run("ansible-playbook", "-i", "inventories/three_node", playbook, "--list-tasks", cwd=ROOT)
    for play in ("Prepare every host", "Have an etcd cluster", "Have a PostgreSQL cluster"):
        assert play in listed


def test_a_checkout_without_its_settings_file_still_finds_the_collection_beside_the_playbooks(tmp_path):
    config = tmp_path / "ansible.cfg"
    config.write_text("[defaults]\n")
    shown = run(
        "ansible-playbook", "-i", ROOT / "inventories" / "three_node", ROOT / "playbooks" / "plan.yml",
        cwd=tmp_path, config=config,
    )  # fmt: skip
    assert "Synchronous mode strict" in shown


def tasks(entries: list) -> Iterator[dict]:
    for entry in entries or []:
        yield entry
        for part in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks"):
            yield from tasks(entry.get(part))


@pytest.mark.parametrize(
    "path",
    sorted([*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/*.yml")]),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_host_that_may_be_away_stops_nobody(path):
    """Where every error is fatal, Ansible counts hosts that can't be reached as errors, ignored or not."""
    for task in tasks(yaml.safe_load(path.read_text())):
        if task.get("ignore_unreachable"):
            assert task.get("any_errors_fatal") is False, task["name"]
            # It makes errors fatal by itself.
            assert not task.get("run_once"), task["name"]


@pytest.mark.parametrize("path", sorted(ROOT.glob("plugins/filter/*.py")), ids=lambda path: path.stem)
def test_each_filter_is_documented_under_its_name(path):
    module = importlib.import_module(f"ansible_collections.utmstack.ha.plugins.filter.{path.stem}")
    for name, function in module.FilterModule().filters().items():
        document = yaml.safe_load((path.parent / f"{name}.yml").read_text())
        assert document["DOCUMENTATION"]["name"] == name
        parameters = inspect.signature(function).parameters.values()
        least = sum(one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD for one in parameters)
        required = [option for option in document["DOCUMENTATION"]["options"].values() if option.get("required")]
        assert len(required) == least, f"{name} takes {least} arguments, and {len(required)} are documented as required"


@pytest.mark.parametrize("role", sorted(ROOT.glob("roles/*")), ids=lambda path: path.name)
def test_each_role_and_each_of_its_entry_points_is_described(role):
    assert (role / "README.md").is_file()
    for name, entry in yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"].items():
        assert entry.get("short_description") and entry.get("description"), name
