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
from cluster import assert_unchanged, last_task, told, until
from load import Load
from opensearchpy import helpers

DOCUMENTS, KEYS = 2000, 1000
# Of the scenario's inventory.
REPOSITORY, POLICY = "backup_repo", "often"


@pytest.fixture(scope="module")
def superuser(cluster):
    return clients.search(cluster, "elastic", cluster.passwords["elasticsearch_superuser_password"])


def confirmed(cluster):
    return ("-e", f"confirm={cluster.scope}")


def snapshot_with(superuser, index, count=1):
    """The newest complete snapshot of the policy that has the index; None while there are not so many."""
    found = superuser.snapshot.get(repository=REPOSITORY, snapshot="_all", request_timeout=60)["snapshots"]
    mine = [
        one
        for one in found
        if index in one["indices"] and one["state"] == "SUCCESS" and (one.get("metadata") or {}).get("policy") == POLICY
    ]
    return mine[-1]["snapshot"] if len(mine) >= count else None


def filled(superuser):
    """An index of a name of its own with documents, in a snapshot."""
    name = f"log-standin-{uuid.uuid4().hex[:8]}"
    superuser.indices.create(index=name, body={"settings": {"number_of_replicas": 1}})
    helpers.bulk(superuser, ({"_index": name, "_id": number, "n": number} for number in range(DOCUMENTS)), refresh=True)
    until(lambda: snapshot_with(superuser, name), 240, "a snapshot of the policy")
    return name


def redis_cli(cluster, host, *words):
    password = shlex.quote(cluster.passwords["redis_admin_password"])
    tls = "--tls --cacert /etc/utmstack-ha/tls/ca.crt --user admin --no-auth-warning"
    command = f"REDISCLI_AUTH={password} redis-cli {tls} -h {cluster.hosts[host]} {' '.join(map(shlex.quote, words))}"
    return cluster.ssh(host, command).stdout.strip()


def fill(cluster, prefix, count=KEYS):
    master = cluster.redis_master()
    script = f"for i = 1, {count} do redis.call('SET', '{prefix}:' .. i, i) end return redis.call('DBSIZE')"
    return int(redis_cli(cluster, master, "EVAL", script, "0"))


def count(cluster, host, prefix):
    return int(redis_cli(cluster, host, "EVAL", f"return #redis.call('KEYS', '{prefix}:*')", "0"))


def safety(cluster, host):
    return cluster.ssh(host, "ls -d /var/lib/redis/*/before-restore-* 2>/dev/null || true").stdout.split()


def test_the_plan_of_redis_touches_nothing(cluster):
    copies = {host: safety(cluster, host) for host in cluster.hosts}
    fill(cluster, "kept")
    cluster.playbook("playbooks/backup.yml", "-e", "kind=redis")
    began = {host: redis_cli(cluster, host, "INFO", "server") for host in cluster.hosts}
    plan = told(cluster.playbook("playbooks/restore_redis.yml", "--check"))
    assert re.search(r"up to \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", plan)
    runs = {host: re.search("run_id:([0-9a-f]+)", text)[1] for host, text in began.items()}
    assert runs == {
        host: re.search("run_id:([0-9a-f]+)", redis_cli(cluster, host, "INFO", "server"))[1] for host in cluster.hosts
    }
    assert copies == {host: safety(cluster, host) for host in cluster.hosts}


def test_an_unconfirmed_restore_of_redis_changes_nothing(cluster):
    done = cluster.playbook("playbooks/restore_redis.yml", "-e", "confirm=another", check=False)
    assert done.returncode != 0 and "no data were changed" in told(done)
    assert count(cluster, cluster.redis_master(), "kept") == KEYS


def test_redis_has_what_the_backup_had_and_nothing_else(cluster):
    cluster.playbook("playbooks/verify_backup.yml", "-e", "kind=redis")
    master, before = cluster.redis_master(), {host: len(safety(cluster, host)) for host in cluster.hosts}
    redis_cli(
        cluster, master, "EVAL", "for _, k in ipairs(redis.call('KEYS', 'kept:*')) do redis.call('DEL', k) end", "0"
    )
    fill(cluster, "later", 10)
    done = cluster.playbook("playbooks/restore_redis.yml", *confirmed(cluster))
    print(told(done)[-400:])
    until(lambda: all(count(cluster, host, "kept") == KEYS for host in cluster.hosts), 60, "all nodes with all keys")
    assert all(count(cluster, host, "later") == 0 for host in cluster.hosts)
    assert all(len(safety(cluster, host)) == before[host] + 1 for host in cluster.hosts)
    fill(cluster, "after", 10)
    until(lambda: all(count(cluster, host, "after") == 10 for host in cluster.hosts), 30, "replication")
    until(lambda: cluster.status()["redis"]["healthy"], 60, "a healthy Redis")


