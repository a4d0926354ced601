# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Failures under load, measured: writes go on by themselves, none that was acknowledged is missing, all comes back.

Times are printed, never asserted tightly: the limit only tells a failover from an outage that somebody has to end.
"""

from __future__ import annotations

import shlex
import subprocess
import time

import pytest
from cluster import BOOKWORM, LAB, Cluster, assert_unchanged, until
from ledger import Writer, present

LIMIT_S = 60


def kill_postmaster(cluster):
    primary = cluster.primary()
    cluster.ssh(primary, "kill -9 $(head -1 /var/lib/postgresql/*/*/postmaster.pid)")
    return primary


def kill_haproxy(cluster):
    holder = cluster.vip_holder()
    cluster.ssh(holder, "pkill -9 -x haproxy")
    return holder


def kill_keepalived(cluster):
    holder = cluster.vip_holder()
    cluster.ssh(holder, "pkill -9 -x keepalived")
    return holder


def cut_power(cluster):
    holder = cluster.vip_holder()
    subprocess.run([*LAB, "power-off", holder], check=True, capture_output=True)
    return holder


def nothing(cluster):
    """Nothing has to be led by one host."""


FAULTS = {
    "postmaster SIGKILL": (nothing, kill_postmaster, "primary"),
    "HAProxy SIGKILL on the VIP holder": (nothing, kill_haproxy, None),
    "keepalived SIGKILL on the VIP holder": (nothing, kill_keepalived, None),
    "power loss of the host with VIP, primary and etcd leader": (Cluster.lead_everything, cut_power, "power"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_writes_survive(cluster, fault, figures):
    prepare, strike, kind = FAULTS[fault]
    until(lambda: cluster.whole() and cluster.vip_holder(), 120, "a whole cluster")
    prepare(cluster)
    writer = Writer(cluster.conninfo())
    writer.prepare()
    writer.start()
    until(lambda: len(writer.outcome.acknowledged) > 100, 30, "the writer to get going")
    started = time.monotonic()
    victim = strike(cluster)
    # The fault has taken effect only when a write was acknowledged that began well after it.
    time.sleep(2)
    mark = len(writer.outcome.acknowledged)
    until(lambda: len(writer.outcome.acknowledged) > mark + 100, LIMIT_S, "writes to go on by themselves")
    back = time.monotonic()
    if kind == "power":
        assert cluster.primary() != victim
        assert victim not in cluster.vip_holders()
        subprocess.run([*LAB, "power-on", victim], check=True, capture_output=True)
    healed = until(lambda: cluster.whole() and cluster.vip_holder(), 180, "full redundancy")
    outcome = writer.stop()
    missing = outcome.acknowledged - present(cluster.conninfo())
    figures.append(
        {
            "fault": fault,
            "outage_s": round(outcome.longest_gap(started - 0.5), 2),
            "acknowledged": len(outcome.acknowledged),
            "missing": len(missing),
            "failed": len(outcome.failed),
            "unknown": len(outcome.unknown),
            "full_redundancy_s": round(healed + (0 if kind == "power" else back - started), 1),
        }
    )
    assert not missing, f"acknowledged but not there: {sorted(missing)[:20]}"
    if kind == "primary":
        assert cluster.primary()


@pytest.mark.parametrize("holds", [False, True], ids=["a backup", "the holder"])
def test_a_host_that_is_cut_off_from_all_others_neither_takes_nor_keeps_the_virtual_ip(cluster, holds):
    until(lambda: cluster.whole() and cluster.vip_holder(), 120, "a whole cluster")
    holder = cluster.vip_holder()
    victim = holder if holds else next(host for host in cluster.hosts if host != holder)
    others = ", ".join(address for host, address in cluster.hosts.items() if host != victim)
    # The host ends the partition itself, whatever happens to who asked for it.
    seen = cluster.ssh(
        victim,
        f"""trap '' HUP PIPE
        trap 'nft delete table inet cut_off' EXIT
        nft 'table inet cut_off {{
            chain input {{ type filter hook input priority -10; ip saddr {{ {others} }} drop; }}
            chain output {{ type filter hook output priority -10; ip daddr {{ {others} }} drop; }}
        }}'
        for _ in $(seq 45); do
            sleep 0.1
            read -r state _ < /run/utmstack-ha/vip-state
            echo "$state $(ip -4 -o address show to {cluster.vip} | wc -l)"
        done""",
    ).stdout.split("\n")
    assert ("MASTER 1" in seen) is holds
    assert seen[-2] == "FAULT 0"
    # Sessions that the partition broke count as alive for wal_sender_timeout (5 s), and Patroni looks every loop_wait (3 s).
    time.sleep(5)
    until(lambda: cluster.whole() and cluster.vip_holder(), 180, "full redundancy")


def test_a_converge_directly_after_a_failover_keeps_the_new_primary(cluster):
    until(cluster.whole, 120, "a whole cluster")
    before = cluster.primary()
    kill_postmaster(cluster)
    subprocess.run([*LAB, "power-off", before], check=True, capture_output=True)
    try:
        until(lambda: _primary_or_none(cluster) not in (None, before), LIMIT_S, "another primary")
    finally:
        subprocess.run([*LAB, "power-on", before], check=True, capture_output=True)
    until(cluster.whole, 120, "a whole cluster")
    primary = cluster.primary()
    assert primary != before
    assert_unchanged(cluster.playbook("site.yml", "--tags", "etcd,postgresql").stdout)
    assert cluster.primary() == primary


def _primary_or_none(cluster):
    try:
        return cluster.primary()
    except (OSError, StopIteration):
        return None


# What a primary does that comes back from a partition with an old view of who leads, and a new session.
TAKE_THE_LEADER_KEY = """
import importlib.util, sys
from patroni.config import Config
from patroni.dcs import etcd3, get_dcs
spec = importlib.util.spec_from_file_location("patroni_compare", "/usr/local/lib/utmstack-ha/patroni_compare.py")
program = importlib.util.module_from_spec(spec)
spec.loader.exec_module(program)
program.repair(etcd3)
dcs = get_dcs(Config("/etc/patroni/config.yml"))
before = dcs.get_cluster().leader
took = dcs._update_leader()
after = dcs.get_cluster().leader
print(took, (before.name, before.session) == (after.name, after.session))
"""


@pytest.mark.skipif(not BOOKWORM, reason="Debian 13's Patroni compares by itself")
def test_a_member_with_an_old_view_does_not_take_the_leader_key(cluster):
    primary = cluster.primary()
    for host in cluster.hosts:
        assert "patroni_compare.py" in cluster.ssh(host, "systemctl show -P ExecStart patroni").stdout
        assert (
            "patroni_compare.py" in cluster.ssh(host, "cat /proc/$(systemctl show -P MainPID patroni)/cmdline").stdout
        )
    standby = next(host for host in cluster.hosts if host != primary)
    # As Patroni runs: its unit gives it the group that may read the host's key.
    account = "runuser -u postgres -g postgres -G utmstack-tls"
    printed = cluster.ssh(standby, f"{account} -- timeout 30 python3 -c {shlex.quote(TAKE_THE_LEADER_KEY)}").stdout
    assert printed.split() == ["False", "True"]
    until(cluster.whole, 60, "a whole cluster")
    assert cluster.primary() == primary
