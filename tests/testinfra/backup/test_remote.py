# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Copies to a remote, and PostgreSQL's repository in a bucket, with a real S3-compatible server on the lab's backup host.

The lab is that of molecule/backup, the server that of `make s3`. In this order, each on what the one before has left; the last one gives the backup host
its repository in a directory back.
"""

from __future__ import annotations

import json
import re
import shlex

import pytest
from cluster import ROOT, Cluster, assert_unchanged, of_scenario_backup, until

SETTINGS = ("-e", f"@{ROOT}/inventories/lab/group_vars/all.yml")
DIRECTORY, DATA = "/var/backups/utmstack", "/srv/s3"
SERVER, PORT, KEY, SECRET = "/srv/lab/versitygw-v1.8.0", 9443, "LABACCESSKEY", "secret-of-the-labs-bucket"
TLS = "/etc/utmstack-ha/tls"
UNIT = f"""[Service]
Environment=ROOT_ACCESS_KEY={KEY} ROOT_SECRET_KEY={SECRET}
ExecStart={SERVER} --port :{PORT} --cert {TLS}/host.crt --key {TLS}/host.key --quiet --iam-dir {DATA}/iam posix --sidecar {DATA}/meta {DATA}/data
"""
# How long a run may take on the lab's two cores.
RUN_S = 1800


class Lab:
    """The platform, its backup host, and an S3-compatible server on it."""

    def __init__(self, cluster: Cluster):
        self.cluster, self.name = cluster, cluster.backup
        self.remote = {
            "backup_remote": {
                "type": "s3", "provider": "Other", "endpoint": f"https://{self.name}:{PORT}", "region": "us-east-1", "access_key_id": KEY,
                "force_path_style": True, "no_check_bucket": True,
            },
            "backup_remote_secrets": {"secret_access_key": SECRET}, "backup_remote_path": "offsite/copies", "backup_remote_ca_file": f"{TLS}/ca.crt",
        }  # fmt: skip
        self.s3 = {
            "backup_repository": "s3", "backup_s3_endpoint": f"{self.name}:{PORT}", "backup_s3_bucket": "backups", "backup_s3_key": KEY,
            "backup_s3_secret": SECRET, "backup_s3_ca_file": f"{TLS}/ca.crt",
        }  # fmt: skip
        self.settings = self.remote

    def ssh(self, command: str, check: bool = True, timeout: float = 120) -> str:
        return self.cluster.ssh(self.name, command, check, timeout).stdout.strip()

    def run(self, name: str, *arguments: str, check: bool = True, **settings):
        return self.cluster.playbook(
            name, *SETTINGS, "-e", json.dumps({**self.settings, **settings}), *arguments, check=check
        )

    def copy(self, check: bool = True):
        return self.run("playbooks/backup.yml", "-e", "kind=copy", check=check)

    def problems(self) -> list[str]:
        printed = self.run("playbooks/status.yml", "-e", "format=json", check=False).stdout
        state = json.JSONDecoder().raw_decode(printed[re.search(r"^\{", printed, re.MULTILINE).start() :])[0]
        return [text for text in state["problems"] if text.startswith(self.name) and "configuration" not in text]

    def record(self) -> dict:
        return json.loads(self.ssh(f"cat $(ls {DIRECTORY}/records/copy/*-copy.json | tail -n 1)"))

    def there(self, path: str = "") -> str:
        return f"{DATA}/data/offsite/copies/{self.cluster.scope}/{self.name}/{path}"

    def sums(self) -> str:
        """Of all that the remote has, by which a change of anything is seen."""
        return self.ssh(f"find {DATA}/data/offsite -type f -exec sha256sum {{}} + | sort | sha256sum")


@pytest.fixture(scope="module")
def lab():
    found = Lab(of_scenario_backup())
    assert found.ssh(f"test -x {SERVER} && echo there", check=False) == "there", "run `make s3` first"
    found.ssh(f"mkdir -p {DATA}/data/offsite {DATA}/data/backups {DATA}/iam {DATA}/meta")
    found.ssh(
        f"printf %s {shlex.quote(UNIT)} > /etc/systemd/system/lab-s3.service && systemctl daemon-reload && systemctl start lab-s3"
    )
    yield found
    found.ssh(
        f"systemctl stop lab-s3; rm -r /etc/systemd/system/lab-s3.service {DATA}; systemctl daemon-reload", check=False
    )


def test_a_remote_with_wrong_credentials_a_wrong_ca_or_no_bucket_is_refused_by_the_name_of_its_setting(lab):
    for settings, told in (
        ({"backup_remote_secrets": {"secret_access_key": "another-secret-than-that"}}, "backup_remote_secrets"),
        ({"backup_remote_ca_file": "/etc/ssl/certs/ca-certificates.crt"}, "backup_remote_ca_file"),
        ({"backup_remote_path": "nowhere/copies"}, "backup_remote_path"),
    ):
        done = lab.run("site.yml", "--tags", "backup", check=False, **settings)
        said = " ".join(done.stdout.split())
        assert done.returncode != 0 and told in said and f"{lab.name}: " in said, said[-3000:]
        assert "another-secret-than-that" not in said


def test_the_first_run_copies_all_and_a_second_one_changes_nothing(lab):
    lab.run("site.yml")
    until(
        lambda: lab.ssh("systemctl is-active utmstack-backup-copy", check=False) == "inactive", RUN_S, "the first copy"
    )
    record = lab.record()
    assert record["verdict"] == "ok", record["reason"]
    print(f"\n{record['manifest']} in {record['seconds']} s: {record['checks']}")
    assert_unchanged(lab.run("site.yml").stdout)
    assert lab.problems() == []
    assert lab.ssh("stat -c '%a %U' /etc/utmstack-ha/rclone.conf") == "600 root"
    assert SECRET not in lab.ssh("journalctl --no-pager -u 'utmstack-backup*'", timeout=300)
    for host in lab.cluster.hosts.keys() - {lab.name}:
        assert lab.cluster.ssh(host, f"grep -rl {SECRET} /etc /var/lib/pgbackrest || true").stdout == ""
    assert "utmstack-backup-copy.timer" in lab.ssh("systemctl list-timers --all --no-legend 'utmstack-backup*'")


def test_nothing_but_the_sealed_configuration_can_be_read_at_the_remote(lab):
    kept = lab.ssh(f"find {lab.there('encrypted')} -name '*.bin' | head -n 200").split()
    assert kept
    for path in kept[:20]:
        assert lab.ssh(f"head -c 6 {path}") == "RCLONE"


def test_a_file_that_was_cut_at_the_remote_is_found_and_nothing_is_written_over(lab):
    path = lab.ssh(f"find {lab.there('encrypted/files/redis')} -name '*.bin' | tail -n 1")
    lab.ssh(f"cp -p {path} /root/kept && truncate -s -10 {path}")
    cut = lab.ssh(f"sha256sum {path}")
    try:
        done = lab.copy(check=False)
        assert done.returncode != 0 and "another size at the remote" in " ".join(done.stdout.split())
        assert any("remote copy" in text for text in lab.problems())
        assert lab.ssh(f"sha256sum {path}") == cut
    finally:
        lab.ssh(f"cat /root/kept > {path}")
    lab.copy()
    assert lab.problems() == []


def test_a_remote_that_is_away_is_red_and_backups_go_on(lab):
    lab.ssh("systemctl stop lab-s3")
    try:
        assert lab.copy(check=False).returncode != 0
        assert lab.record()["verdict"] == "unknown"
        (told,) = [text for text in lab.problems() if "remote copy" in text]
        assert "backup_remote" in told
        lab.run("playbooks/backup.yml", "-e", "kind=redis")
        lab.run("site.yml")
    finally:
        lab.ssh("systemctl start lab-s3")
    lab.copy()
    assert lab.problems() == []


@pytest.mark.parametrize("damage", ["unmounted", "emptied"])
def test_a_source_that_has_nothing_is_not_carried_over(lab, damage):
    before = lab.sums()
    lab.ssh(f"mount -t tmpfs tmpfs {DIRECTORY}")
    try:
        if damage == "emptied":
            lab.ssh(f"printf '%s\\n' {lab.cluster.scope} > {DIRECTORY}/.utmstack-backup && mkdir {DIRECTORY}/records")
        assert lab.ssh("python3 /usr/local/lib/utmstack-ha/backup.py all copy > /root/said; echo $?") == "1"
        assert ("is not the repository" if damage == "unmounted" else "are not in") in lab.ssh("cat /root/said")
    finally:
        lab.ssh(f"umount {DIRECTORY}; systemctl reset-failed 'utmstack-backup*'")
    assert lab.sums() == before


def test_a_backup_host_that_has_lost_its_repository_gets_it_back_and_it_is_good(lab):
    lab.copy()
    kept = lab.ssh(f"cd {DIRECTORY} && find files records -type f | grep -v records/copy | sort")
    lab.ssh("systemctl stop utmstack-backup.target pgbackrest")
    lab.ssh(f"rm -rf {DIRECTORY}/* {DIRECTORY}/.utmstack-backup /var/lib/utmstack-ha/backup-repository*")
    lab.run("playbooks/restore_copy.yml", "-e", f"host={lab.name}")
    lab.run("site.yml")
    assert set(kept.split()) <= set(lab.ssh(f"cd {DIRECTORY} && find files records -type f").split())
    # WAL that came after the last copy is lost, so the next one is a full one by itself.
    for kind in ("postgresql", "redis"):
        lab.run("playbooks/backup.yml", "-e", f"kind={kind}")
        lab.run("playbooks/verify_backup.yml", "-e", f"kind={kind}")
    lab.copy()
    assert lab.problems() == []


def test_a_bucket_that_can_t_be_used_is_refused_before_the_repository_is_made(lab):
    for settings, told in (
        ({"backup_s3_secret": "another-secret-than-that"}, "backup_s3_secret"),
        ({"backup_s3_ca_file": "/etc/ssl/certs/ca-certificates.crt"}, "backup_s3_ca_file"),
        ({"backup_s3_bucket": "nowhere"}, "backup_s3_bucket"),
        ({"backup_s3_endpoint": f"{lab.name}:{PORT + 1}"}, "backup_s3_endpoint"),
    ):
        lab.settings = lab.s3
        done = lab.run("site.yml", "--tags", "backup", check=False, **settings)
        said = " ".join(done.stdout.split())
        assert done.returncode != 0 and told in said and f"{lab.name}: " in said, said[-3000:]
    assert lab.ssh(f"ls {DATA}/data/backups") == ""


def test_a_repository_in_s3_is_backed_up_to_verified_and_archived_to(lab):
    lab.settings = lab.s3
    lab.run("site.yml")
    for kind in ("postgresql", "redis"):
        lab.run("playbooks/backup.yml", "-e", f"kind={kind}")
        lab.run("playbooks/verify_backup.yml", "-e", f"kind={kind}")
    lab.copy()
    place = f"{DATA}/data/backups/{lab.cluster.scope}/{lab.name}"
    assert set(lab.ssh(f"ls {place}").split()) == {"pgbackrest", "encrypted"}
    assert lab.ssh(f"ls {place}/pgbackrest/backup/{lab.cluster.scope}/backup.info")
    assert lab.problems() == []
    assert_unchanged(lab.run("site.yml").stdout)
    for host in lab.cluster.hosts.keys() - {lab.name}:
        assert lab.cluster.ssh(host, f"grep -rl {SECRET} /etc /var/lib/pgbackrest || true").stdout == ""
    assert lab.ssh("stat -c '%a %U' /etc/pgbackrest/pgbackrest.conf /etc/utmstack-ha/rclone.conf").split() == [
        "600",
        "postgres",
        "600",
        "root",
    ]


def test_the_directory_is_the_repository_again_and_the_credentials_go(lab):
    """What was written while the bucket was the repository is not in the directory, so a full backup begins a new chain there."""
    lab.settings = {}
    lab.run("site.yml")
    lab.run("playbooks/backup.yml", "-e", "kind=postgresql")
    assert lab.ssh("ls /etc/utmstack-ha/rclone.conf", check=False) == ""
    assert SECRET not in lab.ssh("cat /etc/pgbackrest/pgbackrest.conf")
