# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Backups on a backup host of its own: taken and verified by the first run, watched, damaged on purpose, kept and removed.

Most of it with Redis, whose backups are small. In this order, each on what the one before has left; each leaves the backups good.
"""

from __future__ import annotations

import json
import re
import shlex
import time

import pytest
from cluster import assert_unchanged, told, until

REPOSITORY = "/var/backups/utmstack"
FILES, RECORDS = f"{REPOSITORY}/files/redis", f"{REPOSITORY}/records/redis"
PROGRAM = "python3 /usr/local/lib/utmstack-ha/backup.py"
KEYS = 1000


def problems(cluster) -> list[str]:
    return [text for text in cluster.status()["problems"] if text.startswith(cluster.backup)]


def records(cluster, kind="redis") -> list[dict]:
    """The records of a kind, newest last."""
    printed = cluster.ssh(
        cluster.backup, f"for file in {REPOSITORY}/records/{kind}/*.json; do cat $file; echo; done"
    ).stdout
    return sorted((json.loads(line) for line in printed.splitlines() if line), key=lambda one: one["started"])


def newest(cluster, act: str) -> dict:
    return [one for one in records(cluster) if one["act"] == act][-1]


def whole(cluster) -> list[str]:
    """The backups in files, without what is unfinished."""
    return cluster.ssh(cluster.backup, f"ls {FILES}").stdout.split()


def redis(cluster, command: str) -> str:
    """A command of the master, by the administrator's password, which no process list has."""
    password = cluster.passwords["redis_admin_password"]
    where = f"-h {cluster.hosts[cluster.redis_master()]} -p 6379"
    tls = "--tls --cacert /etc/utmstack-ha/tls/ca.crt --user admin --no-auth-warning"
    return cluster.ssh("node1", f"REDISCLI_AUTH={shlex.quote(password)} redis-cli {tls} {where} {command}").stdout


def change_records(cluster, code: str) -> None:
    """Have each record of Redis changed by `code`, which sees it as `one`: what a clock would have done."""
    program = (
        f"import json, pathlib\nfor path in sorted(pathlib.Path('{RECORDS}').glob('*.json')):\n"
        f"    one = json.loads(path.read_text())\n    {code}\n    path.write_text(json.dumps(one))"
    )
    cluster.ssh(cluster.backup, f"python3 -c {shlex.quote(program)}")


def good(cluster) -> None:
    """A new backup, verified."""
    cluster.playbook("playbooks/backup.yml", "-e", "kind=redis")
    cluster.playbook("playbooks/verify_backup.yml", "-e", "kind=redis")
    until(lambda: problems(cluster) == [], 60, "good backups")


def test_the_first_run_takes_a_backup_of_each_kind_and_verifies_it(cluster):
    kinds = cluster.ssh(cluster.backup, f"ls {REPOSITORY}/records").stdout.split()
    assert set(kinds) == {"configuration", "dump", "elasticsearch", "etcd", "postgresql", "redis"}
    # The controller's is verified when the operator has opened it.
    for kind in set(kinds) - {"configuration"}:
        took, verified = records(cluster, kind)[:2]
        assert (took["act"], took["verdict"], verified["act"], verified["verdict"]) == ("take", "ok", "verify", "ok")
        assert verified["label"] == took["label"]
        print(
            f"\n{kind}: taken in {took['seconds']} s from {took['source']}, verified in {verified['seconds']} s: {verified['checks']}"
        )


def test_a_backup_of_redis_comes_from_a_replica(cluster):
    good(cluster)
    took = newest(cluster, "take")
    assert took["source"] in cluster.hosts and took["source"] != cluster.redis_master()
    assert took["label"] in whole(cluster)


def test_another_run_has_nothing_to_do(cluster):
    assert_unchanged(cluster.playbook("site.yml").stdout)
    assert_unchanged(cluster.playbook("site.yml", "--check").stdout)


def test_status_shows_the_backups_and_is_green(cluster):
    shown = cluster.playbook("playbooks/status.yml").stdout
    row = next(line for line in shown.splitlines() if line.split()[:2] == ["Redis", cluster.backup])
    assert row.split()[2] == "ok"
    (member,) = cluster.status()["backup"]["members"]
    assert {one["verdict"] for one in member["kinds"]} == {"ok"} and member["healthy"]


