# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Events in Elasticsearch or OpenSearch, which answer alike here."""

from __future__ import annotations

import asyncio
import json
import ssl
import time

import aiohttp
from standin.app.settings import Settings
from standin.app.store import TRY, Event, Store, StoreError, Unavailable

INDEX = "log-standin"
# As UTMStack makes its own: without replicas. Whoever runs the cluster has to see to those.
TEMPLATE = {
    "index_patterns": [f"{INDEX}*"],
    "priority": 100,
    "template": {
        "settings": {"number_of_shards": 1, "number_of_replicas": 0},
        "mappings": {"properties": {"@timestamp": {"type": "date"}, "replica": {"type": "keyword"}}},
    },
}
CHUNK = 1000


class Elasticsearch(Store):
    """Connects to one address, behind which any node answers."""

    name = "elasticsearch"
    component = "elasticsearch"
    faults = (aiohttp.ClientError, TimeoutError, OSError, ssl.SSLError)

    def __init__(self, settings: Settings, verified: ssl.SSLContext | None):
        super().__init__()
        server = settings.elasticsearch
        self._url = f"{settings.elasticsearch_scheme}://{server.host}:{server.port}"
        options = {
            "auth": aiohttp.BasicAuth(server.user, server.password),
            "timeout": aiohttp.ClientTimeout(total=TRY, connect=1),
        }
        self._kept = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=verified, limit=20), **options)
        self._fresh = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=verified, limit=20, force_close=True), **options
        )
        self._primary = ""
        self._primary_term = 0
        self._primary_asked = 0.0

    async def _ask(self, method: str, path: str, body: dict | None = None, accept: str = "") -> dict:
        """One request. A refusal whose type is accepted is an answer, too."""

        async def work(fresh: bool) -> dict:
            session = self._fresh if fresh else self._kept
            async with session.request(method, self._url + path, json=body) as answer:
                text = await answer.text()
            if answer.status < 400:
                return json.loads(text)
            reason = refusal(text)
            if accept and accept in reason:
                return {}
            problem = f"{answer.status} {reason}"
            # Everything that is not this request's fault may pass.
            raise Unavailable(problem) if answer.status in (408, 429) or answer.status >= 500 else StoreError(problem)

        return await self.twice(work)

    async def prepare(self) -> None:
        await self._ask("PUT", f"/_index_template/{INDEX}", TEMPLATE)
        await self._ask("PUT", f"/{INDEX}", accept="resource_already_exists_exception")

    async def write(self, event: Event) -> dict:
        document = {"@timestamp": event.received, "message": event.message, "replica": event.replica}
        answer = await self._ask("PUT", f"/{INDEX}/_doc/{event.id}?timeout={TRY:.0f}s", document)
        return {"node": await self._node(answer["_primary_term"]), "copies": answer["_shards"]["successful"]}

    async def _node(self, term: int) -> str:
        """The node with the primary shard, which took the write. The term rises when another one gets it."""
        if term != self._primary_term or time.monotonic() - self._primary_asked > 2:
            self._primary_term, self._primary_asked = term, time.monotonic()
            try:
                async with asyncio.timeout(TRY):
                    routing = await self._ask("GET", f"/{INDEX}/_search_shards")
            except (StoreError, TimeoutError):
                # The write is done all the same.
                self._primary = ""
            else:
                nodes = [shard["node"] for shard in routing["shards"][0] if shard["primary"]]
                self._primary = routing["nodes"][nodes[0]]["name"] if nodes else ""
        return self._primary

    async def present(self, ids: list[str]) -> set[str]:
        found = set()
        for start in range(0, len(ids), CHUNK):
            body = {"ids": ids[start : start + CHUNK]}
            for document in (await self._ask("POST", f"/{INDEX}/_mget?_source=false", body))["docs"]:
                if "error" in document:
                    raise StoreError(f"{document['_id']}: {document['error'].get('reason')}")
                if document["found"]:
                    found.add(document["_id"])
        return found

    async def count(self) -> int:
        await self._ask("POST", f"/{INDEX}/_refresh")
        return (await self._ask("GET", f"/{INDEX}/_count"))["count"]

    async def look(self) -> dict:
        health = await self._ask("GET", f"/_cluster/health/{INDEX}?timeout=1s")
        if health["status"] == "red":
            raise StoreError(f"{INDEX} has no primary shard")
        return {"cluster": health["cluster_name"], "nodes": health["number_of_nodes"], "status": health["status"]}

    async def close(self) -> None:
        await asyncio.gather(self._kept.close(), self._fresh.close())


def refusal(text: str) -> str:
    """The reason in an error's body, with its type; the body's begin where it has another form, as a proxy's has."""
    try:
        error = json.loads(text)["error"]
        return error if isinstance(error, str) else f"{error['type']}: {error['reason']}"
    except (ValueError, KeyError, TypeError):
        return " ".join(text.split())[:200]
