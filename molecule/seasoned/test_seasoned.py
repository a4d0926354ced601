# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A platform on hosts that were in use before: refused with all that is in the way, then deployed beside the data that stay.

In this order, each on what the one before has left.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "testinfra"))

from cluster import ROOT, UNITS, Cluster, assert_unchanged, until  # noqa: E402

HERE = Path(__file__).parent
SECRETS = HERE / "inventory" / ".secrets"
SITE = (
    "site.yml", "-e", f"@{ROOT}/inventories/lab/group_vars/all.yml", "-e", "base_time_sync=warn base_clock_skew_max_s=60",
    "-e", "postgresql_data_directory=/data/pg",
)  # fmt: skip
GIVEN_UP = ["etcd", "redis-server", "redis-sentinel.service", "postgresql@17-main", "old-web"]
# The data that were there: directories, and what else is in them of ours.
DATA = "find /var/lib/etcd/default /var/lib/postgresql/17/main /var/lib/redis -type f -not -path '/var/lib/redis/utmstack/*'"
RUNNING = "systemctl is-active etcd redis-server redis-sentinel postgresql@17-main old-web"


@pytest.fixture(scope="module")
def cluster():
    shutil.rmtree(SECRETS, ignore_errors=True)
    made = Cluster(HERE / "inventory")
    made.secrets_directory, made.ca = SECRETS, SECRETS / "ca.crt"
    yield made
    shutil.rmtree(SECRETS, ignore_errors=True)


def over(*names: str) -> tuple[str, str]:
    return "-e", json.dumps({"ha_take_over": names})


def on_all(cluster, command: str) -> dict[str, str]:
    return {host: cluster.ssh(host, command).stdout for host in cluster.hosts}


def checksums(cluster) -> dict[str, str]:
    return on_all(cluster, f"{DATA} -exec sha256sum {{}} + | sort -k 2")


def said(printed: str) -> str:
    """The refusal, as it was printed, in one line: Ansible folds it."""
    refusal = printed[printed.index("msg:\n") :].split("PLAY RECAP")[0]
    return " ".join(refusal.split()).replace("''", "'")


@pytest.mark.parametrize("how", [(), ("--check",)], ids=["run", "dry run"])
def test_the_first_run_names_all_that_is_in_the_way_and_touches_nothing(cluster, how):
    done = cluster.playbook(*SITE, *how, check=False)
    assert done.returncode != 0
    refusal = said(done.stdout)
    print(f"\n{refusal}")
    for told in (
        "etcd.service runs (data in /var/lib/etcd/default)",
        "redis-server.service runs (data in /var/lib/redis/dump.rdb)",
        "redis-sentinel.service runs",
        "postgresql@17-main.service, a PostgreSQL server",
        "port 443 is taken (old-web.service: python3)",
        "/data (mode 0700) can't be entered by postgres",
    ):
        assert told in refusal
    assert "6 findings" in refusal
    assert set(on_all(cluster, RUNNING).values()) == {"active\n" * 5}
    ours = (
        "ls -d /etc/utmstack-ha /var/lib/utmstack-ha /usr/local/lib/utmstack-ha /etc/systemd/system/postgresql*.service"
    )
    assert set(on_all(cluster, f"{ours} 2> /dev/null || true").values()) == {""}


def test_what_is_not_listed_stays_refused(cluster):
    on_all(cluster, "chmod 0755 /data")
    done = cluster.playbook(*SITE, *over(*GIVEN_UP[1:]), check=False)
    assert done.returncode != 0
    assert "1 finding." in said(done.stdout)
    assert "etcd.service runs" in said(done.stdout)
    assert set(on_all(cluster, RUNNING).values()) == {"active\n" * 5}


