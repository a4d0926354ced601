# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the three stores have in common: bounded time, and one more try on a fresh connection."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

LOG = logging.getLogger("standin")
T = TypeVar("T")

# Seconds for one try. Two of them and a pause are the longest that a request waits for a store.
TRY = 2.0
PAUSE = 0.1


class StoreError(Exception):
    """A store that refused, or did not answer in time; says why."""


class Unavailable(StoreError):
    """The same, where another try may help."""


@dataclass(frozen=True)
class Event:
    """What is written. The same id twice is the same event: every write can be repeated."""

    id: str
    message: str
    replica: str
    received: str


class Store:
    """One of the stores. Subclasses give name and faults, and write what is sent."""

    name = ""
    # Its name on the health page.
    component = ""
    # What the client's library raises when a connection or its server is not what it was.
    faults: tuple[type[BaseException], ...] = ()

    def __init__(self):
        self.trouble: str | None = None

    async def prepare(self) -> None:
        """Have the table, index or nothing that the events go to."""
        raise NotImplementedError

    async def write(self, event: Event) -> dict[str, Any]:
        """Write an event; where to comes back. Raises StoreError when the write is not certain."""
        raise NotImplementedError

    async def present(self, ids: list[str]) -> set[str]:
        """Those of the ids whose events are there."""
        raise NotImplementedError

    async def count(self) -> int:
        """How many events are there."""
        raise NotImplementedError

    async def look(self) -> dict[str, Any]:
        """Details for the health page. Raises StoreError when the store cannot be used."""
        raise NotImplementedError

    async def close(self) -> None:
        """End all connections."""
        raise NotImplementedError

    async def twice(self, work: Callable[[bool], Awaitable[T]]) -> T:
        """Do the work; where it fails in a way that may pass, once more with True: on a connection of its own, new.

        Connections that were kept may all be dead after a failover, so a second one of them would prove nothing.
        """
        try:
            result = await work(False)
        except (Unavailable, *self.faults) as error:
            self.note(error)
            await asyncio.sleep(PAUSE)
            try:
                result = await work(True)
            except (Unavailable, *self.faults) as again:
                self.note(again)
                raise StoreError(said(again)) from again
        self.note(None)
        return result

    def note(self, error: BaseException | None) -> None:
        """Log when the store begins to fail, and when it is back."""
        trouble = said(error) if error else None
        if trouble and not self.trouble:
            LOG.warning("%s: %s", self.name, trouble)
        elif self.trouble and not trouble:
            LOG.info("%s: back", self.name)
        self.trouble = trouble


def said(error: BaseException) -> str:
    """An error in one line, without the insides of the client's library."""
    if isinstance(error, TimeoutError):
        return f"no answer within {TRY:.0f} s"
    return re.sub(r"<\S+>(, | - )?", "", " ".join(str(error).split())) or type(error).__name__


class Health:
    """What the stores say about themselves, asked at most once a second however many ask."""

    def __init__(self, stores: list[Store]):
        self.stores = stores
        self._asked = float("-inf")
        self._components: dict[str, dict] = {}
        self._lock = asyncio.Lock()

    async def components(self) -> dict[str, dict]:
        """Component name to its state, in the shape of Spring Boot's Actuator."""
        async with self._lock:
            if time.monotonic() - self._asked > 1:
                states = await asyncio.gather(*(self._state(store) for store in self.stores))
                self._components = dict(zip((store.component for store in self.stores), states))
                self._asked = time.monotonic()
        return self._components

    async def _state(self, store: Store) -> dict:
        try:
            return {"status": "UP", "details": await store.look()}
        except (StoreError, *store.faults) as error:
            return {"status": "DOWN", "details": {"error": said(error)}}
