# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""PostgreSQL comes back as it was at a moment, also after an earlier restore, beside the cluster, and whenever a run dies.

RESTORE_KILLS (3): how many runs are killed at random moments before one may end. Every row of the ledger that counts here has its time, so what a restore
must bring back is known to the row.
"""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import time

import psycopg
import pytest
from cluster import told, until

PLAYBOOK = "playbooks/restore_postgresql.yml"
KILLS = int(os.environ.get("RESTORE_KILLS", "3"))
# Restores are decided to the second, and the plan lists both sides of a branch within a minute of its birth.
APART_S = 65
TASKS = (
    r"Stop Patroni on the standbys",
    r"Record the request on the first member",
    r"Store the safety copy of the data",
    r"Reset Patroni's cluster state to the restored data",
    r"Restore and recover the data on the first member",
    r"Promote the restored data and archive their history",
    r"Move the restored data to the data directory",
    r"Start Patroni on the first member",
    r"Record the restore in each repository",
)


def sql(cluster, statement: str, host: str | None = None, port: int = 5432) -> str:
    """What a statement selects on the primary, as its superuser."""
    command = f"cd / && setpriv --reuid=postgres --regid=postgres --init-groups psql -p {port} -d utmstack -Atqc {shlex.quote(statement)}"
    return cluster.ssh(host or cluster.primary(), command).stdout.strip()


def now(cluster) -> float:
    """The server's clock, which decides."""
    return float(sql(cluster, "select extract(epoch from clock_timestamp())"))


def pause(seconds: float) -> None:
    time.sleep(seconds)


def fill(cluster, first: int, last: int) -> float:
    """Write rows, one transaction each, and return a moment after the last one's commit and before anything later."""
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        connection.execute(
            "create table if not exists restore_rows (number int primary key, at timestamptz default clock_timestamp())"
        )
        for number in range(first, last + 1):
            connection.execute("insert into restore_rows (number) values (%s)", (number,))
    pause(1)
    moment = now(cluster)
    pause(1)
    return moment


def rows(cluster, host: str | None = None, port: int = 5432) -> tuple[int, int]:
    """How many rows there are, and the highest number."""
    count, highest = sql(cluster, "select count(*), max(number) from restore_rows", host, port).split("|")
    return int(count), int(highest or 0)


def restore(cluster, *arguments: str, check: bool = True, confirmed: bool = True):
    given = [word for argument in arguments for word in ("-e", argument)]
    return cluster.playbook(PLAYBOOK, *given, *(("-e", f"confirm={cluster.scope}") if confirmed else ()), check=check)


def copies(cluster) -> dict[str, list[str]]:
    """By member the times of its safety copies."""
    look = "ls -d /var/lib/postgresql/*/*.before-restore-* 2>/dev/null || true"
    return {host: sorted(re.findall(r"before-restore-(\S+)", cluster.ssh(host, look).stdout)) for host in cluster.hosts}


def records(cluster) -> list[dict]:
    """The records of restores, oldest first."""
    place = "/var/backups/utmstack/records/postgresql"
    names = cluster.ssh(cluster.backup, f"ls {place} | grep -e '-restore[.]json$' || true").stdout.split()
    return [json.loads(cluster.ssh(cluster.backup, f"cat {place}/{name}").stdout) for name in names]


def fingerprint(cluster) -> dict[str, str]:
    """What a restore would change: the members' timelines and system states, units, and directories beside the data."""
    look = "ls -d /var/lib/postgresql/*/*; systemctl is-active patroni; docker service ls --format '{{.Name}} {{.Replicas}}' 2>/dev/null || true"
    return {host: cluster.ssh(host, look).stdout for host in cluster.hosts} | {"leader": cluster.primary()}


def backed_up(cluster) -> None:
    """Wait for the backup that a restore has started, so that nothing of it runs into what comes next."""
    unit = "utmstack-backup@postgresql.service"
    until(
        lambda: (
            cluster.ssh(cluster.backup, f"systemctl is-active {unit}", check=False).stdout.strip()
            in ("inactive", "failed")
        ),
        900,
        "the full backup",
    )
    assert cluster.ssh(cluster.backup, f"systemctl show -P Result {unit}").stdout.strip() == "success"


