# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The program of managers that gives a backup host the swarm's state: one connection, no request, one answer.

systemd accepts the connection and starts it. It reads nothing of the client but its certificate, and changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from . import state
from .engine import Engine, EngineError, local
from .state import StateError

SETTINGS_FILE = "/etc/utmstack-ha/swarm-state.json"
# A client that is silent in the middle of its handshake, and one that takes nothing.
HANDSHAKE_S, SEND_S = 10.0, 60.0
ENGINE_S = 30.0


def serve(settings: Mapping[str, Any], connection: socket.socket) -> str:
    """Answer one client, and return what it was, for the journal. Raises OSError where it goes away, or is none of the platform.

    settings: data_root, docker_socket, ca, certificate, key, and clients, the names in the certificates of backup hosts.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=settings["ca"])
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(settings["certificate"], settings["key"])
    connection.settimeout(HANDSHAKE_S)
    with context.wrap_socket(connection, server_side=True) as wire:
        wire.settimeout(SEND_S)
        name = common_name(wire.getpeercert() or {})
        if name not in settings["clients"]:
            _say(wire, {"error": f"{name} is no backup host of this platform. Run site.yml on the managers"})
            return f"refused {name}, which is no backup host"
        with tempfile.TemporaryFile() as archive:
            try:
                facts = copied(settings, archive)
            except (StateError, EngineError, OSError) as error:
                _say(wire, {"error": str(error)})
                return f"nothing for {name}: {error}"
            size = archive.seek(0, 2)
            archive.seek(0)
            digest = hashlib.file_digest(archive, "sha256").hexdigest()
            archive.seek(0)
            _say(wire, {"facts": facts, "size": size, "sha256": digest})
            while block := archive.read(1 << 16):
                wire.sendall(block)
            return f"gave {name} the state of the swarm, {size} bytes, in {facts['attempts']} attempts"


def copied(settings: Mapping[str, Any], archive: IO[bytes]) -> dict[str, Any]:
    """Copy the state of this manager. Raises StateError, EngineError."""
    engine = Engine(local(settings["docker_socket"]), ENGINE_S)
    return state.copy(Path(settings["data_root"], "swarm"), archive, lambda: state.contents(engine))


def common_name(certificate: Mapping[str, Any]) -> str:
    """The name in a certificate as ssl returns it; empty without one."""
    return next((value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"), "")


def _say(wire: ssl.SSLSocket, answer: Mapping[str, Any]) -> None:
    wire.sendall(json.dumps(answer).encode() + b"\n")


def main() -> int:
    """Serve the connection that is the standard input."""
    settings = json.loads(Path(SETTINGS_FILE).read_text(encoding="utf-8"))
    try:
        with socket.socket(fileno=0) as connection:
            said, code = serve(settings, connection), 0
    except OSError as error:
        said, code = f"a client went away: {error}", 1
    sys.stderr.write(f"{said}\n")
    return code
