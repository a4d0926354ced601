# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is deployed of etcd on a host, and whether it lets its users in with the passwords of the inventory."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping
from typing import Any

from ..common import https
from ..common.deployed import Deployed, Files, Host, endpoint, place
from ..common.values import url

TIMEOUT_S = 3.0


def look(host: Host) -> Deployed:
    """The member and its users' passwords."""
    found = member(host.files, host.given["settings"])
    tls = found.get("tls_directory") or host.given["tls_directory"]
    return Deployed({"etcd": found}, passwords(tls, found, host.given["passwords"]))


def member(files: Files, settings: Mapping) -> dict[str, Any]:
    """The member whose data lie here. Of data in the wanted directory that the settings on disk do not name, nothing else is known."""
    if not files.ours("etcd.service"):
        return {}
    said = dict(re.findall(r'^ETCD_([A-Z_]+)="(.*)"$', files.text("/etc/default/etcd"), re.MULTILINE))
    configured, wanted = said.get("DATA_DIR", ""), settings.get("etcd_data_directory") or ""
    data = place(configured, wanted, lambda directory: files.path(f"{directory}/member").is_dir())
    if not data:
        # A run that was stopped may have named another one already.
        near = [one.parent for one in files.path(posixpath.dirname(wanted)).glob("*/member")] if wanted else []
        near = [one for one in near if one.name != "default"]
        return {"data_directory": f"/{near[0].relative_to(files.root)}"} if len(near) == 1 else {}
    if data != configured:
        return {"data_directory": data}
    address, client_port = endpoint(said.get("LISTEN_CLIENT_URLS", ""))
    return {
        "name": said.get("NAME"),
        "cluster": said.get("INITIAL_CLUSTER_TOKEN"),
        "address": address,
        "client_port": client_port,
        "peer_port": endpoint(said.get("LISTEN_PEER_URLS", ""))[1],
        "data_directory": data,
        "tls_directory": posixpath.dirname(said.get("TRUSTED_CA_FILE", "")),
    }


def passwords(tls: str, found: Mapping, given: Mapping) -> dict[str, bool]:
    """Whether etcd lets its users in with the given passwords; empty where it does not answer."""
    if not found.get("client_port"):
        return {}
    same = {}
    try:
        send = https.sender(f"{tls}/ca.crt", f"{tls}/host.crt", f"{tls}/host.key")
        for user, name in (("root", "etcd_root_password"), ("patroni", "etcd_patroni_password")):
            status, text = send(
                "POST",
                f"{url('https', found['address'], found['client_port'])}/v3/auth/authenticate",
                {"Content-Type": "application/json"},
                json.dumps({"name": user, "password": given[name]}).encode(),
                TIMEOUT_S,
            )
            if status == 200:
                same[name] = True
            elif "invalid user ID or password" in text:
                same[name] = False
    except OSError:
        return {}
    return same
