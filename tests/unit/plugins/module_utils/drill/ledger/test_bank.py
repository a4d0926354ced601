# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The drill's bank: what becomes of a transfer, what is wrong with accounts, and how long a lock was left behind."""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger import bank as drill_bank
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger import ledger as drill_ledger
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger.bank import (
    ACCOUNTS,
    BALANCE,
    HOLD_S,
    Bank,
    wrong,
)
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger.judge import judge
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger.path import Path
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger.records import Book, Failed, Ledger, Unknown
from drill_stores import RUN, SETTINGS, PostgresError, Store, Time, bank

CUT = "server closed the connection unexpectedly"
RIGHT = [(account, BALANCE, BALANCE) for account in range(1, ACCOUNTS + 1)]


class Server:
    """PostgreSQL as one client sees it, with a clock that statements and sleeping move on.

    cut: a statement's beginning -> the error that it meets once. holds_until: when the transaction that was cut off is over.
    """

    def __init__(self, cut=None, holds_until=0.0):
        self.cut, self.holds_until, self.now = dict(cut or {}), holds_until, 100.0
        self.address, self.statements, self.connected, self.refuses = "10.0.1.11", [], 0, False
        self.path = Bank(SETTINGS, RUN, "/ca.crt", self.connect, clock=lambda: self.now, sleep=self.pass_by)

    def pass_by(self, seconds):
        self.now += seconds

    def connect(self, **parameters):
        if self.refuses:
            raise PostgresError("connection refused")
        self.connected += 1
        return SimpleNamespace(execute=self.execute, close=lambda: None, add_notice_handler=lambda handler: None)

    def execute(self, statement, values=()):
        self.statements.append(statement)
        for beginning in list(self.cut):
            if statement.startswith(beginning):
                raise self.cut.pop(beginning)
        if "pg_xact_status" in statement:
            rows = [(self.address, "in progress" if self.now < self.holds_until else "aborted")]
        else:
            rows = [("4711", self.address)]
        return SimpleNamespace(fetchall=lambda: rows)


def waits(server, writes):
    """What was noted of locks, write by write."""
    found = []
    for number in range(1, writes + 1):
        with suppress(Failed, Unknown):
            server.path.write(number)
        found.append(server.path.lock_wait())
        server.now += 0.05
    return found


# -- a transfer ----------------------------------------------------------------------------------------------------------


def test_a_transfer_moves_what_it_notes_and_holds_its_rows_before():
    server = Server()
    assert server.path.write(7) == "node1"
    assert [statement.split()[0] for statement in server.statements] == [
        "BEGIN", "SELECT", "SELECT", "UPDATE", "UPDATE", "INSERT", "COMMIT",
    ]  # fmt: skip
    assert "ORDER BY id FOR UPDATE" in server.statements[2]
    assert server.now == pytest.approx(100.0 + HOLD_S)
    (_lock, (source, target)), (_take, take), (_give, give), (_note, noted) = server.path._statements(7)
    assert take == (-noted[4], source)
    assert give == (noted[4], target)
    assert noted[:4] == (5432, 7, source, target)
    assert source != target


@pytest.mark.parametrize("at", ["BEGIN", "SELECT pg_current", "SELECT FROM", "UPDATE", "INSERT"])
def test_a_transfer_that_was_cut_off_before_its_commit_did_not_happen(at):
    with pytest.raises(Failed, match=CUT):
        Server({at: PostgresError(CUT)}).path.write(1)


@pytest.mark.parametrize(("severity", "outcome"), [(None, Unknown), ("FATAL", Unknown), ("ERROR", Failed)])
def test_nobody_can_say_what_became_of_a_commit_without_an_answer(severity, outcome):
    with pytest.raises(outcome):
        Server({"COMMIT": PostgresError("x", severity)}).path.write(1)


def test_the_server_gives_up_over_locks_before_the_client_hangs_up():
    assert 2 * drill_bank.LOCK_MS / 1000 < drill_bank.TRANSFER_S


# -- locks that were left behind -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["UPDATE", "INSERT", "COMMIT"])
def test_a_lock_that_is_left_behind_is_measured_from_the_last_answer(at):
    server = Server({at: PostgresError(CUT)}, holds_until=103.0)
    found = waits(server, 6)
    # The last answer came when the rows were held, or until then; what is not over is told as it is so far.
    measured = [wait for wait in found if wait is not None]
    assert found[0] is None
    assert measured == sorted(measured)
    assert 3.0 - HOLD_S <= measured[-1] <= 3.0 + 2 * drill_bank.ASK_EVERY_S
    assert found[-1] is None


