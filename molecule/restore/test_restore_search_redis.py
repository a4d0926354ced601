# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The search engine and Redis brought back from their backups: the right data and no others, and the former ones kept."""

from __future__ import annotations

import random
import re
import shlex
import uuid
from contextlib import contextmanager

import clients
import pytest
from cluster import assert_unchanged, until
from conftest import CONFIRM, LAB, REPOSITORY
from load import Load
from opensearchpy import helpers

DOCUMENTS, KEYS = 2000, 1000


@pytest.fixture(scope="module")
def superuser(platform):
    return clients.search(platform, "elastic", platform.passwords["elasticsearch_superuser_password"])


def snapshot_with(superuser, index, count=1):
    """The newest complete snapshot of the policy that has the index; None while there are not so many."""
    found = superuser.snapshot.get(repository=REPOSITORY, snapshot="_all", request_timeout=60)["snapshots"]
    mine = [
        one
        for one in found
        if index in one["indices"]
        and one["state"] == "SUCCESS"
        and (one.get("metadata") or {}).get("policy") == "often"
    ]
    return mine[-1]["snapshot"] if len(mine) >= count else None


def filled(superuser):
    """An index of a name of its own with documents, in a snapshot."""
    name = f"log-standin-{uuid.uuid4().hex[:8]}"
    superuser.indices.create(index=name, body={"settings": {"number_of_replicas": 1}})
    helpers.bulk(superuser, ({"_index": name, "_id": number, "n": number} for number in range(DOCUMENTS)), refresh=True)
    until(lambda: snapshot_with(superuser, name), 240, "a snapshot of the policy")
    return name


def redis_cli(platform, host, *words):
    password = shlex.quote(platform.passwords["redis_admin_password"])
    tls = "--tls --cacert /etc/utmstack-ha/tls/ca.crt --user admin --no-auth-warning"
    command = f"REDISCLI_AUTH={password} redis-cli {tls} -h {platform.hosts[host]} {' '.join(map(shlex.quote, words))}"
    return platform.ssh(host, command).stdout.strip()


def fill(platform, prefix, count=KEYS):
    master = platform.redis_master()
    script = f"for i = 1, {count} do redis.call('SET', '{prefix}:' .. i, i) end return redis.call('DBSIZE')"
    return int(redis_cli(platform, master, "EVAL", script, "0"))


def count(platform, host, prefix):
    return int(redis_cli(platform, host, "EVAL", f"return #redis.call('KEYS', '{prefix}:*')", "0"))


def safety(platform, host):
    return platform.ssh(host, "ls -d /var/lib/redis/*/before-restore-* 2>/dev/null || true").stdout.split()


def test_the_plan_of_redis_touches_nothing(platform):
    fill(platform, "kept")
    platform.run("backup.yml", "-e", "kind=redis")
    began = {host: redis_cli(platform, host, "INFO", "server") for host in platform.hosts}
    told = platform.told(platform.run("restore_redis.yml", "--check"))
    assert re.search(r"up to \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", told)
    runs = {host: re.search("run_id:([0-9a-f]+)", text)[1] for host, text in began.items()}
    assert runs == {
        host: re.search("run_id:([0-9a-f]+)", redis_cli(platform, host, "INFO", "server"))[1] for host in platform.hosts
    }
    assert not any(safety(platform, host) for host in platform.hosts)


def test_an_unconfirmed_restore_of_redis_changes_nothing(platform):
    done = platform.run("restore_redis.yml", "-e", "confirm=another", check=False)
    assert done.returncode != 0 and "no data were changed" in platform.told(done)
    assert count(platform, platform.redis_master(), "kept") == KEYS


def test_redis_has_what_the_backup_had_and_nothing_else(platform):
    platform.run("verify_backup.yml", "-e", "kind=redis")
    master = platform.redis_master()
    redis_cli(
        platform, master, "EVAL", "for _, k in ipairs(redis.call('KEYS', 'kept:*')) do redis.call('DEL', k) end", "0"
    )
    fill(platform, "later", 10)
    done = platform.run("restore_redis.yml", *CONFIRM)
    print(platform.told(done)[-400:])
    until(lambda: all(count(platform, host, "kept") == KEYS for host in platform.hosts), 60, "all nodes with all keys")
    assert all(count(platform, host, "later") == 0 for host in platform.hosts)
    assert all(len(safety(platform, host)) == 1 for host in platform.hosts)
    fill(platform, "after", 10)
    until(lambda: all(count(platform, host, "after") == 10 for host in platform.hosts), 30, "replication")
    assert platform.run("status.yml", check=False).returncode in (0, 1)


