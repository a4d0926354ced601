# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""PostgreSQL to a new major version, and back, while the application is under load; and runs that are killed on the way.

The lab runs the version of its Debian. For these tests its cluster is made anew with Debian 12's PostgreSQL 15, without what was in it.
"""

from __future__ import annotations

import re
import shlex
import threading
import time

import psycopg
import pytest
from cluster import assert_unchanged, everywhere, kill, until
from ledger import Writer, present

OLD, NEW = "15", "17"
DATA = "/var/lib/postgresql"
UPGRADE = ("playbooks/postgresql_major_upgrade.yml", "-e", f"version={NEW}")
# Packages of the older release only where the hosts' own has none.
SOURCE = "".join(
    f"deb http://deb.debian.org/{archive} {suite} main\n"
    for archive, suite in (("debian", "bookworm"), ("debian-security", "bookworm-security"))
)
PIN = "Package: *\nPin: release n=bookworm*\nPin-Priority: 100\n"


def version(cluster) -> str:
    """The major version of the primary that clients reach."""
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        return str(connection.execute("SELECT current_setting('server_version_num')::int / 10000").fetchone()[0])


def begin_anew(cluster) -> None:
    """Have an empty cluster of the old version."""
    write = f"printf %s {shlex.quote(SOURCE)} > /etc/apt/sources.list.d/older.list"
    pin = f"printf %s {shlex.quote(PIN)} > /etc/apt/preferences.d/older"
    everywhere(cluster, f"{write} && {pin} && apt-get -qq update")
    everywhere(cluster, "systemctl stop patroni")
    remove = f"DEBIAN_FRONTEND=noninteractive apt-get -qq remove --yes --allow-change-held-packages postgresql-{NEW}"
    everywhere(cluster, f"{remove} > /dev/null; rm -rf /etc/patroni/config.yml {DATA}/{OLD} {DATA}/{NEW}")
    host = next(iter(cluster.hosts))
    cluster.etcd(host, f"--user root:{cluster.passwords['etcd_root_password']} del --prefix /service/")
    cluster.playbook("site.yml", "--tags", "base,postgresql", "-e", f"postgresql_version={OLD}")
    # Passwords have other salts now, and the application makes its table when it starts.
    everywhere(cluster, "systemctl restart pgbouncer")
    services = "docker service ls --quiet | xargs -n 1 docker service update --quiet --force"
    cluster.ssh(cluster.swarm_leader(), services, timeout=300)
    until(cluster.status_is_ok, 240, "a whole platform on the old version")
    assert version(cluster) == OLD


@pytest.fixture
def old(cluster):
    """A whole cluster of the old version with one table of many rows."""
    until(cluster.whole, 240, "a whole cluster")
    if version(cluster) != OLD:
        begin_anew(cluster)
    until(cluster.status_is_ok, 240, "a whole platform")
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS many")
        connection.execute("CREATE TABLE many AS SELECT i, i % 7 AS kind FROM generate_series(1, 100000) AS i")


@pytest.fixture
def writer(cluster):
    running = Writer(cluster.conninfo())
    running.prepare()
    running.start()
    until(lambda: len(running.outcome.acknowledged) > 50, 30, "the writer to get going")
    yield running
    running.stop()


def complete(cluster, writer) -> None:
    """Stop the writer and require that all which it was promised is there."""
    outcome = writer.stop()
    print(
        f"\n{len(outcome.acknowledged)} acknowledged, {len(outcome.unknown)} unknown, refused {outcome.refused} times"
    )
    assert outcome.acknowledged <= present(cluster.conninfo())
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        assert connection.execute("SELECT count(*), count(DISTINCT kind) FROM many").fetchone() == (100000, 7)


def clusters(cluster, of: str) -> dict[str, str]:
    """Host to what it has of a version's data; without those that have nothing."""
    found = everywhere(cluster, f"ls -d {DATA}/{of}/* 2> /dev/null || true")
    return {host: said for host, said in found.items() if said.strip()}


def words(printed: str) -> str:
    """What a playbook printed, without its line breaks, which are anywhere in long messages."""
    return " ".join(printed.split())


def killed_when(cluster, command: str, *arguments: str) -> None:
    """Start a playbook and kill it as soon as a command succeeds on any host."""
    process, printed = cluster.start(*arguments), []
    reader = threading.Thread(target=lambda: printed.extend(process.stdout), daemon=True)
    reader.start()
    deadline = time.monotonic() + 300
    while not any(said.strip() for said in everywhere(cluster, f"{command} || true").values()):
        assert process.poll() is None, "".join(printed)
        assert time.monotonic() < deadline, "".join(printed)
    kill(process)


def test_a_run_that_would_start_another_version_beside_the_data_is_refused(cluster, old):
    """The version of the hosts' Debian is another one, and no version is set."""
    for arguments in (("site.yml",), ("site.yml", "--tags", "postgresql")):
        refused = cluster.playbook(*arguments, check=False)
        assert refused.returncode != 0
        assert re.search(rf"postgresql_version of node\d is {NEW}", words(refused.stdout))
        assert "postgresql_major_upgrade.yml" in words(refused.stdout)
        assert_unchanged(refused.stdout)
    assert version(cluster) == OLD


