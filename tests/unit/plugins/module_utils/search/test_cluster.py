# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.search import cluster as search_cluster
from ansible_collections.utmstack.ha.plugins.modules import elasticsearch_health as module
from search_network import ENGINES, URLS, Network, run

THREE = ["node1", "node2", "node3"]
EIGHT = "elasticsearch-8.19.4"


@pytest.fixture
def look(monkeypatch, capsys):
    """Run elasticsearch_health on a scene of three nodes; returns its answer."""

    def call(scene, **options):
        network = Network(EIGHT, scene)
        return run(module, network, monkeypatch, capsys, **{"expected_nodes": THREE, **options})

    return call


def test_a_whole_cluster_has_no_problems(look):
    answer = look("health whole")
    assert (answer["healthy"], answer["problems"], answer["status"]) == (True, [], "green")
    assert [node["name"] for node in answer["nodes"]] == THREE
    assert [node["name"] for node in answer["nodes"] if node["master"]] == [answer["master"]]
    assert {node["version"] for node in answer["nodes"]} == {"8.19.4"}
    assert (answer["absent_nodes"], answer["changed_settings"], answer["changed"]) == ([], {}, False)


@pytest.mark.parametrize(
    ("scene", "settings", "differ"),
    [
        ("health whole", None, False),
        ("health whole", {"cluster.routing.allocation.enable": None}, False),
        ("health whole", {"cluster": {"max_shards_per_node": 3000}}, True),
        ("health without a master", {"cluster.routing.allocation.enable": None}, True),
        ("health without a master", None, False),
    ],
)
def test_settings_differ_where_others_count_or_nobody_tells(look, scene, settings, differ):
    assert look(scene, settings=settings)["settings_differ"] is differ


@pytest.mark.parametrize(
    ("persistent", "transient", "differ"),
    [
        ({"cluster.max_shards_per_node": "2000"}, {}, False),
        ({"cluster.max_shards_per_node": "1000"}, {}, True),
        ({}, {}, True),
        ({"cluster.max_shards_per_node": "2000"}, {"cluster.max_shards_per_node": "2000"}, True),
        ({"cluster.max_shards_per_node": "2000", "cluster.routing.allocation.enable": "primaries"}, {}, True),
    ],
)
def test_settings_are_compared_as_they_would_be_set(persistent, transient, differ):
    found = search_cluster.Observation({}, stored={"persistent": persistent, "transient": transient})
    wanted = {"cluster.max_shards_per_node": 2000, "cluster.routing.allocation.enable": None}
    assert search_cluster.differ(found, wanted) is differ


@pytest.mark.parametrize("engine", ["opensearch-2.19.4", "opensearch-3.3.0"])
def test_opensearch_is_asked_the_same_and_tells_its_own_names_of_roles(engine, monkeypatch, capsys):
    answer = run(module, Network(engine, "health whole"), monkeypatch, capsys, expected_nodes=["node1"])
    assert answer["healthy"] is True
    assert "cluster_manager" in answer["nodes"][0]["roles"]


def test_a_missing_node_is_named_with_what_its_absence_costs(look):
    answer = look("health without node3")
    assert answer["healthy"] is False
    assert answer["absent_nodes"] == ["node3"]
    assert answer["problems"][0] == "node3 (http://127.0.81.3:9200) does not answer (Connection refused)."
    assert answer["problems"][1] == "node3 is not in the cluster."
    assert answer["problems"][2].startswith("The cluster is yellow: 9 shards are not assigned: ")
    assert "(NODE_LEFT). The node containing this shard copy recently left the cluster." in answer["problems"][2]


def test_the_troubles_of_a_node_that_is_about_to_restart_are_not_counted(look):
    answer = look("health without node3", without=["node3"], accept_status="yellow")
    assert (answer["healthy"], answer["problems"]) == (True, [])


def test_a_name_that_is_no_node_is_told(look):
    answer = look("health of a node that should not be missing", expected_nodes=[*THREE, "node4"])
    assert answer["problems"] == ["node4 is not in the cluster."]


def test_without_a_master_the_reason_is_told_and_nothing_else_asked(look):
    answer = look("health without a master")
    assert (answer["healthy"], answer["master"], answer["status"]) == (False, None, None)
    assert answer["problems"][0].startswith("No master is elected, according to node1.")
    assert answer["absent_nodes"] == THREE


