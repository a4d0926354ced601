# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is damaged, full or away is found and told, nothing good is deleted because of it, and writes go on.

DAMAGE_AWAY_S (120): for how long the backup host is away; an hour is 3600.
Each case damages the repository of a backup host by hand, verifies, mends it, and verifies once more.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import time
from collections.abc import Iterator

import psycopg
import pytest
from cluster import LAB, Cluster, told, until
from load import STORES, Load

AWAY_S = int(os.environ.get("DAMAGE_AWAY_S", "120"))
DIRECTORY = "/var/backups/utmstack"
REPOSITORY = f"{DIRECTORY}/pgbackrest"
CONFIG = "/etc/pgbackrest/pgbackrest.conf"
# Where a case has the repository on a small disk: that one, and the directory below it.
SMALL, UNDER = "/mnt/small", "/mnt/under"
# What such a disk has beside the repository.
SPARE_BYTES = 512 << 20
# How long a run may take on the lab's two cores; it has limits of its own.
RUN_S = 1800
FLIP = "import sys; f = open(sys.argv[1], 'r+b'); f.seek(int(sys.argv[2])); b = f.read(1); f.seek(-1, 1); f.write(bytes([b[0] ^ 1]))"


class BackupHost:
    """The lab's backup host, with its repository and its records."""

    def __init__(self, cluster: Cluster, name: str):
        self.cluster, self.name = cluster, name

    def ssh(self, command: str, check: bool = True, timeout: float = 60) -> str:
        return self.cluster.ssh(self.name, command, check, timeout).stdout.strip()

    def run(self, act: str, kind: str = "postgresql") -> tuple[int, dict]:
        """Start the timer's own unit and wait for it; its exit code, and the record that it has left."""
        unit = f"utmstack-backup{'-verify' if act == 'verify' else ''}@{kind}.service"
        before = self.records(kind, act)
        self.ssh(f"systemctl start {unit}", check=False, timeout=RUN_S)
        code = int(self.ssh(f"systemctl show -P ExecMainStatus {unit}"))
        new = [name for name in self.records(kind, act) if name not in before]
        assert len(new) == 1, f"{unit} ended with {code} and left {len(new)} records"
        return code, json.loads(self.ssh(f"cat {DIRECTORY}/records/{kind}/{new[0]}"))

    def records(self, kind: str, act: str) -> list[str]:
        return self.ssh(f"ls {DIRECTORY}/records/{kind} | grep -e '-{act}[.]json$'", check=False).split()

    def pgbackrest(self, arguments: str) -> str:
        stanza = f"--stanza={self.cluster.scope}"
        return self.ssh(
            f"setpriv --reuid=postgres --regid=postgres --init-groups pgbackrest {stanza} {arguments}", timeout=300
        )

    def labels(self) -> set[str]:
        """The backups that the repository has."""
        return {one["label"] for one in json.loads(self.pgbackrest("info --output=json"))[0]["backup"]}

    def segments(self) -> list[str]:
        """The paths of the WAL in the repository, oldest first."""
        return self.ssh(f"find {REPOSITORY}/archive -type f -regex '.*/[0-9A-F]*-[0-9a-f]*[.]zst' | sort").split()

    @contextlib.contextmanager
    def mended(self, path: str) -> Iterator[None]:
        """Put a file back as it was."""
        self.ssh(f"mkdir -p /root/aside && cp -p {path} /root/aside/file")
        try:
            yield
        finally:
            self.ssh(f"cp -p /root/aside/file {path} && rm -r /root/aside")

    @contextlib.contextmanager
    def small_disk(self) -> Iterator[None]:
        """The repository on a file system of its own, which can be filled without the machine's disk; what is written meanwhile stays.

        While it is copied nothing is taken: WAL waits on the primary.
        """
        used = int(self.ssh(f"du -sB1 {DIRECTORY} | cut -f1"))
        self.ssh(
            f"mkdir -p {SMALL} {UNDER} && mount --bind {DIRECTORY} {UNDER} && mount -t tmpfs -o mode=0711,size={used + SPARE_BYTES} tmpfs {SMALL}"
        )
        try:
            self.ssh(
                f"systemctl stop pgbackrest && cp -a {UNDER}/. {SMALL}/ && mount --bind {SMALL} {DIRECTORY} && systemctl start pgbackrest",
                timeout=300,
            )
            yield
        finally:
            self.ssh(
                f"rm -f {DIRECTORY}/filler; systemctl stop pgbackrest; ! mountpoint -q {DIRECTORY} || {{ umount {DIRECTORY} && cp -a {SMALL}/. {UNDER}/; }};"
                f" umount {SMALL} {UNDER}; systemctl start pgbackrest",
                timeout=300,
            )

    def fill(self, left: int) -> None:
        """Fill the file system of the repository but for so many bytes."""
        free = int(self.ssh(f"df --output=avail -B1 {DIRECTORY} | tail -1"))
        self.ssh(f"head -c {free - left} /dev/zero > {DIRECTORY}/filler", check=False, timeout=300)

    def flip(self, path: str) -> None:
        size = int(self.ssh(f"stat -c %s {path}"))
        self.ssh(f"python3 -c {shlex.quote(FLIP)} {path} {size // 2}")


