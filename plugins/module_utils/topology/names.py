# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names that one component takes and another can't bear: found in the inventory, not by the component that starts last."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from .addresses import parse
from .faults import Findings

# Elasticsearch splits the list of racks at commas.
RACK = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.:/-]{0,62}")
# Paths are written into units of systemd, HAProxy's configuration and shell scripts, which split at blanks and colons.
PATH = re.compile(r"(/[A-Za-z0-9_.@+-]+)+/?")


def check_names(hosts: Iterable[str], racks: Mapping[str, Any], found: Findings) -> None:
    """Refuse names of hosts that are taken for addresses or for each other; and odd racks."""
    spelt: dict[str, str] = {}
    for name in hosts:
        if name.lower() in spelt:
            found.refuse(
                f"host {name}",
                "inventory name",
                f"is that of host {spelt[name.lower()]} but for capital letters, which names of hosts do not tell apart",
                "Rename one",
            )
        spelt.setdefault(name.lower(), name)
        if parse(name) is None and is_number(name):
            found.refuse(
                f"host {name}",
                "inventory name",
                "is read as the number of an IPv4 address by programs that look it up",
                f"Rename it, for example to node{name.split('.')[0]}",
            )
        rack = racks.get(name)
        # YAML makes a boolean of the rack NO.
        text = isinstance(rack, (str, int, float)) and not isinstance(rack, bool)
        if rack not in (None, "") and not (text and RACK.fullmatch(str(rack))):
            found.refuse(f"host {name}", "ha_rack", f"is {rack!r}", "Set 1 to 63 letters, digits, blanks and _ . : / -")


def is_number(name: str) -> bool:
    """Whether the C library reads it as an address in one of its old forms: 10, 10.1, 0x0a000001."""
    with suppress(OSError):
        socket.inet_aton(name)
        return True
    return False


def path_fault(path: str) -> str:
    """Return why a path can't be a directory of the platform's, or nothing."""
    if PATH.fullmatch(path) and ".." not in path.split("/"):
        return ""
    return "is no absolute path of letters, digits and _ . @ + - alone, as units of systemd and configurations need it"
