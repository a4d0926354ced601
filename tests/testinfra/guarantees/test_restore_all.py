# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The whole platform destroyed under load, hosts, volumes and secrets, and brought back from the backups: what is lost is what was told before."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from datetime import UTC, datetime

import psycopg
import pytest
from cluster import LAB, of_scenario_backup, until
from ledger import Writer
from load import Load

LOST_S, TOLD_S = 30, 2
TITLES = {"postgresql": "PostgreSQL", "elasticsearch": "The search engine", "redis": "Redis"}


@pytest.fixture(scope="module")
def cluster():
    """The platform of scenario backup, deployed and whole."""
    found = of_scenario_backup()
    until(found.whole, 300, "a whole cluster")
    return found


def moments(text: str) -> dict[str, float]:
    """The moments up to which everything is there, by store, of a plan."""
    found = {}
    for store, title in TITLES.items():
        match = re.search(rf"^\W*{title}\s+(\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", text, re.MULTILINE)
        assert match, (title, text[-3000:])
        found[store] = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
    return found


def sealed(cluster) -> str:
    """The newest archive of the controller's configuration, a text."""
    command = "cat $(ls -d /var/backups/utmstack/files/configuration/*/configuration.age | tail -1)"
    return cluster.ssh(cluster.backup, command).stdout


def test_a_destroyed_platform_comes_back_with_all_but_the_last_seconds(cluster, tmp_path):
    writer, load = Writer(cluster.conninfo()), Load(cluster).start()
    writer.prepare()
    writer.start()
    until(lambda: len(load.outcome.acknowledged) > 300, 120, "the load")
    cluster.playbook("playbooks/backup.yml")
    # A snapshot is taken each minute; WAL at least each 20 s.
    time.sleep(90)
    archive = tmp_path / "configuration.age"
    archive.write_text(sealed(cluster))
    offset = time.time() - time.monotonic()
    subprocess.run([*LAB, "destroy-hosts", *cluster.hosts], check=True)
    destroyed = time.time()
    written, sent = writer.stop(), load.stop()
    shutil.rmtree(cluster.secrets_directory)

    began = time.monotonic()
    subprocess.run([*LAB, "up"], check=True)
    restored, confirm = tmp_path / "controller", ("-e", f"confirm={cluster.scope}")
    opened = ("-e", f"archive={archive}", "-e", f"identity={cluster.lab.identity}", "-e", f"directory={restored}")
    cluster.playbook("playbooks/restore_config.yml", *opened, *confirm)
    # Where the lab's inventory has them; `up` has made it, empty.
    cluster.secrets_directory.rmdir()
    shutil.move(restored / "secrets", cluster.secrets_directory)
    cluster.playbook("site.yml")
    told = moments(cluster.playbook("playbooks/restore_all.yml", "--check").stdout)
    cluster.playbook("playbooks/restore_all.yml", *confirm)
    took = time.monotonic() - began
    print(f"\nThe platform is back after {took:.0f} s; told {told}, destroyed at {destroyed:.0f}")

    acknowledged = sorted(written.acknowledged)
    times = dict(zip(acknowledged, (moment + offset for moment in written.times)))
    there = rows(cluster)
    lost = [number for number in acknowledged if number not in there]
    last = max(times.values())
    first_lost = times[lost[0]] if lost else last
    print(f"{len(lost)} of {len(acknowledged)} rows lost, over {last - first_lost:.1f} s")
    assert lost == acknowledged[len(acknowledged) - len(lost) :], "rows are missing that are not the last ones"
    assert last - first_lost <= LOST_S
    assert abs(told["postgresql"] - first_lost) <= TOLD_S

    moment_of = dict(zip(sorted(sent.acknowledged), (moment + offset for moment in sorted(sent.times))))
    missing = load.missing()
    for store, numbers in missing.items():
        early = [number for number in numbers if moment_of[number] < told[store] - TOLD_S]
        print(
            f"{store}: {len(numbers)} of {len(sent.acknowledged)} events lost, told {destroyed - told[store]:.0f} s before the end"
        )
        assert early == [], f"{store} lacks events of before the moment that was told"


def rows(cluster) -> set[int]:
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        return {row[0] for row in connection.execute("SELECT number FROM ledger")}
