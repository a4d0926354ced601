# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The collection works as a plain checkout and as a copy installed from the built tarball, by real commands; rules that all tasks keep."""

from __future__ import annotations

import os
import pwd
import re
import shutil
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


def test_sudo_has_to_allow_root_only():
    files = [
        path
        for place in ("roles", "playbooks")
        for path in (ROOT / place).rglob("*.yml")
        if "collections" not in path.parts
    ]
    assert [str(path) for path in files if re.search(r"become_user|become_method|su -|runuser", path.read_text())] == []
    used = [path for path in files if 'ansible_python_interpreter: "{{ ha.postgresql.python }}"' in path.read_text()]
    assert len(used) > 10
    for path in used:
        # The account can't read what Ansible would otherwise copy to the host first, as root.
        text = path.read_text()
        assert text.count("ha.postgresql.python") == text.count("ansible_pipelining: true"), path


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone may become another user")
def test_the_interpreter_of_postgres_runs_as_that_account_and_keeps_the_environment(tmp_path):
    text = (ROOT / "roles/base/templates/python-as-postgres.j2").read_text()
    account = pwd.getpwnam("games")
    script = tmp_path / "python"
    script.write_text(
        text.replace("postgres", account.pw_name).replace(
            "/usr/bin/python3", shutil.which("python3", path="/usr/bin:/bin")
        )
    )
    script.chmod(0o755)
    asked = "import os, sys; print(os.getuid(), os.getgid(), os.environ['HOME'], os.environ['PGOPTIONS'], sys.argv)"
    done = subprocess.run(
        ["/bin/sh", "-c", f"PGOPTIONS=-cx=1 {script} && sleep 0"],
        input=asked, capture_output=True, text=True, check=True, cwd="/",
    )  # fmt: skip
    assert done.stdout.split() == [str(account.pw_uid), str(account.pw_gid), account.pw_dir, "-cx=1", "['']"]


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
