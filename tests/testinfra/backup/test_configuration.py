# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The configuration, sealed on the controller and kept on the backup host: opened there where its private key is, and enough for a second controller.

The lab is that of molecule/backup. In this order, each on what the one before has left.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cluster import ROOT, Cluster, assert_unchanged, changes

SETTINGS = ("-e", f"@{ROOT}/inventories/lab/group_vars/all.yml")
BACKUP, REPOSITORY = "backup1", "/var/backups/utmstack"
VERIFY = ("playbooks/verify_backup.yml", "-e", "kind=configuration")


@pytest.fixture(scope="module")
def cluster():
    return Cluster(ROOT / "molecule" / "backup" / "inventory")


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """A key pair that lies with the operator."""
    place = tmp_path_factory.mktemp("operator")
    said = subprocess.run(["age-keygen", "-o", place / "key"], check=True, capture_output=True, text=True).stderr
    recipients = place / "recipients.json"
    recipients.write_text(json.dumps({"backup_recipients": [said.split()[-1]]}))
    return place / "key", ("-e", f"@{recipients}")


def run(cluster, name: str, *arguments: str, **more):
    """A playbook with the lab's own settings."""
    return cluster.playbook(name, *SETTINGS, *arguments, **more)


def problems(cluster, *more: str) -> list[str]:
    printed = run(cluster, "playbooks/status.yml", "-e", "format=json", *more, check=False).stdout
    found = json.JSONDecoder().raw_decode(printed[re.search(r"^\{", printed, re.MULTILINE).start() :])[0]
    return [text for text in found["problems"] if "configuration" in text]


def archives(cluster) -> list[str]:
    return cluster.ssh(BACKUP, f"ls -d {REPOSITORY}/files/configuration/*", check=False).stdout.split()


def test_without_a_recipient_status_is_red_and_a_second_run_changes_nothing(cluster):
    run(cluster, "site.yml")
    assert archives(cluster) == []
    assert any("backup_recipients is empty" in text for text in problems(cluster))
    assert_unchanged(run(cluster, "site.yml").stdout)


def test_what_is_sealed_is_not_known_to_be_good_until_it_was_opened(cluster, keys):
    key, recipients = keys
    run(cluster, "site.yml", *recipients)
    assert len(archives(cluster)) == 1
    done = run(cluster, *VERIFY, *recipients, check=False)
    assert done.returncode != 0
    assert "nobody has opened it yet" in done.stdout
    run(cluster, *VERIFY, *recipients, "-e", f"identity={key}")
    assert problems(cluster, *recipients) == []
    # Nothing has changed, so nothing is sealed again.
    assert_unchanged(run(cluster, "site.yml", *recipients).stdout)


def test_nothing_on_the_backup_host_opens_it_or_has_it_in_clear(cluster, keys):
    key, _recipients = keys
    password = cluster.passwords["redis_admin_password"]
    (archive,) = archives(cluster)
    assert password not in cluster.ssh(BACKUP, f"cat {archive}/*").stdout
    private = key.read_text().split()[-1]
    everywhere = "grep -rlF --exclude-dir=proc --exclude-dir=sys -- {} /etc /root /home /var /tmp /run /usr/local"
    assert cluster.ssh(BACKUP, everywhere.format(private), check=False, timeout=300).stdout == ""
    assert not [path for path in Path("/tmp").glob("ansible*") if path.is_dir() and any(path.rglob("*configuration*"))]


def test_a_second_controller_goes_on_with_it_and_changes_nothing(cluster, keys, tmp_path):
    key, recipients = keys
    (archive,) = archives(cluster)
    (tmp_path / "configuration.age").write_text(cluster.ssh(BACKUP, f"cat {archive}/configuration.age").stdout)
    there = tmp_path / "second"
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"), ROOT / "playbooks" / "restore_config.yml",
            "-e", f"archive={tmp_path / 'configuration.age'}", "-e", f"identity={key}", "-e", f"directory={there}", "-e", f"confirm={scope(cluster)}",
        ],
        cwd=ROOT, env=environment, check=True, timeout=300,
    )  # fmt: skip
    restored = Cluster(there / "inventory")
    # The lab's addresses and passwords are not below the inventory: they are what a second controller has by the archive.
    secrets = next(path.parent for path in there.rglob("passwords.yml"))
    done = restored.playbook("site.yml", *SETTINGS, *recipients, "-e", f"ha_secrets_dir={secrets}")
    assert set(changes(done.stdout).values()) == {0}, done.stdout[-3000:]
    shutil.rmtree(there)


def scope(cluster) -> str:
    return cluster.ask_patroni("/patroni")["patroni"]["scope"]


def test_a_flipped_byte_is_found(cluster, keys):
    _key, recipients = keys
    (archive,) = archives(cluster)
    flip = "printf x | dd of={0}/configuration.age bs=1 seek=2000 conv=notrunc status=none"
    cluster.ssh(BACKUP, f"cp -a {archive}/configuration.age /root/kept && {flip.format(archive)}")
    done = run(cluster, *VERIFY, *recipients, check=False)
    cluster.ssh(BACKUP, f"mv /root/kept {archive}/configuration.age")
    assert done.returncode != 0
    assert "checksum" in done.stdout
