# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan of a restore from a snapshot: what it does, and all that stands in its way at once."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.search import restore_plan
from ansible_collections.utmstack.ha.plugins.module_utils.search.restore_plan import Present
from ansible_collections.utmstack.ha.plugins.modules import elasticsearch_restore_plan as module
from search_network import Network, run

FIXTURE = "elasticsearch-8.19.4-backup"


@pytest.fixture
def plan(monkeypatch, capsys):
    """Run elasticsearch_restore_plan on a recorded scene; its answer and the network."""

    def call(scene, **options):
        network = Network(FIXTURE, scene)
        return run(module, network, monkeypatch, capsys, **options), network

    return call


def test_a_restore_in_place_says_what_it_replaces_and_up_to_when_all_is_there(plan):
    answer, network = plan("plan in place", indices=["*"])
    assert (answer["changed"], answer["refusals"], network.changes) == (False, [], [])
    assert (answer["snapshot"], answer["repository"]) == ("daily-1", "backup")
    assert answer["targets"] == {"alerts": "alerts", "events": "events", "log-1": "log-1"}
    assert sorted(answer["whole"]) == ["alerts", "events", "log-1"]
    text = "\n".join(answer["lines"])
    assert "up to      2026-11-30 " in text
    assert "a snapshot of these is taken first and is kept" in text
    assert "the application is stopped" in text


def test_a_restore_beside_replaces_nothing_and_stops_nothing(plan):
    answer, _network = plan("plan beside", indices=["ev*"], rename="restored-")
    assert answer["targets"] == {"events": "restored-events"}
    assert (answer["overwritten"], answer["refusals"]) == ([], [])
    assert "the application runs on" in answer["lines"][-1]


def test_a_snapshot_that_is_not_there_is_told_with_those_that_are(plan):
    answer, _network = plan("plan of a missing snapshot", snapshot="nope")
    assert answer["refusals"] == ["There is no snapshot nope. There are: daily-1."]


def test_what_an_incomplete_snapshot_lacks_is_refused_and_what_it_has_is_not(plan):
    answer, _network = plan("plan of a partial snapshot", snapshot="daily-2")
    assert answer["refusals"] == [
        "The snapshot daily-2 is incomplete: lost[0]: primary shard is not allocated. Choose another one, or leave these out with -e indices=."
    ]
    answer, _network = plan("plan of a partial snapshot", snapshot="daily-2", indices=["ev*"])
    assert (answer["refusals"], answer["partial"]) == ([], True)


def snapshot(**options):
    return {
        "snapshot": "s",
        "state": "SUCCESS",
        "start_time_in_millis": 1796066100000,
        "version": "8.19.0-8.19.4",
        "indices": ["alerts", "events", ".ds-logs-2026.11.30-000001"],
        "data_streams": ["logs"],
        "failures": [],
        "metadata": {"policy": "daily"},
        **options,
    }


def status(**sizes):
    shard = {"stage": "DONE"}
    indices = {
        name.replace("_", "-"): {"stats": {"total": {"size_in_bytes": size}}, "shards": {"0": shard}}
        for name, size in {"alerts": 1000, "events": 2000, **sizes}.items()
    }
    return {"snapshots": [{"indices": indices}]}


ROOM = [{"disk.avail": "100000", "disk.total": "100000"}]
HERE = {"alerts": Present("open", 1, 900), "other": Present("open", 1, 10)}


def planned(taken=None, present=None, streams=(), room=None, version="8.19.4", patterns=(), rename="", replicas=1):
    return restore_plan.plan(
        "backup",
        taken or snapshot(),
        status(),
        HERE if present is None else present,
        streams,
        ROOM if room is None else room,
        version,
        patterns,
        rename,
        replicas,
    )


def test_what_is_not_chosen_is_left_and_said():
    found = planned(patterns=["alerts"])
    assert (found.targets, found.left) == ({"alerts": "alerts"}, ["other"])
    assert any(line.strip().startswith("leaves") and "other" in line for line in found.lines)


def test_an_index_with_lost_shards_is_kept_apart():
    found = planned(present={"alerts": Present("open", 1, 0, 1), "events": Present("close", 1, 5)})
    assert (found.incomplete, found.whole, found.refusals) == (["alerts"], ["events"], [])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"streams": ["logs"]}, "The cluster has the data streams logs"),
        ({"patterns": ["nope*"]}, "No index of s is called nope*."),
        ({"rename": "Old "}, "rename is 'Old '"),
        ({"rename": "x-", "present": {"x-alerts": Present("open", 1)}}, "There is already x-alerts."),
        ({"present": {"alerts": Present("open", 3)}}, "alerts has 3 primary shards, and 1 in the snapshot"),
        ({"room": [{"disk.avail": "12000", "disk.total": "100000"}]}, "the data nodes have 2.0 KiB free below 90%"),
        ({"taken": snapshot(version="9.1.0")}, "taken by version 9.1.0, and 8.19.4 runs here"),
        ({"version": "9.0.0", "taken": snapshot(version="7.17.0")}, "only the same or the next major version"),
    ],
)
def test_what_stands_in_the_way_is_told_with_a_remedy(options, said):
    found = planned(**options)
    assert any(said in refusal for refusal in found.refusals), found.refusals


def test_all_that_stands_in_the_way_is_told_at_once():
    assert len(planned(streams=["logs"], version="7.17.0", present={"alerts": Present("open", 3)}).refusals) == 3


def test_the_next_major_version_restores():
    assert planned(version="9.2.0").refusals == []


def test_the_room_is_that_of_all_copies():
    assert planned(replicas=0).bytes * 2 == planned(replicas=1).bytes == 6000


def test_the_newest_complete_snapshot_of_a_policy_is_the_latest():
    taken = [
        ("one", snapshot(snapshot="old", start_time_in_millis=1)),
        ("two", snapshot(snapshot="new", start_time_in_millis=2)),
        ("two", snapshot(snapshot="broken", start_time_in_millis=3, state="PARTIAL")),
        ("two", snapshot(snapshot="by-hand", start_time_in_millis=4, metadata=None)),
    ]
    repository, found = restore_plan.chosen(taken, "latest")
    assert (repository, found["snapshot"]) == ("two", "new")
    assert restore_plan.chosen(taken, "by-hand")[1]["snapshot"] == "by-hand"
    twice = [*taken, ("three", snapshot(snapshot="new"))]
    assert restore_plan.chosen(twice, "new") == (
        "There is a snapshot new in three and two. Name the repository as well, with -e repository=.",
        None,
    )
    assert restore_plan.chosen([], "latest")[1] is None


def test_snapshots_of_a_platform_made_anew_are_left_out_by_a_time():
    taken = [
        ("one", snapshot(snapshot="former")),
        ("one", snapshot(snapshot="new", start_time_in_millis=1796067000000)),
    ]
    assert restore_plan.chosen(taken, "latest")[1]["snapshot"] == "new"
    assert restore_plan.chosen(taken, "latest", 1796066200)[1]["snapshot"] == "former"
    assert "from before 2026-11-30" in restore_plan.chosen(taken, "latest", 1796000000)[0]


def test_a_time_that_is_none_is_refused(plan):
    answer, _network = plan("plan in place", before="soon")
    assert answer["refusals"] == ["before: 'soon' is no time. Write it like 2026-11-30T12:00:00Z."]
