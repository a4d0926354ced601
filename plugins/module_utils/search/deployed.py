# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is deployed of the search engine on a host, and which passwords of the inventory it lets in."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

from ..common import https
from ..common.deployed import Deployed, Files, Host, place, plain
from . import node

TIMEOUT_S = 3.0
SUPERUSERS = {"elasticsearch": "elastic", "opensearch": "admin"}
# User to its password; each is changed by way of a second user.
USERS = {
    "utmstack": "elasticsearch_application_password",
    "utmstack-monitoring": "elasticsearch_monitoring_password",
}


def look(host: Host) -> Deployed:
    """The node, and what the cluster says to its users. Hosts without a node ask that, too, where they are given URLs."""
    found = engine(host.files, host.given["settings"])
    asked = host.given["services"].get("elasticsearch", {"flavor": "elasticsearch", "urls": []})
    superuser = SUPERUSERS[asked["flavor"]]
    users = {superuser: host.given["passwords"]["elasticsearch_superuser_password"], **logins(host.given["passwords"])}
    statuses = statuses_of(asked, users, host.given["tls_directory"])
    return Deployed(
        {"elasticsearch": found}, passwords(statuses, superuser) if found else {}, rotating=tuple(rotating(statuses))
    )


def engine(files: Files, settings: Mapping) -> dict[str, Any]:
    """The node whose data lie here."""
    unit = files.text("/etc/systemd/system/elasticsearch.service")
    flavor = "opensearch" if "/bin/opensearch " in unit else "elasticsearch"
    if "utmstack.ha" not in unit:
        return {}
    lines = re.findall(r"^([\w.]+): (.*)$", files.text(f"/etc/elasticsearch/{flavor}.yml"), re.MULTILINE)
    said = {name: plain(value) for name, value in lines}
    data = place(
        str(said.get("path.data", "")),
        settings.get("elasticsearch_data_directory") or "",
        lambda directory: node.has_data(str(files.path(directory))),
    )
    if not data:
        return {}
    return {
        "name": said.get("node.name"),
        "cluster": said.get("cluster.name"),
        "address": said.get("network.host"),
        "http_port": said.get("http.port"),
        "transport_port": said.get("transport.port"),
        "data_directory": data,
        "flavor": flavor,
        "roles": said.get("node.roles") or [],
    }


def logins(given: Mapping) -> dict[str, str]:
    """User to password: of the platform's users, and those of a rotation that was not finished."""
    rotated = {user: given[name] for user, name in USERS.items()}
    return {
        "utmstack-snapshots": given["elasticsearch_snapshot_password"],
        **{f"{user}{suffix}": password for user, password in rotated.items() for suffix in ("", "-next")},
    }


def statuses_of(asked: Mapping, users: Mapping[str, str], tls: str) -> dict[str, int]:
    """User to what the search engine says to its login, by the first node that answers; empty where none does."""
    path = {"elasticsearch": "_security/_authenticate", "opensearch": "_plugins/_security/authinfo"}[asked["flavor"]]
    try:
        send = https.sender(f"{tls}/ca.crt")
    except OSError:
        return {}
    for url in asked["urls"]:
        try:
            return {
                user: send("GET", f"{url}/{path}", {"Authorization": basic(user, password)}, None, TIMEOUT_S)[0]
                for user, password in users.items()
            }
        except OSError:
            continue
    return {}


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def passwords(statuses: Mapping[str, int], superuser: str) -> dict[str, bool]:
    """Whether the superuser has the given password.

    Where the index of users can't be read, everybody is refused; so a refusal counts only while somebody is let in.
    """
    if statuses.get(superuser) == 200:
        return {"elasticsearch_superuser_password": True}
    if statuses.get(superuser) == 401 and 200 in statuses.values():
        return {"elasticsearch_superuser_password": False}
    return {}


def rotating(statuses: Mapping[str, int]) -> list[str]:
    """The passwords that are on their way: users have another one, or their second user is still there."""
    if 200 not in statuses.values():
        return []
    return [name for user, name in USERS.items() if statuses.get(user) == 401 or statuses.get(f"{user}-next") == 200]
