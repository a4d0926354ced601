# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A server whose answers are kept as it gave them; it was tried on PostgreSQL 15 with a client that was at work."""

from __future__ import annotations

import json

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql.database_restore import (
    Database,
    DatabaseError,
    literal,
    names,
    quoted,
)

LABEL = "20261130T020007Z"
FACTS = {
    "names": {"app": "", "postgres": ""}, "bytes": 7000000, "owner": "app", "encoding": "UTF8", "collate": "C.UTF-8", "ctype": "C.UTF-8",
    "settings": [{"role": None, "setting": "work_mem=9MB"}, {"role": "app", "setting": "statement_timeout=5s"}],
    "grants": [{"to": None, "right": "CONNECT"}, {"to": "reader", "right": "CONNECT"}], "acl": True, "directory": "/d", "recovery": False,
}  # fmt: skip


class Server:
    """Answers as PostgreSQL did, and notes what it was told."""

    def __init__(self, facts=None, restored=0):
        self.facts, self.said, self.restored = json.loads(json.dumps(facts or FACTS)), [], restored

    def run(self, words, text):
        if text is None:
            self.said.append(" ".join(words))
            return self.restored, "", "pg_restore: error: could not read"
        if text.startswith("SELECT json_build_object(\n  'names'"):
            return 0, json.dumps(self.facts), ""
        self.said.append(text)
        return 0, "", ""

    def database(self, name="app"):
        return Database(self.run, name, LABEL, 5432, "17")


def test_a_dump_is_loaded_beside_with_owner_settings_and_rights_of_the_present_one():
    server = Server()
    assert server.database().load("/d/app.dump", "postgres")
    text = "\n".join(server.said)
    for words in (
        'CREATE DATABASE "app_restored_20261130T020007Z" OWNER "app" TEMPLATE template0 ENCODING \'UTF8\'', "--exit-on-error",
        'ALTER ROLE "app" IN DATABASE "app_restored_20261130T020007Z" SET "statement_timeout" TO \'5s\'', 'TO "reader"', "TO PUBLIC",
    ):  # fmt: skip
        assert words in text
    assert server.said[-2].startswith("COMMENT ON DATABASE")


def test_a_load_that_was_broken_off_is_done_anew_and_a_finished_one_is_not():
    partial = {**FACTS, "names": {**FACTS["names"], f"app_restored_{LABEL}": ""}}
    assert Server(partial).database().load("/d/app.dump", "postgres")
    loaded = {**FACTS, "names": {**FACTS["names"], f"app_restored_{LABEL}": f"restored from the dump {LABEL}"}}
    server = Server(loaded)
    assert not server.database().load("/d/app.dump", "postgres")
    assert server.said == []


def test_both_are_renamed_in_one_transaction_with_all_clients_out():
    loaded = {**FACTS, "names": {**FACTS["names"], f"app_restored_{LABEL}": f"restored from the dump {LABEL}"}}
    server = Server(loaded)
    assert server.database().swap()
    closed, renamed = server.said
    assert closed == 'ALTER DATABASE "app" ALLOW_CONNECTIONS false'
    lines = renamed.splitlines()
    assert "pg_terminate_backend" in lines[0]
    assert lines[1:] == [
        "BEGIN;", f'ALTER DATABASE "app" RENAME TO "app_before_{LABEL}";', f'ALTER DATABASE "app_restored_{LABEL}" RENAME TO "app";', "COMMIT;",
    ]  # fmt: skip


def test_a_second_swap_changes_nothing_and_one_without_a_load_is_refused():
    done = {**FACTS, "names": {"app": f"restored from the dump {LABEL}", f"app_before_{LABEL}": ""}}
    server = Server(done)
    assert not server.database().swap() and server.said == []
    with pytest.raises(DatabaseError, match="is absent"):
        Server().database().swap()


def test_a_dump_that_can_not_be_read_leaves_the_present_database_alone():
    server = Server(restored=1)
    with pytest.raises(DatabaseError, match="pg_restore ended with 1"):
        server.database().load("/d/app.dump", "postgres")
    assert not any('"app" ' in text and "RENAME" in text for text in server.said)


def test_a_standby_is_refused():
    with pytest.raises(DatabaseError, match="is a standby"):
        Server({**FACTS, "recovery": True}).database().load("/d/app.dump", "postgres")


def test_names_are_no_longer_than_postgresql_keeps_them():
    for name in names("x" * 63, LABEL):
        assert len(name) == 63 and name.endswith(LABEL)


def test_names_and_texts_are_quoted():
    assert (quoted('a"b'), literal("it's")) == ('"a""b"', "'it''s'")
