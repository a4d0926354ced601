# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The swarm: backed up without a task that ends, restored from a backup, and made of the state of the one manager that is left.

The lab is that of molecule/restore: three hosts with all services and a backup host. In this order; each test leaves a healthy platform.
"""

from __future__ import annotations

import json
import random
import uuid

import pytest
from cluster import ROOT, Cluster, assert_unchanged, last_task, until

RESTORE = "playbooks/restore_swarm.yml"
SETTINGS = ("-e", f"@{ROOT}/inventories/lab/group_vars/all.yml")
CONFIRM = ("-e", "confirm=utmstack")
BACKUP = "backup1"


@pytest.fixture(scope="module")
def cluster():
    found = Cluster(ROOT / "molecule" / "restore" / "inventory")
    run(found, "site.yml")
    return found


def run(cluster, name: str, *arguments: str, **more):
    """A playbook with the lab's own settings."""
    return cluster.playbook(name, *SETTINGS, *arguments, **more)


def members(cluster) -> list[str]:
    return [host for host in cluster.hosts if host != BACKUP]


def docker(cluster, words: str, host: str = "", **more) -> str:
    return cluster.ssh(host or cluster.swarm_leader(), f"docker {words}", **more).stdout.strip()


def containers(cluster) -> dict[str, str]:
    """By host its running containers, each with the time of its start."""
    listed = "docker ps -q | xargs -r docker inspect --format '{{.Id}} {{.State.StartedAt}}' | sort"
    return {host: cluster.ssh(host, listed).stdout for host in members(cluster)}


def engines(cluster) -> dict[str, str]:
    return {
        host: cluster.ssh(host, "systemctl show -P ExecMainStartTimestampMonotonic docker").stdout
        for host in members(cluster)
    }


def healthy(cluster) -> bool:
    listed = docker(cluster, "node ls --format '{{.Status}} {{.ManagerStatus}}'", check=False).splitlines()
    services = docker(cluster, "service ls --format '{{.Replicas}}'", check=False).split()
    return (
        len(listed) == 3
        and all(line.startswith("Ready ") and line != "Ready " for line in listed)
        and all(one.split("/")[0] == one.split("/")[1] for one in services)
    )


def secret(cluster) -> tuple[str, str]:
    """A secret that an operator has added, and its value."""
    name, value = f"own-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    docker(cluster, f"info >/dev/null; printf %s {value} | docker secret create --label owner=operator {name} -")
    return name, value


def value_of(cluster, name: str) -> str:
    """What a task gets of a secret: the one thing that the API does not tell."""
    image = docker(cluster, "service ls --format '{{.Image}}'").splitlines()[0]
    task = f"look-{uuid.uuid4().hex[:6]}"
    create = f"service create --detach --name {task} --restart-condition none --secret {name} --entrypoint cat {image} /run/secrets/{name}"
    docker(cluster, create)
    try:
        until(
            lambda: "Complete" in docker(cluster, f"service ps --format '{{{{.CurrentState}}}}' {task}"),
            90,
            "the task to end",
        )
        return docker(cluster, f"service logs --raw {task}")
    finally:
        docker(cluster, f"service rm {task}")


def take(cluster) -> str:
    """A verified backup; returns its label."""
    run(cluster, "playbooks/backup.yml", "-e", "kind=swarm")
    run(cluster, "playbooks/verify_backup.yml", "-e", "kind=swarm")
    return cluster.ssh(BACKUP, "ls /var/backups/utmstack/files/swarm | tail -1").stdout.strip()


@pytest.fixture(autouse=True)
def _healthy(cluster):
    until(lambda: healthy(cluster), 300, "a healthy swarm")


def test_a_backup_ends_no_task_and_restarts_no_engine(cluster):
    before, running = containers(cluster), engines(cluster)
    label = take(cluster)
    assert (containers(cluster), engines(cluster)) == (before, running)
    records = f"/var/backups/utmstack/records/swarm/{label}-take.json"
    record = json.loads(cluster.ssh(BACKUP, f"cat {records}").stdout)
    assert record["verdict"] == "ok" and record["source"] in members(cluster)
    assert record["manifest"]["nodes"] == 3 and record["manifest"]["services"] >= 1
    # The scratch engine is gone, and none of the backup host's own runs.
    assert cluster.ssh(BACKUP, "pgrep -c dockerd", check=False).stdout.strip() == "0"
    assert cluster.ssh(BACKUP, "systemctl is-enabled docker", check=False).stdout.strip() == "masked"


def test_a_host_of_the_platform_is_given_no_state(cluster):
    host, address = members(cluster)[0], cluster.hosts[members(cluster)[1]]
    tls = "/etc/utmstack-ha/tls"
    asked = f"openssl s_client -quiet -connect {address}:8434 -CAfile {tls}/ca.crt -cert {tls}/host.crt -key {tls}/host.key </dev/null"
    assert "is no backup host of this platform" in cluster.ssh(host, f"timeout 20 {asked}", check=False).stdout
    without = f"openssl s_client -quiet -connect {address}:8434 -CAfile {tls}/ca.crt </dev/null"
    assert "facts" not in cluster.ssh(host, f"timeout 20 {without}", check=False).stdout


