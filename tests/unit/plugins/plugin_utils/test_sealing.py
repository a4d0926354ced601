# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sealing with age: by its program, and by pyrage where that is there; keys that age-keygen and ssh-keygen have made."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common import age
from ansible_collections.utmstack.ha.plugins.plugin_utils import sealing

X25519 = "age1pyfwgntuvvhzmqc9ed7ayvd56x3uqn68pelyvkt9s2ny7l20vd9sn3shpt"
SSH = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO0IUajkx6RTXZTn/t/z1Q8k8qy607C0WIaQxKkPyl/M operator@desk"
CONTENT = b"\0password\xff" * 5000
needs_age = pytest.mark.skipif(not (shutil.which("age") and shutil.which("ssh-keygen")), reason="age is not installed")
PYRAGE = importlib.util.find_spec("pyrage") is not None


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Two pairs: public key and the file of the private one."""
    place = tmp_path_factory.mktemp("keys")
    said = subprocess.run(["age-keygen", "-o", place / "key"], check=True, capture_output=True, text=True).stderr
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", place / "ssh"], check=True)
    subprocess.run(["age-keygen", "-o", place / "other"], check=True, capture_output=True)
    return [
        (said.split()[-1], place / "key"), ((place / "ssh.pub").read_text(), place / "ssh"), ("", place / "other"),
    ]  # fmt: skip


@pytest.fixture(params=["age", "pyrage"])
def tool(request, monkeypatch):
    if request.param == "pyrage":
        if not PYRAGE:
            pytest.skip("pyrage is not installed")
        monkeypatch.setattr(sealing.shutil, "which", lambda _name: None)
    return request.param


@needs_age
def test_each_recipient_opens_what_was_sealed_and_nobody_else_does(keys, tool):
    (age1, own), (ssh, ssh_own), (_none, other) = keys
    sealed = sealing.seal(CONTENT, [age1, ssh])
    assert sealing.unseal(sealed, own) == sealing.unseal(sealed, ssh_own) == CONTENT
    assert "password" not in sealed
    with pytest.raises(age.AgeError):
        sealing.unseal(sealed, other)


@needs_age
def test_the_program_itself_opens_it(keys, tool, tmp_path):
    (age1, own), _ssh, _other = keys
    (tmp_path / "sealed").write_text(sealing.seal(CONTENT, [age1]))
    done = subprocess.run(["age", "--decrypt", "--identity", own, tmp_path / "sealed"], check=True, capture_output=True)
    assert done.stdout == CONTENT


@needs_age
def test_the_header_names_who_can_open_it(keys, tool):
    (age1, _own), (ssh, _ssh_own), _other = keys
    sealed = sealing.seal(CONTENT, [age1, ssh])
    assert age.missing(sealed, [age1, ssh]) == []
    assert age.missing(sealed, [age1, X25519, ssh]) == [X25519]
    assert age.missing(sealed, [SSH]) == [age.name(SSH)]


@needs_age
def test_damage_is_found(keys):
    (age1, own), _ssh, _other = keys
    lines = sealing.seal(CONTENT, [age1]).splitlines()
    middle = len(lines) // 2
    lines[middle] = lines[middle][:10] + ("A" if lines[middle][10] != "A" else "B") + lines[middle][11:]
    with pytest.raises(age.AgeError):
        sealing.unseal("\n".join(lines), own)
    with pytest.raises(age.AgeError, match="not a whole file"):
        age.header("\n".join(lines[:-5]))


def test_without_any_tool_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr(sealing.shutil, "which", lambda _name: None)
    monkeypatch.setitem(sys.modules, "pyrage", None)
    with pytest.raises(age.AgeError, match="Install the package age"):
        sealing.seal(b"", [X25519])


def test_without_a_recipient_nothing_is_sealed():
    with pytest.raises(age.AgeError, match="no recipient"):
        sealing.seal(b"", [])


@needs_age
def test_what_opens_it_is_recognized(keys):
    (_age1, own), (ssh, ssh_own), _other = keys
    assert age.opens(own.read_bytes(), []) == "a private key of age"
    assert age.opens(b"x" + ssh_own.read_bytes(), [ssh]) == f"the private key of {age.name(ssh)}"
    # Somebody else's SSH key, such as the one that Ansible logs in with.
    assert age.opens(ssh_own.read_bytes(), [SSH]) == ""
    assert age.opens(b"ha_cluster_name: demo", [ssh]) == ""
