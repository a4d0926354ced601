# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is deployed of Redis and Sentinel on a host, and which of the inventory's passwords they accept."""

from __future__ import annotations

import hmac
import posixpath
import re
from collections.abc import Mapping
from typing import Any

from ..common.deployed import Deployed, Files, Host
from . import acl

FLAVORS = ("redis", "valkey")
# User to its password.
USERS = {
    "admin": "redis_admin_password",
    "replication": "redis_replication_password",
    "monitoring": "redis_monitoring_password",
    "utmstack": "redis_application_password",
    "drill": "redis_drill_password",
    "backup": "redis_backup_password",
}


def look(host: Host) -> Deployed:
    """The server, the sentinel and their users."""
    files, settings, given = host.files, host.given["settings"], host.given["passwords"]
    watching = sentinel(files)
    same = is_sentinels(files, given["redis_sentinel_password"]) if watching else None
    noted, known = admin(files, settings["redis_flavor"], given)
    return Deployed(
        {"redis": server(files, settings), "sentinel": watching},
        {
            **({} if same is None else {"redis_sentinel_password": same}),
            **({} if known else {"redis_admin_password": False}),
        },
        rotating=tuple(rotating(files, given)),
        noted=("redis_admin_password",) if noted else (),
    )


def server(files: Files, settings: Mapping) -> dict[str, Any]:
    """The server whose data lie here; where both flavors have some, the wanted one."""
    found = [
        flavor
        for flavor in FLAVORS
        if files.ours(f"{flavor}-server.service")
        and files.path(f"{_directory(files, flavor, 'utmstack-ha.conf')}/appendonlydir").is_dir()
    ]
    if not found:
        return {}
    flavor = settings.get("redis_flavor") if settings.get("redis_flavor") in found else found[0]
    said = _words(files.text(f"/etc/{flavor}/utmstack-ha.conf"))
    return {
        "flavor": flavor,
        "address": said.get("bind"),
        "port": _number(said.get("tls-port")),
        "data_directory": said.get("dir"),
        "tls_directory": posixpath.dirname(said.get("tls-ca-cert-file", "")),
    }


def sentinel(files: Files) -> dict[str, Any]:
    """The sentinel that remembers a master here."""
    for flavor in FLAVORS:
        directory = _directory(files, flavor, "utmstack-ha-sentinel.conf")
        live = files.text(f"{directory}/utmstack-ha-sentinel.conf")
        watched = re.search(r"^sentinel monitor (\S+) ", live, re.MULTILINE)
        if watched and files.ours(f"{flavor}-sentinel.service"):
            said = _words(files.text(f"/etc/{flavor}/utmstack-ha-sentinel.conf"))
            return {
                "master_name": watched[1],
                "address": said.get("bind"),
                "port": _number(said.get("tls-port")),
                "data_directory": directory,
            }
    return {}


def _directory(files: Files, flavor: str, settings: str) -> str:
    """Where a server of this flavor keeps what it writes itself, as its settings say."""
    return _words(files.text(f"/etc/{flavor}/{settings}")).get("dir", f"/var/lib/{flavor}")


def _words(text: str) -> dict[str, str]:
    """Name to value of lines NAME VALUE."""
    return dict(line.split(" ", 1) for line in text.splitlines() if " " in line and not line.startswith("#"))


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def rotating(files: Files, given: Mapping[str, str]) -> list[str]:
    """The users' passwords that are not the only ones which Redis's and Sentinel's files of users let in."""
    found = set()
    for flavor in FLAVORS:
        for name in ("utmstack-ha.acl", "utmstack-ha-sentinel.acl"):
            for user, accepted in acl.hashes(files.text(f"/etc/{flavor}/{name}")).items():
                password = USERS.get(user)
                if password and accepted != [acl.hashed(given[password])]:
                    found.add(password)
    return sorted(found)


def admin(files: Files, flavor: str, given: Mapping[str, str]) -> tuple[bool, bool]:
    """Whether the admin's password is the one noted on this host, and whether servers can be told another one: by one that they accept."""
    noted = files.text(f"/etc/{flavor}/utmstack-ha-admin")
    accepted = acl.hashes(
        files.text(f"/etc/{flavor}/utmstack-ha.acl") or files.text(f"/etc/{flavor}/utmstack-ha-sentinel.acl")
    ).get("admin", [])
    known = not accepted or bool({acl.hashed(one) for one in (noted, given["redis_admin_password"])} & set(accepted))
    return noted == given["redis_admin_password"], known


def is_sentinels(files: Files, password: str) -> bool | None:
    """Whether it is the password by which the sentinels know each other; None where that is not known."""
    for flavor in FLAVORS:
        said = re.search(
            r"^sentinel sentinel-pass (\S+)$",
            files.text(f"/etc/{flavor}/utmstack-ha-sentinel-secret.conf"),
            re.MULTILINE,
        )
        if said:
            return hmac.compare_digest(said[1].encode(), password.encode())
    return None
