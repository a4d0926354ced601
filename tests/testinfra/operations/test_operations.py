# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Planned operations while the application is under load: no request fails after its one retry, and nothing acknowledged is lost.

OPERATION_KILLS (10): how often the interrupted operation is killed, each time in the turns of another service.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import time

import pytest
from cluster import UNITS, assert_unchanged, changes, last_task, started, until
from load import STORES, Load
from test_converge import shown

KILLS = int(os.environ.get("OPERATION_KILLS", "10"))
SERVICES = (
    "etcd",
    "postgresql",
    "elasticsearch",
    "sentinel",
    "redis",
    "swarm",
    "backend",
    "pgbouncer",
    "haproxy",
    "keepalived",
)


@pytest.fixture(autouse=True)
def _whole(cluster):
    until(cluster.status_is_ok, 240, "a whole platform")


def test_a_dry_run_prints_the_order_and_what_each_host_leads_and_touches_nothing(cluster):
    leader = cluster.primary()
    output = cluster.playbook("playbooks/rolling_restart.yml", "-e", "service=postgresql,etcd", "--check").stdout
    turns = re.findall(r"^\s+\d+\s+(etcd|postgresql)\s+(\S+)(.*)$", output.replace("\\n", "\n"), re.MULTILINE)
    assert len(turns) == 2 * len(cluster.hosts)
    assert [host for service, host, _leads in turns if service == "postgresql"][-1] == leader
    assert "hands over PostgreSQL's primary" in turns[-1][2]
    assert set(changes(output).values()) <= {0, 1}
    assert cluster.primary() == leader


def test_every_service_restarts_without_a_failed_request(cluster, under_load):
    under_load(
        "rolling restart of every service",
        lambda: cluster.playbook("playbooks/rolling_restart.yml", "-e", "service=all"),
    )


@pytest.mark.parametrize("change", [20, -20])
def test_a_parameter_that_needs_a_restart_costs_no_request(cluster, under_load, change):
    connections = int(shown(cluster, "max_connections"))
    wanted = ("-e", f"postgresql_max_connections={connections + 20}")
    how = "raised" if change > 0 else "lowered"
    if change < 0:
        connections, wanted = connections - 20, ()
    under_load(
        f"max_connections of PostgreSQL {how}",
        lambda: cluster.playbook("site.yml", "--tags", "postgresql", *wanted),
    )
    assert int(shown(cluster, "max_connections")) == connections + max(change, 0)


RESTARTS = {
    "etcd": {"etcd_snapshot_count": 20000},
    "elasticsearch": {"elasticsearch_jvm_options": ["-XX:TieredStopAtLevel=1", "-XX:+UseCodeCacheFlushing"]},
    "redis-server": {"redis_settings": {"tcp-backlog": 300}},
    "docker": {"swarm_engine_settings": {"shutdown-timeout": 20}},
}
# What is taken out of redis_settings keeps its value until a restart; so the way back names Redis's default.
BACK = {"redis_settings": {"tcp-backlog": 511}}


@pytest.mark.parametrize("how", ["changed", "back as they were"])
def test_settings_of_every_cluster_that_need_a_restart_take_one_host_after_the_other(cluster, under_load, how):
    back = how != "changed"
    connections = int(shown(cluster, "max_connections")) + (-20 if back else 20)
    settings = {name: value for own in RESTARTS.values() for name, value in own.items()}
    settings["postgresql_max_connections"] = connections
    wanted = ("-e", json.dumps(BACK if back else settings))
    began = time.time()
    under_load(f"settings of five clusters {how} in one run", lambda: cluster.playbook("site.yml", *wanted))
    assert int(shown(cluster, "max_connections")) == connections
    for unit in RESTARTS:
        for host in cluster.hosts:
            assert started(cluster, host, unit) >= int(began), (unit, host)
    assert_unchanged(cluster.playbook("site.yml", *wanted).stdout)
    if back:
        cluster.playbook("site.yml", "--tags", "redis")


def test_all_hosts_reboot_without_a_failed_request(cluster, under_load):
    under_load("rolling reboot of all hosts", lambda: cluster.playbook("playbooks/rolling_reboot.yml"))
    boots = [float(cluster.ssh(host, "cut -d ' ' -f 22 /proc/1/stat").stdout) for host in cluster.hosts]
    assert len(set(boots)) == len(cluster.hosts)


def test_a_host_is_taken_out_of_everything_and_comes_back(cluster, under_load):
    host = cluster.primary()

    def maintain():
        cluster.playbook("playbooks/maintenance.yml", "-e", f"host={host}", "-e", "state=present", "-e", "reason=test")
        shown_meanwhile = cluster.playbook("playbooks/status.yml", check=False).stdout
        refused = cluster.playbook("site.yml", "--tags", "base", check=False)
        cluster.playbook("playbooks/maintenance.yml", "-e", f"host={host}", "-e", "state=absent")
        return shown_meanwhile, refused

    shown_meanwhile, refused = under_load(f"maintenance of the primary's host, {host}", maintain)
    assert f"{host}: is in maintenance (since " in shown_meanwhile
    assert refused.returncode != 0
    assert f"{host} is in maintenance" in refused.stdout
    assert cluster.primary() != host