def test_while_the_lock_is_there_nothing_else_is_tried():
    server = Server({"UPDATE": PostgresError(CUT)}, holds_until=1000.0)
    waits(server, 1)
    server.statements.clear()
    with pytest.raises(Failed, match="cut off 1.. s ago are still held"):
        server.path.write(2)
    assert server.statements
    assert all("pg_xact_status" in statement for statement in server.statements)


def test_what_was_over_when_the_client_was_back_was_in_nobodys_way():
    assert waits(Server({"UPDATE": PostgresError(CUT)}), 3) == [None, 0.0, None]


def test_an_error_of_the_server_leaves_no_lock():
    timeout = PostgresError("canceling statement due to lock timeout", "ERROR")
    assert waits(Server({"SELECT FROM": timeout}, holds_until=1000.0), 3) == [None, None, None]


@pytest.mark.parametrize("ahead", [False, True])
def test_another_primary_has_nothing_of_the_lost_one(ahead):
    cut = {"UPDATE": PostgresError(CUT)}
    if ahead:
        cut["SELECT host"] = PostgresError("transaction ID 4711 is in the future", "ERROR")
    server = Server(cut, holds_until=1000.0)
    waits(server, 1)
    server.address = "10.0.1.12"
    assert waits(server, 2) == [0.0, None]


def test_a_client_that_is_cut_off_again_while_it_waits_goes_on_waiting():
    server = Server({"UPDATE": PostgresError(CUT), "SELECT host": PostgresError(CUT)}, holds_until=100.9)
    found = waits(server, 3)
    assert found[:2] == [None, None]
    assert 0.6 < found[2] < 1.0
    assert server.connected == 3


def test_a_client_that_finds_nobody_has_waited_for_no_lock():
    server = Server({"UPDATE": PostgresError(CUT)}, holds_until=100.3)
    waits(server, 1)
    server.refuses = True
    assert waits(server, 20) == [None] * 20
    server.refuses = False
    assert waits(server, 1) == [0.0]


def test_the_verdict_has_the_longest_wait_of_the_ledger(tmp_path):
    server, time = Server({"COMMIT": PostgresError(CUT)}, holds_until=102.0), Time(5.0)
    book = Book(str(tmp_path / "bank.jsonl"))
    book.start(0.0, RUN, 4)
    drill_ledger.work(server.path, book, 4, time.clock, time)
    ledger = Ledger(str(tmp_path / "bank.jsonl"))
    longest = max(record.lock_wait for record in ledger.records() if record.lock_wait is not None)
    assert 1.7 < longest < 2.2
    path = Path()
    path.members = {}
    assert judge(path, ledger, 0.0)["lock_wait_s"] == longest


# -- accounts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({3: (900, 900), 4: (1100, 1100)}, []),
        ({3: (900, 1000)}, ["the sum is 9900, not 10000", "accounts 3 are not what the journal says"]),
        ({3: (900, 1000), 4: (1100, 1000)}, ["accounts 3, 4 are not what the journal says"]),
        ({3: (900, 900)}, ["the sum is 9900, not 10000"]),
    ],
    ids=["untouched", "moved", "half a transfer", "moved and not noted", "noted by half"],
)
def test_accounts_are_right_in_sum_and_by_the_journal(changes, found):
    rows = [(account, *changes.get(account, (balance, journal))) for account, balance, journal in RIGHT]
    assert wrong(rows) == found


def test_an_account_that_is_gone_is_found():
    assert wrong(RIGHT[1:]) == ["the sum is 9000, not 10000"]


def judged(tmp_path, store):
    path, time = bank(store), Time(5.0)
    book = Book(str(tmp_path / "bank.jsonl"))
    book.start(0.0, RUN, 4)
    drill_ledger.work(path, book, 4, time.clock, time)
    return judge(path, Ledger(str(tmp_path / "bank.jsonl")), 0.0, sleep=lambda seconds: None)


def test_accounts_that_are_right_everywhere_are_right(tmp_path):
    found = judged(tmp_path, Store())
    assert (found["sum_right"], found["missing"], found["problem"], found["lock_wait_s"]) == (True, 0, None, None)


def test_a_sum_that_is_wrong_on_one_member_is_wrong_and_told(tmp_path):
    store = Store()
    store.balances = {"node2": {4: BALANCE - 10}}
    found = judged(tmp_path, store)
    assert found["sum_right"] is False
    assert "on node2 the sum is 9990, not 10000; on node2 accounts 4" in found["problem"]


def test_a_transfer_that_was_acknowledged_and_lost_is_found(tmp_path):
    found = judged(tmp_path, Store(drop={5}))
    assert (found["missing"], found["missing_numbers"]) == (1, [5])


def test_what_nobody_could_look_at_is_not_right(tmp_path):
    assert judged(tmp_path, Store(unreadable={"node1", "node2", "node3"}))["sum_right"] is None
