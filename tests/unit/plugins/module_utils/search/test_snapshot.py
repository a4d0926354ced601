# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from datetime import UTC, datetime

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.search import backup as search_backup
from ansible_collections.utmstack.ha.plugins.module_utils.search import client as search_client
from ansible_collections.utmstack.ha.plugins.module_utils.search import snapshot as search_snapshot
from ansible_collections.utmstack.ha.plugins.modules import elasticsearch_snapshot as module
from search_network import ENGINES, Network, run

NOW = datetime(2026, 11, 24, 1, 30, 12, tzinfo=UTC)


@pytest.fixture(params=ENGINES)
def act(request, monkeypatch, capsys):
    """Run elasticsearch_snapshot on a recorded scene; returns its answer and the network."""

    def call(scene, check=False, **options):
        network = Network(request.param, scene)
        return run(module, network, monkeypatch, capsys, check, **{"repository": "backup", **options}), network

    return call


RENAMED = {"rename_pattern": "(.+)", "rename_replacement": "restored-$1"}


def test_a_snapshot_is_taken_and_waited_for(act):
    answer, network = act("snapshot taken", name="first", indices=["events", "alerts"])
    assert (answer["changed"], answer["name"]) == (True, "first")
    (snapshot,) = answer["snapshots"]
    assert (snapshot["state"], snapshot["shards"], snapshot["failures"]) == ("SUCCESS", 3, [])
    assert snapshot["indices"] == ["alerts", "events"]
    assert network.changes == ["PUT /_snapshot/backup/first"]


def test_a_snapshot_that_is_there_is_not_taken_again(act):
    answer, network = act("snapshot taken again", name="first", indices=["events", "alerts"])
    assert (answer["changed"], network.changes) == (False, [])
    assert answer["snapshots"][0]["name"] == "first"


def test_check_mode_takes_nothing(act):
    answer, network = act("snapshot taken", check=True, name="first", indices=["events", "alerts"])
    assert (answer["changed"], answer["snapshots"], network.changes) == (True, [], [])


def test_snapshots_are_listed_oldest_first_and_nothing_changes(act):
    answer, network = act("snapshots listed", state="listed")
    assert (answer["changed"], [one["name"] for one in answer["snapshots"]]) == (False, ["first"])
    assert network.changes == []


@pytest.mark.parametrize(
    ("scene", "options", "said"),
    [
        (
            "snapshot of a missing index",
            {"name": "second", "indices": ["nope"]},
            "no such index [nope]. Name indices that",
        ),
        (
            "snapshot without a repository",
            {"name": "first", "repository": "nope"},
            "register it with elasticsearch_snapshot",
        ),
        (
            "snapshot of an index without its primary",
            {"name": "broken", "indices": ["events", "lost"]},
            "to leave out what is lacking (partial), say so.",
        ),
        (
            "snapshot that takes longer than the wait",
            {"name": "slow", "repository": "slow", "indices": ["events", "alerts"], "wait_timeout": 1},
            "The snapshot slow is IN_PROGRESS after 1 s. It goes on; give it more time with wait_timeout.",
        ),
        (
            "restore of a missing snapshot",
            {"name": "nope", "state": "restored"},
            "There is no snapshot nope in backup; there are: first.",
        ),
        (
            "restore of nothing",
            {"name": "first", "state": "restored", "indices": ["zzz"]},
            "No index in the snapshot first is called zzz. It has ",
        ),
        (
            "restore of a partial snapshot",
            {"name": "part", "state": "restored", "rename_pattern": "(.+)", "rename_replacement": "again-$1"},
            "The snapshot part is incomplete: lost[0]: primary shard is not allocated.",
        ),
        (
            "restore of a running snapshot",
            {"name": "slow", "repository": "slow", "state": "restored"},
            "The snapshot slow is still being taken.",
        ),
        (
            "snapshot still running deleted",
            {"name": "slow", "repository": "slow", "state": "absent"},
            "or give it up and delete it (abort)",
        ),
    ],
)
def test_what_cannot_be_done_is_told_with_its_reason_and_a_remedy(act, scene, options, said):
    answer, _network = act(scene, **options)
    assert answer["failed"] is True
    assert said in answer["msg"]


