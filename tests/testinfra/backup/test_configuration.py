# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The configuration, sealed on the controller and kept on the backup host: opened there where its private key is, and enough for a second controller.

The lab's operator has the key pair (lab.py). In this order, each on what the one before has left.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from cluster import LAB, ROOT, SHOWN, Cluster, assert_unchanged, told

REPOSITORY = "/var/backups/utmstack"
RECORDS = f"{REPOSITORY}/records/configuration"
VERIFY = ("playbooks/verify_backup.yml", "-e", "kind=configuration")
# The last play of site.yml.
SEAL = "playbooks/backup_configuration.yml"
NOBODY = ("-e", '{"backup_recipients": []}')


def problems(cluster) -> list[str]:
    return [text for text in cluster.status()["problems"] if "configuration" in text]


def archives(cluster) -> list[str]:
    """The directories of what is kept, newest last."""
    return cluster.ssh(cluster.backup, f"ls -d {REPOSITORY}/files/configuration/*", check=False).stdout.split()


def test_without_a_recipient_status_is_red_and_a_second_run_changes_nothing(cluster):
    before = archives(cluster)
    cluster.playbook(SEAL, *NOBODY)
    assert archives(cluster) == before
    assert any("backup_recipients is empty" in text for text in problems(cluster))
    assert_unchanged(cluster.playbook(SEAL, *NOBODY).stdout)
    cluster.playbook(SEAL)
    assert len(archives(cluster)) == len(before) + 1
    assert problems(cluster) == []


def test_what_is_sealed_is_not_known_to_be_good_until_it_was_opened(cluster):
    # As if nobody had opened one yet.
    cluster.ssh(cluster.backup, f"rm {RECORDS}/*-verify.json")
    done = cluster.playbook(*VERIFY, check=False)
    assert done.returncode != 0
    assert "nobody has opened it yet" in told(done)
    cluster.playbook(*VERIFY, "-e", f"identity={cluster.lab.identity}")
    assert problems(cluster) == []
    # Nothing has changed, so nothing is sealed again.
    before = archives(cluster)
    assert_unchanged(cluster.playbook(SEAL).stdout)
    assert archives(cluster) == before


def test_nothing_on_the_backup_host_opens_it_or_has_it_in_clear(cluster):
    password = cluster.passwords["redis_admin_password"]
    assert password not in cluster.ssh(cluster.backup, f"cat {archives(cluster)[-1]}/*").stdout
    private = cluster.lab.identity.read_text().split()[-1]
    assert private.startswith("AGE-SECRET-KEY-")
    # In brackets, so that the journal, which has this very command, does not have it.
    pattern = f"[{private[0]}]{private[1:]}"
    everywhere = (
        f"grep -rlE --exclude-dir=proc --exclude-dir=sys -- {pattern} /etc /root /home /var /tmp /run /usr/local"
    )
    assert cluster.ssh(cluster.backup, everywhere, check=False, timeout=300).stdout == ""
    assert not [path for path in Path("/tmp").glob("ansible*") if path.is_dir() and any(path.rglob("*configuration*"))]


def test_a_second_controller_goes_on_with_it_and_changes_nothing(cluster, tmp_path):
    sealed = tmp_path / "configuration.age"
    sealed.write_text(cluster.ssh(cluster.backup, f"cat {archives(cluster)[-1]}/configuration.age").stdout)
    there = tmp_path / "second"
    subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"), ROOT / "playbooks" / "restore_config.yml",
            "-e", f"archive={sealed}", "-e", f"identity={cluster.lab.identity}", "-e", f"directory={there}", "-e", f"confirm={cluster.scope}",
        ],
        cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}, check=True, timeout=300,
    )  # fmt: skip
    restored = Cluster(there / "inventory")
    # The lab names the directory of the secrets, and its program is not among what was restored.
    done = restored.playbook(
        "site.yml", "-e", f"ha_secrets_dir={there}/secrets", environment=SHOWN | {"LAB_PROGRAM": LAB[1]}
    )
    assert_unchanged(done.stdout)


def test_a_flipped_byte_is_found(cluster):
    archive = f"{archives(cluster)[-1]}/configuration.age"
    # A character that base64 does not have.
    flip = f"printf '!' | dd of={archive} bs=1 seek=2000 conv=notrunc status=none"
    cluster.ssh(cluster.backup, f"cp -a {archive} /root/kept && {flip}")
    try:
        done = cluster.playbook(*VERIFY, check=False)
    finally:
        cluster.ssh(cluster.backup, f"mv /root/kept {archive}")
    assert done.returncode != 0
    assert "checksum" in told(done)
    cluster.playbook(*VERIFY)
    assert problems(cluster) == []
