# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a wrong inventory has done, the next run with a right one repairs; and with a host away the others can be changed."""

from __future__ import annotations

import json
import re
import subprocess

import psycopg
import pytest
from cluster import LAB, assert_unchanged, until
from test_converge import postmasters, shown

POSTGRESQL = ("site.yml", "--tags", "postgresql")
PATRONICTL = "patronictl -c /etc/patroni/config.yml"
OWNER = "utmstack_ha"


@pytest.fixture(autouse=True)
def _whole(cluster):
    until(cluster.status_is_ok, 240, "a whole platform")


def parameters(**values) -> tuple[str, ...]:
    return ("-e", json.dumps({"postgresql_parameters": values}))


def stored(cluster) -> dict:
    return cluster.ask_patroni("/config")


def asynchronous(cluster) -> str:
    return next(name for name, member in cluster.patroni().items() if member["role"] == "replica")


def edit(cluster, *settings: str) -> None:
    """What somebody sets past the inventory."""
    sets = " ".join(f"--set '{setting}'" for setting in settings)
    cluster.ssh(next(iter(cluster.hosts)), f"{PATRONICTL} edit-config --force --quiet {sets}")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"shared_preload_libraries": "nosuchlib"}, "nosuchlib"),
        ({"huge_pages": "on", "huge_page_size": "2MB"}, "huge_pages"),
        ({"ssl_ciphers": "nonsense"}, "ssl_ciphers"),
    ],
)
def test_a_parameter_with_which_postgresql_can_not_start_is_found_on_one_standby(cluster, under_load, wrong, said):
    before, tried, dynamic = postmasters(cluster), asynchronous(cluster), stored(cluster)
    done = under_load(
        f"{next(iter(wrong))} that PostgreSQL can't start with",
        lambda: cluster.playbook(*POSTGRESQL, *parameters(**wrong), check=False),
    )
    assert done.returncode != 0
    assert f"PostgreSQL did not come back on {tried}" in done.stdout
    assert said in done.stdout
    after = postmasters(cluster)
    assert {host for host in after if after[host] != before[host]} <= {tried}
    assert not set(wrong) & set(stored(cluster)["postgresql"]["parameters"])
    assert cluster.whole()
    # The corrected inventory only rewrites the files that say how a new cluster would begin.
    corrected = cluster.playbook(*POSTGRESQL).stdout
    assert stored(cluster) == dynamic
    assert postmasters(cluster) == after, corrected
    assert_unchanged(cluster.playbook(*POSTGRESQL).stdout)


def test_a_parameter_that_postgresql_does_not_know_or_can_not_read_is_refused_before_anything_is_changed(cluster):
    before = stored(cluster)
    wrong = {"work_mem": "banana", "wrk_mem": "1MB", "max_connections": 300, "timezone": "Nowhere"}
    hba = ("-e", json.dumps({"postgresql_hba_extra": ["hostssl all all 10.0.0.1 scram"]}))
    done = cluster.playbook(*POSTGRESQL, *parameters(**wrong), *hba, check=False)
    assert done.returncode != 0
    for words in ("work_mem = banana", "wrk_mem", "postgresql_max_connections", "Nowhere", "10.0.0.1/32"):
        assert words in done.stdout, words
    assert stored(cluster) == before
    assert_unchanged(cluster.playbook(*POSTGRESQL).stdout)


@pytest.mark.parametrize("correction", [{"huge_pages": "try"}, {}])
def test_a_member_that_is_down_by_a_wrong_parameter_is_repaired_by_the_run_that_corrects_it(
    cluster, under_load, correction
):
    """As runs of earlier versions left it, which sent a value to all and stopped at the first standby that did not come back."""
    victim = asynchronous(cluster)
    key = 'postgresql.parameters.huge_pages="on"'
    edit(cluster, key, f"{OWNER}.{key}")
    scope = cluster.ask_patroni("/patroni")["patroni"]["scope"]
    cluster.ssh(victim, f"{PATRONICTL} restart --force {scope} {victim}", check=False, timeout=120)
    until(lambda: cluster.patroni()[victim]["state"] not in ("running", "streaming"), 60, f"{victim} to be down")
    under_load(
        f"huge_pages {'set to try' if correction else 'removed from the inventory'} while a member is down by it",
        lambda: cluster.playbook(*POSTGRESQL, *parameters(**correction)),
    )
    until(cluster.whole, 30, "a whole cluster")
    assert stored(cluster)["postgresql"]["parameters"].get("huge_pages") == correction.get("huge_pages")
    assert_unchanged(cluster.playbook(*POSTGRESQL, *parameters(**correction)).stdout)
    cluster.playbook(*POSTGRESQL)


