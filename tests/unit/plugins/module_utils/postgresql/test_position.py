# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where PostgreSQL's data end, by what pg_controldata and pg_waldump of 15.20 said; those of 17.12 differ in the names of segments."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import position

FIXTURE = Path(__file__).parents[3] / "fixtures" / "postgresql" / "controldata_15.20_promoted.txt"
SEGMENT = 16 << 20
WANTED = "pg_waldump: error: error in WAL record at 0/304F388: invalid record length at 0/304F3B0: wanted 24, got 0\n"


@pytest.mark.parametrize(
    ("said", "lsn"),
    [
        (WANTED, "0/304F3B0"),
        # The segment was left by pg_switch_wal, and the next one is not there.
        ('pg_waldump: error: could not find file "000000020000000000000004": No such file or directory\n', "0/4000000"),
        # The next segment was recycled, and has the pages of an old one.
        (
            "pg_waldump: error: error in WAL record at 0/3FFFF98: unexpected pageaddr 0/1000000 in log segment 000000010000000000000004, offset 0\n",
            "0/4000000",
        ),
        (
            "pg_waldump: error: error in WAL record at 0/3FFFF98: unexpected pageaddr 0/1000000 in WAL segment 000000010000000000000004, LSN 0/4000000,"
            " offset 0\n",
            "0/4000000",
        ),
        # The same end, with a next segment that holds zeros.
        (
            "pg_waldump: error: error in WAL record at 0/3FFFF98: invalid record length at 0/4000028: expected at least 24, got 0\n",
            "0/4000000",
        ),
        ("pg_waldump: error: could not find a valid record after 0/304F458\n", None),
    ],
)
def test_the_end_of_the_wal_is_where_pg_waldump_ended(said, lsn):
    found = position.end_in(said, SEGMENT)
    assert (None if found is None else position.text(found)) == lsn


def test_pg_control_is_read():
    control = position.parse(FIXTURE.read_text())
    assert (control["timeline"], control["segment"], control["state"]) == (2, SEGMENT, "shut down")
    assert position.text(control["redo"]) == "0/4000028"


def standby(tmp_path, *names):
    for name in names:
        (tmp_path / name).touch()
    return tmp_path


CONTROL = {
    "timeline": 1, "checkpoint": position.number("0/2000060"), "redo": position.number("0/2000028"), "recovered_timeline": 1,
    "recovered": position.number("0/2000100"), "segment": SEGMENT,
}  # fmt: skip


def test_what_a_standby_has_received_counts_and_not_only_its_restart_point(tmp_path):
    wal = standby(tmp_path, "000000010000000000000002", "000000010000000000000003", "archive_status")
    asked = []

    def run(command, environ_update):
        asked.append(command[-2:])
        return 1, "", WANTED

    assert position.end(run, "pg_waldump", wal, CONTROL) == (1, position.number("0/304F3B0"))
    assert asked == [["--timeline=1", "--start=0/2000028"]]


def test_a_timeline_that_was_followed_since_the_restart_point_counts(tmp_path):
    wal = standby(tmp_path, "000000010000000000000002", "00000002.history", "000000020000000000000003")

    def run(command, environ_update):
        assert command[-2:] == ["--timeline=2", "--start=0/3000000"]
        return 1, "", WANTED

    assert position.end(run, "pg_waldump", wal, CONTROL) == (2, position.number("0/304F3B0"))


