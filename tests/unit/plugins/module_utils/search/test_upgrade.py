# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.search import cluster as search_cluster
from ansible_collections.utmstack.ha.plugins.module_utils.search import upgrade as search_upgrade

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("product", "before", "after", "words"),
    [
        ("elasticsearch", "8.18.0", "8.19.4", ""),
        ("elasticsearch", "8.19.4", "8.19.5", ""),
        ("elasticsearch", "8.1.0", "8.19.4", ""),
        ("elasticsearch", "8.19.4", "9.2.0", ""),
        ("elasticsearch", "8.18.0", "9.0.1", ""),
        ("elasticsearch", "9.0.1", "9.2.0", ""),
        ("elasticsearch", "7.17.29", "8.19.4", ""),
        ("elasticsearch", "8.18.0", "9.2.0", "last release of 8.19 first."),
        ("elasticsearch", "8.17.0", "9.0.0", "last release of 8.18 first."),
        ("elasticsearch", "7.17.29", "9.2.0", "last release of 8.19 first."),
        ("elasticsearch", "7.10.2", "9.2.0", "last release of 7.17, then of 8.19 first."),
        ("elasticsearch", "7.10.2", "8.19.4", "last release of 7.17 first."),
        ("elasticsearch", "9.2.0", "8.19.4", "cannot go back to 8.19.4"),
        ("elasticsearch", "8.19.4", "8.19.3", "cannot go back to 8.19.3"),
        ("elasticsearch", "8.19.4", "10.0.0", "last release of 9 first."),
        ("elasticsearch", "8.18.0", "10.0.0", "last release of 8.19, then of 9 first."),
        ("elasticsearch", "9.2.0", "10.0.0", ""),
        ("elasticsearch", "8.19.4", "9.0.1", "older by its date. Upgrade to 9.1 or later."),
        ("opensearch", "2.19.4", "3.3.0", ""),
        ("opensearch", "2.18.0", "3.3.0", "OpenSearch 2.18.0 cannot be upgraded to 3.3.0 in one step. Upgrade to the last release of 2.19"),
        ("opensearch", "1.3.20", "3.3.0", "last release of 2.19 first."),
        ("opensearch", "1.3.20", "2.19.4", ""),
        ("opensearch", "3.3.0", "2.19.4", "cannot go back"),
    ],
)  # fmt: skip
def test_only_steps_that_the_products_support_are_taken(product, before, after, words):
    fault = search_upgrade.step_fault(product, before, after)
    assert words in fault
    assert bool(fault) is bool(words)


def node(name, version, *roles, master=False):
    return {"name": name, "version": version, "roles": list(roles or ("data", "master")), "master": master}


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([node("n1", "8.19.4"), node("n2", "8.19.4", master=True), node("n3", "8.19.4")], ["n1", "n3", "n2"]),
        ([node("m1", "8.19.4", "master", master=True), node("m2", "8.19.4", "master"), node("z", "8.19.4", "data_hot")],
         ["z", "m2", "m1"]),
        ([node("n1", "9.2.0"), node("n2", "8.19.4", master=True), node("n3", "8.19.4")], ["n3", "n2"]),
        ([node("n1", "9.2.0", master=True), node("n2", "9.2.0")], []),
        ([node("o1", "8.19.4", "cluster_manager", master=True), node("o2", "8.19.4", "cluster_manager"), node("o3", "8.19.4", "ingest")],
         ["o3", "o2", "o1"]),
    ],
)  # fmt: skip
def test_nodes_that_can_be_master_come_last_and_the_elected_one_at_the_very_end(nodes, expected):
    assert search_upgrade.upgrade_order(nodes, "9.2.0") == expected


