# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a service listens, by default on which port, and who connects to it; and what clients reach by the virtual IP."""

from __future__ import annotations

from dataclasses import dataclass

EVERYWHERE, HOST, VIP = "every address", "the host's address", "the virtual IP"


@dataclass(frozen=True)
class Listener:
    """A socket that a layer opens on its hosts.

    key: the name of the port in ha_ports. clients: who connects, what a firewall has to let in. serves: the layers (or `pgbouncer`)
    without which it is left out.
    """

    layer: str
    service: str
    key: str
    port: int
    bind: str
    clients: str
    serves: tuple[str, ...] = ()


@dataclass(frozen=True)
class Endpoint:
    """What clients reach: by which port of ha_ports, what it is, and where it goes.

    user, password: what the application logs in as, and the name of its password. scheme, path: what makes a URL of the virtual IP and the
    port. address: what clients ask in the place of the virtual IP. {NAME} is a setting, as filter ways_in has them.
    """

    key: str
    what: str
    target: str
    user: str = ""
    password: str = ""
    scheme: str = ""
    path: str = ""
    address: str = ""
