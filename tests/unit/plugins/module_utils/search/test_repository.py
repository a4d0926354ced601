# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.search import client as search_client
from ansible_collections.utmstack.ha.plugins.module_utils.search import repository as search_repository
from ansible_collections.utmstack.ha.plugins.modules import elasticsearch_snapshot_repository as module
from search_network import ENGINES, Network, run

BACKUP = {"name": "backup", "type": "fs", "settings": {"location": "/mnt/snapshots", "compress": True}}
OWN = {"type": "fs", "settings": {"location": "/mnt/own"}}


@pytest.fixture(params=ENGINES)
def declare(request, monkeypatch, capsys):
    """Run elasticsearch_snapshot_repository on a recorded scene; returns its answer and the network."""

    def call(scene, check=False, **options):
        network = Network(request.param, scene)
        return run(module, network, monkeypatch, capsys, check, **options), network

    return call


def unshared(monkeypatch, capsys, scene, name):
    network = Network("elasticsearch-8.19.4", scene)
    return run(module, network, monkeypatch, capsys, name=name, **OWN), network


def test_a_repository_is_registered_and_proven_by_every_node(declare):
    answer, network = declare("repository new", **BACKUP)
    assert answer["changed"] is True
    assert network.changes == ["PUT /_snapshot/backup?verify=false"]
    assert answer["nodes"] == (["node1", "node2", "node3"] if "8.19" in network.fixture else ["node1"])


def test_a_second_run_proves_it_again_and_changes_nothing(declare):
    answer, network = declare("repository again", **BACKUP)
    assert (answer["changed"], network.changes) == (False, [])
    assert answer["nodes"]


def test_check_mode_tells_and_sends_nothing(declare):
    answer, network = declare("repository new", check=True, **BACKUP)
    assert (answer["changed"], answer["nodes"], network.changes) == (True, [], [])
    assert '"compress": "true"' in answer["diff"]["after"]


@pytest.mark.parametrize(
    ("scene", "options", "said", "remedy"),
    [
        (
            "repository outside path.repo",
            {"type": "fs", "settings": {"location": "/mnt/x"}},
            "path.repo",
            "after a restart",
        ),
        (
            "repository of an unknown type",
            {"type": "s3", "settings": {"bucket": "x"}},
            "type [s3] does not exist",
            "repository-s3",
        ),
    ],
)
def test_a_refused_repository_is_told_with_the_servers_reason_and_a_remedy(declare, scene, options, said, remedy):
    answer, _network = declare(scene, name="other", **options)
    assert answer["failed"] is True
    assert said in answer["msg"]
    assert remedy in answer["msg"]


def test_a_place_that_cannot_be_written_is_told_and_not_left_registered(declare):
    answer, network = declare("repository not writable", name="other", **OWN)
    assert "has to be able to write to /mnt/own on every node" in answer["msg"]
    if "8.19" not in network.fixture:  # there it had been registered before, see the next test
        assert network.changes == ["PUT /_snapshot/other?verify=false", "DELETE /_snapshot/other"]


def test_a_new_repository_that_is_not_shared_names_the_node_and_is_not_left_registered(monkeypatch, capsys):
    answer, network = unshared(monkeypatch, capsys, "repository not shared", "other")
    assert answer["msg"].startswith("The repository other cannot be used on node3: ")
    assert "is not shared between this node and the master node" in answer["msg"]
    assert "Mount the same shared folder" in answer["msg"]
    assert answer["msg"].endswith("It is not registered.")
    assert network.changes[-1] == "DELETE /_snapshot/other"


def test_a_changed_repository_that_is_not_shared_is_made_what_it_was(monkeypatch, capsys):
    answer, network = unshared(monkeypatch, capsys, "repository changed to one not shared", "backup")
    assert answer["msg"].endswith("It stays as it was.")
    bodies = [body for _url, request, body in network.asked if request.startswith("PUT ")]
    assert [body["settings"]["location"] for body in bodies] == ["/mnt/own", "/mnt/snapshots"]


def test_a_repository_is_not_changed_or_removed_while_a_snapshot_runs_in_it(declare):
    answer, network = declare("repository in use removed", name="slow", state="absent")
    assert answer["msg"] == "The repository slow is in use: slow is being taken. Wait until it is complete."
    assert network.changes == []
    settings = {"location": "/mnt/snapshots/slow2"}
    answer, _network = declare("repository in use changed", name="slow", type="fs", settings=settings)
    assert "currently used" in answer["msg"]
    assert "Wait until the snapshot is taken" in answer["msg"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"compress": True, "chunk_size": None}, {"compress": "true"}),
        ({"client": {"name": "x"}}, {"client.name": "x"}),
        ({"max_restore_bytes_per_sec": 40}, {"max_restore_bytes_per_sec": "40"}),
    ],
)
def test_settings_are_compared_as_the_server_keeps_them(given, kept):
    assert search_repository.Repository.of("fs", given).settings == kept


def test_a_node_that_took_no_part_in_the_proof_is_named():
    class Cluster:
        def send(self, method, url, headers, body, timeout):
            if "_verify" in url:
                return 200, json.dumps({"nodes": {"a": {"name": "node1"}}})
            roles = {"node1": ["master", "data_hot"], "node2": ["data"], "node3": ["ingest"]}
            return 200, json.dumps({"nodes": {name: {"name": name, "roles": own} for name, own in roles.items()}})

    client = search_client.Client(["http://127.0.0.1:9200"], Cluster().send)
    with pytest.raises(search_client.SearchError, match="was not verified by node2. Do these nodes answer?"):
        search_repository.verify(client, "backup", search_repository.Repository.of("fs", {}), 30)
