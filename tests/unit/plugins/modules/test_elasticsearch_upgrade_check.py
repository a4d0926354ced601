# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module elasticsearch_upgrade_check, on the replies that real servers of 8.18.0 gave, varied."""

from __future__ import annotations

import json
import urllib.parse
from datetime import UTC, datetime

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.utmstack.ha.plugins.module_utils.common import https
from ansible_collections.utmstack.ha.plugins.module_utils.search import client as search_client
from ansible_collections.utmstack.ha.plugins.modules import elasticsearch_upgrade_check
from search_network import hold_against_definition

NODES = ("n1", "n2", "n3")
NO_DEPRECATIONS = (405, {"error": "Incorrect HTTP method for uri [/_migration/deprecations] and method [GET], allowed: [POST]", "status": 405})  # fmt: skip
HOUR_MS = 3600 * 1000


class Cluster:
    """Three nodes; `yellow`: for how many looks a replica is not there yet."""

    def __init__(
        self,
        versions=("8.18.0",) * 3,
        yellow=0,
        settings=(),
        created=8525000,
        deprecations=NO_DEPRECATIONS,
        snapshots=None,
    ):
        self.versions, self.yellow, self.settings = versions, yellow, dict(settings)
        self.created, self.deprecations, self.snapshots = created, deprecations, snapshots or {}
        self.asked, self.time = [], 1_772_366_400.0

    def send(self, method, url, _headers, body, _timeout):
        parts = urllib.parse.urlsplit(url)
        assert method == "GET", "a check changes nothing"
        hold_against_definition("elasticsearch", method, parts.path + (f"?{parts.query}" if parts.query else ""), body)
        self.asked.append(parts.path)
        status, reply = self.answer(parts)
        return status, json.dumps(reply)

    def node(self, name):
        return {
            "name": name,
            "version": self.versions[NODES.index(name)],
            "build_flavor": "default",
            "roles": ["data", "master"],
        }

    def answer(self, parts):
        path = parts.path
        if path == "/_nodes/_local":
            name = parts.hostname
            return 200, {"nodes": {f"id-{name}": self.node(name)}}
        if path.startswith("/_nodes/_all"):
            return 200, {"nodes": {f"id-{name}": self.node(name) for name in NODES}}
        if path == "/":
            return 405, {"error": "Incorrect HTTP method for uri [/] and method [GET], allowed: []", "status": 405}
        if path.startswith("/_cluster/state/metadata/"):
            return 200, {"metadata": {"cluster_coordination": {"voting_config_exclusions": []}}}
        if path.startswith("/_cluster/state/"):
            nodes = {f"id-{name}": {"name": name} for name in NODES}
            return 200, {"cluster_uuid": "u", "master_node": "id-n2", "nodes": nodes}
        if path == "/_cluster/health":
            missing = int(self.yellow > 0)
            self.yellow -= missing
            return 200, {
                "status": "yellow" if missing else "green",
                "unassigned_shards": missing,
                "initializing_shards": 0,
                "relocating_shards": 0,
            }
        if path == "/_cluster/settings":
            return 200, {"persistent": self.settings, "transient": {}}
        if path == "/_cat/shards":
            return 200, [
                {
                    "index": "log",
                    "shard": "0",
                    "prirep": "r",
                    "state": "UNASSIGNED",
                    "unassigned.reason": "INDEX_CREATED",
                    "node": None,
                }
            ]
        if path == "/_cluster/allocation/explain":
            return 200, {}
        if path == "/_all/_settings":
            return 200, {"log": {"settings": {"index.version.created": str(self.created)}}}
        if path == "/_migration/deprecations":
            return self.deprecations
        if path == "/_snapshot":
            return 200, {name: {"type": "fs"} for name in self.snapshots}
        repository, name = path.removeprefix("/_snapshot/").split("/")
        age = self.snapshots[repository]
        snapshots = [{"snapshot": "s1", "state": "SUCCESS"}, {"snapshot": "s2", "state": "PARTIAL"}]
        if name == "_all":
            return 200, {"snapshots": snapshots}
        assert name == "s1"
        return 200, {
            "snapshots": [
                {"snapshot": "s1", "state": "SUCCESS", "end_time_in_millis": self.time * 1000 - age * HOUR_MS}
            ]
        }

    def sleep(self, seconds):
        self.time += seconds


