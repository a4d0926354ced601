# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The configuration as an archive: what is in it, what is refused of it, and how it comes back."""

from __future__ import annotations

import io
import json
import tarfile
import time

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common import age
from ansible_collections.utmstack.ha.plugins.module_utils.common.backup import FAILED, UNVERIFIED, BackupError
from ansible_collections.utmstack.ha.plugins.module_utils.host import configuration

FACTS = {"cluster": "demo", "made": 1796039126, "software": {"ansible": "2.19.14"}}
SSH = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO0IUajkx6RTXZTn/t/z1Q8k8qy607C0WIaQxKkPyl/M"
OTHER = "age1pyfwgntuvvhzmqc9ed7ayvd56x3uqn68pelyvkt9s2ny7l20vd9sn3shpt"
# The header that age 1.1.1 wrote for that SSH key and an age1 key.
SEALED = age.armored(
    b"age-encryption.org/v1\n-> X25519 npseazAr6huLzFboHKtMhRsnwpjCCwX/AZfFrf7T7F4\nabc\n"
    b"-> ssh-ed25519 0L/dUg pc7t4ivoR1+9jo7gm4cHtJqkCTAtsUg2yA6aSR1FKDs\nabc\n--- mac\nbody"
)
DAY = 86400


@pytest.fixture
def inventory(tmp_path):
    place = tmp_path / "inventory"
    (place / "group_vars").mkdir(parents=True)
    (place / "hosts.yml").write_text("all: {}")
    (place / "group_vars" / "all.yml").write_text("ha_cluster_name: demo")
    (place / ".secrets").mkdir()
    (place / ".secrets" / "passwords.yml").write_text("redis_password: secret")
    (place / ".git").mkdir()
    (place / ".git" / "HEAD").write_text("x")
    return place


def test_inventory_and_secrets_are_in_it(inventory):
    files = configuration.collect([str(inventory)], str(inventory / ".secrets"))
    assert sorted(files) == ["inventory/.secrets/passwords.yml", "inventory/group_vars/all.yml", "inventory/hosts.yml"]
    assert configuration.where_secrets(files) == "inventory/.secrets"


def test_of_a_file_its_variables_come_along_and_nothing_else_that_lies_beside_it(inventory, tmp_path):
    (inventory / "notes.txt").write_text("x")
    secrets = tmp_path / "elsewhere"
    secrets.mkdir()
    (secrets / "ca.key").write_text("key")
    files = configuration.collect([str(inventory / "hosts.yml")], str(secrets))
    assert sorted(files) == ["inventory/group_vars/all.yml", "inventory/hosts.yml", "secrets/ca.key"]
    assert configuration.where_secrets(files) == "secrets"


def test_what_a_link_leads_to_is_in_it_and_a_circle_ends(inventory, tmp_path):
    (tmp_path / "vault.yml").write_text("from a link")
    (inventory / "group_vars" / "vault.yml").symlink_to(tmp_path / "vault.yml")
    (inventory / "round").symlink_to(inventory)
    files = configuration.collect([str(inventory)], str(inventory / ".secrets"))
    assert files["inventory/group_vars/vault.yml"] == (b"from a link", False)
    assert not [name for name in files if name.startswith("inventory/round/")]


def test_several_sources_do_not_mix(inventory, tmp_path):
    second = tmp_path / "second"
    second.mkdir()
    (second / "hosts.yml").write_text("more")
    files = configuration.collect([str(inventory), str(second)], str(inventory / ".secrets"))
    assert {"inventory/1/hosts.yml", "inventory/1/.secrets/passwords.yml", "inventory/2/hosts.yml"} <= set(files)


def test_the_checksum_tells_content_names_and_rights_apart(inventory):
    files = configuration.collect([str(inventory)], str(inventory / ".secrets"))
    same = configuration.digest(files)
    assert configuration.digest(dict(reversed(files.items()))) == same
    for change in (
        {"inventory/hosts.yml": (b"all: {} ", False)},
        {"inventory/hosts.yml": (b"all: {}", True)},
        {"inventory/new": (b"", False)},
    ):
        assert configuration.digest({**files, **change}) != same


def packed(files):
    return configuration.archive(files, {**FACTS, "digest": configuration.digest(files)})


def test_an_archive_comes_back_as_it_was(inventory, tmp_path):
    files = configuration.collect([str(inventory)], str(inventory / ".secrets"))
    facts, found = configuration.members(packed(files))
    assert found == files
    assert facts["cluster"] == "demo"
    there = tmp_path / "there"
    assert configuration.write(there, found, "20261130T101500Z") == ""
    assert configuration.differs(there, found) == []
    assert (there / "inventory/.secrets/passwords.yml").read_text() == "redis_password: secret"
    assert {path.stat().st_mode & 0o077 for path in [there, *there.rglob("*")]} == {0}


