# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The configuration is sealed and restored by real playbooks; no file but the operator's own has anything of it in clear."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.action.configuration_archive import beside, refuse, shown, version
from ansible_collections.utmstack.ha.plugins.module_utils.common.backup import BackupError
from checkout import COLLECTIONS, ROOT

BIN = Path(sys.executable).parent
SECRET = "Stored-by-hand-0001"
AGE1 = "age1pyfwgntuvvhzmqc9ed7ayvd56x3uqn68pelyvkt9s2ny7l20vd9sn3shpt"
pytestmark = pytest.mark.skipif(not shutil.which("age"), reason="age is not installed")

SEAL = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - utmstack.ha.configuration_archive:
        cluster: demo
        secrets_directory: "{{ secrets }}"
        recipients: "{{ item.recipients }}"
        kept: "{{ item.kept | default([]) }}"
        failed_before: "{{ item.failed | default(false) }}"
      loop: "{{ cases }}"
      register: sealed
    - ansible.builtin.copy:
        content: "{{ sealed.results | to_json }}"
        dest: "{{ seen }}"
        mode: "0600"
"""


def play(place, *arguments, check=True, **variables):
    """What a playbook printed. It has a temporary directory of its own, which is empty before and after."""
    temporary = place / "tmp"
    temporary.mkdir(exist_ok=True)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    environment |= {
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "HOME": str(place),
        "TMPDIR": str(temporary),
        "PWD": str(place),
    }
    done = subprocess.run(
        [str(BIN / "ansible-playbook"), *map(str, arguments), "-e", json.dumps(variables)],
        cwd=place, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr
    return done


@pytest.fixture
def controller(tmp_path):
    """A directory with an inventory, secrets and a key pair outside of both."""
    inventory = tmp_path / "site"
    (inventory / ".secrets").mkdir(parents=True)
    (inventory / "hosts.yml").write_text("all: {hosts: {node1: {}}}")
    (inventory / ".secrets" / "passwords.yml").write_text(f"redis_password: {SECRET}\n")
    (tmp_path / "seal.yml").write_text(SEAL)
    said = subprocess.run(["age-keygen", "-o", tmp_path / "key"], check=True, capture_output=True, text=True).stderr
    return tmp_path, said.split()[-1]


def seal(place, *cases):
    """What each case of recipients, kept and failed gives."""
    play(
        place, "-i", place / "site", place / "seal.yml",
        secrets=str(place / "site" / ".secrets"), cases=cases, seen=str(place / "seen"),
    )  # fmt: skip
    return json.loads((place / "seen").read_text())


def test_a_configuration_is_sealed_once_and_restored_on_another_controller(controller):
    place, public = controller
    (sealed,) = seal(place, {"recipients": [public]})
    assert (sealed["needed"], sealed["verdict"]) == (True, "ok")
    assert set(sealed["files"]) == {"configuration.age", "manifest.json", "README-RESTORE"}
    assert "age --decrypt --identity" in sealed["files"]["README-RESTORE"]
    in_clear = [path for path in place.rglob("*") if path.is_file() and SECRET in path.read_text(errors="replace")]
    assert in_clear == [place / "site" / ".secrets" / "passwords.yml"]
    # What the host has already is not sent again, unless the keys have changed, or the content.
    kept = [{"record": {"manifest": sealed["manifest"]}}]
    found = seal(place, {"recipients": [public], "kept": kept}, {"recipients": [public, AGE1], "kept": kept})
    assert [one["needed"] for one in found] == [False, True]
    (place / "site" / "hosts.yml").write_text("all: {hosts: {node2: {}}}")
    assert seal(place, {"recipients": [public], "kept": kept})[0]["needed"] is True

    (place / "archive").write_text(sealed["files"]["configuration.age"])
    restore = (
        ROOT / "playbooks" / "restore_config.yml",
        "-e",
        f"archive={place / 'archive'}",
        "-e",
        f"identity={place / 'key'}",
    )
    there = place / "restored-configuration"
    planned = play(place, *restore, "--check").stdout
    assert "Restore of the configuration of demo" in planned
    assert not there.exists()
    play(place, *restore, "-e", "confirm=demo")
    assert (there / "inventory" / ".secrets" / "passwords.yml").read_text() == f"redis_password: {SECRET}\n"
    (there / "inventory" / ".secrets" / "passwords.yml").write_text("others")
    play(place, *restore, "-e", "confirm=demo")
    (copy,) = place.glob("restored-configuration.before-restore-*")
    assert (copy / "inventory" / ".secrets" / "passwords.yml").read_text() == "others"


def test_another_key_opens_nothing(controller):
    place, _public = controller
    (place / "archive").write_text(seal(place, {"recipients": [AGE1]})[0]["files"]["configuration.age"])
    done = play(
        place, ROOT / "playbooks" / "restore_config.yml", check=False, archive=str(place / "archive"), identity=str(place / "key"), confirm="demo",
    )  # fmt: skip
    assert done.returncode != 0
    assert "was not opened, and nothing was changed" in done.stdout + done.stderr
    assert not (place / "restored-configuration").exists()


def test_what_can_not_be_sealed_is_a_failure_that_is_recorded_once(controller):
    place, public = controller
    shutil.copy(place / "key", place / "site" / "key.txt")
    nobody, again, inside = seal(
        place, {"recipients": []}, {"recipients": [], "failed": True}, {"recipients": [public]}
    )
    assert (nobody["needed"], nobody["verdict"], nobody["files"]) == (True, "failed", {})
    assert nobody["reason"].startswith("backup_recipients is empty")
    assert again["needed"] is False
    assert inside["verdict"] == "failed"
    assert "inventory/key.txt has a private key of age" in inside["reason"]


def test_a_private_key_among_the_recipients_is_refused_and_not_shown():
    private = "AGE-SECRET-KEY-1" + "Q" * 58
    with pytest.raises(BackupError, match="is a PRIVATE key") as told:
        refuse({}, [private])
    assert "QQQ" not in told.value.reason
    assert shown(AGE1) == "age1pyfwgntu…"


def test_variables_beside_the_collections_own_playbooks_are_not_the_users(tmp_path):
    assert beside(str(ROOT / "playbooks")) == ""
    assert beside(str(tmp_path)) == str(tmp_path.resolve())
    assert version()[0].isdigit()
