# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The drill's bank: transfers between a few accounts, by transactions of several statements that meet in rows.

Two such clients, on two ports, use the same accounts. What they move must stay in sum, on every member; and a transaction whose client
was cut off from it is watched until it is over, since its locks keep others waiting.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from .postgresql import READ_BACK_S, PostgreSQL, hanging_up, psycopg_connect, refused
from .records import Failed, Unknown

ACCOUNTS, BALANCE, LARGEST = 10, 1000, 100
# Nearly always somebody holds a row, so that a fault finds a lock.
HOLD_S = 0.2
# For a whole transfer, and the hold: a lock that is gone before its client has noticed can't be measured.
TRANSFER_S = 2.0
# For each of two rows: both are less than that, so that no transfer is given up over a lock.
LOCK_MS = 600
ASK_EVERY_S = 0.05
# How long one record waits for what an earlier one has left behind.
ASK_FOR_S = 1.0


@dataclass
class Transfer:
    """An open transaction: its id and its server, when the last answer came, and whether it was met after its client was cut off."""

    transaction: str
    address: str
    answered: float
    met: bool = False


class Bank(PostgreSQL):
    """settings: as PostgreSQL's. The port is also the client's name in the journal."""

    has_accounts = True

    def __init__(
        self, settings: dict, run: str, ca: str, connect=psycopg_connect, clock=time.monotonic, sleep=time.sleep
    ):
        super().__init__(settings, run, ca, connect)
        self._accounts, self._table = f'"drill_{run}_accounts"', f'"drill_{run}_journal"'
        self._port = int(settings["port"])
        self._limit = settings.get("timeout_s", TRANSFER_S)
        self._rows = f"(SELECT number FROM {self._table} WHERE port = {self._port}) AS own"
        self._clock, self._sleep = clock, sleep
        self._left: Transfer | None = None
        self._waited: float | None = None

    def prepare(self) -> None:
        """Open the accounts, if the other client has not. Raises psycopg's errors."""
        with self._open(*self._address) as connection:
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {self._accounts} (id int PRIMARY KEY, balance bigint NOT NULL)"
            )
            connection.execute(
                f"INSERT INTO {self._accounts} SELECT id, {BALANCE} FROM generate_series(1, {ACCOUNTS}) AS id ON CONFLICT DO NOTHING"
            )
            # Without a unique constraint, so that a transfer that happened twice is there twice.
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {self._table} (port int NOT NULL, number bigint NOT NULL, source int NOT NULL,"
                " target int NOT NULL, amount bigint NOT NULL, written timestamptz DEFAULT now())"
            )

    def write(self, number: int) -> str:
        """Make a transfer; returns the primary. Raises Failed or Unknown, and Failed while an earlier one's locks are left behind."""
        try:
            connection = self._kept()
        except Exception as error:
            raise Failed(str(error)) from error
        if self._left:
            self._wait(connection)
        self._said.clear()
        transfer, committing = None, False
        try:
            with hanging_up(connection, self._limit + HOLD_S):
                transfer = self._begin(connection)
                for statement, values in self._statements(number):
                    connection.execute(statement, values)
                    transfer.answered = self._clock()
                    if statement.endswith("FOR UPDATE"):
                        self._sleep(HOLD_S)
                committing = True
                connection.execute("COMMIT")
        except Exception as error:
            self.close()
            if transfer and not refused(error):
                self._left = transfer
            # What was never asked to commit cannot have happened.
            raise (Unknown if committing and not refused(error) else Failed)(str(error)) from error
        if self._said:
            raise Unknown(self._said[0])
        return self._names.get(transfer.address, transfer.address)

    def lock_wait(self) -> float | None:
        """For how long, since its last answer, the last transfer that was cut off has kept its locks from a client that came back.

        In s; 0 where it was over by then. None where nothing new was seen. Asked once after each write.
        """
        waited, self._waited = self._waited, None
        return waited

    def unbalanced(self, member: str) -> list[str]:
        """What is wrong with a member's accounts, each as the end of a sentence. Raises psycopg's errors."""
        with self._open(*self.members[member]) as connection, hanging_up(connection, READ_BACK_S):
            rows = connection.execute(
                f"SELECT id, balance, {BALANCE} + coalesce((SELECT sum(CASE id WHEN target THEN amount ELSE -amount END)"
                f" FROM {self._table} WHERE id IN (source, target)), 0) FROM {self._accounts} ORDER BY id"
            ).fetchall()
        return wrong(rows)

    def clean(self) -> None:
        """Close the accounts."""
        with self._open(*self._address) as connection:
            connection.execute(f"DROP TABLE IF EXISTS {self._accounts}, {self._table}")

    def _begin(self, connection) -> Transfer:
        connection.execute("BEGIN")
        ((transaction, address),) = connection.execute(
            "SELECT pg_current_xact_id()::text, host(inet_server_addr())"
            f" FROM set_config('lock_timeout', '{LOCK_MS}', true)"
        ).fetchall()
        return Transfer(transaction, address or "", self._clock())

    def _statements(self, number: int) -> list[tuple[str, tuple]]:
        """The statements of a transfer. Rows are locked in ascending order, so that nobody waits for each other."""
        source, target = random.sample(range(1, ACCOUNTS + 1), 2)
        amount = random.randint(1, LARGEST)
        change = f"UPDATE {self._accounts} SET balance = balance + %s WHERE id = %s"
        return [
            (f"SELECT FROM {self._accounts} WHERE id IN (%s, %s) ORDER BY id FOR UPDATE", (source, target)),
            (change, (-amount, source)),
            (change, (amount, target)),
            (
                f"INSERT INTO {self._table} (port, number, source, target, amount) VALUES (%s, %s, %s, %s, %s)",
                (self._port, number, source, target, amount),
            ),
        ]

    def _wait(self, connection) -> None:
        """Wait until the transfer that was left is over. Raises Failed where it is not yet."""
        left, until = self._left, self._clock() + ASK_FOR_S
        while True:
            try:
                held = self._held(connection, left)
            except Exception as error:
                self.close()
                raise Failed(str(error)) from error
            now = self._clock()
            left.met = left.met or held
            self._waited = round(now - left.answered, 3) if left.met else 0.0
            if not held:
                self._left = None
                return
            if now >= until:
                raise Failed(f"the locks of a transaction that was cut off {self._waited:.1f} s ago are still held")
            self._sleep(ASK_EVERY_S)

    def _held(self, connection, left: Transfer) -> bool:
        try:
            with hanging_up(connection, self._limit):
                ((address, status),) = connection.execute(
                    "SELECT host(inet_server_addr()), pg_xact_status(%s::text::xid8)", (left.transaction,)
                ).fetchall()
        except Exception as error:
            # Another primary may not have come to this id yet.
            if refused(error):
                return False
            raise
        return (address or "", status) == (left.address, "in progress")


CLIENT = Bank


def wrong(rows: list[tuple[int, int, int]]) -> list[str]:
    """What is wrong with (account, its balance, its balance as the journal has it), each as the end of a sentence."""
    found, total = [], sum(balance for _account, balance, _journal in rows)
    if total != ACCOUNTS * BALANCE:
        found.append(f"the sum is {total}, not {ACCOUNTS * BALANCE}")
    other = [str(account) for account, balance, journal in rows if balance != journal]
    if other:
        found.append(f"accounts {', '.join(other)} are not what the journal says")
    return found