@pytest.mark.parametrize(
    ("versions", "wanted", "step", "done", "faults"),
    [
        (["8.19.4"] * 3, "8.19.4", "none", 3, []),
        (["8.18.0"] * 3, "8.19.4", "minor", 0, []),
        (["8.19.3"] * 3, "8.19.4", "patch", 0, []),
        (["8.19.4", "9.2.0", "8.19.4"], "9.2.0", "major", 1, []),
        (["8.19.4", "8.18.0", "8.19.4"], "9.2.0", "major", 0, ["8.18.0 cannot be upgraded to 9.2.0"]),
        # An upgrade that has begun only goes on.
        (["8.19.4", "9.2.0", "8.19.4"], "8.19.4", "none", 2, ["9.2.0 cannot go back to 8.19.4"]),
        (["8.19.4", "9.1.0", "8.19.4"], "9.2.0", "major", 0, []),
    ],
)  # fmt: skip
def test_an_upgrade_that_was_interrupted_is_finished(versions, wanted, step, done, faults):
    nodes = [node(f"n{number}", version) for number, version in enumerate(versions, 1)]
    plan = search_upgrade.plan("elasticsearch", wanted, "elasticsearch", nodes)
    assert (plan["step"], len(plan["done"])) == (step, done)
    assert len(plan["faults"]) == len(faults)
    assert all(words in fault for words, fault in zip(faults, plan["faults"], strict=True))
    assert plan["needed"] is (done < 3)
    assert sorted(plan["order"] + plan["done"]) == ["n1", "n2", "n3"]


def test_another_product_is_refused_and_nothing_is_known_without_nodes():
    plan = search_upgrade.plan("opensearch", "2.19.4", "elasticsearch", [node("n1", "8.19.4")])
    assert plan["faults"] == [
        "The nodes run elasticsearch, and opensearch cannot read its data. Set elasticsearch_flavor back to elasticsearch."
    ]
    plan = search_upgrade.plan("elasticsearch", "9.2.0", "elasticsearch", [])
    assert (plan["needed"], plan["order"], plan["faults"], plan["from"]) == (False, [], [], None)


def index(created, **settings):
    return {"settings": {"index.version.created": str(created), **settings}}


@pytest.mark.parametrize(
    ("product", "wanted", "entry", "old"),
    [
        ("elasticsearch", "9.2.0", index(8525000), False),  # as Elasticsearch 8.18.0 makes them
        ("elasticsearch", "9.2.0", index(8060199), False),
        ("elasticsearch", "9.2.0", index(7172999), True),
        ("elasticsearch", "9.2.0", index(7172999, **{"index.verified_read_only": "true"}), False),
        ("elasticsearch", "9.2.0", index(6082399, **{"index.verified_read_only": "true"}), True),
        ("elasticsearch", "8.19.4", index(7172999), False),
        ("opensearch", "3.3.0", index(2190499 ^ 0x08000000), False),
        ("opensearch", "3.3.0", index(1032099 ^ 0x08000000), True),
        ("opensearch", "3.3.0", index(7100299), True),
        ("opensearch", "2.19.4", index(7100299), False),
    ],
)  # fmt: skip
def test_indices_that_the_next_major_cannot_open_are_found(product, wanted, entry, old):
    assert search_upgrade.too_old(product, wanted, {"events": entry}) == (["events"] if old else [])


def test_many_old_indices_are_listed_shortly():
    settings = {f"log-{number:02}": index(7172999) for number in range(14)}
    fault = search_upgrade.old_indices_fault("elasticsearch", "9.2.0", settings)
    assert fault.startswith("9.2.0 opens only indices that were made by 8.0 or later. Older: log-00, log-01, ")
    assert "log-09 and 4 more. Reindex or delete them" in fault


def test_critical_deprecations_are_told_from_others():
    body = {
        "cluster_settings": [{"level": "critical", "message": "Setting x is gone.", "url": "https://example.org/x"}],
        "node_settings": [],
        "index_settings": {"log-1": [{"level": "warning", "message": "Old mapping", "details": "…"}]},
        "templates": {"t": [{"level": "critical", "message": "Bad template"}]},
    }
    critical, others = search_upgrade.deprecations(body)
    assert critical == ["cluster settings: Setting x is gone. See https://example.org/x", "t: Bad template."]
    assert others == ["log-1: Old mapping."]


