# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Passwords: made once, kept, stored safely, and never shown."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret, VaultSecretsContext
from ansible.template import Templar, trust_as_template
from ansible_collections.utmstack.ha.plugins.action.secrets import ActionModule, alone
from ansible_collections.utmstack.ha.plugins.module_utils.common.secrets import append, complete, generate, trouble
from ansible_collections.utmstack.ha.plugins.module_utils.services.passwords import kept, passwords
from ansible_collections.utmstack.ha.plugins.module_utils.topology.faults import Findings
from ansible_collections.utmstack.ha.plugins.module_utils.topology.settings import secrets_dir
from checkout import COLLECTIONS, ROOT

PASSWORDS, KEPT = passwords(), kept()
GIVEN = "Given-by-the-user-1"
STORED = "Stored-by-hand-0001"

# Writes what the roles would see to a file, so that the test compares it without its being printed.
PLAYBOOK = """
- hosts: all
  gather_facts: false
  any_errors_fatal: true
  roles: [utmstack.ha.topology]
  tasks:
    - ansible.builtin.copy:
        content: "{{ ha_secrets | to_json }}"
        dest: "{{ seen }}"
        mode: "0600"
      delegate_to: localhost
      vars: {ansible_connection: local, ansible_python_interpreter: "{{ ansible_playbook_python }}"}
      no_log: true
      run_once: true
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / ".secrets" / "passwords.yml"


def put(path, text, mode=0o600):
    path.parent.mkdir(mode=0o700)
    path.write_text(text)
    path.chmod(mode)


def vault(text):
    """Return the text encrypted, as a run with --vault-id ours@… could read it."""
    return VaultLib().encrypt(text, secret=VaultSecret(b"open sesame"), vault_id="ours").decode()


def read(path, variables=None, check=False, vault_secrets=(), store=None):
    """Run the action as a task would."""
    loader = DataLoader()
    loader.set_vault_secrets([("default", VaultSecret(b"another")), *vault_secrets])
    task = SimpleNamespace(
        args={"directory": str(path.parent), "store": store or {}},
        check_mode=check,
        async_val=0,
        action="utmstack.ha.secrets",
    )
    connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir="unused"))
    variables = {name: trust_as_template(value) for name, value in (variables or {}).items()}
    action = ActionModule(task, connection, None, loader, Templar(loader=loader, variables=variables), None)
    return action.run(task_vars=variables)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_missing_passwords_are_made_once_and_kept_for_the_owner_only(path):
    first = read(path)
    assert first["changed"] and first["_ansible_no_log"]
    assert set(first["secrets"]) - set(KEPT) == set(first["generated"]) == set(PASSWORDS)
    assert len(set(first["secrets"].values()) - {""}) == len(PASSWORDS)
    assert yaml.safe_load(path.read_text()) | {"swarm_unlock_key": ""} == first["secrets"]
    assert (mode(path.parent), mode(path)) == (0o700, 0o600)
    again = read(path)
    assert again["secrets"] == first["secrets"]
    assert not again["changed"] and not again["generated"]


def test_the_users_passwords_win_and_are_not_stored(path):
    assert read(path, {"etcd_root_password": GIVEN})["secrets"]["etcd_root_password"] == GIVEN
    assert "etcd_root_password" not in yaml.safe_load(path.read_text())


def test_a_stored_file_keeps_its_comments_and_gets_what_is_missing(path):
    put(path, f"# mine\nhaproxy_stats_password: {STORED}\nother: kept", mode=0o644)
    assert read(path)["secrets"]["haproxy_stats_password"] == STORED
    assert path.read_text().startswith(f"# mine\nhaproxy_stats_password: {STORED}\nother: kept\netcd_root_password: ")
    assert mode(path) == 0o600


def test_a_file_that_others_may_read_is_closed(path):
    read(path)
    path.chmod(0o640)
    assert read(path, check=True)["changed"] and mode(path) == 0o640
    assert read(path)["changed"] and mode(path) == 0o600


def test_an_encrypted_file_stays_encrypted_with_the_same_secret_and_identity(path):
    put(path, vault(f"haproxy_stats_password: {STORED}\n"))
    result = read(path, vault_secrets=[("ours", VaultSecret(b"open sesame"))])
    assert path.read_text().startswith("$ANSIBLE_VAULT;1.2;AES256;ours\n")
    content = yaml.safe_load(VaultLib([("ours", VaultSecret(b"open sesame"))]).decrypt(path.read_text()))
    assert content | {"swarm_unlock_key": ""} == result["secrets"]
    assert content["haproxy_stats_password"] == STORED


def test_an_encrypted_file_without_its_password_says_what_to_give(path):
    put(path, vault(f"haproxy_stats_password: {STORED}\n"))
    with pytest.raises(AnsibleActionFail, match="--vault-password-file"):
        read(path)


def test_check_mode_has_passwords_but_stores_none(path):
    result = read(path, check=True)
    assert set(result["secrets"]) == {*PASSWORDS, *KEPT} and result["changed"]
    assert not path.parent.exists()


@pytest.mark.parametrize("text", ["- a list\n", "{etcd_root_password: x", "{other: flow style}\n", "just text\n"])
def test_a_file_that_is_no_list_of_names_and_values_is_left_alone(path, text):
    put(path, text)
    with pytest.raises(AnsibleActionFail, match="passwords.yml is no"):
        read(path)
    assert path.read_text() == text


def test_a_file_in_another_encoding_is_named(path):
    path.parent.mkdir(mode=0o700)
    path.write_bytes("etcd_root_password: größer-als-zwölf\n".encode("latin-1"))
    with pytest.raises(AnsibleActionFail, match="passwords.yml is no text in UTF-8. Write it anew"):
        read(path)


@pytest.mark.parametrize(
    "value", ["[aaaaaaaaaaaaaaaaaaaa]", "{aaaaaaaaaaaaaaaaaaaa: b}", "12345678901234", "2024-01-01"]
)
def test_a_stored_password_that_is_no_text_is_refused(path, value):
    put(path, f"etcd_root_password: {value}\n")
    with pytest.raises(AnsibleActionFail, match=r"etcd_root_password in .* (is no text|too few)\. Set 12 to 128"):
        read(path)


def test_single_encrypted_values_that_nothing_opens_say_what_to_give(path, monkeypatch):
    secrets = []
    monkeypatch.setattr(VaultSecretsContext, "_current", VaultSecretsContext(secrets))
    put(path, "etcd_root_password: !vault |\n" + "".join(f"  {line}\n" for line in vault(STORED).splitlines()))
    with pytest.raises(AnsibleActionFail, match="encrypted values, and no vault password .* Use --ask-vault-pass"):
        read(path)
    secrets.append(("ours", VaultSecret(b"open sesame")))
    assert read(path)["secrets"]["etcd_root_password"] == STORED


@pytest.mark.parametrize("linked", ["file", "directory"])
def test_a_link_stays_one_and_what_it_leads_to_gets_the_missing_passwords(path, tmp_path, linked):
    real = tmp_path / "elsewhere" / "passwords.yml"
    put(real, f"etcd_root_password: {STORED}\n")
    link = path if linked == "file" else path.parent
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(real if linked == "file" else real.parent)
    assert read(path)["secrets"]["etcd_root_password"] == STORED
    assert link.is_symlink()
    assert set(yaml.safe_load(real.read_text())) == set(PASSWORDS) and mode(real) == 0o600


@pytest.mark.parametrize("linked", ["file", "directory"])
def test_a_link_to_what_is_not_there_is_no_reason_to_make_new_passwords(path, tmp_path, linked):
    link = path if linked == "file" else path.parent
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(tmp_path / "not-mounted")
    with pytest.raises(AnsibleActionFail, match="not-mounted, which is not there.* Have it there, or remove the link"):
        read(path)
    assert link.is_symlink() and not (tmp_path / "not-mounted").exists()


def test_a_file_of_somebody_else_that_others_may_read_is_told(path, monkeypatch):
    put(path, "".join(f"{name}: {STORED}\n" for name in PASSWORDS), mode=0o644)

    def refuse(*_arguments, **_options):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refuse)
    with pytest.raises(
        AnsibleActionFail, match="can't be closed: Operation not permitted. Let its owner run chmod 600"
    ):
        read(path)


def test_a_run_waits_for_another_one_that_completes_the_same_passwords(path):
    path.parent.mkdir(mode=0o700)
    results = []
    with alone(path.parent, create=True):
        second = threading.Thread(target=lambda: results.append(read(path)))
        second.start()
        second.join(0.5)
        assert second.is_alive()
        path.write_text("".join(f"{name}: {STORED}\n" for name in PASSWORDS))
        path.chmod(0o600)
    second.join(30)
    assert not results[0]["changed"] and results[0]["secrets"]["etcd_root_password"] == STORED


def test_a_bad_stored_password_is_named_with_its_file_and_not_told(path):
    put(path, "etcd_root_password: s3cr3t!\n")
    with pytest.raises(AnsibleActionFail) as caught:
        read(path)
    assert f"etcd_root_password in {path} has 7 characters" in str(caught.value)
    assert "s3cr3t!" not in str(caught.value)


def test_a_password_whose_template_fails_is_named_and_not_told(path):
    with pytest.raises(AnsibleActionFail) as caught:
        read(path, {"etcd_root_password": "s3cr3t-{{ of_nobody }}"})
    assert "etcd_root_password can't be templated" in str(caught.value)
    assert "s3cr3t-" not in str(caught.value)


def test_a_directory_that_can_not_be_made_is_named(path):
    path.parent.write_text("a file, not a directory")
    with pytest.raises(AnsibleActionFail, match="ha_secrets_dir"):
        read(path)


def test_without_an_inventory_file_it_asks_for_a_directory():
    with pytest.raises(AnsibleActionFail, match="Set ha_secrets_dir"):
        read(SimpleNamespace(parent=""))


def test_a_relative_directory_is_refused():
    with pytest.raises(AnsibleActionFail, match="'secrets'. Set it to an absolute path"):
        read(SimpleNamespace(parent="secrets"))


def test_nothing_secret_is_printed_by_a_whole_run(tmp_path, path):
    """A real run at -vvv, with passwords made, given in the inventory, and encrypted one by one in the file."""
    hosts = {f"node{number}": {"ansible_host": f"192.0.2.{number}"} for number in (1, 2, 3)}
    groups = {name: {"hosts": dict.fromkeys(hosts)} for name in ("loadbalancer", "etcd", "postgresql")}
    variables = {"ha_vip": "192.0.2.100", "etcd_root_password": GIVEN}
    (tmp_path / "hosts.yml").write_text(
        yaml.safe_dump({"all": {"hosts": hosts, "vars": variables, "children": groups}})
    )
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    (tmp_path / "vault-password").write_text("open sesame")
    encrypted = "".join(f"  {line}\n" for line in vault(STORED).splitlines())
    put(path, f"haproxy_stats_password: !vault |\n{encrypted}")
    seen = tmp_path / "seen"
    command = [
        Path(sys.executable).parent / "ansible-playbook",
        "-vvv",
        "-i",
        tmp_path / "hosts.yml",
        tmp_path / "play.yml",
    ]
    command += ["-e", f"seen={seen}", "--vault-id", f"ours@{tmp_path / 'vault-password'}"]
    environment = os.environ | {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
    }
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    secrets = json.loads(seen.read_text())
    assert secrets["haproxy_stats_password"] == STORED
    assert secrets["etcd_root_password"] == GIVEN
    assert path.read_text().startswith("haproxy_stats_password: !vault |")
    assert set(secrets) == {*PASSWORDS, *KEPT}
    assert not [name for name, value in secrets.items() if value and value in output]


def test_what_the_user_set_wins_over_what_is_stored_and_the_rest_is_made():
    secrets, made = complete(
        PASSWORDS, KEPT, {"etcd_root_password": GIVEN}, {"etcd_root_password": STORED, "x": "y"}, lambda: "made"
    )
    assert secrets["etcd_root_password"] == GIVEN
    assert set(secrets) - set(KEPT) == set(PASSWORDS) == {*made, "etcd_root_password"}


def test_generated_passwords_suit_every_component():
    for forbidden in PASSWORDS.values():
        assert trouble(generate(), forbidden) is None


@pytest.mark.parametrize("text", ["", "a: b", "a: b\n", "# only a comment\n"])
def test_appending_keeps_the_text_and_stays_yaml(text):
    new = append(text, {"etcd_root_password": "x"})
    assert new.startswith(text)
    assert yaml.safe_load(new) == {**(yaml.safe_load(text) or {}), "etcd_root_password": "x"}


def test_what_a_service_made_is_kept_with_the_others_and_replaced_when_it_changes(path):
    assert read(path)["secrets"]["swarm_unlock_key"] == ""
    first = read(path, store={"swarm_unlock_key": "SWMKEY-1-first"})
    assert first["changed"] and first["generated"] == []
    assert read(path)["secrets"]["swarm_unlock_key"] == "SWMKEY-1-first"
    assert not read(path, store={"swarm_unlock_key": "SWMKEY-1-first"})["changed"]
    assert read(path, store={"swarm_unlock_key": "SWMKEY-1-second"})["changed"]
    assert read(path)["secrets"]["swarm_unlock_key"] == "SWMKEY-1-second"
    assert path.read_text().count("swarm_unlock_key") == 1


def test_nothing_else_can_be_stored(path):
    with pytest.raises(AnsibleActionFail, match="haproxy_stats_password"):
        read(path, store={"haproxy_stats_password": "something-long-enough"})


@pytest.mark.parametrize(
    ("setting", "directories", "there", "expected"),
    [
        ("", ["/a"], [], "/a/.secrets"),
        ("", ["/a", "/a", "/b"], [], "/a/.secrets"),
        ("", ["/a", "/b"], ["/b/.secrets"], "/b/.secrets"),
        ("", ["/b", "/a"], ["/b/.secrets"], "/b/.secrets"),
        ("/c", ["/a", "/b"], ["/a/.secrets", "/b/.secrets"], "/c"),
        ("", [""], [], ""),
        ("", [], [], ""),
    ],
)
def test_there_is_one_directory_however_many_inventories_there_are(setting, directories, there, expected):
    found = Findings()
    assert secrets_dir(setting, directories, there.__contains__, found) == expected
    assert found.faults == []


def test_two_directories_are_refused_and_so_is_a_relative_one():
    found = Findings()
    secrets_dir("", ["/a", "/b"], lambda _path: True, found)
    secrets_dir("secrets", [], lambda _path: False, found)
    assert [str(fault) for fault in found.faults] == [
        "group all: ha_secrets_dir is not set, and the inventory has /a/.secrets and /b/.secrets. Set it to the one that this "
        "cluster was deployed with.",
        "group all: ha_secrets_dir is 'secrets'. Set it to an absolute path on the controller.",
    ]


def test_passwords_and_ca_of_two_inventory_sources_are_in_one_directory(tmp_path):
    """Two hosts are from one source, one from another; each host says where it looks for the CA."""
    groups = {name: {"hosts": {"node1": None}} for name in ("loadbalancer", "etcd", "postgresql")}
    sources = {
        "one": {
            "all": {
                "hosts": {"node1": {"ansible_host": "192.0.2.1"}},
                "vars": {"ha_vip": "192.0.2.100"},
                "children": groups,
            }
        },
        "two": {"loadbalancer": {"hosts": {"node2": {"ansible_host": "192.0.2.2"}}}},
    }
    for name, content in sources.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "hosts.yml").write_text(yaml.safe_dump(content))
    (tmp_path / "play.yml").write_text(PLAYBOOK.split("  tasks:", maxsplit=1)[0] + ASKS_FOR_THE_CA)
    command = [
        Path(sys.executable).parent / "ansible-playbook",
        tmp_path / "play.yml",
        "-e",
        f"tls_vars={ROOT}/roles/tls/vars/main.yml",
    ]
    for name in sources:
        command += ["-i", tmp_path / name / "hosts.yml"]
    environment = os.environ | {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
    }
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(f"ca={tmp_path}/one/.secrets/ca.crt") == 2
    assert (tmp_path / "one" / ".secrets" / "passwords.yml").exists()
    assert not (tmp_path / "two" / ".secrets").exists()


ASKS_FOR_THE_CA = """
  tasks:
    - ansible.builtin.include_vars: "{{ tls_vars }}"
    - ansible.builtin.debug:
        msg: "ca={{ tls_authority_certificate }}"
"""
