# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each host as an ordinary Debian host: systemd is content, the way in works, the shared folder is shared."""

from __future__ import annotations

import re
import time

from cluster import UNITS, until

# Each load balancer asks each Patroni twice in half a second: for the port that writes, and for the one that reads.
CHECKS_A_SECOND = 3 * 2 * 2
# What Patroni says of a check that HAProxy gave up in its TLS handshake.
ABANDONED = re.compile(
    r"^Exception in thread .*process_request_thread.*\n(?:(?!ConnectionResetError|BrokenPipeError).*\n)*?"
    r" +request\.do_handshake\(\)\n(?:[ ].*\n)*(?:ConnectionResetError|BrokenPipeError|ssl\.SSL\w+).*\n",
    re.MULTILINE,
)


def test_no_unit_has_failed(host):
    failed = host.run("systemctl --failed --plain --no-legend")
    assert failed.stdout == ""


def _chatter(cluster, seconds: int) -> list[tuple]:
    """Return (host, unit, checks given up, journal) of each service that said too much in so many seconds, or that met an exception."""
    until(cluster.whole, 120, "the cluster to be whole")
    # What has just happened may still be told.
    time.sleep(10)
    since = {host: cluster.ssh(host, "date +%s").stdout.strip() for host in cluster.hosts}
    time.sleep(seconds)
    found = []
    for host, start in since.items():
        window = f"--output cat --no-pager --since @{start} --until @{int(start) + seconds}"
        for unit in UNITS:
            journal, abandoned = ABANDONED.subn("", cluster.ssh(host, f"journalctl --unit {unit} {window}").stdout)
            # Patroni tells each of its turns; without a line of it, nothing was read.
            said = journal or unit != "patroni"
            lines = len(journal.splitlines()) + abandoned
            if not said or lines >= seconds or "Traceback" in journal or abandoned > CHECKS_A_SECOND * seconds / 100:
                found.append((host, unit, abandoned, journal))
    return found


def test_no_service_has_much_to_say_while_all_is_well(cluster):
    """What asks them several times a second leaves no line in their journals: under one a second, no exception.

    A machine without a free core for 400 ms makes HAProxy give up a check, which Patroni tells in a traceback of its own: one in
    a hundred checks may, in one minute of three.
    """
    found = []
    for _minute in range(3):
        found = _chatter(cluster, 60)
        if not found:
            break
    assert found == []


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