def full_due(cluster) -> None:
    """Have the next backup be a full one, as after a restore."""
    began = int(now(cluster))
    record = {
        "version": 1, "cluster": cluster.scope, "kind": "postgresql", "act": "restore", "verdict": "ok", "reason": "", "host": "test", "started": began,
        "seconds": 0, "label": "", "point": {}, "bytes": 0,
    }  # fmt: skip
    path = (
        f"/var/backups/utmstack/records/postgresql/{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(began))}-restore.json"
    )
    cluster.ssh(cluster.backup, f"printf %s {shlex.quote(json.dumps(record))} > {path}")


def newest_type(cluster) -> str:
    """What the newest backup is, as its label says."""
    command = f"setpriv --reuid=postgres --regid=postgres --init-groups pgbackrest --stanza={cluster.scope} --output=json info"
    return json.loads(cluster.ssh(cluster.backup, command).stdout)[0]["backup"][-1]["type"]


def test_a_dry_run_prints_the_plan_and_touches_nothing(cluster):
    sql(cluster, "drop table if exists restore_rows")
    fill(cluster, 1, 20)
    before = fingerprint(cluster)
    shown = cluster.playbook(PLAYBOOK, "--check", "-e", "to=latest").stdout
    for words in ("Restore of PostgreSQL", "timeline", "up to", "first member", "before-restore-"):
        assert words in shown
    assert (fingerprint(cluster), rows(cluster)[0]) == (before, 20)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["to=yesterday"], "is no target"),
        (["to=time:2026-11-30T12:00:00"], "has no zone"),
        (["to=time:2001-01-01T00:00:00Z"], "No backup was finished before"),
        (["to=lsn:FFFF/0"], "is beyond the WAL"),
        (["to=latest", "set=20010101-000000F"], "is not in the repository"),
        (["to=latest", "timeline=4000"], "is not in the repository"),
        (["to=latest", "repository=node1"], "is no host of group backup"),
        (["remove=20010101T000000Z"], "is no safety copy"),
        (["database=nowhere", "from=dump"], "has a database nowhere"),
    ],
)
def test_what_can_not_be_is_refused_before_anything_is_touched(cluster, arguments, words):
    before = fingerprint(cluster)
    done = restore(cluster, *arguments, check=False)
    assert done.returncode != 0
    assert words in told(done)
    assert fingerprint(cluster) == before


def test_a_restore_that_nobody_confirms_does_not_begin(cluster):
    before = fingerprint(cluster)
    done = restore(cluster, "to=latest", check=False, confirmed=False)
    assert done.returncode != 0 and "was not confirmed" in told(done)
    assert restore(cluster, "to=latest", "confirm=another", check=False, confirmed=False).returncode != 0
    assert fingerprint(cluster) == before


def test_a_dropped_table_comes_back_twice_by_restores_to_moments_before_and_between(cluster):
    """Must show 2: just before the drop; then, after that restore, to a time between the two; and beside the running cluster."""
    sql(cluster, "drop table if exists restore_rows")
    early = fill(cluster, 1, 100)
    pause(APART_S)
    late = fill(cluster, 101, 200)
    sql(cluster, "drop table restore_rows")
    sql(cluster, "select pg_switch_wal()")
    pause(5)

    known = len(records(cluster))
    restore(cluster, f"to=time:{late}")
    assert rows(cluster) == (200, 200)
    until(cluster.whole, 300, "all members to stream")
    first = copies(cluster)
    assert all(len(times) >= 1 for times in first.values())
    (record,) = records(cluster)[known:]
    assert record["verdict"] == "ok" and record["seconds"] > 0 and record["births"]
    assert {copy["host"] for copy in record["safety"]} == set(cluster.hosts)
    backed_up(cluster)

    # What is written now is on the branch of the first restore, and must not come back by the second.
    pause(APART_S)
    branch = fill(cluster, 1001, 1050)
    pause(APART_S)
    restore(cluster, f"to=time:{early}")
    assert rows(cluster) == (100, 100)
    backed_up(cluster)

    # The branch of the first restore is abandoned, and still there.
    pause(APART_S)
    host = list(cluster.hosts)[-1]
    cluster.ssh(host, "rm -rf /srv/beside /srv/beside.server")
    leader = cluster.primary()
    restore(cluster, f"to=time:{branch}", "beside_directory=/srv/beside", "beside_port=5499", f"beside_host={host}")
    try:
        assert rows(cluster, host, 5499) == (250, 1050)
        assert (rows(cluster), cluster.primary()) == ((100, 100), leader)
    finally:
        version = cluster.ssh(host, "cat /srv/beside/PG_VERSION").stdout.strip()
        stop = f"cd / && setpriv --reuid=postgres --regid=postgres --init-groups /usr/lib/postgresql/{version}/bin/pg_ctl stop -D /srv/beside"
        cluster.ssh(host, f"{stop} && rm -rf /srv/beside /srv/beside.server", check=False)
    until(lambda: cluster.status()["healthy"], 120, "a healthy platform")
    assert cluster.status()["backup"]["members"][0]["safety"], "status does not tell of the safety copies"


