# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Numbers of rows, and the chain of witnesses."""

from __future__ import annotations

import json

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common.backup import BackupError
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import rows
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql.access import Access
from program_replay import Replay


def table(file=1, came=0, went=0):
    return {"name": "public.t", "file": file, "in": came, "out": went}


@pytest.mark.parametrize(
    ("before", "first", "after", "last", "allowed"),
    [
        # Nothing was written: exactly as many.
        (table(), 2000, table(), 2000, [2000, 2000]),
        # Only inserted: no fewer than before, no more than after.
        (table(came=5), 10, table(came=8), 13, [10, 16]),
        # A queue: as many at both ends, and any number between.
        (table(), 5, table(came=40, went=40), 5, [0, 45]),
        (table(went=3), 100, table(went=10), 93, [86, 100]),
        # TRUNCATE gives the table another file, and is no deletion of statistics.
        (table(file=1), 1000, table(file=2, came=10), 10, [0, 1010]),
        # Statistics were reset, so they say nothing of what was deleted.
        (table(came=900, went=900), 50, table(came=1, went=0), 51, [0, 51]),
    ],
)
def test_a_table_may_have_had_any_number_of_rows_in_between(before, first, after, last, allowed):
    assert rows.bounds({"t": before}, {"t": first}, {"t": after}, {"t": last}) == {"t": allowed}


@pytest.mark.parametrize(
    ("first", "after", "last"), [({}, {"t": table()}, {"t": 1}), ({"t": 1}, {}, {}), ({"t": 1}, {"t": table()}, {})]
)
def test_a_table_that_was_not_counted_twice_has_no_bounds(first, after, last):
    assert rows.bounds({"t": table()}, first, after, last) == {}


def test_other_numbers_of_rows_are_told():
    wanted = {"public.a": [5, 5], "public.b": [10, 16], "public.c": [1, 1], "public.d": [0, 0]}
    assert rows.differences(wanted, {"public.a": 4, "public.b": 16, "public.d": 0}, "utmstack") == [
        "table public.a of database utmstack has 4 rows, not 5",
        "table public.c of database utmstack is not there, or can't be read",
    ]
    assert rows.differences(wanted, {"public.a": 5, "public.b": 17, "public.c": 1, "public.d": 0}, "utmstack") == [
        "table public.b of database utmstack has 17 rows, not 10 to 16"
    ]


CHAIN = {"rows": 12, "last": 12, "time": 1796065841.3, "broken": None}


@pytest.mark.parametrize(
    ("wanted", "found", "faults"),
    [
        ({}, {}, []),
        ({"before": 11, "after": 12}, CHAIN, []),
        ({"before": 11, "after": 12}, {}, ["the witnesses are not there"]),
        ({"before": 13, "after": 14}, CHAIN, ["the last witness is number 12, not 13 to 14"]),
        ({"before": 9, "after": 10}, CHAIN, ["the last witness is number 12, not 9 to 10"]),
        ({"before": 11, "after": 12}, CHAIN | {"broken": 7}, ["the chain of witnesses is broken at number 7"]),
    ],
)
def test_witnesses_tell_up_to_where_a_restore_came(wanted, found, faults):
    assert rows.chain_faults(wanted, found) == faults


@pytest.fixture
def psql(tmp_path, monkeypatch):
    return Replay(tmp_path, monkeypatch, "psql", reads=True)


def test_rows_are_counted_of_each_table_with_a_limit(psql):
    psql.reply(
        "", '{"public.t" : 3000}\n{"public.\\"Odd.Name\\"" : 5}\n', err="ERROR:  canceling statement due to timeout\n"
    )
    found = rows.counts(Access({}), "utmstack", ["public.t", 'public."Odd.Name"', "public.slow"])
    assert found == {"public.t": 3000, 'public."Odd.Name"': 5}
    assert psql.read[0].splitlines()[1] == (
        'SELECT json_build_object(\'public."Odd.Name"\', (SELECT count(*) FROM ONLY public."Odd.Name"));'
    )


def test_a_database_that_cannot_be_counted_is_a_failure(psql):
    psql.reply("", rc=2, err="psql: error: connection to server failed: FATAL:  no pg_hba.conf entry\n")
    with pytest.raises(BackupError, match="rows of database utmstack can't be counted: .*no pg_hba.conf entry"):
        rows.counts(Access({}), "utmstack", ["public.t"])


def test_a_name_cannot_end_its_literal():
    assert rows.literal("o'clock") == "'o''clock'"


def test_tables_are_counted_before_and_after_where_all_is_replayed(psql, monkeypatch):
    monkeypatch.setattr(rows, "pause", lambda _seconds: None)
    known = [table() | {"name": "public.t"}]
    (
        psql.reply("pg_database", '["utmstack"]\n')
        .reply("pg_relation_filenode", json.dumps(known), always=False)
        .reply("pg_relation_filenode", json.dumps([known[0] | {"in": 2}]))
        .reply("pg_current_wal_lsn", '"0/12000088"\n')
        # The standby is behind once.
        .reply("pg_last_wal_replay_lsn", "false\n", always=False)
        .reply("pg_last_wal_replay_lsn", "true\n")
        .reply("count(*)", '{"public.t" : 7}\n', always=False)
        .reply("count(*)", '{"public.t" : 9}\n')
    )
    census = rows.Census(Access({}))
    assert census.end() == {"utmstack": {"tables": {"public.t": [7, 11]}, "uncounted": 0}}


def test_a_witness_follows_the_one_before(psql):
    psql.reply("to_regclass", "false\n").reply("CREATE TABLE").reply("INSERT INTO")
    rows.witness(Access({}))
    assert [text.split()[0] for text in psql.read] == ["SELECT", "\\set", "\\set"]
    # One at a time, in one transaction.
    assert psql.read[-1].index("BEGIN") < psql.read[-1].index("pg_advisory_xact_lock") < psql.read[-1].index("INSERT")


def test_a_witness_that_is_refused_is_told(psql):
    psql.reply("to_regclass", "true\n").reply(
        "INSERT", rc=3, err="ERROR:  cannot execute INSERT in a read-only transaction\n"
    )
    with pytest.raises(BackupError, match="no witness could be written: ERROR:  cannot execute INSERT"):
        rows.witness(Access({}))
