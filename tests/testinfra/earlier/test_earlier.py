# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A platform that an earlier commit of this collection deployed is taken over by a run of this one.

`make earlier COMMIT=1a863b2` deploys the lab with that commit's own playbooks, and runs these tests with the present ones.
"""

from __future__ import annotations

from cluster import UNITS, assert_unchanged, started

# What the present configuration restarts on hosts that 1a863b2 deployed, and why.
RESTARTED: dict[str, str] = {}


def moments(cluster) -> dict[tuple[str, str], int]:
    """When each unit of each host began."""
    return {(host, unit): started(cluster, host, unit) for host in cluster.hosts for unit in UNITS}


def test_a_run_over_an_earlier_deployment_costs_no_request(cluster, under_load):
    before = moments(cluster)
    under_load("site.yml over an earlier deployment", lambda: cluster.playbook("site.yml"))
    restarted = {unit for (host, unit), moment in moments(cluster).items() if moment != before[host, unit]}
    print(f"\nrestarted: {sorted(restarted)}")
    assert restarted <= set(RESTARTED)


def test_a_second_run_changes_nothing(cluster):
    assert_unchanged(cluster.playbook("site.yml").stdout)


def test_status_is_green(cluster):
    cluster.playbook("playbooks/status.yml")