def test_the_timers_run_and_no_secret_can_be_read(cluster):
    timers = cluster.ssh(cluster.backup, "systemctl list-timers --all --no-legend 'utmstack-backup*'").stdout
    for name in ("utmstack-backup@redis.timer", "utmstack-backup-verify@redis.timer", "utmstack-backup-guard.timer"):
        assert name in timers
    assert cluster.ssh(cluster.backup, "stat -c '%a %U' /etc/utmstack-ha/backup.json").stdout.split() == ["600", "root"]
    password = cluster.passwords["redis_backup_password"]
    assert password not in cluster.ssh(cluster.backup, "journalctl --no-pager").stdout
    # In brackets, so that the journal, which has this very command, does not have it.
    pattern = f"[{password[0]}]{re.escape(password[1:])}"
    assert cluster.ssh(cluster.backup, f"grep -rlE {shlex.quote(pattern)} {REPOSITORY} || true").stdout == ""


def test_a_backup_has_what_was_written_before_it(cluster):
    redis(cluster, f"EVAL \"for i = 1, {KEYS} do redis.call('SET', 'backup:' .. i, i) end\" 0")
    good(cluster)
    assert newest(cluster, "take")["manifest"]["keys"] >= KEYS
    assert f"{newest(cluster, 'take')['manifest']['keys']} keys" in newest(cluster, "verify")["checks"]["load"]


def test_a_backup_is_taken_while_the_nearest_replica_is_away(cluster):
    source = newest(cluster, "take")["source"]
    cluster.ssh(source, "systemctl stop redis-server")
    try:
        cluster.playbook("playbooks/backup.yml", "-e", "kind=redis")
        assert newest(cluster, "take")["source"] != source
    finally:
        cluster.ssh(source, "systemctl start redis-server")
    until(lambda: cluster.status()["redis"]["healthy"], 120, "Redis")


@pytest.mark.parametrize("kind", ["redis", "postgresql", "dump"])
def test_a_changed_password_of_backups_arrives(cluster, kind):
    name = "redis_backup_password" if kind == "redis" else "postgresql_backup_password"
    former = cluster.passwords[name]
    cluster.keep(name, former[::-1])
    cluster.playbook("playbooks/site.yml")
    cluster.playbook("playbooks/backup.yml", "-e", f"kind={kind}")
    taken = [one for one in records(cluster, kind) if one["act"] == "take"][-1]
    assert taken["verdict"] == "ok", taken["reason"]
    # The passwords have been sealed anew.
    cluster.open_configuration()


def test_a_changed_passphrase_of_backups_is_refused(cluster):
    former = cluster.passwords["backup_passphrase"]
    done = cluster.playbook("playbooks/site.yml", "-e", f"backup_passphrase={former[::-1]}", check=False)
    assert done.returncode != 0
    assert "backup_passphrase is not the one that is deployed. Put back the old value" in told(done)


def test_backups_that_grow_old_are_red(cluster):
    """Four hours later, for the records."""
    change_records(
        cluster, "one['started'] -= 14400; one['point'] = {'time': one['point'].get('time', one['started']) - 14400}"
    )
    (said,) = problems(cluster)
    assert said.startswith(f"{cluster.backup} redis: the last good backup is 4")
    assert "playbooks/backup.yml -e kind=redis" in said
    assert cluster.playbook("playbooks/status.yml", check=False).returncode != 0
    good(cluster)


def test_a_repository_that_is_not_mounted_fails_and_loses_nothing(cluster):
    before = whole(cluster), len(records(cluster))
    cluster.ssh(cluster.backup, f"mount -t tmpfs tmpfs {REPOSITORY}")
    try:
        for unit in ("utmstack-backup@redis", "utmstack-backup-verify@redis"):
            assert cluster.ssh(cluster.backup, f"systemctl start {unit}", check=False).returncode != 0
        assert cluster.ssh(cluster.backup, f"{PROGRAM} redis expire", check=False).returncode == 1
        assert cluster.ssh(cluster.backup, f"ls -A {REPOSITORY}").stdout == ""
        assert "is not the repository" in " ".join(problems(cluster))
        refused = cluster.playbook("site.yml", "--tags", "backup", check=False)
        assert refused.returncode != 0 and "mount it" in told(refused)
        assert cluster.ssh(cluster.backup, f"ls -A {REPOSITORY}").stdout == ""
    finally:
        cluster.ssh(cluster.backup, f"umount {REPOSITORY}; systemctl reset-failed 'utmstack-backup*'")
    assert (whole(cluster), len(records(cluster))) == before
    until(lambda: problems(cluster) == [], 60, "good backups")


