# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Upgrades while the application is under load: the packages of every service, then Elasticsearch to its next major version.

Last of all: there is no way back.
"""

from __future__ import annotations

import subprocess
import time

import clients
from cluster import LAB, UNITS, assert_unchanged, everywhere, started, until

VERSION = "9.2.0"
UPGRADE = ("playbooks/rolling_upgrade.yml", "-e", "service=elasticsearch", "-e")
# Debian's own packages under a higher version, in a repository of the host's own: a stable release seldom offers two versions.
PACKAGES = (
    "etcd-client etcd-server patroni postgresql-17 openjdk-21-jre-headless redis-server redis-sentinel redis-tools"
    " containerd docker-cli docker.io runc pgbouncer haproxy keepalived"
)
REPOSITORY = "/srv/newer"
MAKE_NEWER = f"""
set -e
export DEBIAN_FRONTEND=noninteractive
command -v apt-ftparchive > /dev/null || {{ apt-get -qq update; apt-get -qq install --yes apt-utils > /dev/null; }}
rm -rf {REPOSITORY} && mkdir -p {REPOSITORY}/work && cd {REPOSITORY}/work
for package in {PACKAGES}; do
    version=$(dpkg-query -Wf '${{Version}}' $package)
    apt-get -qq download $package=$version
    dpkg-deb --raw-extract ${{package}}_*.deb tree
    sed -i -e "s/^Version: .*/&+newer1/" -e "s/(= $version)/(= $version+newer1)/g" tree/DEBIAN/control
    dpkg-deb -Zgzip -z1 --root-owner-group --build tree {REPOSITORY} > /dev/null
    rm -rf tree ./*.deb
done
cd {REPOSITORY} && rmdir work && apt-ftparchive packages . > Packages
# Fetched as from a server, into apt's cache.
echo 'deb [trusted=yes] copy:{REPOSITORY} ./' > /etc/apt/sources.list.d/newer.list
"""


def versions(cluster) -> set[str]:
    monitoring = clients.search(cluster, "utmstack-monitoring", cluster.passwords["elasticsearch_monitoring_password"])
    return {node["version"] for node in monitoring.nodes.info()["nodes"].values()}


def test_the_packages_of_every_service_are_upgraded_without_a_failed_request(cluster, under_load):
    """Each host runs the new ones, what was held is held again, and the same command has nothing left to do."""
    until(cluster.status_is_ok, 240, "a whole platform")
    held = {host: cluster.ssh(host, "apt-mark showhold").stdout for host in cluster.hosts}
    everywhere(cluster, MAKE_NEWER, 600)
    began = int(time.time())
    all_services = ("playbooks/rolling_upgrade.yml", "-e", "service=all")
    under_load("rolling upgrade of every service's packages", lambda: cluster.playbook(*all_services))
    for host in cluster.hosts:
        installed = cluster.ssh(host, f"dpkg-query -Wf '${{Version}}\n' {PACKAGES}").stdout.split()
        assert all(version.endswith("+newer1") for version in installed), (host, installed)
        for unit in ("containerd", *UNITS):
            assert started(cluster, host, unit) >= began, (host, unit)
        assert cluster.ssh(host, "apt-mark showhold").stdout == held[host]
    assert_unchanged(cluster.playbook(*all_services).stdout)


def test_versions_that_the_product_forbids_are_refused_before_anything_is_touched(cluster):
    before = versions(cluster)
    for wrong, why in (("8.17.0", "older"), ("10.0.0", "step")):
        refused = cluster.playbook(*UPGRADE, f"version={wrong}", check=False)
        assert refused.returncode != 0, why
        assert_unchanged(refused.stdout)
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
    assert_unchanged(again)