def test_a_run_that_is_killed_after_it_took_over_is_finished_by_the_next_one(cluster):
    cluster.kill_when(re.compile("Write the member's configuration"), 1, *SITE, *over(*GIVEN_UP))
    stopped = cluster.ssh("node1", RUNNING, check=False).stdout.split()
    assert "active" not in stopped, stopped
    cluster.before = checksums(cluster)
    print("\n" + cluster.before["node1"])
    # As a reboot would have it, where Debian's packages have enabled what a run has only installed.
    cluster.ssh("node1", "systemctl start haproxy")
    cluster.playbook(*SITE)
    until(
        lambda: cluster.playbook("playbooks/status.yml", *SITE[1:], check=False).returncode == 0,
        120,
        "a whole platform",
    )


def test_another_run_has_nothing_to_do(cluster):
    assert_unchanged(cluster.playbook(*SITE).stdout)
    assert_unchanged(cluster.playbook(*SITE, "--check").stdout)


def test_what_was_there_is_there_still_byte_for_byte(cluster):
    assert checksums(cluster) == cluster.before
    print("\n" + cluster.before["node1"])


READ_POSTGRESQL = """
set -eu
cp -a /var/lib/postgresql/17/main /tmp/main
options="-c config_file=/etc/postgresql/17/main/postgresql.conf -c data_directory=/tmp/main -c external_pid_file=/tmp/main.pid"
options="$options -c port=5999 -c unix_socket_directories=/tmp -c listen_addresses="
run="runuser -u postgres -- /usr/lib/postgresql/17/bin"
$run/pg_ctl --pgdata=/tmp/main --silent --log=/dev/null --options="$options" --wait start > /dev/null
$run/psql --host=/tmp --port=5999 --no-align --tuples-only --command="SELECT count(*), max(md5) FROM orders"
$run/pg_ctl --pgdata=/tmp/main --silent stop
"""
READ_ETCD = """
set -eu
cp -a /var/lib/etcd/default /tmp/default
at="http://127.0.0.1:5979 --listen-peer-urls http://127.0.0.1:5980"
timeout 30 etcd --data-dir /tmp/default --advertise-client-urls http://127.0.0.1:5979 --listen-client-urls $at > /dev/null 2>&1 &
for turn in 1 2 3 4 5 6 7 8 9; do
    etcdctl --endpoints http://127.0.0.1:5979 get --prefix order/ 2> /dev/null && break || sleep 1
done
kill $!
"""


def test_what_was_there_can_still_be_read(cluster):
    """By servers on copies: starting one writes."""
    assert cluster.ssh("node1", READ_POSTGRESQL).stdout.startswith("1000|")
    assert cluster.ssh("node1", READ_ETCD).stdout.split() == ["order/1", "1", "order/2", "2", "order/3", "3"]
    assert "2 keys read" in cluster.ssh("node1", "redis-check-rdb /var/lib/redis/dump.rdb").stdout


def test_the_services_can_reach_what_is_theirs_under_a_strict_umask(cluster):
    places = "/usr/local/lib/utmstack-ha /etc/utmstack-ha /opt/utmstack-ha /run/utmstack-ha"
    closed = on_all(cluster, f"find {places} -type d -not -perm -005 -not -path '*/drill*'")
    assert set(closed.values()) == {""}, closed
    modes = on_all(cluster, "stat -c '%A %U %n' /data /data/pg /var/lib/redis/utmstack /var/lib/etcd/utmstack")
    print("\n" + modes["node1"])
    assert set(on_all(cluster, f"systemctl is-active {' '.join(UNITS)}").values()) == {"active\n" * len(UNITS)}


def test_tools_that_restart_services_leave_these_alone(cluster):
    script = "; ".join([
        "our %nrconf = (override_rc => {})",
        'do "/etc/needrestart/conf.d/utmstack-ha.conf"',
        "die $@ if $@",
        "foreach my $unit (@ARGV) { my @hits = grep { $unit =~ /$_/ } keys %{$nrconf{override_rc}}; print scalar(@hits) }",
    ])  # fmt: skip
    units = " ".join(f"{unit}.service" for unit in UNITS)
    assert cluster.ssh("node1", f"perl -e '{script}' {units}").stdout == "1" * len(UNITS)
    said = cluster.ssh("node1", "apt-config dump Unattended-Upgrade::Automatic-Reboot").stdout
    assert said == 'Unattended-Upgrade::Automatic-Reboot "false";\n'
