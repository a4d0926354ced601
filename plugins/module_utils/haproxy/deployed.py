# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is deployed of HAProxy on a host, whether it has drained servers, and which passwords pgbouncer has beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ..common.deployed import Deployed, Files, Host
from . import runtime

SOCKET, TIMEOUT_S = "/run/haproxy/admin.sock", 3.0


def look(host: Host) -> Deployed:
    """The ports and drained servers, and pgbouncer's passwords."""
    found = ports(host.files)
    path = str(host.files.path(SOCKET))
    return Deployed(
        {"haproxy": found and found | drained(lambda command: runtime.ask(path, command, TIMEOUT_S))},
        rotating=tuple(pgbouncer_rotating(host.files, host.given["passwords"])),
    )


def drained(asked: Callable[[str], str]) -> dict[str, list[str]]:
    """The servers that are drained, under that name; nothing where HAProxy does not answer. asked: as runtime.look takes it."""
    try:
        backends = runtime.look(asked)
    except runtime.HAProxyError:
        return {}
    servers = [server for backend in backends.values() for server in backend["servers"]]
    return {"drained": sorted({server["name"] for server in servers if server["admin"] == runtime.DRAIN})}


def ports(files: Files) -> dict[str, Any]:
    """The ports that HAProxy has of the virtual IP, by its frontends."""
    if not files.ours("haproxy.service"):
        return {}
    found = re.findall(
        r"^frontend (\S+) from .*(?:\n    .*)*?\n    bind (\S+):(\d+) ",
        files.text("/etc/haproxy/haproxy.cfg"),
        re.MULTILINE,
    )
    return {name: int(port) for name, _address, port in found}


def pgbouncer_rotating(files: Files, given: Mapping[str, str]) -> list[str]:
    """The passwords of pgbouncer's own users that are not those of its file."""
    found = re.findall(r'^"((?:[^"]|"")*)" "((?:[^"]|"")*)"$', files.text("/etc/pgbouncer/userlist.txt"), re.MULTILINE)
    present = {user: password.replace('""', '"') for user, password in found}
    names = {"pgbouncer": "postgresql_pgbouncer_password", "pgbouncer_admin": "pgbouncer_admin_password"}
    return [name for user, name in names.items() if user in present and present[user] != given[name]]