def test_a_partial_snapshot_is_taken_when_allowed_and_says_what_is_lacking(act):
    answer, _network = act("snapshot that is partial", name="part", indices=["events", "lost"], partial=True)
    assert answer["snapshots"][0]["state"] == "PARTIAL"
    assert answer["snapshots"][0]["failures"] == ["lost[0]: primary shard is not allocated"]


def test_an_open_index_in_the_way_is_never_replaced_unasked(act):
    answer, network = act("restore with an index in the way", name="first", state="restored")
    assert answer["failed"] is True
    assert "There is already " in answer["msg"]
    assert "events" in answer["msg"]
    assert network.changes == []


def test_a_restore_under_another_name_ends_with_the_same_count(act):
    answer, network = act("restore renamed", name="latest", state="restored", indices=["ev*"], **RENAMED)
    assert (answer["changed"], answer["name"]) == (True, "first")
    assert answer["restore"]["targets"] == {"events": "restored-events"}
    assert (answer["restored"][0]["index"], answer["restored"][0]["documents"]) == ("restored-events", 12)
    assert network.changes == ["POST /_snapshot/backup/first/_restore"]
    assert network.body("POST /_snapshot/backup/first/_restore")["include_aliases"] is False


def test_check_mode_tells_what_a_restore_would_do(act):
    options = {"name": "latest", "state": "restored", "indices": ["ev*"]}
    answer, network = act("restore renamed", check=True, **options, **RENAMED)
    assert (answer["restore"]["targets"], answer["restored"]) == ({"events": "restored-events"}, [])
    assert network.changes == []


def test_only_what_has_to_be_is_closed_when_overwriting_is_allowed(act):
    answer, network = act(
        "restore over an open index", name="first", state="restored", indices=["events"], overwrite=True
    )
    assert answer["restore"]["closed"] == ["events"]
    assert network.changes == ["POST /events/_close", "POST /_snapshot/backup/first/_restore"]
    assert answer["restored"][0]["documents"] == 12


def test_what_was_closed_is_opened_again_when_the_server_refuses(act):
    options = {"indices": ["events"], "rename_pattern": "events", "rename_replacement": "alerts", "overwrite": True}
    answer, network = act("restore over one with other shards", name="first", state="restored", **options)
    assert "cannot restore index [alerts] with [1] shards" in answer["msg"]
    assert answer["msg"].endswith("alerts are open again, as they were.")
    assert network.changes[-1] == "POST /alerts/_open"


def test_a_restore_that_is_begun_again_waits_for_the_one_that_runs():
    network = Network("elasticsearch-8.19.4-backup", "restore begun again while it runs")
    search_snapshot.close(network.client(), "alerts", 60)
    assert network.changes.count("POST /alerts/_close") >= 2
    impatient = Network("elasticsearch-8.19.4-backup", "restore begun again while it runs")
    with pytest.raises(search_client.SearchError, match="Cannot close indices that are being restored"):
        search_snapshot.close(impatient.client(), "alerts", 0)


def test_a_restore_compares_what_came_back_with_what_was_recorded():
    def call(documents):
        network = Network("elasticsearch-8.19.4-backup", "restore compared")
        expected = {"events": {"documents": documents, "operations": 12}}
        return search_backup.same(network.client(), {"events": "events"}, expected)

    assert call(12) == ["events"]
    with pytest.raises(search_client.SearchError, match="events has 12 documents, and had 13"):
        call(13)


def test_a_restore_that_cannot_be_placed_ends_with_the_servers_explanation(act):
    answer, _network = act(
        "restore that cannot be placed", name="first", state="restored", indices=["alerts"], wait_timeout=2,
        rename_pattern="(.+)", rename_replacement="stuck-$1",
        index_settings={"index.routing.allocation.require._name": "nobody"},
    )  # fmt: skip
    assert "Not all shards are restored after 2 s: stuck-alerts[0] is UNASSIGNED." in answer["msg"]
    assert "allocat" in answer["msg"]


