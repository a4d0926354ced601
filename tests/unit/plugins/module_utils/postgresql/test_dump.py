# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kind dump: what is dumped from where, and what of a dump is believed. The list is one of pg_restore 15.18."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common.backup import (
    FAILED,
    UNVERIFIED,
    BackupError,
    checksums,
)
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import dump
from program_replay import Replay

LIST = (Path(__file__).parents[3] / "fixtures" / "postgresql" / "pg_restore_15.18_list.txt").read_text()
CLUSTER = {
    "members": [{"name": "node1", "address": "192.0.2.1"}],
    "port": 5432,
    "user": "utmstack_backup",
    "password": "secret",
    "ca": "/etc/ca.crt",
    "account": None,
}
CONFLICT = (
    'pg_dump: error: Dumping the contents of table "t" failed: PQgetResult() failed.\n'
    "pg_dump: detail: Error message from server: ERROR:  canceling statement due to conflict with recovery\n"
    "pg_dump: detail: Command was: COPY public.t (i, x) TO stdout;\n"
)


@pytest.mark.parametrize(
    ("database", "name"),
    [("utmstack", "utmstack.dump"), ("a/../b", "a%2F..%2Fb.dump"), ("Ümlaut 1", "%C3%9Cmlaut 1.dump"), (".", ".dump")],
)
def test_a_database_of_any_name_has_a_file_in_the_directory(database, name):
    assert dump.file_name(database) == name
    assert "/" not in name


def test_two_databases_have_two_files():
    names = ["a", "A", "a b", "a%20b", "a/b", "a.b"]
    assert len({dump.file_name(name) for name in names}) == len(names)


def test_a_list_tells_database_and_version():
    assert dump.parse_list(LIST, "utmstack.dump") == {"database": "utmstack", "version": "15"}


@pytest.mark.parametrize("text", ["", ";\n; Archive created at 2026-11-30 19:18:48 UTC\n"])
def test_a_list_of_something_else_is_refused(text):
    with pytest.raises(BackupError, match=r"x\.dump is no dump of a database") as told:
        dump.parse_list(text, "x.dump")
    assert told.value.code == FAILED


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """psql of a cluster with one database of one table, pg_dump, pg_dumpall and pg_restore."""
    found = {
        name: Replay(tmp_path, monkeypatch, name, reads=name == "psql")
        for name in ("psql", "pg_dump", "pg_dumpall", "pg_restore")
    }
    table = [{"name": "public.t", "file": 1, "in": 0, "out": 0}]
    (
        found["psql"]
        .reply("pg_database", '["utmstack"]\n')
        .reply("pg_relation_filenode", json.dumps(table))
        .reply("pg_current_wal_lsn", '"0/12000088"\n')
        .reply("pg_last_wal_replay_lsn", "true\n")
        .reply("count(*)", '{"public.t" : 7}\n')
        .reply("server_version", '"15.18 (Debian 15.18-0+deb12u1)"\n')
    )
    return found


def written(tools, name, path, text):
    """Have a program also write its file."""
    program = tools[name].place.parent / "programs" / name
    program.write_text(
        program.read_text().replace(
            "import json, os", f"import pathlib; pathlib.Path({str(path)!r}).write_text({text!r})\nimport json, os"
        )
    )


@pytest.fixture
def place(tmp_path, tools):
    directory = tmp_path / "20261130T023000Z"
    directory.mkdir()
    written(tools, "pg_dumpall", directory / "globals.sql", "CREATE ROLE utmstack;\n")
    written(tools, "pg_dump", directory / "utmstack.dump", "PGDMP")
    return directory


def test_every_database_is_dumped_with_the_roles_but_not_their_passwords(tools, place):
    tools["pg_dump"].reply("--format=custom")
    tools["pg_dumpall"].reply("--no-role-passwords")
    found = dump.take(CLUSTER, place)
    assert found["files"] == checksums(place)
    assert set(found["files"]) == {"globals.sql", "utmstack.dump"}
    assert found["manifest"]["databases"] == {
        "utmstack": {"tables": {"public.t": [7, 7]}, "uncounted": 0, "file": "utmstack.dump"}
    }
    assert (found["source"], found["bytes"]) == ("standby", 27)
    assert "--globals-only" in tools["pg_dumpall"].calls[0]
    assert not any("secret" in word for tool in tools.values() for call in tool.calls for word in call)


def test_a_dump_that_a_standby_breaks_off_is_made_of_the_primary(tools, place):
    tools["pg_dump"].reply("", rc=1, err=CONFLICT, always=False).reply("--format=custom")
    tools["pg_dumpall"].reply("")
    assert dump.take(CLUSTER, place)["source"] == "primary"
    assert len(tools["pg_dump"].calls) == 2