def test_what_can_not_be_upgraded_is_refused_before_anything_stops(cluster, old, writer):
    for wrong, why in (("14", "older"), ("16", "not offered"), ("99", "not offered")):
        refused = cluster.playbook(UPGRADE[0], "-e", f"version={wrong}", "--check", check=False)
        assert refused.returncode != 0
        assert why in words(refused.stdout)
    with psycopg.connect(cluster.conninfo()) as idle:
        idle.execute("SELECT 1")
        refused = cluster.playbook(*UPGRADE, "-e", "postgresql_upgrade_transaction_s=1", check=False)
    assert refused.returncode != 0
    assert "A transaction has been open for more than 1 s" in words(refused.stdout)
    assert (writer.outcome.unknown, writer.outcome.failed) == (set(), set())
    complete(cluster, writer)


def test_a_dry_run_prints_the_plan_and_touches_nothing(cluster, old):
    leader = cluster.primary()
    shown = cluster.playbook(*UPGRADE, "--check").stdout
    assert f"PostgreSQL {OLD} to {NEW}" in words(shown)
    assert f"start PostgreSQL {NEW} on {leader}, closed to clients" in words(shown)
    assert "No rollback is possible from here on" in words(shown)
    assert_unchanged(shown)
    assert cluster.primary() == leader


def test_before_clients_are_let_in_there_is_a_way_back_without_a_lost_write(cluster, old, writer):
    leader = cluster.primary()
    # Its new version runs, and the others are stopped.
    cluster.kill_when(re.compile("Start Patroni"), 1, *UPGRADE)
    refused = cluster.playbook("site.yml", "--tags", "base", "-e", f"postgresql_version={OLD}", check=False)
    assert refused.returncode != 0
    cluster.playbook(*UPGRADE, "-e", "way=back")
    assert version(cluster) == OLD
    assert cluster.primary() != leader, "its old data can't be used any more"
    assert cluster.whole()
    complete(cluster, writer)
    assert clusters(cluster, NEW) == {}
    assert_unchanged(cluster.playbook("site.yml", "-e", f"postgresql_version={OLD}").stdout)


def test_going_back_is_possible_when_nothing_of_the_new_version_has_run(cluster, old, writer):
    leader = cluster.primary()
    cluster.kill_when(re.compile("Stop the standbys"), 1, *UPGRADE)
    cluster.playbook(*UPGRADE, "-e", "way=back")
    assert (version(cluster), cluster.primary()) == (OLD, leader)
    complete(cluster, writer)
    refused = cluster.playbook(*UPGRADE, "-e", "way=back", check=False)
    assert "nothing to go back from" in words(refused.stdout)


def test_a_new_major_version_costs_no_acknowledged_write(cluster, old, under_load):
    under_load(
        f"major upgrade of PostgreSQL {OLD} to {NEW}",
        lambda: cluster.playbook(*UPGRADE),
        may_fail=True,
        without=("postgresql",),
    )
    assert version(cluster) == NEW
    assert cluster.whole()
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        known = connection.execute("SELECT count(*) FROM pg_stats WHERE tablename IN ('many', 'standin_events')")
        assert known.fetchone()[0] >= 4
        assert connection.execute("SELECT count(*) FROM many").fetchone() == (100000,)
    # The lab's inventory sets no version, and that of its Debian is the new one.
    assert_unchanged(cluster.playbook("site.yml").stdout)


def test_clients_were_let_in_so_there_is_no_way_back_and_the_old_data_go_when_told(cluster):
    assert version(cluster) == NEW
    refused = cluster.playbook(*UPGRADE, "-e", "way=back", check=False)
    assert refused.returncode != 0
    assert "No rollback is possible any more" in words(refused.stdout)
    assert set(clusters(cluster, OLD)) == set(cluster.hosts)
    cluster.playbook(*UPGRADE, "-e", "remove_old=true")
    assert clusters(cluster, OLD) == {}
    nothing = cluster.playbook(*UPGRADE).stdout
    assert f"All hosts run PostgreSQL {NEW}. Nothing is to be done." in words(nothing)
    assert_unchanged(nothing)


def test_a_run_that_is_killed_on_the_way_is_finished_by_the_next_one(cluster, old, writer):
    """Killed when all is stopped, in pg_upgrade, when the new version starts, while the others copy it, and while clients are let in."""
    cluster.kill_when(re.compile("Stop the standbys"), 2, *UPGRADE)
    killed_when(cluster, "pgrep --exact pg_upgrade", *UPGRADE)
    cluster.kill_when(re.compile("Start Patroni"), 1, *UPGRADE)
    cluster.kill_when(re.compile("Start Patroni"), 2, *UPGRADE)
    cluster.kill_when(re.compile("Write Patroni's configuration and units"), 3, *UPGRADE)
    cluster.playbook(*UPGRADE)
    assert version(cluster) == NEW
    until(cluster.status_is_ok, 240, "a whole platform")
    complete(cluster, writer)
    assert_unchanged(cluster.playbook("site.yml").stdout)