# Of the newest version: after a major upgrade the old data may still be there.
DATA = "$(ls -d /var/lib/postgresql/*/* | sort -V | tail -n 1)"
# What the host is done to and what repairs it, by what an operator would call it; the first is the service that is restarted.
SABOTAGES = {
    "a configuration that validates and does not start": (
        "redis",
        "mkdir -p /etc/systemd/system/redis-server.service.d && printf '[Service]\\nExecStartPre=/bin/false\\n' >"
        " /etc/systemd/system/redis-server.service.d/zz-sabotage.conf && systemctl daemon-reload",
        "rm /etc/systemd/system/redis-server.service.d/zz-sabotage.conf && systemctl daemon-reload"
        " && systemctl restart redis-server",
    ),
    "the wrong binary": (
        "etcd",
        "mv /usr/bin/etcd /usr/bin/etcd.right && ln -s /bin/false /usr/bin/etcd",
        "mv /usr/bin/etcd.right /usr/bin/etcd && systemctl restart etcd",
    ),
    # The running server keeps its files open; when it starts again it finds a copy of them on a file system without a free byte. What
    # it removes while it is copied, cp complains about.
    "a full disk": (
        "postgresql",
        f"mkdir /mnt/full && mount -t tmpfs -o size=$(( $(du -sm {DATA} | cut -f 1) + 64 ))m full /mnt/full"
        f" && {{ cp -a {DATA}/. /mnt/full || true; }}"
        f" && {{ cat /dev/zero > /mnt/full/fill || true; }} 2> /dev/null && mount --bind /mnt/full {DATA}",
        f"umount {DATA} /mnt/full && rmdir /mnt/full && systemctl restart patroni",
    ),
}


@pytest.mark.parametrize("what", SABOTAGES)
def test_an_operation_stops_at_the_host_that_does_not_come_back_and_the_next_run_finishes(cluster, what):
    service, break_it, repair = SABOTAGES[what]
    plan = cluster.playbook("playbooks/rolling_restart.yml", "-e", f"service={service}", "--check").stdout
    order = re.findall(rf"^\s+\d+\s+{service}\s+(\S+)", plan.replace("\\n", "\n"), re.MULTILINE)
    assert len(order) == len(cluster.hosts)
    second = order[1]
    cluster.ssh(second, break_it)
    load = Load(cluster).start()
    try:
        stopped = cluster.playbook("playbooks/rolling_restart.yml", "-e", f"service={service}", check=False)
        mark = len(load.outcome.acknowledged)
        until(lambda: len(load.outcome.acknowledged) > mark + 100, 60, "the others to serve")
    finally:
        cluster.ssh(second, repair)
        outcome = load.stop()
    told = re.search(r"msg: (.*?stopped at .*?)\n\n", stopped.stdout, re.DOTALL)
    print(f"\n{what} on {second}: {outcome}\n{told and told[1]}")
    assert stopped.returncode != 0
    assert f"stopped at {second}, at the task" in stopped.stdout
    assert f"Done: {order[0]}." in stopped.stdout
    assert f"Not begun: {order[2]}." in stopped.stdout
    again = re.search(r"with -e (since=[^;]+); it finishes the rest", stopped.stdout)
    assert again, stopped.stdout
    until(cluster.status_is_ok, 120, "a whole platform after the repair")
    finished = cluster.playbook("playbooks/rolling_restart.yml", "-e", f"service={service}", "-e", again[1]).stdout
    passed_over = re.search(rf"already done: {service}: ([\w, ]+)", finished)
    assert passed_over and order[0] in passed_over[1].split(", "), finished
    assert load.missing() == {store: set() for store in STORES}


def test_an_operation_that_is_killed_again_and_again_is_finished_by_the_next_run(cluster, under_load):
    """Each kill cuts off the turns of another service, and the run after it does not look back."""
    restart = "playbooks/rolling_restart.yml"

    def interrupted():
        began, since = time.time(), ()
        for time_of, service in zip(range(1, KILLS + 1), itertools.cycle(SERVICES)):
            after = random.uniform(18, 40)
            printed = cluster.kill_after(after, restart, "-e", f"service={service}", *since).stdout
            print(f"kill {time_of} of {KILLS} after {after:.0f} s, in: {last_task(printed)}", flush=True)
            found = re.search(r"-e (since=\S+)\s+goes on where it was", printed)
            since = since or (("-e", found[1]) if found else ())
        cluster.playbook(restart, "-e", "service=all", *since)
        return began

    began = under_load(f"rolling restart of every service, killed {KILLS} times", interrupted, may_fail=True)
    for unit in UNITS:
        for host in cluster.hosts:
            assert started(cluster, host, unit) >= int(began), (unit, host)
    until(cluster.status_is_ok, 60, "nothing left drained, paused or tagged")
    assert_unchanged(cluster.playbook("site.yml").stdout)