# What pg_waldump of 15.18 printed of a primary that archives, stopped, started and stopped again with nothing written between, and that of 17.12 of
# one that was stopped once; descriptions are cut.
RECORDS = {
    "15": """\
rmgr: XLOG        len (rec/tot):    114/   114, tx:          0, lsn: 0/20000028, prev 0/1F0000A0, desc: CHECKPOINT_SHUTDOWN redo 0/20000028; tli 2; shutdown
rmgr: XLOG        len (rec/tot):     24/    24, tx:          0, lsn: 0/1F0000A0, prev 0/1F000028, desc: SWITCH
rmgr: XLOG        len (rec/tot):    114/   114, tx:          0, lsn: 0/1F000028, prev 0/1E000650, desc: CHECKPOINT_SHUTDOWN redo 0/1F000028; tli 2; shutdown
rmgr: XLOG        len (rec/tot):     24/    24, tx:          0, lsn: 0/1E000650, prev 0/1E000628, desc: SWITCH
rmgr: Transaction len (rec/tot):     34/    34, tx:        772, lsn: 0/1E000628, prev 0/1E000180, desc: COMMIT 2026-11-30 22:20:48.704666 UTC
""",
    "17": """\
rmgr: XLOG        len (rec/tot):    114/   114, tx:          0, lsn: 0/1E000028, prev 0/1D000550, desc: CHECKPOINT_SHUTDOWN redo 0/1E000028; tli 1; shutdown
rmgr: XLOG        len (rec/tot):     24/    24, tx:          0, lsn: 0/1D000550, prev 0/1D000528, desc: SWITCH
rmgr: Transaction len (rec/tot):     34/    34, tx:        785, lsn: 0/1D000528, prev 0/1D0000A0, desc: COMMIT 2026-11-30 22:27:31.073169 UTC
""",
}


def stopped(timeline, checkpoint):
    return {**CONTROL, "timeline": timeline, "checkpoint": position.number(checkpoint)}


def waldump(release, then=""):
    """As pg_waldump answers, with the record at a position alone; then: the record after the checkpoint, if more was written."""

    def run(command, environ_update):
        begin = next(word for word in command if word.startswith("--start=")).partition("=")[2]
        said = [line for line in RECORDS[release].splitlines() if f"lsn: {begin}," in line]
        more = [then] if then and command[-1] == "--limit=2" else []
        return int(not more), "\n".join(said + more) + "\n", WANTED

    return run


@pytest.mark.parametrize(
    ("release", "control", "end", "lsn"),
    [
        ("15", stopped(2, "0/20000028"), "0/200000A0", "0/1E000650"),
        ("17", stopped(1, "0/1E000028"), "0/1E0000A0", "0/1D000550"),
    ],
)
def test_what_a_clean_stop_writes_last_are_no_data(release, control, end, lsn):
    found = position.before_stop(
        waldump(release), "pg_waldump", Path("pg_wal"), control, (control["timeline"], position.number(end))
    )
    assert position.text(found) == lsn


END = (2, position.number("0/200000A0"))


def test_a_checkpoint_that_more_was_written_after_is_none_of_a_stop():
    more = waldump("15", then=RECORDS["15"].splitlines()[-1])
    assert position.before_stop(more, "pg_waldump", Path("pg_wal"), stopped(2, "0/20000028"), END) == END[1]


# pg_control is of an older timeline than the WAL; its latest checkpoint is an ordinary one, or is in no file that is left.
@pytest.mark.parametrize("control", [stopped(1, "0/20000028"), stopped(2, "0/1E000628"), stopped(2, "0/2000060")])
def test_without_a_checkpoint_of_a_stop_all_are_data(control):
    assert position.before_stop(waldump("15"), "pg_waldump", Path("pg_wal"), control, END) == END[1]


def test_a_position_behind_the_header_of_a_page_is_its_begin():
    segment = SEGMENT
    places = ["0/4000028", "0/4002018", "0/4002028", "0/4002020"]
    found = [position.text(position.before_header(position.number(one), segment)) for one in places]
    assert found == ["0/4000000", "0/4002000", "0/4002028", "0/4002020"]


def test_files_without_a_valid_record_are_no_position(tmp_path):
    wal = standby(tmp_path, "000000020000000000000009")

    def run(command, environ_update):
        return 1, "", "pg_waldump: error: could not find a valid record after 0/9000000\n"

    assert position.end(run, "pg_waldump", wal, CONTROL) == (1, position.number("0/2000100"))


def test_a_directory_without_data_has_no_position(tmp_path):
    assert position.look(None, str(tmp_path)) == {
        "version": "", "system_identifier": "", "state": "", "timeline": 0, "lsn": "", "data_lsn": "", "running": False,
    }  # fmt: skip
