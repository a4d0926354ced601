# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host loses its power while packages are installed for the first time: the next run finishes the work."""

from __future__ import annotations

import subprocess
import time

from cluster import LAB, assert_unchanged, everywhere, kill, until

POLICY = "/usr/sbin/policy-rc.d"
# A policy of the host's own, which lets everything start.
OWN = "#!/bin/sh\nexit 0\n"
MOMENT = "half-installed|half-configured|unpacked"


def dpkg(cluster, host: str, states: str) -> bool:
    """Whether dpkg works on packages in one of these states."""
    seen = cluster.ssh(host, f"dpkg-query -Wf '${{db:Status-Status}}\n' | grep -cE '^({states})$'", check=False)
    return seen.stdout.strip() not in ("", "0")


def test_a_first_installation_that_loses_its_power_is_finished_by_the_next_run(cluster):
    assert not cluster.ca.exists(), f"{cluster.lab.name} was deployed before; `make power-loss` makes fresh hosts"
    host, other = list(cluster.hosts)[:2]
    for one in (host, other):
        cluster.ssh(one, f"printf '{OWN}' > {POLICY} && chmod 755 {POLICY}".replace("\n", "\\n"))
    process = cluster.start("site.yml", "--tags", "base")
    until(lambda: dpkg(cluster, host, MOMENT), 300, "dpkg to be in the middle of it")
    subprocess.run([*LAB, "power-off", host], check=True)
    time.sleep(1)
    kill(process)
    process.communicate()
    subprocess.run([*LAB, "power-on", host], check=True)
    until(lambda: cluster.ssh(host, "true", check=False).returncode == 0, 60, f"{host} to be back")
    audit = cluster.ssh(host, "dpkg --audit").stdout
    print(f"\nleft on {host}:\n{audit}\n{POLICY}: {cluster.ssh(host, f'cat {POLICY}').stdout}")
    assert audit, "the power went too late to interrupt anything"
    assert "utmstack" in cluster.ssh(host, f"cat {POLICY}").stdout
    cluster.playbook("site.yml", "--tags", "base")
    assert set(everywhere(cluster, "dpkg --audit").values()) == {""}
    for one in cluster.hosts:
        policy = cluster.ssh(one, f"cat {POLICY}; ls {POLICY}*; true", check=False).stdout
        assert policy == (f"{OWN}{POLICY}\n" if one in (host, other) else ""), (one, policy)
    assert_unchanged(cluster.playbook("site.yml", "--tags", "base").stdout)
