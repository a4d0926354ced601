# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.search import settings as search_settings
from ansible_collections.utmstack.ha.plugins.modules import elasticsearch_cluster_settings as module
from search_network import ENGINES, Network, run

SET = {
    "cluster": {"routing": {"allocation": {"enable": "primaries", "awareness.attributes": ["rack", "zone"]}}},
    "indices.recovery.max_bytes_per_sec": "100mb",
    "cluster.max_shards_per_node": 2000,
}


@pytest.fixture(params=ENGINES)
def declare(request, monkeypatch, capsys):
    """Run elasticsearch_cluster_settings on a recorded scene; returns its answer and the network."""

    def call(scene, settings, check=False):
        network = Network(request.param, scene)
        return run(module, network, monkeypatch, capsys, check, settings=settings), network

    return call


def test_nested_and_flat_settings_are_sent_flat_in_one_request(declare):
    answer, network = declare("settings set", SET)
    assert answer["changed"] is True
    assert network.changes == ["PUT /_cluster/settings"]
    sent = network.body("PUT /_cluster/settings")["persistent"]
    assert sent["cluster.routing.allocation.enable"] == "primaries"
    assert sent["cluster.max_shards_per_node"] == "2000"
    assert answer["settings"]["indices.recovery.max_bytes_per_sec"] == "100mb"


def test_the_same_in_another_form_is_no_difference(declare):
    same = {
        "cluster.routing.allocation": {"enable": "primaries", "awareness.attributes": "rack,zone"},
        "cluster.max_shards_per_node": 2000,
    }
    answer, network = declare("settings again", same)
    assert (answer["changed"], network.changes) == (False, [])


def test_a_transient_setting_of_the_same_name_is_reset_since_it_would_win(declare):
    answer, _network = declare("settings that are transient too", {"indices.recovery.max_bytes_per_sec": "100mb"})
    assert answer["changed_settings"] == {"transient": {"indices.recovery.max_bytes_per_sec": None}}


def test_null_resets_also_by_a_pattern(declare):
    reset = {
        "cluster.routing.allocation.*": None,
        "indices.recovery.max_bytes_per_sec": None,
        "cluster.max_shards_per_node": None,
    }
    answer, _network = declare("settings reset", reset)
    assert answer["changed_settings"]["persistent"]["cluster.routing.allocation.enable"] is None
    assert answer["settings"] == {}


@pytest.mark.parametrize(
    ("scene", "settings", "said", "remedy"),
    [
        ("settings unknown", {"foo.bar": 1}, "[foo.bar], not recognized", "Is the name right"),
        ("settings static", {"path.data": "/x"}, "[path.data], not dynamically updateable", "elasticsearch_settings"),
    ],
)
def test_a_refused_setting_is_told_with_the_servers_reason_and_a_remedy(declare, scene, settings, said, remedy):
    answer, _network = declare(scene, settings)
    assert answer["failed"] is True
    assert said in answer["msg"]
    assert remedy in answer["msg"]


def test_check_mode_tells_and_sends_nothing(declare):
    answer, network = declare("settings set", SET, check=True)
    assert (answer["changed"], network.changes) == (True, [])
    assert '"cluster.max_shards_per_node": "2000"' in answer["diff"]["after"]


@pytest.mark.parametrize(
    ("value", "stored"),
    [(True, "true"), (3, "3"), (2.0, "2"), (0.85, "0.85"), ("90%", "90%"), ([1, True], ["1", "true"]), (None, None)],
)
def test_values_are_kept_as_the_server_keeps_them(value, stored):
    assert search_settings.stored(value) == stored


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("a,b", ["a", "b"], True), ("a, b", ["a", "b"], True), ("", [], True), ("a", "b", False), (None, "a", False)],
)
def test_a_list_may_be_written_as_text(one, other, same):
    assert search_settings.same(one, other) is same


def test_a_pattern_of_what_is_not_set_asks_for_nothing():
    current = {"persistent": {"a.b": "1"}, "transient": {"a.c": "2"}}
    assert search_settings.plan(current, {"x.*": None}).body == {}
    assert search_settings.plan(current, {"a.*": None}).body == {
        "persistent": {"a.b": None},
        "transient": {"a.c": None},
    }
