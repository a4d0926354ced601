# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The echo over gRPC, and gRPC's standard health service."""

from __future__ import annotations

import ssl

from grpclib.const import Cardinality, Handler
from grpclib.health.check import ServiceStatus
from grpclib.health.service import Health
from grpclib.server import Server
from standin.app.messages import SayReply, SayRequest


class Echo:
    """utmstack.standin.Echo: gives back what it is told, and says which replica did."""

    def __init__(self, replica: str):
        self._replica = replica

    async def say(self, stream) -> None:
        request = await stream.recv_message()
        await stream.send_message(SayReply(text=request.text, replica=self._replica))

    def __mapping__(self) -> dict[str, Handler]:
        return {"/utmstack.standin.Echo/Say": Handler(self.say, Cardinality.UNARY_UNARY, SayRequest, SayReply)}


class EchoServer:
    """Both services on one port."""

    def __init__(self, replica: str, port: int, tls: ssl.SSLContext | None):
        self._port, self._tls = port, tls
        self._status = ServiceStatus()
        echo = Echo(replica)
        self._server = Server([echo, Health({echo: [self._status]})])

    def serving(self, value: bool) -> None:
        """Tell who asks the health service."""
        self._status.set(value)

    async def start(self) -> None:
        await self._server.start("0.0.0.0", self._port, ssl=self._tls)

    async def stop(self) -> None:
        """No new connections; calls that run come to their end."""
        self._server.close()
        await self._server.wait_closed()
