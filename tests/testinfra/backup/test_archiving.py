# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""No WAL is lost between the primary and the repository: the backup host away, the primary lost with what it had not sent, a switchover."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cluster import LAB, PLAIN, Cluster, assert_unchanged, told, until
from ledger import Writer, present

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "plugins" / "module_utils"))

from postgresql import wal  # noqa: E402

# Its default.
RPO_LIMIT_S = 120
SEGMENTS = 4


def sql(cluster: Cluster, host: str, query: str) -> str:
    """What a query printed on this host's server, as its superuser."""
    command = f"runuser -u postgres -- psql -XAtq -h /var/run/postgresql -d postgres -c {shlex.quote(query)}"
    return cluster.ssh(host, command).stdout.strip()


def lab(act: str, host: str) -> None:
    subprocess.run([*LAB, act, host], check=True, capture_output=True)


def archive(cluster: Cluster, host: str) -> dict:
    """What postgresql_archive_info says on this host."""
    done = subprocess.run(
        ["ansible", "-i", str(cluster.inventory), host, "-b", "-m", "utmstack.ha.postgresql_archive_info"],
        cwd=ROOT, env=os.environ | PLAIN | {"ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return json.loads(done.stdout.partition("=>")[2])


def state(cluster: Cluster, host: str) -> dict:
    """What the timer has found there."""
    return json.loads(cluster.ssh(host, "cat /var/lib/postgresql-archive/state.json").stdout)


def waiting(cluster: Cluster, host: str) -> list[str]:
    """The segments that wait for the archive on this host."""
    query = "SELECT name FROM pg_ls_archive_statusdir() WHERE name ~ '^[0-9A-F]{24}[.]ready$' ORDER BY name"
    return [name.removesuffix(".ready") for name in sql(cluster, host, query).split()]


def repository(cluster: Cluster, *words: str) -> str:
    command = ["runuser", "-u", "postgres", "--", "pgbackrest", f"--stanza={cluster.scope}", *words]
    return cluster.ssh(cluster.backup, shlex.join(command)).stdout


def gaps(cluster: Cluster) -> list[str]:
    """What a restore from the oldest kept backup to the newest WAL would lack, of the files in the repository themselves."""
    info = json.loads(repository(cluster, "--output=json", "info"))[0]
    place = f"archive/{cluster.scope}/{info['archive'][-1]['id']}"
    names = list(json.loads(repository(cluster, "--output=json", "--recurse", "repo-ls", place)))
    segments, timelines = wal.listed(names)
    histories = {number: repository(cluster, "repo-get", f"{place}/{number:08X}.history") for number in timelines}
    starts = [backup["archive"]["start"] for backup in info["backup"]]
    return wal.gaps(segments, histories, min(starts, default=segments[0]))


def switch(cluster: Cluster, times: int) -> None:
    """Close so many segments, and have every member drop the WAL that it need not keep."""
    for _time in range(times):
        sql(cluster, cluster.primary(), "SELECT pg_switch_wal()")
        time.sleep(1)
    for host in cluster.patroni():
        sql(cluster, host, "CHECKPOINT")


def caught_up(cluster: Cluster) -> bool:
    primary = cluster.primary()
    found = state(cluster, primary)
    return not waiting(cluster, primary) and found.get("filled") == found.get("timeline") and not found["error"]


@pytest.fixture
def settled(cluster):
    """A whole cluster whose WAL is in the repository."""
    until(cluster.whole, 180, "all members to stream")
    until(lambda: caught_up(cluster), 120, "the archive to catch up")
    assert gaps(cluster) == []


@pytest.fixture
def writer(cluster):
    """Users that write meanwhile; at the end nothing that was acknowledged is missing."""
    own = Writer(cluster.conninfo())
    own.prepare()
    own.start()
    until(lambda: len(own.outcome.acknowledged) > 100, 30, "the writer to get going")
    yield own
    outcome = own.stop()
    assert outcome.acknowledged - present(cluster.conninfo()) == set()


def goes_on(writer: Writer, seconds: float = 60) -> None:
    mark = len(writer.outcome.acknowledged)
    until(lambda: len(writer.outcome.acknowledged) > mark + 100, seconds, "writes to go on")


def test_each_member_keeps_wal_by_the_slot_and_patroni_leaves_it_alone(cluster, settled):
    for host in cluster.patroni():
        found = sql(cluster, host, "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'utmstack_archive'")
        assert found in ("reserved", "extended"), host
        assert archive(cluster, host)["problems"] == []
    primary = archive(cluster, cluster.primary())
    assert primary["behind_s"] is not None and primary["behind_s"] <= 60


def test_writes_are_in_the_repository_within_the_archive_timeout(cluster, settled, writer):
    position = wal.position(sql(cluster, cluster.primary(), "SELECT pg_current_wal_lsn()"))

    def there() -> bool:
        last = wal.segment(archive(cluster, cluster.primary())["archived"] or "")
        return last is not None and (last.number + 1) * wal.SEGMENT_BYTES >= position

    took = until(there, 90, "a write of now to be in the repository")
    print(f"a write was in the repository after {took:.0f} s")


def test_a_primary_that_is_lost_with_a_backlog_leaves_no_gap(cluster, settled, writer):
    lost = cluster.primary()
    lab("power-off", cluster.backup)
    try:
        switch(cluster, SEGMENTS)
        goes_on(writer)
        until(lambda: len(waiting(cluster, lost)) >= SEGMENTS, 60, "a backlog")
        backlog = waiting(cluster, lost)
        until(lambda: archive(cluster, lost)["behind_s"] > RPO_LIMIT_S, RPO_LIMIT_S + 60, "the limit to be passed")
        status = cluster.playbook("playbooks/status.yml", check=False)
        assert status.returncode != 0 and "the newest writes are in no repository" in told(status)
        started = time.monotonic()
        lab("power-off", lost)
        goes_on(writer, 90)
        primary = cluster.primary()
        assert primary != lost
        # Standbys have marked the backlog as archived: without the slot these checkpoints would drop it.
        for _time in range(3):
            sql(cluster, primary, "SELECT pg_switch_wal()")
            sql(cluster, primary, "CHECKPOINT")
        kept = sql(cluster, primary, "SELECT name FROM pg_ls_waldir()").split()
        assert set(backlog) <= set(kept), "the new primary has dropped what no repository has"
        lab("power-on", cluster.backup)
        until(lambda: caught_up(cluster), 300, "the new primary to send what the lost one had not")
        took = time.monotonic() - started
        pushed = state(cluster, cluster.primary()).get("pushed", {}).get("segments", [])
        print(
            f"\n{len(backlog)} segments of a backlog, sent by the next primary: {pushed}; no gap {took:.0f} s after the loss"
        )
        assert gaps(cluster) == []
        assert state(cluster, cluster.primary())["gaps"] == []
    finally:
        for host in (cluster.backup, lost):
            lab("power-on", host)
    until(cluster.whole, 300, "the lost member to stream again")
    until(lambda: caught_up(cluster), 120, "the archive to catch up")
    assert gaps(cluster) == []


def test_a_rewound_former_primary_does_not_wait_for_ever_on_an_idle_leader(cluster, settled):
    former = cluster.primary()
    data = sql(cluster, former, "SHOW data_directory")
    cluster.ssh(former, f"kill -9 $(head -1 {data}/postmaster.pid); systemctl stop patroni")
    try:
        until(lambda: cluster.leader() not in (None, former), 90, "another primary")
        sql(cluster, cluster.primary(), "SELECT pg_switch_wal()")
    finally:
        cluster.ssh(former, "systemctl start patroni")
    took = until(cluster.whole, 180, "the former primary to stream, while nobody writes")
    print(f"\nthe former primary streamed after {took:.0f} s")


def test_a_switchover_leaves_no_gap(cluster, settled, writer):
    before = cluster.primary()
    cluster.playbook("playbooks/switchover.yml", "-e", "service=postgresql")
    assert cluster.primary() != before
    goes_on(writer)
    until(lambda: caught_up(cluster), 120, "the archive to catch up")
    assert gaps(cluster) == []
    assert state(cluster, cluster.primary())["gaps"] == []


def test_a_stray_receiver_of_wal_acknowledges_nothing(cluster, settled, writer):
    """Patroni's strict mode may name `*`: whoever streams would then confirm writes. It must not while members stream."""
    primary, password = cluster.primary(), cluster.passwords["postgresql_replication_password"]
    host = next(name for name in cluster.patroni() if name != primary)
    address = cluster.hosts[primary]
    receiver = (
        "systemd-run --quiet --collect --unit=stray-receiver --setenv=PGSSLMODE=require --setenv=PGAPPNAME=stray"
        f" --setenv=PGPASSWORD={shlex.quote(password)} $(ls -d /usr/lib/postgresql/*/bin | tail -1)/pg_receivewal"
        f" -h {address} -U replicator -D /tmp/stray --synchronous --no-loop"
    )
    cluster.ssh(host, f"mkdir -p /tmp/stray && {receiver}")
    try:
        query = "SELECT sync_state FROM pg_stat_replication WHERE application_name = 'stray'"
        until(lambda: sql(cluster, primary, query) != "", 20, "the stray receiver to stream")
        for _look in range(20):
            names = sql(cluster, primary, "SHOW synchronous_standby_names")
            assert "*" not in names and "stray" not in names, names
            assert sql(cluster, primary, query) in ("async", "")
            time.sleep(1)
        goes_on(writer)
    finally:
        cluster.ssh(host, "systemctl stop stray-receiver; rm -rf /tmp/stray", check=False)


def test_the_user_of_backups_may_read_and_never_replicate(cluster, settled):
    primary, password = cluster.primary(), cluster.passwords["postgresql_backup_password"]
    psql = (
        f"PGPASSWORD={shlex.quote(password)} PGSSLMODE=require $(ls -d /usr/lib/postgresql/*/bin | tail -1)/psql -XAtq -h"
        f" {cluster.hosts[primary]} -U utmstack_backup"
    )
    assert cluster.ssh(cluster.backup, f"{psql} -d utmstack -c 'SELECT 1'").stdout.strip() == "1"
    refused = cluster.ssh(
        cluster.backup, f"{psql} -d 'dbname=utmstack replication=true' -c IDENTIFY_SYSTEM", check=False
    )
    assert refused.returncode != 0 and "no pg_hba.conf entry for replication" in refused.stderr
    member = next(name for name in cluster.patroni() if name != primary)
    away = cluster.ssh(member, f"{psql} -d utmstack -c 'SELECT 1'", check=False)
    assert away.returncode != 0 and "pg_hba.conf rejects connection" in away.stderr


def test_archiving_does_not_end_unasked(cluster, settled):
    without = ("-e", '{"backup_kinds": ["redis"]}')
    refused = cluster.playbook("playbooks/postgresql.yml", "--check", *without, check=False)
    assert refused.returncode != 0 and "backup_stop=true" in told(refused)
    assert_unchanged(cluster.playbook("playbooks/postgresql.yml").stdout)
