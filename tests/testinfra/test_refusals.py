# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bad input is refused with setting and remedy, or fails with the server's own reason; the platform goes on as it was."""

from __future__ import annotations

import json

import pytest
from cluster import until
from lab import ELASTICSEARCH_VERSION

ARCHIVE = "/opt/utmstack-ha"
WRONG = "0" * 128

# id: the layer's tag, the settings, what the message must say, and what must not be on a host afterwards.
REFUSED = {
    "wrong checksum of an archive": (
        "elasticsearch",
        {"elasticsearch_version": "8.19.9", "elasticsearch_archive_url": f"/srv/lab/elasticsearch-{ELASTICSEARCH_VERSION}.zip",
         "elasticsearch_archive_checksum": f"sha512:{WRONG}"},
        ["elasticsearch_archive_checksum", WRONG[:20]], "test ! -e /opt/utmstack-ha/elasticsearch-8.19.9",
    ),
    "missing archive": (
        "elasticsearch", {"elasticsearch_version": "8.19.9", "elasticsearch_archive_url": "/srv/nothing-here.tar.gz"},
        ["/srv/nothing-here.tar.gz", "elasticsearch_archive_url"], "test ! -e /opt/utmstack-ha/elasticsearch-8.19.9",
    ),
    "repository outside path.repo": (
        "elasticsearch",
        {"elasticsearch_snapshot_repositories": [{"name": "astray", "type": "fs", "settings": {"location": "/srv/astray"}}]},
        ["/srv/astray", "elasticsearch_repository_directories"], "test ! -e /srv/astray",
    ),
    "repository directory that is not shared": (
        "elasticsearch",
        {"elasticsearch_repository_directories": ["/mnt/snapshots", "/var/tmp/alone"],
         "elasticsearch_snapshot_repositories": [{"name": "alone", "type": "fs", "settings": {"location": "/var/tmp/alone/es"}}],
         "elasticsearch_snapshot_policies": []},
        ["/var/tmp/alone", "node1", "node2"], None,
    ),
    "recovery that waits for more data nodes than there are": (
        "elasticsearch", {"elasticsearch_recover_after_data_nodes": 4},
        ["elasticsearch_recover_after_data_nodes", "4"], None,
    ),
    "two master-eligible nodes": (
        "elasticsearch", {"elasticsearch_node_roles": ["data"]},
        ["elasticsearch_node_roles", "no host master-eligible"], None,
    ),
    "a Redis user without a password": (
        "redis", {"redis_acl_users": [{"name": "reporting", "rules": "~* +@read"}]},
        ["reporting", "has no password"], None,
    ),
    "more replicas than there are to take a write": (
        "redis", {"redis_min_replicas_to_write": 3},
        ["redis_min_replicas_to_write", "no write would ever be taken"], None,
    ),
    "an image archive that is not there": (
        "backend", {"backend_image": "standin:none", "backend_image_archive": "/srv/nothing-here.tar"},
        ["/srv/nothing-here.tar", "backend_image_archive"], None,
    ),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _whole(cluster):
    until(cluster.status_is_ok, 240, "a whole platform")
    yield
    # What was refused has left nothing that the next run has to repair.
    recap = cluster.playbook("site.yml").stdout.split("PLAY RECAP")[1]
    assert recap.count("changed=0") == len(cluster.hosts), recap
    assert cluster.status_is_ok()


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_with_a_remedy_and_leaves_all_as_it_was(cluster, case):
    tag, settings, words, absent = REFUSED[case]
    done = cluster.playbook("site.yml", "--tags", tag, "-e", json.dumps(settings), check=False)
    told = " ".join(done.stdout.split())
    assert done.returncode != 0, told
    assert not [word for word in words if word not in told], told
    if absent:
        for host in cluster.hosts:
            assert cluster.ssh(host, absent, check=False).returncode == 0, f"{host}: {absent}"


def test_an_even_number_of_managers_is_refused_before_any_host_is_touched(cluster, tmp_path):
    hosts = {name: {"ansible_host": address} for name, address in cluster.hosts.items()}
    two = dict(list(hosts.items())[:2])
    inventory = {"all": {"vars": {"ha_vip": cluster.vip}, "children": {"swarm_managers": {"hosts": two}}}}
    path = tmp_path / "hosts.json"
    path.write_text(json.dumps(inventory))
    cluster.inventory, kept = path, cluster.inventory
    try:
        done = cluster.playbook("site.yml", check=False)
    finally:
        cluster.inventory = kept
    assert done.returncode != 0
    assert "group swarm_managers: members are 2 (node1, node2), an even number" in " ".join(done.stdout.split())
    assert "unreachable=1" not in done.stdout