def test_a_patroni_that_stays_outside_of_etcd_is_restarted_and_postgresql_goes_on(cluster):
    """Only Patroni's account is kept from etcd, as by a token that it has lost: others are let in."""
    host, check = asynchronous(cluster), "patroni-dcs-check.service"
    before, began = postmasters(cluster)[host], float(cluster.ssh(host, "date +%s").stdout)
    cluster.ssh(
        host,
        """systemd-run --quiet --unit=outside sh -c 'nft "table inet outside {
            chain output { type filter hook output priority -10; meta skuid postgres tcp dport 2379 reject with tcp reset; }
        }"; sleep 240; nft delete table inet outside'""",
    )
    try:
        said = f"journalctl -q -o cat -u {check} --since @{began:.0f} | grep 'restarting Patroni, PostgreSQL goes on'"
        after = until(lambda: cluster.ssh(host, said, check=False).stdout, 200, "the check to restart Patroni")
        print(f"\nrestarted {after:.0f} s after it was shut out")
    finally:
        cluster.ssh(host, "nft delete table inet outside; systemctl stop outside", check=False)
    until(cluster.whole, 60, "a whole cluster")
    assert postmasters(cluster)[host] == before


def test_what_is_taken_out_of_the_inventory_goes_back_and_what_an_operator_has_set_stays_and_is_shown(cluster):
    default = shown(cluster, "log_min_duration_statement")
    own = ("-e", json.dumps({"postgresql_patroni_dynamic_configuration": {"maximum_lag_on_syncnode": 33554432}}))
    cluster.playbook(*POSTGRESQL, *parameters(log_min_duration_statement="5s"), *own)
    until(lambda: shown(cluster, "log_min_duration_statement") == "5s", 15, "the parameter in force")
    edit(cluster, "postgresql.parameters.log_statement=ddl")
    # YAML breaks long lines, and doubles quotes.
    told = " ".join(cluster.playbook(*POSTGRESQL).stdout.split()).replace("''", "'")
    assert "back to their defaults: maximum_lag_on_syncnode, postgresql.parameters.log_min_duration_statement" in told
    assert "'postgresql.parameters.log_statement': 'ddl'" in told
    until(lambda: shown(cluster, "log_min_duration_statement") == default, 15, "the default in force")
    assert shown(cluster, "log_statement") == "ddl"
    assert "maximum_lag_on_syncnode" not in stored(cluster)
    assert_unchanged(cluster.playbook(*POSTGRESQL).stdout)
    cluster.playbook(*POSTGRESQL, *parameters(log_statement=None))
    assert shown(cluster, "log_statement") == "none"
    cluster.playbook(*POSTGRESQL)
    assert_unchanged(cluster.playbook(*POSTGRESQL).stdout)


def test_a_run_that_is_killed_while_one_standby_tries_is_finished_by_the_next(cluster, under_load):
    wanted = parameters(track_activity_query_size="2kB")

    def operate():
        cluster.kill_when(re.compile("Reload the tested standby's configuration"), 1, *POSTGRESQL, *wanted)
        cluster.playbook(*POSTGRESQL)

    under_load("a trial that is killed, and the parameter taken back", operate)
    assert cluster.whole()
    assert shown(cluster, "track_activity_query_size") == "1kB"
    for host in cluster.hosts:
        assert "track_activity_query_size" not in cluster.ssh(host, "cat /etc/patroni/config.yml").stdout
    assert_unchanged(cluster.playbook(*POSTGRESQL).stdout)


def test_with_a_host_away_the_others_can_be_changed(cluster):
    """The standby that confirms nothing loses its power; what does not need its host is changed on the others."""
    away = asynchronous(cluster)
    present = [host for host in cluster.hosts if host != away]
    user = "limited"
    wanted = {
        "postgresql_hba_extra": ["hostssl all all 192.0.2.0/24 scram-sha-256"],
        "postgresql_patroni_tags": {"clonefrom": True},
        "postgresql_parameters": {"work_mem": "7MB", "shared_buffers": "160MB"},
        "postgresql_users": [
            {"name": "utmstack", "password": cluster.passwords["postgresql_application_password"]},
            {"name": user, "password": "first-of-two"},
        ],
    }
    cluster.playbook(*POSTGRESQL, "-e", json.dumps({"postgresql_users": wanted["postgresql_users"]}))
    wanted["postgresql_users"][1]["password"] = "second-of-two"
    subprocess.run([*LAB, "power-off", away], check=True)
    try:
        until(lambda: away not in cluster.patroni(), 60, f"{away} to be missed")
        arguments = ("--limit", f"!{away}", "-e", json.dumps(wanted))
        cluster.playbook("site.yml", *arguments)
        assert shown(cluster, "work_mem") == "7MB"
        assert shown(cluster, "shared_buffers") == "160MB"
        for host in present:
            assert "192.0.2.0/24" in cluster.ssh(host, "cat /var/lib/postgresql/*/*/pg_hba.conf").stdout, host
            assert cluster.patroni()[host]["tags"] == {"clonefrom": True}
            assert not cluster.patroni()[host].get("pending_restart")
        login = cluster.conninfo().replace("user=utmstack", f"user={user}")
        login = login.replace(cluster.passwords["postgresql_application_password"], "second-of-two")
        with psycopg.connect(login) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert_unchanged(cluster.playbook("site.yml", *arguments).stdout)
    finally:
        subprocess.run([*LAB, "power-on", away], check=True)
    until(cluster.status_is_ok, 240, "a whole platform")
    whole = ("-e", json.dumps(wanted))
    cluster.playbook("site.yml", *whole)
    assert_unchanged(cluster.playbook("site.yml", *whole).stdout)
    cluster.playbook("site.yml")
