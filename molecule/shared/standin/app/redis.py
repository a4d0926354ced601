# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Events in Redis, on the master that Sentinel names."""

from __future__ import annotations

import asyncio
import json

from redis.asyncio import Redis as Client
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from standin.app.settings import Settings
from standin.app.store import TRY, Event, Store, Unavailable

KEY = "standin:events"
CHUNK = 1000


class Redis(Store):
    """Asks the sentinels with each new connection; they have the only say in who is master."""

    name = "redis"
    component = "redis"
    faults = (RedisError, TimeoutError, OSError)

    def __init__(self, settings: Settings):
        super().__init__()
        common = {
            "password": settings.redis_password,
            "decode_responses": True,
            "socket_keepalive": True,
            # The library's own tries come with pauses that double, which outlast any failover.
            "retry": Retry(NoBackoff(), 0),
        }
        if settings.redis_tls:
            common |= {
                "ssl": True,
                "ssl_ca_certs": settings.ca,
                "ssl_cert_reqs": "required",
                "ssl_check_hostname": True,
            }
        sentinels = common | {
            "username": settings.sentinel_user,
            "socket_connect_timeout": 0.5,
            "socket_timeout": 0.5,
        }
        self._sentinel = Sentinel(
            settings.sentinels,
            sentinel_kwargs=sentinels,
            username=settings.redis_user,
            socket_connect_timeout=1,
            socket_timeout=TRY,
            **common,
        )
        self._client: Client = self._sentinel.master_for(settings.redis_master)
        self._replicas = settings.redis_replicas

    async def _ask(self, *commands: tuple) -> list:
        """The answers to commands, which are sent together."""

        async def work(fresh: bool) -> list:
            if fresh:
                # The sentinel that was asked first may be cut off with a master that takes no more writes, and still name it.
                self._sentinel.sentinels.append(self._sentinel.sentinels.pop(0))
                await self._client.connection_pool.disconnect(inuse_connections=False)
            async with asyncio.timeout(TRY):
                pipeline = self._client.pipeline(transaction=False)
                for command in commands:
                    pipeline.execute_command(*command)
                answers = await pipeline.execute()
            for command, answer in zip(commands, answers):
                if command[0] == "WAIT" and answer < self._replicas:
                    raise Unavailable(f"{answer} of {self._replicas} replicas have confirmed the write")
            return answers

        return await self.twice(work)

    def _node(self) -> str:
        return str(self._client.connection_pool.master_address[0])

    async def prepare(self) -> None:
        await self._ask(("PING",))

    async def write(self, event: Event) -> dict:
        value = json.dumps({"message": event.message, "replica": event.replica, "received": event.received})
        # Redis answers before its replicas have the write. Without the wait, a failover may lose it.
        answers = await self._ask(("HSET", KEY, event.id, value), ("WAIT", self._replicas, int(TRY * 500)))
        return {"node": self._node(), "copies": 1 + answers[1]}

    async def present(self, ids: list[str]) -> set[str]:
        found = set()
        for start in range(0, len(ids), CHUNK):
            chunk = ids[start : start + CHUNK]
            (values,) = await self._ask(("HMGET", KEY, *chunk))
            found |= {name for name, value in zip(chunk, values) if value is not None}
        return found

    async def count(self) -> int:
        return (await self._ask(("HLEN", KEY)))[0]

    async def look(self) -> dict:
        await self._ask(("PING",))
        return {"node": self._node()}

    async def close(self) -> None:
        await self._client.aclose(close_connection_pool=True)
        await asyncio.gather(*(sentinel.aclose() for sentinel in self._sentinel.sentinels))