def test_a_run_after_a_restore_has_nothing_to_do(platform):
    assert_unchanged(platform.run("site.yml", "--tags", "redis").stdout)


@pytest.mark.parametrize("attempt", range(4))
def test_a_restore_of_redis_that_is_killed_is_finished_by_the_next_run(platform, attempt):
    """At a random moment; whatever was there is in a safety copy."""
    fill(platform, f"round{attempt}", 100)
    platform.run("backup.yml", "-e", "kind=redis")
    before = {host: len(safety(platform, host)) for host in platform.hosts}
    seconds = random.Random(attempt).uniform(20, 90)
    killed = platform.kill_after(seconds, "playbooks/restore_redis.yml", *LAB, *CONFIRM)
    print(
        f"\nkilled after {seconds:.0f} s: {[line for line in killed.stdout.splitlines() if line.startswith('TASK')][-1:]}"
    )
    platform.run("restore_redis.yml", *CONFIRM)
    until(lambda: all(count(platform, host, f"round{attempt}") == 100 for host in platform.hosts), 60, "all keys")
    assert all(len(safety(platform, host)) > before[host] for host in platform.hosts)


def test_indices_come_back_in_place_and_the_former_content_is_in_a_snapshot(platform, superuser):
    index = filled(superuser)
    snapshot = snapshot_with(superuser, index)
    superuser.delete_by_query(
        index=index, body={"query": {"range": {"n": {"gte": 100}}}}, refresh=True, request_timeout=60
    )
    assert superuser.count(index=index)["count"] == 100
    platform.run("restore_elasticsearch.yml", "-e", f"snapshot={snapshot}", "-e", f"indices={index}", *CONFIRM)
    assert superuser.count(index=index)["count"] == DOCUMENTS
    kept = superuser.snapshot.get(repository=REPOSITORY, snapshot="before-restore-*")["snapshots"]
    assert kept[-1]["state"] == "SUCCESS" and kept[-1]["indices"] == [index]
    assert superuser.cluster.health()["status"] == "green"


def test_indices_come_back_beside_while_the_application_runs(platform, superuser, under_way):
    index = filled(superuser)
    options = ("-e", f"indices={index}", "-e", "rename=restored-")
    with under_way() as load:
        platform.run("restore_elasticsearch.yml", *options, *CONFIRM)
    assert load.outcome.failed == set()
    assert superuser.count(index=f"restored-{index}")["count"] == DOCUMENTS
    done = platform.run("restore_elasticsearch.yml", *options, *CONFIRM, check=False)
    assert done.returncode != 0 and f"There is already restored-{index}" in platform.told(done)
    superuser.indices.delete(index=f"restored-{index}")


def test_a_restore_of_the_search_engine_that_is_killed_is_finished_by_the_next_run(platform, superuser):
    index = filled(superuser)
    options = ("-e", f"snapshot={snapshot_with(superuser, index)}", "-e", f"indices={index}")
    for seconds in (25, 40, 55):
        superuser.delete_by_query(
            index=index, body={"query": {"match_all": {}}}, refresh=True, request_timeout=60, conflicts="proceed"
        )
        platform.kill_after(seconds, "playbooks/restore_elasticsearch.yml", *LAB, *options, *CONFIRM)
        platform.run("restore_elasticsearch.yml", *options, *CONFIRM)
        assert superuser.count(index=index)["count"] == DOCUMENTS


def test_a_missing_snapshot_file_is_found_by_the_verification(platform, superuser):
    filled(superuser)
    platform.run("backup.yml", "-e", "kind=elasticsearch")
    find = (
        "find /mnt/snapshots/elasticsearch/indices -name '__*' -printf '%s %p\\n' | sort -n | tail -1 | cut -d' ' -f2"
    )
    path = platform.ssh("node1", find).stdout.strip()
    platform.ssh("node1", f"mv {path} /root/away")
    try:
        done = platform.run("verify_backup.yml", "-e", "kind=elasticsearch", check=False)
        assert done.returncode != 0 and "can't be restored" in platform.told(done)
        status = platform.run("status.yml", check=False)
        assert status.returncode != 0 and "backup1 elasticsearch" in platform.told(status)
    finally:
        platform.ssh("node1", f"mv /root/away {path}")
    assert "restored-backup-check" not in superuser.cat.indices(h="index", expand_wildcards="all")
    platform.run("verify_backup.yml", "-e", "kind=elasticsearch")


@pytest.fixture
def under_way(platform):
    """The application's users, for as long as something is done."""

    @contextmanager
    def run():
        load = Load(platform).start()
        try:
            yield load
        finally:
            load.stop()

    return run
