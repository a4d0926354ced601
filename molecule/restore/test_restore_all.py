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
from cluster import LAB as LAB_PROGRAM
from cluster import until
from conftest import CONFIRM
from ledger import Writer
from load import Load

HOSTS = ("node1", "node2", "node3")
LOST_S, TOLD_S = 30, 2
TITLES = {"postgresql": "PostgreSQL", "elasticsearch": "The search engine", "redis": "Redis"}


def moments(text: str) -> dict[str, float]:
    """The moments up to which everything is there, by store, of a plan."""
    found = {}
    for store, title in TITLES.items():
        match = re.search(rf"^\W*{title}\s+(\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", text, re.MULTILINE)
        assert match, (title, text[-3000:])
        found[store] = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
    return found


def sealed(platform, identity):
    """The newest archive of the controller's configuration, brought beside the key that opens it."""
    listed = platform.ssh(
        "backup1", "ls -1d /var/backups/utmstack/files/configuration/*/* | sort | tail -1"
    ).stdout.strip()
    assert listed, "the configuration was not sealed"
    target = identity.parent / listed.rsplit("/", 1)[1]
    subprocess.run(
        [
            "scp",
            *platform.lab.ssh_options(),
            f"ansible@{platform.lab.hosts['backup1']}:{_readable(platform, listed)}",
            target,
        ],
        check=True,
    )
    return target


def _readable(platform, path):
    platform.ssh("backup1", f"install -m 0644 {path} /tmp/sealed")
    return "/tmp/sealed"


def test_a_destroyed_platform_comes_back_with_all_but_the_last_seconds(platform):
    place = platform.lab.directory / "sealed"
    place.mkdir(exist_ok=True)
    identity = place / "identity"
    identity.unlink(missing_ok=True)
    printed = subprocess.run(["age-keygen", "-o", identity], check=True, capture_output=True, text=True).stderr
    recipient = re.search(r"age1\w+", printed)[0]
    recipients = ("-e", f'{{"backup_recipients": ["{recipient}"]}}')
    platform.run("site.yml", *recipients)

    writer, load = Writer(platform.conninfo()), Load(platform).start()
    writer.prepare()
    writer.start()
    until(lambda: len(load.outcome.acknowledged) > 300, 120, "the load")
    platform.run("backup.yml", *recipients)
    # A snapshot is taken each minute; WAL at least each 20 s.
    time.sleep(90)
    archive = sealed(platform, identity)
    offset = time.time() - time.monotonic()
    subprocess.run([*LAB_PROGRAM, "destroy-hosts", *HOSTS], check=True)
    destroyed = time.time()
    written, sent = writer.stop(), load.stop()
    shutil.rmtree(platform.secrets_directory)

    began = time.monotonic()
    subprocess.run([*LAB_PROGRAM, "up"], check=True)
    opened = ("-e", f"archive={archive}", "-e", f"identity={identity}", "-e", f"directory={platform.secrets_directory}")
    platform.run("restore_config.yml", *opened)
    platform.run("site.yml", *recipients)
    told = moments(platform.run("restore_all.yml", "--check", *recipients).stdout)
    platform.run("restore_all.yml", *recipients, *CONFIRM)
    took = time.monotonic() - began
    print(f"\nThe platform is back after {took:.0f} s; told {told}, destroyed at {destroyed:.0f}")

    acknowledged = sorted(written.acknowledged)
    times = dict(zip(acknowledged, (moment + offset for moment in written.times)))
    there = rows(platform)
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


def rows(platform) -> set[int]:
    with psycopg.connect(platform.conninfo(), autocommit=True) as connection:
        return {row[0] for row in connection.execute("SELECT number FROM ledger")}