def test_other_secrets_are_moved_aside_and_never_written_over(inventory, tmp_path):
    files = configuration.collect([str(inventory)], str(inventory / ".secrets"))
    there = tmp_path / "there"
    (there / "secrets").mkdir(parents=True)
    (there / "secrets" / "passwords.yml").write_text("others")
    assert "secrets/passwords.yml" in configuration.differs(there, files)
    copy = configuration.write(there, files, "20261130T101500Z")
    assert copy == f"{there}.before-restore-20261130T101500Z"
    assert (tmp_path / "there.before-restore-20261130T101500Z" / "secrets" / "passwords.yml").read_text() == "others"
    (there / "more").write_text("x")
    with pytest.raises(FileExistsError, match="never written over"):
        configuration.write(there, files, "20261130T101500Z")
    assert (there / "more").exists()


def tar(*entries):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for entry, content in entries:
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def entry(name, kind=tarfile.REGTYPE, link=""):
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, link
    return found


MANIFEST = (entry("manifest.json"), json.dumps({**FACTS, "digest": configuration.digest({})}).encode())


@pytest.mark.parametrize(
    "bad",
    [
        entry("/etc/cron.d/x"),
        entry("../x"),
        entry("inventory/../../x"),
        entry("inventory//x"),
        entry("./x"),
        entry("inventory/x\ny"),
        entry("x", tarfile.SYMTYPE, "/etc/passwd"),
        entry("x", tarfile.LNKTYPE, "manifest.json"),
        entry("x", tarfile.FIFOTYPE),
        entry("x", tarfile.CHRTYPE),
        entry("manifest.json"),
    ],
    ids=lambda one: f"{one.name!r} {one.type!r}",
)
def test_an_archive_that_could_write_elsewhere_is_refused(bad):
    with pytest.raises(BackupError, match="the archive has"):
        configuration.members(tar(MANIFEST, (bad, b"")))


def test_an_archive_whose_files_are_others_than_its_manifest_says_is_refused():
    with pytest.raises(BackupError, match="are not those"):
        configuration.members(tar(MANIFEST, (entry("inventory/hosts.yml"), b"x")))
    with pytest.raises(BackupError, match="no archive"):
        configuration.members(b"anything else")


@pytest.fixture
def kept(tmp_path):
    (tmp_path / "configuration.age").write_text(SEALED)
    (tmp_path / "manifest.json").write_text(json.dumps({**FACTS, "digest": "d", "recipients": [SSH, OTHER]}))
    (tmp_path / "README-RESTORE").write_text("x")
    return tmp_path


def settings(recipients, *opened):
    records = [{"act": "verify", "verdict": "ok", "started": one, "checks": {"opened": "3 files"}} for one in opened]
    records.append({"act": "verify", "verdict": "ok", "started": time.time(), "checks": {"header": "sealed"}})
    return {"recipients": recipients, "records": records, "now": 100 * DAY}


def test_it_is_not_known_to_be_good_until_somebody_has_opened_it(kept, tmp_path):
    with pytest.raises(BackupError, match="nobody has opened it yet") as told:
        configuration.verify(settings([SSH, OTHER]), kept, tmp_path)
    assert told.value.code == UNVERIFIED
    assert (
        configuration.verify(settings([SSH, OTHER], 11 * DAY), kept, tmp_path)["checks"]["last opened"] == "89 days ago"
    )
    with pytest.raises(BackupError, match="last opened 91 days ago") as told:
        configuration.verify(settings([SSH, OTHER], 9 * DAY), kept, tmp_path)
    assert told.value.code == UNVERIFIED


def test_an_archive_that_a_present_recipient_can_not_open_has_failed(kept, tmp_path):
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO0IUajkx6RTXZTn/t/z1Q8k8qy607C0WIaQxKkPyl/N"
    with pytest.raises(BackupError, match="is not sealed to ssh-ed25519") as told:
        configuration.verify(settings([other], 11 * DAY), kept, tmp_path)
    assert told.value.code == FAILED


def test_facts_of_what_lies_on_a_backup_host(kept):
    facts = configuration.inspect(kept)
    assert set(facts["files"]) == {"configuration.age", "manifest.json", "README-RESTORE"}
    assert (facts["source"], facts["point"], facts["manifest"]["digest"]) == ("controller", {"time": 1796039126}, "d")
    (kept / "configuration.age").write_text(SEALED[:-20])
    with pytest.raises(BackupError, match="can't be read"):
        configuration.inspect(kept)


def test_a_backup_host_can_not_take_it(tmp_path):
    with pytest.raises(BackupError, match="on the controller"):
        configuration.take({}, tmp_path)
