# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The drill itself: it begins only where it may, leaves no fault behind whatever becomes of it, and finds the losses that there are."""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import suppress

import pytest
import yaml
from cluster import LAB, kill, until

DRILL = "playbooks/drill.yml"
TABLE = "utmstack_ha_drill"


def drill(cluster, scenario, *arguments, check=True, output=None):
    """Run a drill to its end; what it printed, as one line of words."""
    extra = ("-e", f"drill_output={output}") if output else ()
    done = cluster.playbook(DRILL, "-e", f"scenario={scenario}", *extra, *arguments, check=check)
    return done.returncode, " ".join(done.stdout.split())


def notes(cluster) -> list[str]:
    """The faults that are noted anywhere, also those of hosts that are away."""
    found = [str(path) for path in (cluster.secrets_directory / "drill").glob("*.json")]
    for host in cluster.running():
        # A host that is just being taken away does not answer.
        with suppress(subprocess.TimeoutExpired):
            listed = cluster.ssh(host, "ls /var/lib/utmstack-ha/drill 2> /dev/null || true", check=False, timeout=20)
            found += [f"{host}: {name}" for name in listed.stdout.split()]
    return found


def traces(cluster) -> list[str]:
    """What a fault would leave on hosts, noted or not."""
    looks = {
        "table": f"nft list tables | grep -c {TABLE} || true",
        "mount": "grep -c utmstack-ha-drill /proc/1/mountinfo || true",
        "frozen": "ps -e -o state= | grep -c '^T' || true",
        "timer": "systemctl list-units --no-legend 'utmstack-ha-drill-undo-*' | wc -l",
    }
    return [
        f"{host}: {what}"
        for host in cluster.hosts
        for what, command in looks.items()
        if cluster.ssh(host, command).stdout.strip() != "0"
    ]


@pytest.fixture(autouse=True)
def _whole(cluster):
    until(cluster.status_is_ok, 300, "a whole platform")
    yield
    drill(cluster, "cleanup", check=False)
    for host in cluster.hosts:
        if host not in cluster.running():
            subprocess.run([*LAB, "power-on", host], check=True, capture_output=True)


def test_a_cluster_that_is_not_marked_is_refused(cluster):
    code, told = drill(cluster, "short", "-e", json.dumps({"ha_drill_allowed": False}), check=False)
    assert code != 0
    assert "is not marked for drills" in told
    assert "ha_drill_allowed: true" in told
    assert notes(cluster) == []


def test_an_unhealthy_cluster_is_refused(cluster):
    cluster.ssh("node2", "systemctl stop redis-sentinel")
    try:
        code, told = drill(cluster, "short", check=False)
    finally:
        cluster.ssh("node2", "systemctl start redis-sentinel")
    assert code != 0
    assert "a drill begins with a healthy one" in told
    assert notes(cluster) == []


def test_a_scenario_that_is_none_is_refused_with_the_nearest(cluster):
    code, told = drill(cluster, "redis-sigkil", check=False)
    assert code != 0
    assert "Did you mean redis-sigkill?" in told


def test_a_dry_run_tells_what_would_be_done_to_whom_and_does_nothing(cluster, tmp_path):
    code, told = drill(cluster, "default", "--check", output=tmp_path / "out")
    assert code == 0
    assert "19 faults, once each" in told
    assert notes(cluster) == []
    assert not (tmp_path / "out").exists()


def kill_while_it_lasts(cluster, scenario, output):
    """Begin a drill, and kill it with all its children as soon as a fault is noted and has had a second to begin."""
    process = cluster.start(DRILL, "-e", f"scenario={scenario}", "-e", f"drill_output={output}")
    try:
        until(lambda: notes(cluster) or process.poll() is not None, 300, "a fault to be injected")
        time.sleep(1)
    finally:
        kill(process)
        printed = process.communicate()[0]
    assert notes(cluster), printed
    print(f"\n{scenario}: killed while there was {notes(cluster)}")


