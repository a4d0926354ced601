# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The drill's way to Redis: a client that asks the sentinels for the master, and a list of numbers."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator

from ...redis import client as redis_client
from .path import Path
from .records import Failed, Unknown

SENTINEL_S = 1.0
# A planned hand-over holds commands for 2.5 s (docs/failover.md, "The client's side").
ANSWER_S = 3.0
# A frozen master's kernel still takes connections, and nobody answers on them.
CONNECT_S = 1.0
PAGE = 1000
# A write whose client had given up may still come in later than its successors, by some seconds' worth.
DISORDER = 10 * PAGE


class Redis(Path):
    """settings: sentinels [[host, port]], master_name, members name -> [address, port], and two logins."""

    def __init__(self, settings: dict, run: str, ca: str, network=redis_client.Network):
        self.members = settings["members"]
        self._names = {address: name for name, (address, _port) in self.members.items()}
        self._sentinels = [tuple(sentinel) for sentinel in settings["sentinels"]]
        self._master_name = settings["master_name"]
        login = settings.get("sentinel_username"), settings.get("sentinel_password")
        self._to_sentinel = network(ca, *login, SENTINEL_S)
        self._to_data = network(
            ca, settings.get("username"), settings.get("password"), settings.get("timeout_s", ANSWER_S), CONNECT_S
        )
        self._key = f"drill:{run}"
        self._node = ""

    def prepare(self) -> None:
        """Nothing has to be there before the first write. Raises Failed where there is no master."""
        self._kept()

    def write(self, number: int) -> str:
        """Append a number; returns the master. Raises Failed or Unknown."""
        connection = self._kept()
        try:
            connection.call("RPUSH", self._key, number)
        except redis_client.RedisError as error:
            # Also after a refusal: who is no master now, or lacks replicas, may not be the master that sentinels name.
            self.close()
            self._doubt()
            raise (Failed if error.answered else Unknown)(str(error)) from error
        return self._node

    def read(self, number: int) -> bool:
        """Whether the master has the number near the list's end."""
        try:
            return self._kept().call("LPOS", self._key, number, "RANK", -1, "MAXLEN", PAGE) is not None
        except redis_client.RedisError:
            self.close()
            raise

    def present(self, member: str, numbers: Iterator[int]) -> Iterator[tuple[int, int]]:
        """(number, how often it is there) in ascending order, from one member's own copy. Raises RedisError."""
        with self._to_data.connect(*self.members[member]) as connection:
            for number, group in itertools.groupby(ascending(self._list(connection), DISORDER)):
                yield number, len(list(group))

    def clean(self) -> None:
        """Remove the list."""
        self._kept().call("UNLINK", self._key)
        self.close()

    def _list(self, connection) -> Iterator[int]:
        for start in itertools.count(0, PAGE):
            page = connection.call("LRANGE", self._key, start, start + PAGE - 1)
            yield from map(int, page)
            if len(page) < PAGE:
                return

    def _kept(self):
        if self._connection is None:
            try:
                address, port = self._master()
            except redis_client.RedisError as error:
                raise Failed(str(error)) from error
            try:
                self._connection = self._to_data.connect(address, port)
            except redis_client.RedisError as error:
                self._doubt()
                raise Failed(str(error)) from error
            self._node = self._names.get(address, address)
        return self._connection

    def _doubt(self) -> None:
        """Ask the sentinel last that was asked first: one that is cut off with its master goes on naming it."""
        self._sentinels.append(self._sentinels.pop(0))

    def _master(self) -> tuple[str, int]:
        """The master, as the first sentinel says that answers; it is asked first the next time, too. Raises RedisError."""
        said = []
        for sentinel in list(self._sentinels):
            try:
                with self._to_sentinel.connect(*sentinel) as connection:
                    reply = connection.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._master_name)
            except redis_client.RedisError as error:
                said.append(f"{sentinel[0]}: {error}")
                continue
            if reply:
                self._sentinels.remove(sentinel)
                self._sentinels.insert(0, sentinel)
                return reply[0], int(reply[1])
            said.append(f"{sentinel[0]}: knows no {self._master_name}")
        raise redis_client.RedisError(f"no sentinel names a master ({'; '.join(said)})")


CLIENT = Redis


def ascending(numbers: Iterable[int], window: int) -> Iterator[int]:
    """Nearly sorted numbers, sorted. Raises ValueError where one comes more than `window` numbers too late."""
    heap: list[int] = []
    given = None
    for number in numbers:
        if given is not None and number < given:
            raise ValueError(f"{number} comes after {given}, more than {window} numbers too late")
        if len(heap) < window:
            heapq.heappush(heap, number)
        else:
            given = heapq.heappushpop(heap, number)
            yield given
    while heap:
        yield heapq.heappop(heap)