def test_a_restore_over_a_failover_in_the_middle_of_a_full_backup(cluster):
    """Must show 3: nothing between is lost, whatever changed the leader meanwhile."""
    for number, act in enumerate(("failover", "switchover", "restart")):
        first = 10000 + number * 1000
        backed_up(cluster)
        full_due(cluster)
        cluster.ssh(cluster.backup, "systemctl start --no-block utmstack-backup@postgresql.service")
        fill(cluster, first, first + 50)
        leader = cluster.primary()
        if act == "failover":
            cluster.ssh(leader, "systemctl kill --signal=KILL patroni; systemctl stop patroni", check=False)
            try:
                until(lambda leader=leader: cluster.leader() not in (None, leader), 120, "another leader")
            finally:
                cluster.ssh(leader, "systemctl start patroni")
        elif act == "switchover":
            cluster.playbook("playbooks/switchover.yml", "-e", "service=postgresql")
        else:
            cluster.playbook("playbooks/rolling_restart.yml", "-e", "service=postgresql")
        until(cluster.whole, 300, "a whole cluster")
        fill(cluster, first + 51, first + 100)
        backed_up(cluster)
        assert newest_type(cluster) == "full"
    sql(cluster, "select pg_switch_wal()")
    wanted = rows(cluster)
    restore(cluster, "to=latest")
    assert rows(cluster) == wanted


def test_runs_that_are_killed_are_finished_by_the_next_one_and_another_target_is_refused_meanwhile(cluster):
    backed_up(cluster)
    pause(APART_S)
    moment = fill(cluster, 20001, 20050)
    wanted = rows(cluster)
    fill(cluster, 20051, 20099)
    # So that no branch of a run that got so far begins within a minute of it.
    pause(APART_S)
    arguments = ("-e", f"to=time:{moment}", "-e", f"confirm={cluster.scope}")
    cluster.kill_when(re.compile(r"Store the safety copy of the data"), 1, PLAYBOOK, *arguments)
    refused = restore(cluster, "to=latest", check=False)
    assert refused.returncode != 0 and "is not finished" in told(refused)
    for marker in random.sample(TASKS, KILLS):
        try:
            cluster.kill_when(re.compile(marker), 1, PLAYBOOK, *arguments)
        except AssertionError as ended:
            # What that task does was done already.
            if re.search(r"failed=[1-9]", str(ended)):
                raise
        done = cluster.kill_after(random.uniform(20, 90), PLAYBOOK, *arguments)
        if done.returncode == 0:
            break
    restore(cluster, f"to=time:{moment}")
    assert rows(cluster) == wanted
    until(cluster.whole, 300, "a whole cluster")


def test_a_safety_copy_goes_only_when_a_newer_backup_was_verified(cluster):
    times = {time_ for found in copies(cluster).values() for time_ in found}
    newest = max(times)
    backed_up(cluster)
    cluster.playbook("playbooks/verify_backup.yml", "-e", "kind=postgresql")
    restore(cluster, f"remove={newest}")
    assert newest not in {time_ for found in copies(cluster).values() for time_ in found}


def test_one_database_comes_back_from_its_dump_while_the_former_one_is_kept(cluster):
    cluster.playbook("playbooks/backup.yml", "-e", "kind=dump")
    wanted = rows(cluster)
    sql(cluster, "truncate restore_rows")
    restore(cluster, "database=utmstack", "from=dump")
    assert rows(cluster) == wanted
    names = sql(
        cluster, "select string_agg(datname, ' ') from pg_database where not datallowconn and not datistemplate"
    )
    assert "utmstack_before_" in names
    for name in names.split():
        sql(cluster, f'drop database "{name}"')
    assert not [
        host
        for host in cluster.hosts
        if cluster.ssh(host, "ls -d /var/lib/postgresql/*/restore-dump", check=False).stdout
    ]
