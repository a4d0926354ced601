# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Records are written whole, once, and never over another one."""

from __future__ import annotations

import json

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.backup import record as records

NOON = 1_796_040_000


def of(act="take", started=NOON, verdict="ok"):
    return {**records.new("demo", "queue", act, "backup1", started), "verdict": verdict}


def test_a_record_is_read_as_it_was_sealed(tmp_path):
    path = records.seal(tmp_path, of())
    assert path == tmp_path / "records/queue/20261130T120000Z-take.json"
    ((found,), faults) = records.read(tmp_path, "queue")
    assert faults == [] and found == {**of(), "name": path.name}
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_two_runs_of_one_second_have_a_record_each(tmp_path):
    paths = [records.seal(tmp_path, of(verdict=verdict)) for verdict in ("ok", "failed")]
    assert [one["verdict"] for one in records.read(tmp_path, "queue")[0]] == ["ok", "failed"]
    assert paths[1].name == "20261130T120001Z-take.json"


def test_a_file_system_without_hard_links_does_as_well(tmp_path, monkeypatch):
    def no_links(*_unused):
        raise OSError("Operation not supported")

    monkeypatch.setattr(records.os, "link", no_links)
    assert [records.seal(tmp_path, of()).name for _turn in range(2)] == [
        "20261130T120000Z-take.json",
        "20261130T120001Z-take.json",
    ]


def test_records_are_in_the_order_of_their_content_whatever_the_files_times(tmp_path):
    for started in (NOON + 50, NOON, NOON + 20):
        records.seal(tmp_path, of(started=started))
    assert [one["started"] - NOON for one in records.read(tmp_path, "queue")[0]] == [0, 20, 50]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"kind": "queue"}',
        json.dumps({**of(), "verdict": "good"}),
        json.dumps({**of(), "kind": "other"}),
    ],
)
def test_what_is_no_record_is_told_and_costs_the_others_nothing(tmp_path, text):
    records.seal(tmp_path, of())
    (tmp_path / "records/queue/20261130T130000Z-take.json").write_text(text)
    found, faults = records.read(tmp_path, "queue")
    assert len(found) == 1 and len(faults) == 1 and "20261130T130000Z-take.json" in faults[0]


def test_an_unfinished_record_is_none(tmp_path):
    place = records.directory(tmp_path, "queue")
    place.mkdir(parents=True)
    (place / ".20261130T120000Z-take.json.17").write_text("{")
    assert records.read(tmp_path, "queue") == ([], [])
    assert records.read(tmp_path, "other") == ([], [])


def test_a_record_says_nothing_good_until_its_run_has_ended():
    assert records.new("demo", "queue", "take", "backup1", NOON)["verdict"] == "unknown"


def test_a_moment_is_that_of_the_content_and_a_label_the_time_where_there_is_none():
    assert (
        records.moment({"started": 5, "point": {"time": 3}}) == 3 and records.moment({"started": 5, "point": {}}) == 5
    )
    assert records.label({"started": NOON}) == "20261130T120000Z" and records.label({"started": 1, "label": "x"}) == "x"