def test_a_backup_goes_on_to_the_manager_that_leads_after_a_loss(cluster):
    former = cluster.swarm_leader()
    cluster.ssh(former, "systemctl stop docker.socket docker")
    try:
        until(lambda: cluster.swarm_leader() != former, 60, "another leader")
        run(cluster, "playbooks/backup.yml", "-e", "kind=swarm")
    finally:
        cluster.ssh(former, "systemctl start docker")


def test_a_dry_run_prints_the_plan_and_touches_nothing(cluster):
    before = containers(cluster)
    printed = run(cluster, RESTORE, "--check").stdout
    assert "Docker Swarm" in printed and "BEWARE     the present swarm has a leader" in printed
    assert containers(cluster) == before


def test_without_the_name_of_the_cluster_nothing_is_restored(cluster):
    before = containers(cluster)
    done = run(cluster, RESTORE, "-e", "confirm=another", check=False)
    assert done.returncode != 0 and "Nothing was changed" in done.stdout
    assert containers(cluster) == before


def test_what_an_operator_has_added_comes_back_with_its_value(cluster):
    name, value = secret(cluster)
    docker(cluster, "network create --driver overlay --label owner=operator own-network")
    label = take(cluster)
    docker(cluster, f"secret rm {name}")
    docker(cluster, "network rm own-network")
    later, _value = secret(cluster)
    run(cluster, RESTORE, *CONFIRM, "-e", f"backup={label}")
    until(lambda: healthy(cluster), 300, "a healthy swarm")
    listed = docker(cluster, "secret ls --format '{{.Name}}'").split()
    assert name in listed and later not in listed
    assert value_of(cluster, name) == value
    assert "own-network" in docker(cluster, "network ls --format '{{.Name}}'").split()
    for host in members(cluster):
        assert cluster.ssh(host, "ls /var/lib/docker/swarm.before-restore-*/swarm.tar.gz").stdout
    run(cluster, "site.yml")
    assert_unchanged(run(cluster, "site.yml").stdout)
    docker(cluster, f"secret rm {name}")
    docker(cluster, "network rm own-network")


def lose_quorum(cluster) -> str:
    """Two managers lose their state for good; returns the one that is left."""
    left, *lost = members(cluster)
    for host in lost:
        cluster.ssh(
            host, "systemctl stop docker.socket docker && rm -rf /var/lib/docker/swarm && systemctl start docker"
        )
    return left


def test_a_lost_quorum_is_made_good_by_the_manager_that_is_left_and_nothing_is_lost(cluster):
    """In a locked swarm, where Docker's own command fails."""
    assert docker(cluster, "swarm unlock-key -q").startswith("SWMKEY-1-")
    name, value = secret(cluster)
    left = lose_quorum(cluster)
    refused = run(cluster, "site.yml", "--tags", "swarm", check=False)
    assert refused.returncode != 0 and "restore_swarm.yml -e from=HOST" in refused.stdout
    run(cluster, RESTORE, *CONFIRM, "-e", f"from={left}")
    until(lambda: healthy(cluster), 300, "a healthy swarm")
    assert value_of(cluster, name) == value
    run(cluster, "site.yml")
    assert_unchanged(run(cluster, "site.yml").stdout)
    # Each manager is unlocked by its own unit, with the key that it had.
    for host in members(cluster):
        cluster.ssh(host, "systemctl restart docker")
        until(lambda: healthy(cluster), 120, f"{host} to be back")


@pytest.mark.parametrize("number", range(3))
def test_a_run_that_is_killed_is_finished_by_the_next(cluster, number):
    name, value = secret(cluster)
    take(cluster)
    seed = random.randrange(10**6)
    after = random.Random(seed).uniform(15, 75)
    done = cluster.kill_after(after, RESTORE, *SETTINGS, *CONFIRM)
    print(f"seed {seed}: killed after {after:.0f} s, in: {last_task(done.stdout)}")
    run(cluster, RESTORE, *CONFIRM)
    until(lambda: healthy(cluster), 300, "a healthy swarm")
    assert value_of(cluster, name) == value


def test_the_safety_copies_go_when_they_are_told_to(cluster):
    host = members(cluster)[0]
    copies = cluster.ssh(host, "ls -d /var/lib/docker/swarm.before-restore-*").stdout.split()
    run(cluster, RESTORE, "-e", f"remove={copies[0].rpartition('-')[2]}")
    left = cluster.ssh(host, "ls -d /var/lib/docker/swarm.before-restore-*", check=False).stdout.split()
    assert left == copies[1:]
