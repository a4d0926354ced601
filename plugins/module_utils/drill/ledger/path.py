# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every path of the ledger can do."""

from __future__ import annotations

from collections.abc import Iterator


class Path:
    """A way on which an application reaches the platform. members: the name of each place with a copy of the records, to its address.

    None repeats anything by itself: a repetition would hide an outcome. What speaks is kept in `_connection` until close().
    """

    members: dict
    # Whether the records move something between accounts, so that unbalanced(member) tells what is wrong with a member's.
    has_accounts = False
    _connection = None

    def prepare(self) -> None:
        """Before the first write. Here nothing has to be there."""

    def write(self, number: int) -> str:
        """Write a record; returns the node that acknowledged. Raises Failed where it did not happen, any other error where nobody can say."""
        raise NotImplementedError

    def read(self, number: int) -> bool:
        """Whether the newest acknowledged record is there."""
        raise NotImplementedError

    def lock_wait(self) -> float | None:
        """For how long locks that were left behind were in the way of this write, in s; None where nothing new was seen. Asked once each."""
        return None

    def close(self) -> None:
        """End the connection; whatever comes next opens one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def settle(self) -> None:
        """Before reading back. Here nothing has to be done."""

    def present(self, member: str, numbers: Iterator[int]) -> Iterator[tuple[int, int]]:
        """(number, how often it is there) in ascending order, from one member's own copy. numbers: of the records that were sent."""
        raise NotImplementedError

    def clean(self) -> None:
        """Leave nothing in the store."""
        raise NotImplementedError
