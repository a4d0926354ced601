# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is deployed on a host, read from the files and data that the roles have left there; topology/changes.py compares it with the inventory.

Only what belongs to data counts: a host without data of a layer has nothing deployed of it, whatever its files say. Files that this
collection did not write say nothing.
"""

from __future__ import annotations

import hmac
import json
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..redis import acl as redis_acl
from ..search import node as elasticsearch_node
from ..services.registry import SERVICES
from ..swarm import stack as swarm_stack

FLAVORS = ("redis", "valkey")


class Files:
    """A host's files below `root`. What can't be read is empty."""

    def __init__(self, root: str | Path = "/"):
        self.root = Path(root)

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")

    def text(self, name: str) -> str:
        try:
            return self.path(name).read_text(encoding="utf-8")
        except (OSError, ValueError):
            return ""

    def ours(self, unit: str) -> bool:
        """Whether a role has written its part of a unit's settings."""
        return self.path(f"/etc/systemd/system/{unit}.d/utmstack-ha.conf").exists()


def enabled(files: Files) -> list[str]:
    """The services that start with the host."""
    wants = "/etc/systemd/system/multi-user.target.wants"
    return [
        name
        for name, service in SERVICES.items()
        if any(files.path(f"{wants}/{unit}").is_symlink() for unit in service.every(service.units))
    ]


def etcd(files: Files, settings: Mapping) -> dict[str, Any]:
    """The member whose data lie here. Of data in the wanted directory that the settings on disk do not name, nothing else is known."""
    if not files.ours("etcd.service"):
        return {}
    said = dict(re.findall(r'^ETCD_([A-Z_]+)="(.*)"$', files.text("/etc/default/etcd"), re.MULTILINE))
    configured, wanted = said.get("DATA_DIR", ""), settings.get("etcd_data_directory") or ""
    place = _place(configured, wanted, lambda directory: files.path(f"{directory}/member").is_dir())
    if not place:
        # A run that was stopped may have named another one already.
        near = [one.parent for one in files.path(posixpath.dirname(wanted)).glob("*/member")] if wanted else []
        near = [one for one in near if one.name != "default"]
        return {"data_directory": f"/{near[0].relative_to(files.root)}"} if len(near) == 1 else {}
    if place != configured:
        return {"data_directory": place}
    address, client_port = _endpoint(said.get("LISTEN_CLIENT_URLS", ""))
    return {
        "name": said.get("NAME"),
        "cluster": said.get("INITIAL_CLUSTER_TOKEN"),
        "address": address,
        "client_port": client_port,
        "peer_port": _endpoint(said.get("LISTEN_PEER_URLS", ""))[1],
        "data_directory": place,
        "tls_directory": posixpath.dirname(said.get("TRUSTED_CA_FILE", "")),
    }


def _place(configured: str, wanted: str, has_data) -> str:
    """Where the data are: in the wanted directory, in the one of the settings on disk, or nowhere."""
    return next((one for one in (wanted, configured) if one and has_data(one)), "")


def _endpoint(url: str) -> tuple[str, int | None]:
    """Address and port of https://ADDRESS:PORT, or ADDRESS:PORT."""
    address, colon, port = url.partition("://")[2 if "://" in url else 0].rpartition(":")
    return address.strip("[]"), int(port) if colon and port.isdigit() else None


def postgresql(files: Files, settings: Mapping, config: Mapping) -> dict[str, Any]:
    """The member whose data lie here. config: Patroni's configuration as a dictionary."""
    if not files.ours("patroni.service") or not config:
        return {}
    own = config.get("postgresql") or {}
    configured = str(own.get("data_dir", ""))
    place = _place(
        configured,
        settings.get("postgresql_data_directory") or "",
        lambda directory: files.path(f"{directory}/PG_VERSION").exists(),
    )
    if place != configured:
        return {"data_directory": place} if place else {}
    address, port = _endpoint(str(own.get("connect_address", "")))
    rest = config.get("restapi") or {}
    return {
        "name": config.get("name"),
        "cluster": config.get("scope"),
        "address": address,
        "port": port,
        "rest_port": _endpoint(str(rest.get("connect_address", "")))[1],
        "data_directory": place,
        "tls_directory": posixpath.dirname(str(rest.get("cafile", ""))),
    }