def test_a_dump_that_is_refused_says_why(tools, place):
    tools["pg_dump"].reply(
        "", rc=1, err="pg_dump: error: query failed: ERROR:  permission denied for large object 16412\n"
    )
    tools["pg_dumpall"].reply("")
    with pytest.raises(
        BackupError, match="pg_dump of database utmstack ended with 1: .*permission denied for large object"
    ):
        dump.take(CLUSTER, place)
    assert len(tools["pg_dump"].calls) == 1


@pytest.fixture
def kept(tmp_path, tools):
    directory = tmp_path / "kept"
    directory.mkdir()
    (directory / "utmstack.dump").write_text("PGDMP")
    (directory / "globals.sql").write_text("CREATE ROLE utmstack;\n")
    tools["pg_restore"].reply("--list", LIST)
    return directory


def record(directory, **other):
    return {
        "act": "take",
        "verdict": "ok",
        "started": 1,
        "files": checksums(directory),
        "manifest": {"databases": {"utmstack": {"tables": {"public.t": [7, 7]}, "file": "utmstack.dump"}}},
        **other,
    }


def test_a_directory_tells_what_it_has(kept):
    found = dump.inspect(kept)
    assert found["databases"] == {"utmstack": "utmstack.dump"}
    assert found["software"] == {"postgresql": "15"}
    assert found["files"] == checksums(kept)


@pytest.mark.parametrize("missing", ["utmstack.dump", "globals.sql"])
def test_a_directory_that_lacks_a_part_is_damaged(kept, missing):
    (kept / missing).unlink()
    with pytest.raises(BackupError, match=r"has no dumps of databases, or no globals\.sql") as told:
        dump.inspect(kept)
    assert told.value.code == FAILED


def test_a_cut_dump_is_damaged(tools, tmp_path):
    (tmp_path / "globals.sql").touch()
    (tmp_path / "utmstack.dump").write_text("PGDMP")
    tools["pg_restore"].reply("--list", rc=1, err="pg_restore: error: could not read from input file: end of file\n")
    with pytest.raises(BackupError, match=r"utmstack\.dump is damaged: .*end of file") as told:
        dump.inspect(tmp_path)
    assert told.value.code == FAILED


def test_the_record_of_a_backup_is_known_by_its_files(kept):
    own, older = record(kept), record(kept, files={"utmstack.dump": "0", "globals.sql": "0"})
    assert dump.record_of([older, own], checksums(kept)) is own


def test_changed_files_are_damage_and_unknown_ones_prove_nothing(kept):
    own = record(kept)
    changed = {**checksums(kept), "utmstack.dump": "0" * 64}
    with pytest.raises(BackupError, match=r"files are not as they were written: utmstack\.dump") as told:
        dump.record_of([own], changed)
    assert told.value.code == FAILED
    with pytest.raises(BackupError, match="there is no record") as told:
        dump.record_of([record(kept, verdict="failed")], checksums(kept))
    assert told.value.code == UNVERIFIED


class Server:
    """What _globals and _restore ask of a scratch server."""

    def __init__(self, bin_directory):
        from ansible_collections.utmstack.ha.plugins.module_utils.postgresql.access import Access

        self.bin, self.account, self.access = bin_directory, None, Access({"PGHOST": "/nowhere"})


def test_only_the_first_user_may_be_there_already(tools, kept):
    present = 'psql:/x/globals.sql:14: ERROR:  role "postgres" already exists\n'
    tools["psql"].replies.clear()
    tools["psql"].reply("--file", err=present, always=False)
    dump._globals(Server(None), kept / "globals.sql", 10)
    tools["psql"].reply("--file", err=f'{present}psql:/x/globals.sql:20: ERROR:  role "app" does not exist\n')
    with pytest.raises(BackupError, match='globals.sql can\'t be restored: .*role "app" does not exist'):
        dump._globals(Server(None), kept / "globals.sql", 10)


def test_a_dump_that_cannot_be_restored_says_why(tools, kept, tmp_path):
    tools["pg_restore"].reply("--exit-on-error", rc=1, err="pg_restore: error: could not uncompress data: (null)\n")
    with pytest.raises(BackupError, match=r"utmstack\.dump can't be restored: .*could not uncompress data") as told:
        dump._restore(Server(tmp_path / "programs"), "utmstack", kept / "utmstack.dump", 10)
    assert told.value.code == FAILED
