# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""HTTP: events, health, the websocket."""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
import weakref
from datetime import UTC, datetime
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web
from standin.app.settings import Settings
from standin.app.store import Event, Health, Store, StoreError, said

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
SOCKETS: web.AppKey[weakref.WeakSet] = web.AppKey("sockets", weakref.WeakSet)


class Web:
    """The routes, and whether this replica wants to be given requests."""

    def __init__(self, settings: Settings, stores: list[Store]):
        self._replica = settings.replica
        self._stores = stores
        self._health = Health(stores)
        self.ready = False

    def application(self) -> web.Application:
        application = web.Application(client_max_size=4 * 1024**2)
        application[SOCKETS] = weakref.WeakSet()
        application.add_routes(
            [
                web.get("/", self.home),
                web.get("/api/ping", self.ping),
                web.get("/api/events", self.write),
                web.post("/api/events", self.write),
                web.get("/api/events/count", self.count),
                web.post("/api/events/verify", self.verify),
                web.get("/api/events/{id}", self.find),
                web.get("/websocket", self.socket),
                web.get("/actuator/health", self.health),
                web.get("/actuator/health/liveness", self.liveness),
                web.get("/actuator/health/readiness", self.readiness),
            ]
        )
        application.on_response_prepare.append(self._sign)
        application.on_shutdown.append(close_sockets)
        return application

    async def _sign(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers["X-Replica"] = self._replica
        if not self.ready:
            # Who keeps the connection would send the next request into its end.
            response.headers["Connection"] = "close"
            response.force_close()

    # -- events -------------------------------------------------------------------------------------------------------

    async def write(self, request: web.Request) -> web.Response:
        """Write one event into every store. 200: all have it. 503: says which have not; the same id may be sent again."""
        wanted = await body(request) if request.method == "POST" else {}
        identity = str(wanted.get("id") or uuid.uuid4().hex)
        if not ID.fullmatch(identity):
            raise refused(f"id has to match {ID.pattern}")
        event = Event(identity, str(wanted.get("message", "")), self._replica, datetime.now(UTC).isoformat())
        started = time.monotonic()
        results = await self._ask_all(lambda store: store.write(event))
        failed = [name for name, result in results.items() if "error" in result]
        answer = {"id": identity, "replica": self._replica, "took_ms": since(started), "stores": results}
        if failed:
            answer["failed"] = failed
        return web.json_response(answer, status=503 if failed else 200)

    async def find(self, request: web.Request) -> web.Response:
        """Whether each store has an event. 404: none has."""
        identity = request.match_info["id"]
        found = await self._ask_all(lambda store: one(store, identity))
        answer = {"id": identity, "replica": self._replica, "stores": found}
        return web.json_response(answer, status=status(found, any(result.get("found") for result in found.values())))

    async def verify(self, request: web.Request) -> web.Response:
        """Which of the ids each store does not have."""
        ids = (await body(request)).get("ids")
        if not isinstance(ids, list) or not all(isinstance(identity, str) for identity in ids):
            raise refused("ids has to be a list of strings")
        results = await self._ask_all(lambda store: missing(store, ids))
        answer = {"checked": len(ids), "replica": self._replica, "stores": results}
        return web.json_response(answer, status=status(results))

    async def count(self, request: web.Request) -> web.Response:
        """How many events each store has."""
        results = await self._ask_all(number)
        return web.json_response({"replica": self._replica, "stores": results}, status=status(results))

    async def _ask_all(self, question) -> dict[str, dict[str, Any]]:
        """Store name to its answer and how long it took; an answer with an error where it failed."""

        async def ask(store: Store) -> dict[str, Any]:
            started = time.monotonic()
            try:
                answer = await question(store)
            except (StoreError, *store.faults) as error:
                answer = {"error": said(error)}
            return answer | {"took_ms": since(started)}

        answers = await asyncio.gather(*(ask(store) for store in self._stores))
        return dict(zip((store.name for store in self._stores), answers))

    # -- health -------------------------------------------------------------------------------------------------------

    async def health(self, request: web.Request) -> web.Response:
        components = await self._health.components()
        up = all(component["status"] == "UP" for component in components.values())
        answer = {
            "status": "UP" if up else "DOWN",
            "components": components,
            "groups": ["liveness", "readiness"],
        }
        return web.json_response(answer, status=200 if up else 503)

    async def liveness(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "UP"})

    async def readiness(self, request: web.Request) -> web.Response:
        """Whether this replica should be given requests: a matter of its own, not of the stores' present state."""
        if self.ready:
            return web.json_response({"status": "UP"})
        return web.json_response({"status": "OUT_OF_SERVICE"}, status=503)

    async def ping(self, request: web.Request) -> web.Response:
        return web.json_response({"replica": self._replica})

    async def home(self, request: web.Request) -> web.Response:
        return web.Response(text=f"Stand-in for UTMStack, replica {self._replica}. Try /api/events.\n")

    # -- websocket ----------------------------------------------------------------------------------------------------

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        """Give back each message."""
        socket = web.WebSocketResponse(heartbeat=20)
        await socket.prepare(request)
        request.app[SOCKETS].add(socket)
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                await socket.send_str(message.data)
            elif message.type == WSMsgType.BINARY:
                await socket.send_bytes(message.data)
        return socket


async def one(store: Store, identity: str) -> dict[str, Any]:
    return {"found": identity in await store.present([identity])}


async def missing(store: Store, ids: list[str]) -> dict[str, Any]:
    return {"missing": sorted(set(ids) - await store.present(ids))}


async def number(store: Store) -> dict[str, Any]:
    return {"count": await store.count()}


async def body(request: web.Request) -> dict[str, Any]:
    """The JSON object that was sent; nothing is an empty one."""
    try:
        sent = await request.json() if request.can_read_body else {}
    except ValueError as error:
        raise refused(f"not JSON: {error}") from error
    if not isinstance(sent, dict):
        raise refused("not a JSON object")
    return sent


def refused(why: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=json.dumps({"error": why}), content_type="application/json")


def status(results: dict[str, dict], found: bool = True) -> int:
    """503 when a store could not be asked."""
    if any("error" in result for result in results.values()):
        return 503
    return 200 if found else 404


def since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 1)


async def close_sockets(application: web.Application) -> None:
    await asyncio.gather(
        *(socket.close(code=WSCloseCode.GOING_AWAY, message=b"restarting") for socket in set(application[SOCKETS]))
    )