@pytest.mark.parametrize(
    "fault", ["redis-sigstop", "postgresql-partition", "certificate-wrong", "snapshots-lost", "redis-host-power-off"]
)
def test_a_drill_that_was_killed_leaves_nothing_that_cleanup_does_not_undo(cluster, fault, tmp_path):
    kill_while_it_lasts(cluster, fault, tmp_path)
    code, told = drill(cluster, "cleanup")
    assert f"Undone: 01-{fault}" in told
    assert notes(cluster) == []
    assert traces(cluster) == []
    assert not (cluster.secrets_directory / "drill-ledger.json").exists()
    until(cluster.status_is_ok, 300, "a whole platform")
    assert "No fault was left." in drill(cluster, "cleanup")[1]


@pytest.mark.parametrize("fault", ["postmaster-sigstop", "etcd-partition"])
def test_a_drill_that_was_killed_is_undone_by_the_hosts_themselves(cluster, fault, tmp_path):
    own = tmp_path / "own.yml"
    own.write_text(yaml.safe_dump({"faults": [{"name": fault, "hold_s": 5}]}))
    kill_while_it_lasts(cluster, own, tmp_path)
    # Its own time and 90 s.
    until(lambda: notes(cluster) == [], 150, "the timer to undo the fault")
    assert traces(cluster) == []
    until(cluster.status_is_ok, 300, "a whole platform")


def test_the_next_drill_undoes_what_the_last_one_has_left(cluster, tmp_path):
    kill_while_it_lasts(cluster, "sentinel-sigstop", tmp_path)
    code, told = drill(cluster, "haproxy-sigkill", output=tmp_path)
    assert code == 0
    assert "Undone: 01-sentinel-sigstop" in told


def test_a_second_drill_is_refused_and_the_first_one_goes_on(cluster, tmp_path):
    process = cluster.start(DRILL, "-e", "scenario=sentinel-sigstop", "-e", f"drill_output={tmp_path}")
    try:
        until(lambda: notes(cluster) or process.poll() is not None, 300, "a fault to be injected")
        code, told = drill(cluster, "haproxy-sigkill", check=False)
        printed = process.communicate(timeout=600)[0]
    finally:
        kill(process)
    assert code != 0
    assert "Another drill of" in told, told
    assert "by now at 01-sentinel-sigstop" in told, told
    assert process.returncode == 0, printed
    for host in cluster.hosts:
        assert cluster.ssh(host, "ls -A /var/lib/utmstack-ha/drill | grep -c holder || true").stdout.strip() == "0"


@pytest.mark.parametrize("fault", ["postgresql-lossy", "postgresql-disk-dead", "elasticsearch-disk-dead"])
def test_a_host_that_is_ill_loses_nothing_that_was_acknowledged(cluster, fault, tmp_path):
    code, told = drill(cluster, fault, output=tmp_path)
    assert code == 0, told
    assert traces(cluster) == []


# What makes a loss possible: the settings, the layers that take them, the fault that then loses writes, and where.
UNSAFE = {
    "Redis without min-replicas-to-write": ("redis,haproxy", {"redis_min_replicas_to_write": 0}, "redis-partition", "redis"),
    "PostgreSQL without synchronous replication": (
        "postgresql", {"postgresql_synchronous_mode": "off"}, "leader-of-all-partition", "postgresql",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", UNSAFE)
def test_an_unsafe_setting_shows_as_a_loss(cluster, what, tmp_path):
    tags, settings, fault, path = UNSAFE[what]
    unsafe = ("-e", json.dumps(settings))
    try:
        cluster.playbook("site.yml", "--tags", tags, *unsafe)
        code, told = drill(cluster, fault, *unsafe, check=False, output=tmp_path)
    finally:
        cluster.playbook("site.yml", "--tags", tags)
    assert code != 0
    assert f"acknowledged writes of {path} are missing" in told, told
    (report,) = tmp_path.glob("*/report.json")
    (turn,) = json.loads(report.read_text())["turns"]
    assert turn["paths"][path]["missing"] > 0
    assert "loss" in turn["missed"]


def test_the_short_suite_loses_nothing_with_default_settings(cluster, tmp_path):
    code, told = drill(cluster, "short", output=tmp_path)
    assert code == 0, told
    (report,) = tmp_path.glob("*/report.json")
    summary = json.loads(report.read_text())["summary"]
    assert (summary["turns"], summary["missing"] - summary["missing_expected"]) == (4, 0)
