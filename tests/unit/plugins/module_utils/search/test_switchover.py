# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hand-overs of the elected master, on a cluster that behaves as Elasticsearch 8.18 did when it was tried."""

from __future__ import annotations

import json
import urllib.parse

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.search import client as search_client
from ansible_collections.utmstack.ha.plugins.module_utils.search import switchover as search_switchover
from search_network import hold_against_definition

URLS = ["http://n1:9200", "http://n2:9200", "http://n3:9200"]


class Cluster:
    """Nodes n1, n2, … The first of those that are left leads when the master is excluded, and alone votes then.

    stuck: the master goes on. deaf: how many requests after a change find no master. lost: a request to exclude gets no answer.
    """

    def __init__(self, count=3, roles=(), master="n1", excluded=(), stuck=False, deaf=0, lost=False):
        self.roles = {f"n{number}": ["data", "master"] for number in range(1, count + 1)} | dict(roles)
        self.master, self.excluded = master, list(excluded)
        self.stuck, self.deaf, self.lost = stuck, deaf, lost
        self.silent, self.time, self.changes = 0, 0.0, []

    def send(self, method, url, _headers, body, _timeout):
        parts = urllib.parse.urlsplit(url)
        hold_against_definition("elasticsearch", method, f"{parts.path}?{parts.query}", body)
        self.time += 0.01
        if method != "GET":
            return self.change(method, dict(urllib.parse.parse_qsl(parts.query)))
        if self.silent:
            self.silent -= 1
            return 503, json.dumps({"error": {"reason": "no master"}})
        if parts.path.startswith("/_nodes"):
            nodes = {f"id-{name}": {"name": name, "roles": roles} for name, roles in self.roles.items()}
            return 200, json.dumps({"nodes": nodes})
        if parts.path.startswith("/_cluster/health"):
            return 200, json.dumps({"status": "green"})
        return 200, json.dumps(self.state())

    def voters(self):
        eligible = [name for name, roles in self.roles.items() if "master" in roles]
        left = [name for name in eligible if name not in self.excluded]
        return left if len(left) > 2 or not self.excluded else left[:1]

    def state(self):
        return {
            "master_node": f"id-{self.master}",
            "nodes": {f"id-{name}": {"name": name} for name in self.roles},
            "metadata": {
                "cluster_coordination": {
                    "last_committed_config": [f"id-{name}" for name in self.voters()],
                    "voting_config_exclusions": [
                        {"node_id": f"id-{name}", "node_name": name} for name in self.excluded
                    ],
                }
            },
        }

    def change(self, method, query):
        self.changes.append((method, query))
        self.silent = self.deaf
        if method == "DELETE":
            assert query == {"wait_for_removal": "false"}
            self.excluded = []
            return 200, "{}"
        self.excluded = query["node_names"].split(",")
        if self.master in self.excluded and not self.stuck:
            self.master = self.voters()[0]
        if self.lost:
            raise TimeoutError()
        return 200, "{}"

    def sleep(self, seconds):
        self.time += seconds

    def hand_over(self, **options):
        client = search_client.Client(URLS, self.send, None, 5.0, self.sleep, lambda: self.time)
        return search_switchover.switch_over(client, **{"patience": 10.0, **options})


EXCLUDED = [("POST", {"node_names": "n1", "timeout": "30s"}), ("DELETE", {"wait_for_removal": "false"})]


@pytest.mark.parametrize("options", [{}, {"host": "n1"}])
def test_the_master_hands_over_and_every_node_votes_again(options):
    cluster = Cluster()
    answer = cluster.hand_over(**options)
    assert (answer["changed"], answer["master"], answer["old_master"]) == (True, "n2", "n1")
    assert cluster.changes == EXCLUDED
    assert cluster.excluded == []


def test_the_wanted_node_is_elected_by_excluding_all_others():
    cluster = Cluster(count=5)
    assert cluster.hand_over(to="n4")["master"] == "n4"
    assert cluster.changes[0] == ("POST", {"node_names": "n1,n2,n3,n5", "timeout": "30s"})
    assert cluster.excluded == []


@pytest.mark.parametrize("options", [{"to": "n1"}, {"host": "n2"}, {"host": "n2", "to": "n3"}, {"only_clear": True}])
def test_who_leads_as_wanted_stays(options):
    cluster = Cluster()
    assert cluster.hand_over(**options)["changed"] is False
    assert cluster.changes == []


def test_check_mode_changes_nothing():
    cluster = Cluster()
    assert cluster.hand_over(check=True)["changed"] is True
    assert (cluster.changes, cluster.master) == ([], "n1")


@pytest.mark.parametrize("options", [{"only_clear": True}, {"host": "n2"}])
def test_what_an_operation_left_that_died_is_removed_in_any_case(options):
    cluster = Cluster(excluded=["n3"])
    answer = cluster.hand_over(**options)
    assert (answer["changed"], answer["cleared"], answer["master"]) == (True, ["n3"], "n1")
    assert cluster.changes == EXCLUDED[1:]


def test_leftovers_are_removed_before_the_hand_over():
    cluster = Cluster(excluded=["n3"])
    assert cluster.hand_over(to="n3")["master"] == "n3"
    assert [method for method, _query in cluster.changes] == ["DELETE", "POST", "DELETE"]


@pytest.mark.parametrize("trouble", [{"deaf": 9}, {"lost": True}, {"deaf": 9, "lost": True}])
def test_an_election_is_waited_out(trouble):
    cluster = Cluster(**trouble)
    assert cluster.hand_over()["master"] == "n2"
    assert cluster.excluded == []


def test_a_master_that_does_not_hand_over_is_told_and_nobody_stays_excluded():
    cluster = Cluster(stuck=True)
    with pytest.raises(search_switchover.SwitchoverError, match="n1 still leads 10 s after the switchover request"):
        cluster.hand_over()
    assert cluster.excluded == []


def test_exclusions_that_cannot_be_removed_are_told_with_the_remedy():
    cluster = Cluster(deaf=100_000)
    with pytest.raises(search_client.SearchError):
        cluster.hand_over()


@pytest.mark.parametrize(
    ("cluster", "options", "words"),
    [
        ({"count": 2}, {}, "Only n1, n2 can vote on the master. With fewer than 3"),
        ({}, {"to": "n9"}, "n9 cannot become master, only n2, n3 can."),
        ({"roles": {"n3": ["data"], "n4": ["master"]}}, {"to": "n3"}, "n3 cannot become master, only n2, n4 can."),
        ({"roles": {"n2": ["master", "voting_only"]}}, {"to": "n2"}, "only n3 can"),
        ({"roles": {name: ["master", "voting_only"] for name in ("n2", "n3")}}, {}, "Nobody but n1 may become master."),
    ],
)
def test_what_would_not_end_well_is_refused_before_anything_is_changed(cluster, options, words):
    cluster = Cluster(**cluster)
    with pytest.raises(search_switchover.SwitchoverError, match=words):
        cluster.hand_over(**options)
    assert cluster.changes == []
