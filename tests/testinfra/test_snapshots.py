# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A policy's own scheduler takes a snapshot, and what is restored from it under another name has every document."""

from __future__ import annotations

import json
import uuid

import clients
import pytest
from cluster import until
from opensearchpy import helpers

DOCUMENTS = 2000
REPOSITORY = "backup_repo"
OFTEN = {
    "elasticsearch_housekeeping_interval": "20s",
    "elasticsearch_snapshot_policies": [
        {
            "name": "often", "repository": REPOSITORY, "schedule": "0 * * * * ?",
            "retention": {"expire_after": "1d", "min_count": 1, "max_count": 3},
        }
    ],
}  # fmt: skip


@pytest.fixture
def superuser(cluster):
    return clients.search(cluster, "elastic", cluster.passwords["elasticsearch_superuser_password"])


@pytest.fixture
def index(cluster, superuser):
    name = f"log-standin-{uuid.uuid4().hex[:8]}"
    superuser.indices.create(index=name, body={"settings": {"number_of_replicas": 1}})
    helpers.bulk(superuser, ({"_index": name, "_id": number, "n": number} for number in range(DOCUMENTS)), refresh=True)
    yield name
    superuser.indices.delete(index=f"{name},restored-{name}", ignore_unavailable=True)


def test_a_snapshot_of_the_policys_own_scheduler_is_restored_under_another_name(cluster, superuser, index):
    cluster.playbook("site.yml", "--tags", "elasticsearch", "-e", json.dumps(OFTEN))
    try:
        until(lambda: taken(superuser, index), 240, "the elected master to take a snapshot by the policy")
        snapshot = taken(superuser, index)
        body = {"indices": index, "rename_pattern": "(.+)", "rename_replacement": "restored-$1"}
        answer = superuser.snapshot.restore(
            repository=REPOSITORY, snapshot=snapshot, body=body, wait_for_completion=True, request_timeout=60
        )
        assert answer["snapshot"]["shards"]["failed"] == 0
        assert superuser.count(index=f"restored-{index}")["count"] == DOCUMENTS
    finally:
        cluster.playbook("site.yml", "--tags", "elasticsearch")


def taken(client, index) -> str | None:
    """The newest snapshot of the policy that has the index."""
    snapshots = client.snapshot.get(repository=REPOSITORY, snapshot="_all")["snapshots"]
    mine = [
        one["snapshot"]
        for one in snapshots
        if index in one["indices"] and one["state"] == "SUCCESS" and one["metadata"]["policy"] == "often"
    ]
    return mine[-1] if mine else None