def test_a_snapshot_is_deleted_once(act):
    answer, network = act("snapshot deleted", name="first", state="absent")
    assert (answer["changed"], network.changes) == (True, ["DELETE /_snapshot/backup/first"])
    assert act("snapshot deleted again", name="first", state="absent")[0]["changed"] is False
    assert act("snapshot given up", name="slow", repository="slow", state="absent", abort=True)[0]["changed"] is True


@pytest.mark.parametrize(
    ("name", "resolved"),
    [
        ("plain", "plain"),
        ("<nightly-{now/d}>", "nightly-2026.11.24"),
        ("<x-{now-1d/d}>", "x-2026.11.23"),
        ("<x-{now/M{yyyy-MM-dd}}-y>", "x-2026-11-01-y"),
        ("<x-{now{yyyy.MM.dd-HHmmss}}>", "x-2026.11.24-013012"),
        ("<x-{now/w}>", "x-2026.11.23"),
        ("<x-{now+2h/h{HH:mm:ss}}>", "x-03:00:00"),
    ],
)
def test_date_math_is_resolved_as_the_server_does(name, resolved):
    assert search_snapshot.resolve(name, NOW) == resolved


@pytest.mark.parametrize("name", ["<x-{later/d}>", "<x-{now/q}>", "<x-{now{EEE}}>"])
def test_date_math_that_is_not_understood_is_refused(name):
    with pytest.raises(search_client.SearchError, match="not understood"):
        search_snapshot.resolve(name, NOW)


HELD = ["alert-1", "log-1", "log-2", ".security-7"]


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ([], ["alert-1", "log-1", "log-2"]),
        (["*", "-log-2"], ["alert-1", "log-1"]),
        (["log-*", "alert-1"], ["alert-1", "log-1", "log-2"]),
        ([".sec*"], [".security-7"]),
        (["_all"], ["alert-1", "log-1", "log-2"]),
        (["-log-*"], []),
    ],
)
def test_indices_are_selected_by_patterns_and_the_servers_own_only_by_name(patterns, names):
    assert search_snapshot.chosen(HELD, patterns) == names


@pytest.mark.parametrize(
    ("pattern", "replacement", "name"),
    [(None, None, "log-1"), ("(.+)", "old-$1", "old-log-1"), ("log", "", "-1"), ("(l)(o)", "$2$1", "olg-1")],
)
def test_names_are_replaced_as_the_server_does(pattern, replacement, name):
    assert search_snapshot.renamed("log-1", pattern, replacement) == name


@pytest.mark.parametrize("replacement", ["$2", "$9"])
def test_a_group_that_is_not_there_is_refused(replacement):
    with pytest.raises(search_client.SearchError, match="do not go together"):
        search_snapshot.renamed("log-1", "(.+)", replacement)


def plan(existing=None, patterns=(), pattern=None, replacement=None, overwrite=False):
    snapshot = {"snapshot": "s", "indices": ["a", "b"], "data_streams": ["stream"]}
    return search_snapshot.plan_restore(snapshot, existing or {}, list(patterns), pattern, replacement, overwrite)


def test_a_closed_index_is_replaced_without_closing_it():
    assert plan({"a": "close"}).overwritten == ["a"]
    assert plan({"a": "close"}).to_close == []


def test_data_streams_are_restored_by_their_own_names():
    todo = plan(patterns=["a", "stream"], pattern="^", replacement="old-")
    assert (todo.targets, todo.data_streams) == ({"a": "old-a"}, {"stream": "old-stream"})
    assert todo.sources == ["a", "stream"]


def test_two_indices_under_one_name_are_refused():
    with pytest.raises(search_client.SearchError, match="Several indices would be restored as x"):
        plan(pattern=".", replacement="x")
