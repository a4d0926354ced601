# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Start: read secrets and key as root, give that up, serve until told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import ssl
import sys
import tempfile
from dataclasses import replace

from aiohttp import web
from standin.app.echo import EchoServer
from standin.app.elasticsearch import Elasticsearch
from standin.app.postgresql import PostgreSQL
from standin.app.redis import Redis
from standin.app.settings import Settings, SettingsError, read
from standin.app.store import LOG, Store, StoreError, said
from standin.app.web import Web

ACCOUNT = 10001


def server_context(settings: Settings, *protocols: str) -> ssl.SSLContext | None:
    """What a listener shows to its clients; None without TLS."""
    if not settings.tls:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings.certificate, settings.key)
    context.set_alpn_protocols(list(protocols))
    return context


def readable_ca(settings: Settings) -> Settings:
    """The settings with a copy of the CA certificate that stays readable; libpq reads it with every connection."""
    if not settings.ca:
        return settings
    copy = os.path.join(tempfile.mkdtemp(prefix="standin-"), "ca.crt")
    shutil.copyfile(settings.ca, copy)
    os.chmod(os.path.dirname(copy), 0o755)
    return replace(settings, ca=copy)


def drop_privileges() -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(ACCOUNT)
        os.setuid(ACCOUNT)
        # libpq looks there for certificates of its own.
        os.environ["HOME"] = "/nonexistent"


async def prepare(store: Store) -> None:
    """Try until the store has what the events need."""
    while True:
        try:
            return await store.prepare()
        except (StoreError, *store.faults) as error:
            store.note(error)
            await asyncio.sleep(1)


async def become_ready(settings: Settings, site: Web, echo: EchoServer, stores: list[Store]) -> None:
    await asyncio.gather(*(prepare(store) for store in stores))
    if settings.broken == "health":
        LOG.error("STANDIN_BROKEN=health: this replica will not be ready")
        return
    site.ready = True
    echo.serving(True)
    LOG.info("%s is ready", settings.replica)


async def serve(settings: Settings, http_tls: ssl.SSLContext | None, grpc_tls: ssl.SSLContext | None) -> None:
    verified = ssl.create_default_context(cafile=settings.ca) if settings.ca else None
    stores: list[Store] = [PostgreSQL(settings), Elasticsearch(settings, verified), Redis(settings)]
    site = Web(settings, stores)
    echo = EchoServer(settings.replica, settings.grpc_port, grpc_tls)
    runner = web.AppRunner(site.application(), access_log=None, shutdown_timeout=5)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", settings.http_port, ssl_context=http_tls).start()
    await echo.start()

    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    start = asyncio.create_task(become_ready(settings, site, echo, stores))
    await stopping.wait()

    LOG.info("%s stops", settings.replica)
    start.cancel()
    site.ready = False
    echo.serving(False)
    await asyncio.sleep(settings.stop_delay)
    await asyncio.gather(runner.cleanup(), asyncio.wait_for(echo.stop(), 5), return_exceptions=True)
    await asyncio.gather(*(store.close() for store in stores), return_exceptions=True)


def main() -> int:
    logging.basicConfig(stream=sys.stdout, format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    try:
        settings = read(dict(os.environ))
        if settings.broken == "start":
            raise SettingsError("STANDIN_BROKEN=start: this version does not start")
        settings = readable_ca(settings)
        contexts = server_context(settings, "http/1.1"), server_context(settings, "h2")
    except (SettingsError, OSError) as error:
        print(f"standin: {said(error) if isinstance(error, OSError) else error}", file=sys.stderr)
        return 1
    drop_privileges()
    asyncio.run(serve(settings, *contexts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