def test_a_flipped_byte_is_found_by_verify_and_told_by_status(cluster):
    label = newest(cluster, "take")["label"]
    kept = whole(cluster)
    file = f"{FILES}/{label}/dump.rdb"
    flip = f"import pathlib\npath = pathlib.Path('{file}')\ndata = bytearray(path.read_bytes())\ndata[len(data) // 2] ^= 1\npath.write_bytes(data)"
    cluster.ssh(cluster.backup, f"python3 -c {shlex.quote(flip)}")
    done = cluster.playbook("playbooks/verify_backup.yml", "-e", "kind=redis", check=False)
    assert done.returncode != 0 and "its checksum is another one" in told(done)
    assert any(f"the backup {label} is damaged" in text for text in problems(cluster))
    assert whole(cluster) == kept
    time.sleep(1)
    good(cluster)
    assert label in whole(cluster)


def test_a_run_that_is_killed_leaves_nothing_half(cluster):
    """While all servers are frozen, it waits."""
    before = whole(cluster)
    for host in cluster.hosts:
        cluster.ssh(host, "systemctl kill --signal=STOP redis-server")
    try:
        cluster.ssh(cluster.backup, "systemctl start --no-block utmstack-backup@redis")
        until(
            lambda: cluster.ssh(cluster.backup, f"ls -A {FILES} | grep -c part || true").stdout.strip() == "1",
            20,
            "a run that has begun",
        )
        cluster.ssh(cluster.backup, "systemctl kill --signal=KILL utmstack-backup@redis")
    finally:
        for host in cluster.hosts:
            cluster.ssh(host, "systemctl kill --signal=CONT redis-server")
    assert whole(cluster) == before
    until(lambda: cluster.status()["redis"]["healthy"], 180, "Redis")
    cluster.ssh(cluster.backup, "systemctl reset-failed 'utmstack-backup*'")
    good(cluster)
    assert cluster.ssh(cluster.backup, f"ls -A {FILES} | grep -c part || true").stdout.strip() == "0"


OLDER = """
import json, pathlib, shutil, time
files, records = pathlib.Path('FILES'), pathlib.Path('RECORDS')
good = [json.loads(path.read_text()) for path in sorted(records.glob('*-take.json'))]
last = [one for one in good if one['verdict'] == 'ok'][-1]
for days in range(12, 0, -1):
    began = int(time.time()) - days * 86400
    label = time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(began))
    shutil.copytree(files / last['label'], files / label)
    made = {**last, 'started': began, 'label': label, 'point': {'time': began}}
    (records / f'{label}-take.json').write_text(json.dumps(made))
"""


def test_retention_keeps_what_it_promises_whatever_the_files_times_say(cluster):
    cluster.ssh(cluster.backup, f"python3 -c {shlex.quote(OLDER.replace('FILES', FILES).replace('RECORDS', RECORDS))}")
    # Not of pgBackRest's own: when timelines began, a restore of PostgreSQL reads of its files' times.
    places = f"{REPOSITORY}/files {REPOSITORY}/records"
    cluster.ssh(cluster.backup, f"find {places} -exec touch --date=2020-01-01 {{}} +")
    before = set(whole(cluster))
    cluster.ssh(cluster.backup, f"{PROGRAM} redis expire")
    removed = sorted(before - set(whole(cluster)))
    week = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - 7 * 86400))
    print(f"\nremoved: {removed}")
    assert 5 <= len(removed) <= 6 and all(label <= week for label in removed)
    cluster.ssh(cluster.backup, f"find {places} -exec touch --date=2040-01-01 {{}} +")
    cluster.ssh(cluster.backup, f"{PROGRAM} redis expire")
    assert before - set(whole(cluster)) == set(removed)


def test_nothing_is_removed_while_the_newest_verification_is_not_good(cluster):
    change_records(cluster, "one.update(verdict='unknown', reason='test') if one['act'] == 'verify' else None")
    before = whole(cluster)
    change_records(
        cluster,
        "one.update(point={'time': one['point']['time'] - 5 * 86400}) if one['act'] == 'take' and one['point'] else None",
    )
    assert cluster.ssh(cluster.backup, f"{PROGRAM} redis expire", check=False).returncode == 3
    assert whole(cluster) == before
    cluster.playbook("playbooks/backup.yml", "-e", "kind=redis")
    cluster.playbook("playbooks/verify_backup.yml", "-e", "kind=redis")
    cluster.ssh(cluster.backup, f"{PROGRAM} redis expire")
    assert not set(before) <= set(whole(cluster)), "nothing has gone, though the newest backup is verified"


def test_the_platform_is_good_at_the_end(cluster):
    good(cluster)
    assert_unchanged(cluster.playbook("site.yml").stdout)