@pytest.fixture
def check(monkeypatch, capsys):
    """Run the module on a cluster; returns its answer."""

    def call(cluster, version="8.19.4", **options):
        monkeypatch.setattr(https, "sender", lambda *_certificates: cluster.send)
        defaults = (None, 5.0, cluster.sleep, lambda: cluster.time)
        monkeypatch.setattr(search_client.Client.__init__, "__defaults__", defaults)
        now = type("Clock", (), {"utc_now": staticmethod(lambda: datetime_of(cluster.time))})
        monkeypatch.setattr(elasticsearch_upgrade_check, "search_snapshot", now)
        arguments = {
            "url": [f"http://{name}:9200" for name in NODES],
            "version": version,
            "expected_nodes": list(NODES),
        }
        with patch_module_args({**arguments, **options}), pytest.raises(SystemExit):
            elasticsearch_upgrade_check.main()
        return json.loads(capsys.readouterr().out)

    return call


def datetime_of(seconds):
    return datetime.fromtimestamp(seconds, UTC)


def test_a_minor_step_is_planned_with_the_elected_master_last(check):
    answer = check(Cluster(snapshots={"backup": 2}))
    assert (answer["needed"], answer["step"], answer["from"], answer["to"]) == (True, "minor", "8.18.0", "8.19.4")
    assert answer["order"] == ["n1", "n3", "n2"]
    assert (answer["faults"], answer["warnings_found"], answer["changed"]) == ([], [], False)


def test_where_all_run_the_version_nothing_else_is_asked(check):
    cluster = Cluster(versions=("8.19.4",) * 3)
    assert check(cluster)["needed"] is False
    assert not [path for path in cluster.asked if path.startswith(("/_snapshot", "/_migration", "/_all"))]


def test_an_index_that_has_just_been_made_is_waited_for_and_a_lasting_lack_is_a_fault(check):
    assert check(Cluster(yellow=5))["faults"] == []
    (fault,) = check(Cluster(yellow=10_000))["faults"]
    assert fault.startswith("The cluster is yellow: 1 shards are not assigned: log[0]r (INDEX_CREATED).")


def test_a_missing_node_is_a_fault(check):
    answer = check(Cluster(), expected_nodes=[*NODES, "n4"])
    assert answer["faults"] == ["n4 is not in the cluster."]


@pytest.mark.parametrize(
    "begun",
    [
        {"versions": ("8.19.4", "8.18.0", "8.18.0")},
        {"settings": {"cluster.routing.allocation.enable": "primaries"}},
    ],
)
def test_what_has_begun_is_to_be_finished_however_whole_the_cluster_is(check, begun):
    answer = check(Cluster(yellow=10_000, **begun), expected_nodes=[*NODES, "n4"])
    assert (answer["needed"], answer["faults"]) == (True, [])


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        ({}, []),
        ({"created": 7172999}, ["9.2.0 opens only indices that were made by 8.0 or later. Older: log."]),
        ({"deprecations": (200, {"index_settings": {"log": [{"level": "critical", "message": "Bad."}]}})},
         ["log: Bad. (critical deprecation)"]),
        ({"deprecations": (200, {"index_settings": {"log": [{"level": "warning", "message": "Odd."}]}})}, []),
        ({"versions": ("8.18.0",) * 3}, ["8.18.0 cannot be upgraded to 9.2.0 in one step."]),
    ],
)  # fmt: skip
def test_a_major_step_is_judged_by_what_the_next_version_cannot_bear(check, cluster, words):
    answer = check(Cluster(**{"versions": ("8.19.4",) * 3, **cluster}), "9.2.0")
    assert len(answer["faults"]) == len(words)
    assert all(part in fault for part, fault in zip(words, answer["faults"], strict=True))


def test_a_server_that_cannot_tell_its_deprecations_is_warned_of(check):
    answer = check(Cluster(versions=("8.19.4",) * 3, snapshots={"backup": 30}), "9.2.0")
    assert answer["faults"] == []
    assert "is younger than a day" in answer["warnings_found"][0]
    assert "lacks the deprecation API" in answer["warnings_found"][1]


def test_nobody_answers_and_nothing_is_refused(check):
    cluster = Cluster()

    def refuse(*_request):
        raise OSError(111, "Connection refused")

    cluster.send = refuse
    answer = check(cluster)
    assert (answer["needed"], answer["faults"], answer["from"]) == (False, [], None)


def test_what_is_no_version_is_said(check):
    assert check(Cluster(), "latest")["msg"] == "version: 'latest' is no version, write it like 8.19.4"