@pytest.fixture(scope="module")
def load(cluster):
    """Users of the application, for as long as the module lasts; all that was acknowledged is there afterwards."""
    found = Load(cluster, rate=5).start()
    until(lambda: len(found.outcome.acknowledged) > 50, 60, "the load to get going")
    yield found
    outcome = found.stop()
    print(f"\n{outcome}")
    assert found.missing() == {store: set() for store in STORES}
    assert not outcome.failed


@pytest.fixture
def host(cluster, load):
    """The backup host, of which a case deletes nothing that was good, while writes go on."""
    found = BackupHost(cluster, cluster.backup)
    before, acknowledged = found.labels(), len(load.outcome.acknowledged)
    assert before, "no backup was taken; site.yml takes the first one"
    yield found
    assert before <= found.labels()
    until(lambda: len(load.outcome.acknowledged) > acknowledged + 20, 60, "writes to go on")
    code, record = found.run("verify")
    assert (code, record["verdict"]) == (0, "ok"), record["reason"]


def found_damaged(host: BackupHost, *words: str) -> None:
    code, record = host.run("verify")
    assert (code, record["verdict"]) == (1, "failed"), record
    assert all(word in record["reason"] for word in words), record["reason"]


def ask(cluster, statement: str) -> str:
    """What a statement selects on the primary, as its superuser."""
    command = f"cd / && setpriv --reuid=postgres --regid=postgres --init-groups psql -Atqc {shlex.quote(statement)}"
    return cluster.ssh(cluster.primary(), command).stdout.strip()


def switch_wal(cluster) -> None:
    """Have the present segment closed and archived."""
    ask(cluster, "select pg_switch_wal()")


def unarchived(cluster) -> int:
    """How many segments of the primary wait for the archive."""
    return int(ask(cluster, "select count(*) from pg_ls_archive_statusdir() where name like '%.ready'"))


def refused(cluster) -> int:
    """How often the primary's archiving has failed so far."""
    return int(ask(cluster, "select failed_count from pg_stat_archiver"))


def test_a_flipped_byte_in_the_repository(cluster, host):
    path = host.ssh(
        f"find {REPOSITORY}/backup -path '*/bundle/*' -type f -printf '%s %p\\n' | sort -n | tail -1"
    ).split()[1]
    with host.mended(path):
        host.flip(path)
        found_damaged(host, "checksum invalid 1")
        # Status is not green for it.
        shown = cluster.playbook("playbooks/status.yml", check=False)
        assert shown.returncode != 0
        assert "checksum invalid" in told(shown)


def test_a_flipped_byte_in_a_manifest(host):
    """pgBackRest takes the copy, and its verify says ok."""
    path = host.ssh(f"ls -t {REPOSITORY}/backup/*/*/backup.manifest | head -1")
    with host.mended(path):
        host.flip(path)
        assert "status: ok" in host.pgbackrest("verify --output=text --verbose")
        found_damaged(host, "backup.manifest and its copy differ")


