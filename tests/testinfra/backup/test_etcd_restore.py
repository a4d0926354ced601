# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""etcd has lost its quorum while PostgreSQL's data are intact: restored from a backup, with nothing lost of what PostgreSQL has acknowledged.

In this order; each test leaves a healthy platform.
"""

from __future__ import annotations

import json
import random
import re

import pytest
from cluster import assert_unchanged, last_task, told, until
from ledger import Writer, present

RESTORE = "playbooks/restore_etcd.yml"
BUMP = 1_000_000_000
BOOKWORM_ETCD = "3.4."


def healthy(cluster) -> bool:
    """Whether nothing but backups is a problem."""
    return not [text for text in cluster.status()["problems"] if not text.startswith(cluster.backup)]


def members(cluster) -> list[str]:
    return list(cluster.hosts)


def confirmed(cluster) -> tuple[str, ...]:
    return (RESTORE, "-e", f"confirm={cluster.scope}")


def data_directory(cluster, host: str) -> str:
    return cluster.ssh(host, "sed -n 's/^ETCD_DATA_DIR=\"\\(.*\\)\"/\\1/p' /etc/default/etcd").stdout.strip()


def lose_quorum(cluster) -> None:
    """Two of three members lose all their data."""
    for host in members(cluster)[:2]:
        place = data_directory(cluster, host)
        cluster.ssh(host, f"systemctl stop etcd && rm -rf {place}/member")


def revision(cluster) -> int:
    status = json.loads(cluster.etcd(members(cluster)[0], "endpoint status -w json"))
    return status[0]["Status"]["header"]["revision"]


def release(cluster) -> str:
    return cluster.ssh(members(cluster)[0], "etcd --version").stdout.split()[2]


@pytest.fixture
def ledger(cluster):
    """Writes go on before and after; afterwards every acknowledged one must be there."""
    writer = Writer(cluster.conninfo())
    writer.prepare()
    writer.start()
    until(lambda: len(writer.outcome.acknowledged) > 100, 60, "the ledger to get going")
    yield writer
    mark = len(writer.outcome.acknowledged)
    until(lambda: len(writer.outcome.acknowledged) > mark + 100, 120, "the ledger to go on")
    outcome = writer.stop()
    missing = outcome.acknowledged - present(cluster.conninfo())
    print(f"acknowledged {len(outcome.acknowledged)}, missing {len(missing)}, unknown {len(outcome.unknown)}")
    assert not missing


@pytest.fixture(autouse=True)
def _backed_up(cluster):
    until(lambda: healthy(cluster), 300, "a healthy platform")
    cluster.playbook("playbooks/backup.yml", "-e", "kind=etcd")
    cluster.playbook("playbooks/verify_backup.yml", "-e", "kind=etcd")


def test_a_dry_run_prints_the_plan_and_touches_nothing(cluster):
    before = {
        host: cluster.ssh(host, "systemctl show -P ExecMainStartTimestamp etcd patroni").stdout
        for host in members(cluster)
    }
    printed = cluster.playbook(RESTORE, "--check").stdout
    assert "Restore of etcd from" in printed
    assert re.search(r"timeline \d+, [0-9A-F]+/[0-9A-F]+ +leads", printed)
    assert before == {
        host: cluster.ssh(host, "systemctl show -P ExecMainStartTimestamp etcd patroni").stdout
        for host in members(cluster)
    }


def test_without_the_name_of_the_cluster_nothing_is_restored(cluster):
    done = cluster.playbook(RESTORE, "-e", "confirm=another", check=False)
    assert done.returncode != 0
    assert "no data were changed" in told(done)
    assert cluster.whole()


def test_a_lost_quorum_is_restored_and_no_acknowledged_write_is_lost(cluster, ledger):
    before, was = revision(cluster), cluster.ask_patroni("/config")
    lose_quorum(cluster)
    cluster.playbook(*confirmed(cluster))
    assert cluster.whole()
    until(lambda: healthy(cluster), 120, "a healthy platform")
    # A client that watches from a revision of before is told that it is gone, where this release can say so.
    if not release(cluster).startswith(BOOKWORM_ETCD):
        assert revision(cluster) > BUMP
        old = cluster.ssh(members(cluster)[0], watching(cluster, before), check=False, timeout=30)
        assert "compacted" in old.stdout + old.stderr
    assert cluster.ask_patroni("/config")["postgresql"] == was["postgresql"]
    for host in members(cluster):
        place = data_directory(cluster, host)
        assert "member" in cluster.ssh(host, f"ls {place}.before-restore-*").stdout
        assert cluster.ssh(host, "systemctl is-enabled patroni").stdout.strip() == "enabled"
    assert_unchanged(cluster.playbook("site.yml").stdout)


def watching(cluster, since: int) -> str:
    password = cluster.passwords["etcd_root_password"]
    tls, address = "/etc/utmstack-ha/tls", cluster.hosts[members(cluster)[0]]
    return (
        f"ETCDCTL_API=3 ETCDCTL_USER=root:{password} timeout 20 etcdctl --endpoints https://{address}:2379 --cacert {tls}/ca.crt --cert {tls}/host.crt"
        f" --key {tls}/host.key watch --rev={since} --prefix /service/"
    )


def test_keys_of_the_backup_that_are_older_than_the_data_are_not_believed(cluster, ledger):
    """Since the backup another member leads: the backup's `/leader` and `/sync` name the former one."""
    former = cluster.primary()
    cluster.playbook("playbooks/switchover.yml", "-e", "service=postgresql")
    leader = cluster.primary()
    assert leader != former
    timeline = cluster.patroni()[leader]["timeline"]
    lose_quorum(cluster)
    cluster.playbook(*confirmed(cluster))
    assert cluster.patroni()[cluster.primary()]["timeline"] > timeline
    assert cluster.whole()


@pytest.mark.parametrize("number", range(3))
def test_a_run_that_is_killed_is_finished_by_the_next(cluster, ledger, number):
    seed = random.randrange(10**6)
    after = random.Random(seed).uniform(10, 60)
    lose_quorum(cluster)
    done = cluster.kill_after(after, *confirmed(cluster))
    print(f"seed {seed}: killed after {after:.0f} s, in: {last_task(done.stdout)}")
    cluster.playbook(*confirmed(cluster))
    assert cluster.whole()
    until(lambda: healthy(cluster), 120, "a healthy platform")


def test_the_safety_copies_go_when_they_are_told_to(cluster):
    host = members(cluster)[0]
    place = data_directory(cluster, host)
    copies = cluster.ssh(host, f"ls -d {place}.before-restore-*").stdout.split()
    stamp = copies[0].rpartition("-")[2]
    cluster.playbook(RESTORE, "-e", f"remove={stamp}")
    left = cluster.ssh(host, f"ls -d {place}.before-restore-*", check=False).stdout.split()
    assert left == copies[1:]
