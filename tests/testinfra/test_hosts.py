# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each host as an ordinary Debian host: systemd is content, the way in works, the shared folder is shared."""

from __future__ import annotations

import time

from cluster import UNITS, until


def test_no_unit_has_failed(host):
    failed = host.run("systemctl --failed --plain --no-legend")
    assert failed.stdout == ""


def test_no_service_has_much_to_say_while_all_is_well(cluster):
    """What asks them several times a second leaves no line in their journals."""
    until(cluster.whole, 120, "the cluster to be whole")
    # What has just happened may still be told.
    time.sleep(10)
    since = {host: cluster.ssh(host, "date +%s").stdout.strip() for host in cluster.hosts}
    time.sleep(60)
    for host, start in since.items():
        for unit in UNITS:
            journal = cluster.ssh(host, f"journalctl --unit {unit} --output cat --no-pager --since @{start}").stdout
            assert "Traceback" not in journal, (host, unit, journal)
            assert len(journal.splitlines()) < 60, (host, unit, journal)
            # Patroni tells each of its turns; without a line of it, nothing was read.
            assert journal or unit != "patroni", host


def test_ssh_runs_and_comes_back_at_boot(host):
    assert host.service("ssh").is_running
    assert host.service("ssh").is_enabled


def test_the_host_has_the_address_of_the_inventory(host):
    variables = host.ansible.get_variables()
    assert variables["ansible_host"] in host.interface("eth0").addresses
    assert host.check_output("hostname") == variables["inventory_hostname"]


def test_all_hosts_share_the_snapshot_folder(host):
    name = host.check_output("hostname")
    host.run_test("touch /mnt/snapshots/%s", name)
    assert host.file(f"/mnt/snapshots/{name}").exists
    assert host.file("/mnt/snapshots").mode == 0o1777