def test_a_truncated_wal_file(cluster, host):
    switch_wal(cluster)
    until(lambda: unarchived(cluster) == 0, 60, "the WAL to be archived")
    path = host.segments()[-2]
    with host.mended(path):
        host.ssh(f"truncate -s -100 {path}")
        found_damaged(host, "segments are valid")


def test_a_missing_segment(cluster, host):
    for _number in range(3):
        switch_wal(cluster)
        time.sleep(2)
    until(lambda: unarchived(cluster) == 0, 60, "the WAL to be archived")
    path = host.segments()[-2]
    with host.mended(path):
        host.ssh(f"rm {path}")
        assert "status: ok" in host.pgbackrest("verify --output=text --verbose")
        found_damaged(host, "WAL is missing", path.rsplit("/", 1)[1][:24])


def test_a_wrong_passphrase(host):
    with host.mended(CONFIG):
        host.ssh(f"sed -i 's/^repo1-cipher-pass=.*/repo1-cipher-pass=another/' {CONFIG}")
        for act in ("take", "verify"):
            code, record = host.run(act)
            assert (code, record["verdict"]) == (1, "failed"), record
            assert "the repository can't be read" in record["reason"]


def test_a_disk_with_room_for_the_reserve_alone(host):
    """A backup is refused before it takes what WAL needs."""
    with host.small_disk():
        total = int(host.ssh(f"df --output=size -B1 {DIRECTORY} | tail -1"))
        host.fill(left=total * 5 // 100)
        code, record = host.run("take")
        assert (code, record["verdict"]) == (4, "failed"), record
        assert "needs" in record["reason"] and "free" in record["reason"]
        host.ssh(f"rm {DIRECTORY}/filler")


def test_a_full_repository_disk(cluster, host, load):
    """WAL is refused, kept on the primary, and sent when there is room."""
    with host.small_disk():
        failed, acknowledged = refused(cluster), len(load.outcome.acknowledged)
        host.fill(left=0)
        switch_wal(cluster)
        until(lambda: refused(cluster) > failed, 120, "the archive to be refused")
        assert unarchived(cluster) > 0
        until(lambda: len(load.outcome.acknowledged) > acknowledged + 50, 60, "writes to go on")
        host.ssh(f"rm {DIRECTORY}/filler")
        until(lambda: unarchived(cluster) == 0, 180, "the WAL to be sent")
        code, record = host.run("take")
        assert (code, record["verdict"]) == (0, "ok"), record["reason"]


def test_a_backup_host_that_is_away(cluster, host, load):
    """Status tells it; all WAL of that time is sent afterwards, without a gap."""
    acknowledged = len(load.outcome.acknowledged)
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS away (number bigint PRIMARY KEY)")
        subprocess.run([*LAB, "power-off", host.name], check=True, capture_output=True)
        began = time.monotonic()
        try:
            number = 0
            while time.monotonic() - began < AWAY_S:
                number += 1
                connection.execute("INSERT INTO away VALUES (%s) ON CONFLICT DO NOTHING", (number,))
                time.sleep(1)
            shown = cluster.status()
            assert not shown["healthy"]
            assert any(host.name in text for text in shown["problems"])
            assert unarchived(cluster) > 0
        finally:
            subprocess.run([*LAB, "power-on", host.name], check=True, capture_output=True)
    assert len(load.outcome.acknowledged) > acknowledged + AWAY_S
    until(lambda: cluster.ssh(host.name, "true", check=False).returncode == 0, 120, f"{host.name} to be back")
    until(lambda: unarchived(cluster) == 0, 300, "the WAL of that time to be sent")
    code, record = host.run("verify")
    assert (code, record["verdict"]) == (0, "ok"), record["reason"]


def test_a_dump_with_a_flipped_byte(host):
    code, record = host.run("take", "dump")
    assert (code, record["verdict"]) == (0, "ok"), record["reason"]
    path = f"{DIRECTORY}/files/dump/{record['label']}/utmstack.dump"
    with host.mended(path):
        host.flip(path)
        code, record = host.run("verify", "dump")
        assert (code, record["verdict"]) == (1, "failed"), record
    code, record = host.run("verify", "dump")
    assert (code, record["verdict"]) == (0, "ok"), record["reason"]
