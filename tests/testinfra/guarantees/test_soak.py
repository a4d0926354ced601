# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A machine that is busy is no failure: with every core saturated nothing fails over, and nothing that was acknowledged is lost.

SOAK_SECONDS (900): how long. First it is shown on this very cluster that each change of a leader would be found.
"""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import leadership
import pytest
from cluster import kill, until

SECONDS = int(os.environ.get("SOAK_SECONDS", "900"))
LOOK_S = 30
# The least share of the cores' time that counts as saturated.
SATURATED = 0.95

# What each hand-over must leave, by what switchover.yml calls it: where, and how it begins.
TRACES = {
    "postgresql": {"postgresql": ("primary", "timeline", "history"), "haproxy": ("times",)},
    "etcd": {"etcd": ("leader", "raft term")},
    "redis": {"redis": ("master", "config epoch", "replication id")},
    "elasticsearch": {"elasticsearch": ("master", "term")},
    "vip": {"keepalived": ("holder", "state of")},
    "swarm": {"swarm": ("leader", "elections")},
}


@pytest.fixture(autouse=True)
def _whole(cluster):
    until(cluster.status_is_ok, 240, "a whole platform")


@pytest.mark.parametrize("service", TRACES)
def test_a_change_of_leader_is_found(cluster, service):
    before = leadership.look(cluster)
    cluster.playbook("playbooks/switchover.yml", "-e", f"service={service}")
    until(cluster.status_is_ok, 120, "a whole platform")
    found = leadership.moved(before, leadership.look(cluster))
    print(f"\n{leadership.told(found)}")
    for name, traces in TRACES[service].items():
        for trace in traces:
            assert any(what.startswith(trace) for what in found.get(name, ())), (name, trace)


@contextmanager
def saturated(seconds: float):
    """Keep every core of this machine busy, with processes that end by themselves after so many seconds at the latest."""
    spin = ["timeout", "--signal=KILL", f"{seconds:.0f}", "sh", "-c", "while :; do :; done"]
    spinning = [subprocess.Popen(spin) for _core in range(os.cpu_count())]
    try:
        yield
    finally:
        for process in spinning:
            kill(process)


def processor() -> tuple[int, int]:
    """Idle and total time of all cores since the machine started, in the kernel's ticks (proc_stat(5))."""
    times = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return times[3] + times[4], sum(times)


def test_nothing_fails_over_while_every_core_is_saturated(cluster, under_load, figures):
    def soak() -> tuple[float, str]:
        """The share of time that the cores were busy, and what moved."""
        began, before = time.time(), leadership.look(cluster)
        start = time.monotonic()
        with saturated(SECONDS + 60):
            idle, total = processor()
            while (passed := time.monotonic() - start) < SECONDS:
                print(f"{passed:.0f} of {SECONDS} s, load {os.getloadavg()[0]:.1f}", flush=True)
                time.sleep(min(LOOK_S, SECONDS - passed))
            idle, total = (now - then for now, then in zip(processor(), (idle, total)))
        found = leadership.moved(before, leadership.look(cluster))
        what = f"{leadership.told(found)}\n{leadership.journal(cluster, found, began)}" if found else ""
        print(f"cores busy {1 - idle / total:.1%}, {len(found)} services moved\n{what}", flush=True)
        return 1 - idle / total, what

    busy, what = under_load(f"{SECONDS} s with every core saturated", soak, may_fail=True)
    figures[-1] |= {"cores_busy": round(busy, 3)}
    assert what == "", what
    assert busy >= SATURATED, f"the cores were busy for {busy:.1%} only"