def elasticsearch(files: Files, settings: Mapping) -> dict[str, Any]:
    """The node whose data lie here."""
    unit = files.text("/etc/systemd/system/elasticsearch.service")
    flavor = "opensearch" if "/bin/opensearch " in unit else "elasticsearch"
    if "utmstack.ha" not in unit:
        return {}
    lines = re.findall(r"^([\w.]+): (.*)$", files.text(f"/etc/elasticsearch/{flavor}.yml"), re.MULTILINE)
    said = {name: _json(value) for name, value in lines}
    place = _place(
        str(said.get("path.data", "")),
        settings.get("elasticsearch_data_directory") or "",
        lambda directory: elasticsearch_node.has_data(str(files.path(directory))),
    )
    if not place:
        return {}
    return {
        "name": said.get("node.name"),
        "cluster": said.get("cluster.name"),
        "address": said.get("network.host"),
        "http_port": said.get("http.port"),
        "transport_port": said.get("transport.port"),
        "data_directory": place,
        "flavor": flavor,
        "roles": said.get("node.roles") or [],
    }


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def redis(files: Files, settings: Mapping) -> dict[str, Any]:
    """The server whose data lie here; where both flavors have some, the wanted one."""
    found = [
        flavor
        for flavor in FLAVORS
        if files.ours(f"{flavor}-server.service")
        and files.path(f"{_redis_directory(files, flavor, 'utmstack-ha.conf')}/appendonlydir").is_dir()
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


def sentinel(files: Files, settings: Mapping) -> dict[str, Any]:
    """The sentinel that remembers a master here."""
    for flavor in FLAVORS:
        live = files.text(f"{_redis_directory(files, flavor, 'utmstack-ha-sentinel.conf')}/utmstack-ha-sentinel.conf")
        watched = re.search(r"^sentinel monitor (\S+) ", live, re.MULTILINE)
        if watched and files.ours(f"{flavor}-sentinel.service"):
            said = _words(files.text(f"/etc/{flavor}/utmstack-ha-sentinel.conf"))
            return {"master_name": watched[1], "address": said.get("bind"), "port": _number(said.get("tls-port"))}
    return {}


def _redis_directory(files: Files, flavor: str, settings: str) -> str:
    """Where a server of this flavor keeps what it writes itself, as its settings say."""
    return _words(files.text(f"/etc/{flavor}/{settings}")).get("dir", f"/var/lib/{flavor}")


def _words(text: str) -> dict[str, str]:
    """Name to value of lines NAME VALUE."""
    return dict(line.split(" ", 1) for line in text.splitlines() if " " in line and not line.startswith("#"))


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def swarm(files: Files, info: Mapping) -> dict[str, Any]:
    """The swarm that this host is in. info: what Docker tells of itself, empty where it does not run."""
    if not files.ours("docker.service"):
        return {}
    root = str((_json(files.text("/etc/docker/daemon.json")) or {}).get("data-root") or "/var/lib/docker")
    state = _json(files.text(f"{root}/swarm/docker-state.json"))
    if not isinstance(state, Mapping) or not state.get("LocalAddr"):
        return {}
    own = (info.get("Swarm") or {}).get("Cluster") or {}
    return {
        "address": state["LocalAddr"],
        "port": _endpoint(str(state.get("ListenAddr", "")))[1],
        "data_root": root,
        "data_port": own.get("DataPathPort"),
        "address_pools": sorted(own.get("DefaultAddrPool") or []),
        "cluster": ((own.get("Spec") or {}).get("Labels") or {}).get("utmstack.ha.cluster"),
    }


def backend(services: list[Mapping]) -> dict[str, Any]:
    """The application. services: those of the swarm, as Docker tells them on a manager."""
    for raw in services:
        spec = raw["Spec"]
        labels = spec.get("Labels") or {}
        stack = labels.get("com.docker.stack.namespace", "")
        if swarm_stack.DEFINITION not in labels or spec["Name"] != f"{stack}_backend":
            continue
        ports = {
            one["TargetPort"]: one.get("PublishedPort") for one in (spec.get("EndpointSpec") or {}).get("Ports") or []
        }
        container = spec["TaskTemplate"]["ContainerSpec"]
        said = dict(line.partition("=")[::2] for line in container.get("Env") or [])
        return {
            "stack": stack,
            "http_port": ports.get(8080),
            "grpc_port": ports.get(50051),
            "tls": said.get("SERVER_SSL_ENABLED", "false") == "true",
            "database": said.get("DB_NAME"),
            "secrets": {
                one["File"]["Name"]: one["SecretName"] for one in container.get("Secrets") or [] if one.get("File")
            },
        }
    return {}


def haproxy(files: Files) -> dict[str, Any]:
    """The ports that HAProxy has of the virtual IP, by its frontends."""
    if not files.ours("haproxy.service"):
        return {}
    found = re.findall(
        r"^frontend (\S+) from .*(?:\n    .*)*?\n    bind (\S+):(\d+) ",
        files.text("/etc/haproxy/haproxy.cfg"),
        re.MULTILINE,
    )
    return {name: int(port) for name, _address, port in found}


def keepalived(files: Files) -> dict[str, Any]:
    """The virtual IP."""
    text = files.text("/etc/keepalived/keepalived.conf")
    address = re.search(r"virtual_ipaddress \{\s+(\S+?)/", text)
    return {"vip": address[1]} if address and files.ours("keepalived.service") else {}


# Passwords ------------------------------------------------------------------------------------------------------------


REDIS_USERS = {
    "admin": "redis_admin_password",
    "replication": "redis_replication_password",
    "monitoring": "redis_monitoring_password",
    "utmstack": "redis_application_password",
    "drill": "redis_drill_password",
}


def redis_rotating(files: Files, given: Mapping[str, str]) -> list[str]:
    """The passwords of Redis's users that are not the only ones which its and Sentinel's files of users let in."""
    found = set()
    for flavor in FLAVORS:
        for name in ("utmstack-ha.acl", "utmstack-ha-sentinel.acl"):
            for user, accepted in redis_acl.hashes(files.text(f"/etc/{flavor}/{name}")).items():
                password = REDIS_USERS.get(user)
                if password and accepted != [redis_acl.hashed(given[password])]:
                    found.add(password)
    return sorted(found)


def redis_admin(files: Files, flavor: str, given: Mapping[str, str]) -> tuple[bool, bool]:
    """Whether the admin's password is the one noted on this host, and whether servers can be told another one: by one that they accept."""
    noted = files.text(f"/etc/{flavor}/utmstack-ha-admin")
    accepted = redis_acl.hashes(
        files.text(f"/etc/{flavor}/utmstack-ha.acl") or files.text(f"/etc/{flavor}/utmstack-ha-sentinel.acl")
    ).get("admin", [])
    known = not accepted or bool(
        {redis_acl.hashed(one) for one in (noted, given["redis_admin_password"])} & set(accepted)
    )
    return noted == given["redis_admin_password"], known


def pgbouncer_rotating(files: Files, given: Mapping[str, str]) -> list[str]:
    """The passwords of pgbouncer's own users that are not those of its file."""
    found = re.findall(r'^"((?:[^"]|"")*)" "((?:[^"]|"")*)"$', files.text("/etc/pgbouncer/userlist.txt"), re.MULTILINE)
    present = {user: password.replace('""', '"') for user, password in found}
    names = {"pgbouncer": "postgresql_pgbouncer_password", "pgbouncer_admin": "pgbouncer_admin_password"}
    return [name for user, name in names.items() if user in present and present[user] != given[name]]


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


def backend_keys(found: Mapping, salt: str, keys: Mapping[str, str]) -> dict[str, bool]:
    """Key's name in the container to whether the deployed application has it. found: what `backend` returned."""
    deployed = found.get("secrets") or {}
    return {
        name: deployed[name] == swarm_stack.version_name(found["stack"], name, str(value), salt)
        for name, value in keys.items()
        if name in deployed
    }