def test_a_run_after_a_restore_has_nothing_to_do(cluster):
    assert_unchanged(cluster.playbook("site.yml", "--tags", "redis").stdout)


@pytest.mark.parametrize("attempt", range(4))
def test_a_restore_of_redis_that_is_killed_is_finished_by_the_next_run(cluster, attempt):
    """At a random moment; whatever was there is in a safety copy."""
    fill(cluster, f"round{attempt}", 100)
    cluster.playbook("playbooks/backup.yml", "-e", "kind=redis")
    before = {host: len(safety(cluster, host)) for host in cluster.hosts}
    seconds = random.Random(attempt).uniform(20, 90)
    killed = cluster.kill_after(seconds, "playbooks/restore_redis.yml", *confirmed(cluster))
    print(f"\nkilled after {seconds:.0f} s, in: {last_task(killed.stdout)}")
    cluster.playbook("playbooks/restore_redis.yml", *confirmed(cluster))
    until(lambda: all(count(cluster, host, f"round{attempt}") == 100 for host in cluster.hosts), 60, "all keys")
    assert all(len(safety(cluster, host)) > before[host] for host in cluster.hosts)


def test_indices_come_back_in_place_and_the_former_content_is_in_a_snapshot(cluster, superuser):
    index = filled(superuser)
    snapshot = snapshot_with(superuser, index)
    superuser.delete_by_query(
        index=index, body={"query": {"range": {"n": {"gte": 100}}}}, refresh=True, request_timeout=60
    )
    assert superuser.count(index=index)["count"] == 100
    cluster.playbook(
        "playbooks/restore_elasticsearch.yml",
        "-e",
        f"snapshot={snapshot}",
        "-e",
        f"indices={index}",
        *confirmed(cluster),
    )
    assert superuser.count(index=index)["count"] == DOCUMENTS
    kept = superuser.snapshot.get(repository=REPOSITORY, snapshot="before-restore-*")["snapshots"]
    assert kept[-1]["state"] == "SUCCESS" and kept[-1]["indices"] == [index]
    assert superuser.cluster.health()["status"] == "green"


def test_indices_come_back_beside_while_the_application_runs(cluster, superuser, under_way):
    index = filled(superuser)
    options = ("-e", f"indices={index}", "-e", "rename=restored-")
    with under_way() as load:
        cluster.playbook("playbooks/restore_elasticsearch.yml", *options, *confirmed(cluster))
    assert load.outcome.failed == set()
    assert superuser.count(index=f"restored-{index}")["count"] == DOCUMENTS
    done = cluster.playbook("playbooks/restore_elasticsearch.yml", *options, *confirmed(cluster), check=False)
    assert done.returncode != 0 and f"There is already restored-{index}" in told(done)
    superuser.indices.delete(index=f"restored-{index}")


def test_a_restore_of_the_search_engine_that_is_killed_is_finished_by_the_next_run(cluster, superuser):
    index = filled(superuser)
    options = ("-e", f"snapshot={snapshot_with(superuser, index)}", "-e", f"indices={index}")
    for seconds in (25, 40, 55):
        superuser.delete_by_query(
            index=index, body={"query": {"match_all": {}}}, refresh=True, request_timeout=60, conflicts="proceed"
        )
        cluster.kill_after(seconds, "playbooks/restore_elasticsearch.yml", *options, *confirmed(cluster))
        cluster.playbook("playbooks/restore_elasticsearch.yml", *options, *confirmed(cluster))
        assert superuser.count(index=index)["count"] == DOCUMENTS


def test_a_missing_snapshot_file_is_found_by_the_verification(cluster, superuser):
    filled(superuser)
    cluster.playbook("playbooks/backup.yml", "-e", "kind=elasticsearch")
    # What was written last is of the index that was filled last.
    find = (
        "find /mnt/snapshots/elasticsearch/indices -name '__*' -printf '%T@ %p\\n' | sort -n | tail -1 | cut -d' ' -f2"
    )
    path = cluster.ssh("node1", find).stdout.strip()
    cluster.ssh("node1", f"mv {path} /root/away")
    try:
        done = cluster.playbook("playbooks/verify_backup.yml", "-e", "kind=elasticsearch", check=False)
        assert done.returncode != 0 and "can't be restored" in told(done)
        status = cluster.playbook("playbooks/status.yml", check=False)
        assert status.returncode != 0 and "backup1 elasticsearch" in told(status)
    finally:
        cluster.ssh("node1", f"mv /root/away {path}")
    assert "restored-backup-check" not in superuser.cat.indices(h="index", expand_wildcards="all")
    cluster.playbook("playbooks/verify_backup.yml", "-e", "kind=elasticsearch")


@pytest.fixture
def under_way(cluster):
    """The application's users, for as long as something is done."""

    @contextmanager
    def run():
        load = Load(cluster).start()
        try:
            yield load
        finally:
            load.stop()

    return run
