# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs that change settings, runs that change nothing, and runs that are killed in between."""

from __future__ import annotations

import re
import time

import psycopg
import pytest
from cluster import PLAIN, assert_unchanged, changes, until
from watch import Watch, listening

QUOTA = 3 * 1024**3
# Of a run of site.yml that changes nothing. More is not read, and costs each task's start on each host.
MOST_LINES = 600


@pytest.fixture(autouse=True)
def _whole(cluster):
    until(cluster.whole, 120, "a whole cluster")


def test_a_dry_run_on_the_running_cluster_reports_no_change(cluster):
    # With lines about what is included.
    environment = PLAIN | {"ANSIBLE_STDOUT_CALLBACK": "default"}
    output = cluster.playbook("site.yml", "--check", "--diff", environment=environment).stdout
    assert len(changes(output)) == len(cluster.hosts)
    assert_unchanged(output)
    assert len(output.splitlines()) < MOST_LINES
    # What is only looked at costs one task; these hold what a difference costs.
    assert not re.search(r"^included: .*(?:_change|install|outdated)\.yml", output, re.M), output


# etcd and postgresql are chosen by the tests below, which end with a run that changes nothing.
@pytest.mark.parametrize("tag", ["base", "elasticsearch", "redis", "swarm", "haproxy", "keepalived", "backend"])
def test_each_layer_can_be_chosen_by_its_tag(cluster, tag):
    assert_unchanged(cluster.playbook("site.yml", "--tags", tag).stdout)


def test_a_configuration_that_haproxy_refuses_is_not_installed_and_its_reason_is_told(cluster):
    wrong = '{"haproxy_extra_config": "frontend broken\\n    bind nowhere"}'
    done = cluster.playbook("site.yml", "--tags", "haproxy", "-e", wrong, check=False)
    assert done.returncode != 0
    assert "haproxy.cfg not written" in done.stdout
    assert "nowhere" in done.stdout, "HAProxy's own words are missing"
    for host in cluster.hosts:
        assert "nowhere" not in cluster.ssh(host, "cat /etc/haproxy/haproxy.cfg").stdout
    with psycopg.connect(cluster.conninfo()) as connection:
        assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)


def starts(cluster, unit: str) -> dict[str, str]:
    """Host to the identity of the unit's present invocation, which changes with every start."""
    return {host: cluster.ssh(host, f"systemctl show -P InvocationID {unit}").stdout.strip() for host in cluster.hosts}


def started_since(cluster, unit: str, moment: float) -> dict[str, int]:
    return {
        host: int(
            cluster.ssh(
                host, f"journalctl -q -u {unit} --since @{moment:.0f} -o cat | grep -c '^Started {unit}'", check=False
            ).stdout
        )
        for host in cluster.hosts
    }


def test_a_run_killed_before_the_restart_is_finished_by_the_next_one_host_at_a_time(cluster):
    before = starts(cluster, "etcd.service")
    etcd = ("site.yml", "--tags", "etcd", "-e", f"etcd_quota_bytes={QUOTA}")
    cluster.kill_when(re.compile("etcd : Write the member's configuration"), len(cluster.hosts), *etcd)
    time.sleep(2)
    for host in cluster.hosts:
        assert str(QUOTA) in cluster.ssh(host, "cat /etc/default/etcd").stdout, "the configuration was not written yet"
    assert starts(cluster, "etcd.service") == before, "a member was restarted before the run was killed"
    moment = time.time() - 1
    with Watch(etcd=lambda: listening(cluster, 2379)) as watch:
        cluster.playbook(*etcd)
    assert started_since(cluster, "etcd.service", moment) == {host: 1 for host in cluster.hosts}
    assert watch.least == {"etcd": len(cluster.hosts) - 1}
    assert_unchanged(cluster.playbook(*etcd).stdout)
    assert started_since(cluster, "etcd.service", moment) == {host: 1 for host in cluster.hosts}
    # Back to what the inventory says, which later tests find unchanged.
    cluster.playbook("site.yml", "--tags", "etcd")
    assert started_since(cluster, "etcd.service", moment) == {host: 2 for host in cluster.hosts}


def shown(cluster, name: str) -> str:
    with psycopg.connect(cluster.conninfo()) as connection:
        return connection.execute(f"SHOW {name}").fetchone()[0]


def postmasters(cluster) -> dict[str, str]:
    return {
        host: cluster.ssh(host, "cat /var/lib/postgresql/*/*/postmaster.pid | head -3 | tail -1").stdout
        for host in cluster.hosts
    }


def test_a_changed_parameter_is_reloaded_everywhere_and_restarts_nothing(cluster):
    before = postmasters(cluster)
    output = cluster.playbook(
        "site.yml", "--tags", "postgresql", "--diff", "-e", '{"postgresql_parameters": {"work_mem": "7MB"}}'
    ).stdout
    assert "work_mem" in output, "the run shows no difference"
    until(lambda: shown(cluster, "work_mem") == "7MB", 15, "the parameter in force")
    assert postmasters(cluster) == before
    cluster.playbook("site.yml", "--tags", "postgresql")
    assert shown(cluster, "work_mem") != "7MB"


def test_a_parameter_that_needs_a_restart_reaches_every_member_and_goes_back_again(cluster):
    before, primary = postmasters(cluster), cluster.primary()
    connections = int(shown(cluster, "max_connections"))
    postgresql = ("site.yml", "--tags", "postgresql")
    wanted = (*postgresql, "-e", f"postgresql_max_connections={connections + 20}")
    cluster.kill_when(re.compile(r"Record settings in Patroni|Reconcile Patroni"), 1, *wanted)
    cluster.playbook(*wanted)
    assert int(shown(cluster, "max_connections")) == connections + 20
    raised = postmasters(cluster)
    assert all(raised[host] != before[host] for host in cluster.hosts)
    assert cluster.primary() == primary
    cluster.playbook(*postgresql)
    assert int(shown(cluster, "max_connections")) == connections
    assert not any(member.get("pending_restart") for member in cluster.patroni().values())
    assert_unchanged(cluster.playbook(*postgresql).stdout)