@pytest.mark.parametrize(
    ("newest", "words"),
    [
        ({}, "no snapshot repository"),
        ({"backup": None}, "No snapshot in backup is younger than a day, there is none."),
        ({"backup": NOW - timedelta(hours=30)}, "the newest is of 2026-02-28 06:00 UTC"),
        ({"backup": NOW - timedelta(hours=30), "other": NOW - timedelta(hours=2)}, ""),
    ],
)
def test_an_upgrade_without_a_fresh_snapshot_is_warned_of(newest, words):
    warning = search_upgrade.snapshot_warning(newest, NOW)
    assert words in warning
    assert bool(warning) is bool(words)


@pytest.mark.parametrize(
    ("product", "version", "java"),
    [
        ("elasticsearch", "9.2.0", 21),
        ("elasticsearch", "8.19.4", 17),
        ("opensearch", "3.3.0", 21),
        ("elasticsearch", "12.0.0", 0),
    ],
)
def test_the_java_that_a_version_needs_is_known(product, version, java):
    assert search_upgrade.java_needed(product, version) == java


# -- while versions are mixed -----------------------------------------------------------------------------------------


def shard(kind, where, state="STARTED", number="0", name="log"):
    return {"index": name, "shard": number, "prirep": kind, "state": state, "node": where}


LEFT = shard("r", None, "UNASSIGNED")


@pytest.mark.parametrize(
    ("versions", "shards", "waiting"),
    [
        # The only upgraded node has the primary: nobody else may have the replica yet.
        ({"n1": "9.2.0", "n2": "8.19.4", "n3": "8.19.4"}, [shard("p", "n1"), LEFT], 1),
        ({"n1": "9.2.0", "n2": "8.19.4", "n3": "8.19.4"}, [shard("p", "n1", "RELOCATING"), LEFT], 1),
        # A second one is there that could take it.
        ({"n1": "9.2.0", "n2": "9.2.0", "n3": "8.19.4"}, [shard("p", "n1"), LEFT], 0),
        ({"n1": "9.2.0", "n2": "9.2.0", "n3": "8.19.4"}, [shard("p", "n1"), shard("r", "n2"), LEFT], 1),
        # The primary is on an old node: the replica could be anywhere.
        ({"n1": "9.2.0", "n2": "8.19.4", "n3": "8.19.4"}, [shard("p", "n2"), LEFT], 0),
        ({"n1": "9.2.0", "n2": "8.19.4"}, [shard("p", None, "UNASSIGNED"), LEFT], 0),
        # A dedicated master keeps nothing.
        ({"n1": "9.2.0", "m1": "9.2.0", "n2": "8.19.4"}, [shard("p", "n1"), LEFT], 1),
    ],
)  # fmt: skip
def test_a_replica_that_only_waits_for_an_upgraded_node_is_known(versions, shards, waiting):
    nodes = [
        {"name": name, "version": version, "roles": ["master"] if name == "m1" else ["master", "data"]}
        for name, version in versions.items()
    ]
    assert len(search_cluster.waiting(shards, nodes)) == waiting


@pytest.mark.parametrize(
    ("status", "initializing", "unassigned", "waiting", "whole"),
    [
        ("green", 0, 0, 0, True),
        ("yellow", 0, 2, 2, True),
        ("yellow", 0, 3, 2, False),
        ("yellow", 1, 2, 2, False),
        ("yellow", 1, 0, 0, False),
        ("red", 0, 2, 2, False),
    ],
)
def test_a_cluster_is_whole_when_all_that_is_missing_waits_for_upgraded_nodes(
    status, initializing, unassigned, waiting, whole
):
    health = {"status": status, "initializing_shards": initializing, "unassigned_shards": unassigned}
    found = search_cluster.Observation({}, health=health, waiting=[LEFT] * waiting)
    assert search_cluster.whole(found) is whole
