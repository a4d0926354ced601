# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.search import replicas as search_replicas
from ansible_collections.utmstack.ha.plugins.modules import elasticsearch_replicas as module
from search_network import ENGINES, Network, run


@pytest.fixture(params=ENGINES)
def raise_all(request, monkeypatch, capsys):
    """Run elasticsearch_replicas on a recorded scene; returns its answer and the network."""

    def call(scene, check=False, **options):
        network = Network(request.param, scene)
        return run(module, network, monkeypatch, capsys, check, **options), network

    return call


RAISED = [
    "component template base: 1 replica instead of 0",
    "index template v11: 1 replica instead of 0",
    "template log: 1 replica instead of 0",
    "template utmstack-ha-replicas: 1 replica",
    "index events: 1 replica instead of 0",
    "index log-1: 1 replica instead of 0",
]


def test_templates_come_before_indices_so_that_none_slips_through(raise_all):
    answer, network = raise_all("replicas raised")
    assert (answer["changed"], answer["raised"]) == (True, RAISED)
    assert network.changes == [
        "PUT /_component_template/base",
        "PUT /_index_template/v11",
        "PUT /_template/log",
        "PUT /_template/utmstack-ha-replicas",
        "PUT /events/_settings",
        "PUT /log-1/_settings",
    ]


def test_the_rest_of_a_template_stays_as_it_was(raise_all):
    _answer, network = raise_all("replicas raised")
    log = network.body("PUT /_template/log")
    assert (log["order"], log["index_patterns"], log["aliases"]) == (3, ["log-*"], {"al": {}})
    assert log["settings"]["index.refresh_interval"] == "5s"
    assert log["mappings"] == {"properties": {"a": {"type": "keyword"}}}
    v11 = network.body("PUT /_index_template/v11")
    assert (v11["priority"], v11["version"], v11["_meta"]) == (6, 3, {"a": 1})
    assert v11["template"]["settings"] == {"index.number_of_replicas": "1"}
    assert not [name for name in v11 if "date" in name]


def test_a_second_run_changes_nothing(raise_all):
    answer, network = raise_all("replicas again")
    assert (answer["changed"], answer["raised"], network.changes) == (False, [], [])


def test_check_mode_and_a_floor_of_none_change_nothing(raise_all):
    answer, network = raise_all("replicas raised", check=True)
    assert (answer["changed"], answer["raised"], network.changes) == (True, RAISED, [])
    assert raise_all("replicas raised", minimum=0)[0]["changed"] is False


def test_without_a_floor_its_template_goes():
    floor = {"order": 1000000, "index_patterns": ["*"], "settings": {"index.number_of_replicas": "1"}}
    (step,) = search_replicas.plan({"legacy": {search_replicas.FLOOR: floor, "a": legacy(0, 0)}}, 0, ["*"])
    assert (step.method, step.path) == ("DELETE", "/_template/utmstack-ha-replicas")
    assert str(step) == "template utmstack-ha-replicas: not needed any more"
    assert search_replicas.plan({"legacy": {"a": legacy(0, 0)}}, 0, ["*"]) == []


@pytest.mark.parametrize(
    ("name", "settings", "raised"),
    [
        ("log-1", {"index.number_of_replicas": "0"}, True),
        ("log-1", {"index.number_of_replicas": "1"}, False),
        ("log-1", {"index.number_of_replicas": "0", "index.auto_expand_replicas": "0-1"}, False),
        ("log-1", {"index.number_of_replicas": "0", "index.auto_expand_replicas": "false"}, True),
        ("log-1", {"index.number_of_replicas": "0", "index.hidden": "true"}, False),
        ("log-1", {"index.number_of_replicas": "0", "index.store.type": "snapshot"}, False),
        (".security-7", {"index.number_of_replicas": "0"}, False),
        (".utmstack-x", {"index.number_of_replicas": "0"}, True),
        (".ds-logs-a-2026.11.24-000001", {"index.number_of_replicas": "0", "index.hidden": "true"}, True),
    ],
)
def test_only_indices_that_lack_replicas_are_raised(name, settings, raised):
    steps = search_replicas.plan_indices({name: {"settings": settings}}, 1, ["*", ".utmstack*"])
    assert [step.path for step in steps] == ([f"/{name}/_settings"] if raised else [])


def legacy(order, replicas):
    return {"order": order, "index_patterns": ["x"], "settings": {"index.number_of_replicas": str(replicas)}}


@pytest.mark.parametrize(
    ("templates", "order"),
    [
        ({}, 1_000_000),
        ({"a": legacy(5, 0)}, 1_000_000),
        ({"a": legacy(5, 2)}, 4),
        ({"a": legacy(5, 2), "b": legacy(0, 3)}, -1),
    ],
)
def test_the_floor_gives_way_to_templates_that_ask_for_more(templates, order):
    (floor,) = [step for step in search_replicas.plan_legacy(templates, 1) if step.path.endswith(search_replicas.FLOOR)]
    assert floor.body["order"] == order


def composable(settings=None, composed_of=(), **more):
    template = {"settings": settings} if settings is not None else {}
    return {"index_patterns": ["x"], "composed_of": list(composed_of), "template": template, **more}


@pytest.mark.parametrize(
    ("template", "component", "minimum", "raised"),
    [
        (composable({"index.number_of_replicas": "0"}), None, 1, ["it"]),
        (composable({"index": {"number_of_replicas": "0"}}), None, 1, ["it"]),
        (composable(), None, 1, []),
        (composable(), None, 2, ["it"]),
        (composable(composed_of=["c"]), {"index.number_of_replicas": "0"}, 1, ["c"]),
        (composable({"index.number_of_replicas": "2"}, ["c"]), {"index.number_of_replicas": "0"}, 1, ["c"]),
        (composable(composed_of=["c"]), {"index.number_of_replicas": "0", "index.auto_expand_replicas": "0-1"}, 1, []),
        (composable({"index.number_of_replicas": "0"}, _meta={"managed": True}), None, 1, []),
        (composable(composed_of=["missing"]), None, 1, []),
    ],
)
def test_composable_templates_are_raised_where_the_number_comes_from(template, component, minimum, raised):
    found = {"index_templates": [{"name": "it", "index_template": template}]}
    parts = [{"name": "c", "component_template": {"template": {"settings": component}}}] if component else []
    steps = search_replicas.plan_composable(found, {"component_templates": parts}, minimum)
    assert [step.path.rpartition("/")[2] for step in steps] == raised


def test_a_component_of_the_servers_own_is_not_changed_but_the_template_that_uses_it():
    found = {"index_templates": [{"name": "it", "index_template": composable(composed_of=["c"])}]}
    own = {"template": {"settings": {"index": {"number_of_replicas": "0"}}}, "_meta": {"managed": True}}
    steps = search_replicas.plan_composable(
        found, {"component_templates": [{"name": "c", "component_template": own}]}, 1
    )
    assert [step.subject for step in steps] == ["index template it"]


def test_the_plan_needs_nothing_but_pythons_library_so_that_it_runs_on_the_hosts():
    tree = ast.parse(Path(search_replicas.__file__).read_text())
    for node in ast.walk(tree):
        names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        assert all(name.partition(".")[0] in sys.stdlib_module_names for name in names)