def test_a_frozen_master_is_told_from_a_missing_one(look):
    answer = look("health with a frozen master")
    assert answer["master"] == "node1"
    assert answer["problems"] == [
        "node1 (http://127.0.81.1:9200) does not answer (no answer within 5 s).",
        "node2 cannot report the cluster's health. Does the elected master, node1, answer it?",
    ]
    assert [node["name"] for node in answer["nodes"]] == THREE


def test_two_clusters_are_noticed(look):
    answer = look("health of two clusters", url=[*URLS[EIGHT], "http://127.0.89.1:9200"])
    assert answer["healthy"] is False
    assert answer["problems"][0].startswith("There are two clusters: ")
    assert "node1, node2, node3 in cluster M02XZ8LDSJ2Wj956lhL4Ag, led by node1" in answer["problems"][0]
    assert answer["cluster_uuid"] == "M02XZ8LDSJ2Wj956lhL4Ag"


def test_a_refused_password_is_told_once_for_all_nodes_and_not_shown(look):
    answer = look("health wrong password", password="wrong")
    (problem,) = answer["problems"]
    assert problem.startswith("This user and password are refused by node1 (http://127.0.81.1:9200), node2")
    assert "unable to authenticate user [elastic])" in problem


def test_settings_that_an_operation_left_behind_are_a_problem_unless_it_goes_on(look):
    left = {"cluster.routing.allocation.enable": "primaries", "cluster.routing.allocation.exclude._name": "node2"}
    answer = look("health with settings left behind")
    assert answer["changed_settings"] == left
    assert "cluster.routing.allocation.enable is primaries" in answer["problems"][0]
    assert look("health with settings left behind", ignore_settings=True)["healthy"] is True


def test_something_else_at_the_address_is_no_cluster(look):
    answer = look("health of something else", url=["http://127.0.0.1:18999"], expected_nodes=[])
    assert answer["healthy"] is False
    assert "Error code: 404" in answer["problems"][0]
    assert "<" not in answer["problems"][0]


def test_what_is_waited_for_in_vain_is_told_at_last(look):
    answer = look("health without node3", wait_for="green", wait_timeout=3)
    assert (answer["reached"], answer["status"]) == (False, "yellow")


@pytest.mark.parametrize(
    ("goal", "reached"),
    [("nothing", True), ("master", True), ("yellow", True), ("green", False), ("nodes", False), ("healthy", False)],
)
def test_each_goal_is_reached_by_what_it_names(look, goal, reached):
    assert look("health without node3", wait_for=goal, wait_timeout=0)["reached"] is reached
    assert look("health without node3", wait_for="nodes", without=["node3"], wait_timeout=0)["reached"] is True


def view(name, master, uuid="one", **options):
    return search_cluster.View(name=name, master=master, cluster_uuid=uuid, nodes={name: name}, **options)


@pytest.mark.parametrize(
    ("views", "problem"),
    [
        (
            {"a": view("a", "a"), "b": view("b", "b")},
            "The nodes disagree on who is the elected master: a follow a; b follow b.",
        ),
        ({"a": view("a", "a"), "b": view("b", "")}, "No master is seen by b."),
        (
            {"a": view("a", "a"), "b": view("b", "b", "two")},
            "There are two clusters: a in cluster one, led by a; b in cluster two",
        ),
    ],
)
def test_nodes_of_different_minds_are_told(views, problem):
    found = search_cluster.Observation(views, chosen="a", health={"status": "green", "unassigned_shards": 0})
    assert search_cluster.assess(found)["problems"][0].startswith(problem)


def test_the_master_itself_of_the_larger_side_is_asked():
    views = {"a": view("a", "c", "one"), "b": view("b", "b", "two"), "c": view("c", "c", "one"), "d": view("d", "", "")}
    assert search_cluster.best_url(views) == "c"
    assert search_cluster.best_url({"d": view("d", "")}) == ""


@pytest.mark.parametrize("engine", ENGINES)
def test_a_node_is_asked_for_its_own_view(engine, monkeypatch):
    flavor, version = engine.split("-")
    own = search_cluster._own_view(search_cluster.search_client.Engine(flavor, version))
    assert own == ("master_timeout=2s" if version.startswith("9.") else "local=true")
