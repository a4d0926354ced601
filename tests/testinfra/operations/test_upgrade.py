# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Elasticsearch to its next major version while the application is under load. Last of all: there is no way back."""

from __future__ import annotations

import subprocess

import clients
from cluster import LAB, changes, until

VERSION = "9.2.0"
UPGRADE = ("playbooks/rolling_upgrade.yml", "-e", "service=elasticsearch", "-e")


def versions(cluster) -> set[str]:
    monitoring = clients.search(cluster, "utmstack-monitoring", cluster.passwords["elasticsearch_monitoring_password"])
    return {node["version"] for node in monitoring.nodes.info()["nodes"].values()}


def test_versions_that_the_product_forbids_are_refused_before_anything_is_touched(cluster):
    before = versions(cluster)
    for wrong, why in (("8.17.0", "older"), ("10.0.0", "step")):
        refused = cluster.playbook(*UPGRADE, f"version={wrong}", check=False)
        assert refused.returncode != 0, why
        assert set(changes(refused.stdout).values()) == {0}
    assert versions(cluster) == before


def test_elasticsearch_goes_to_the_next_major_version_without_a_failed_request(cluster, under_load):
    until(cluster.status_is_ok, 240, "a whole platform")
    subprocess.run([*LAB, "archives", VERSION], check=True)
    under_load(
        f"rolling upgrade of Elasticsearch {' '.join(versions(cluster))} to {VERSION}",
        lambda: cluster.playbook(*UPGRADE, f"version={VERSION}"),
    )
    assert versions(cluster) == {VERSION}
    again = cluster.playbook(*UPGRADE, f"version={VERSION}").stdout
    assert set(changes(again).values()) == {0}
