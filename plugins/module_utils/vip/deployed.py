# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is deployed of keepalived on a host."""

from __future__ import annotations

import re
from typing import Any

from ..common.deployed import Deployed, Files, Host


def look(host: Host) -> Deployed:
    return Deployed({"keepalived": address(host.files)})


def address(files: Files) -> dict[str, Any]:
    """The virtual IP."""
    text = files.text("/etc/keepalived/keepalived.conf")
    found = re.search(r"virtual_ipaddress \{\s+(\S+?)/", text)
    return {"vip": found[1]} if found and files.ours("keepalived.service") else {}
