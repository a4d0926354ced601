# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is deployed of the swarm on a host, and of the application in it, and whether they have the keys of the inventory."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from ..common.deployed import Deployed, Files, Host, endpoint, plain
from . import stack as swarm_stack
from .engine import Engine, EngineError, local

# The application's name of a key to the inventory's.
KEYS = {"INTERNAL_KEY": "backend_internal_key", "ENCRYPTION_KEY": "backend_encryption_key"}


def look(host: Host) -> Deployed:
    """The swarm and the application, each with its keys."""
    info, services = engine(host.files)
    found, application = swarm(host.files, info), backend(services)
    same = {}
    key = host.files.text("/etc/utmstack-ha/swarm-unlock-key").strip() if found else ""
    if key and host.given["passwords"].get("swarm_unlock_key"):
        same["swarm_unlock_key"] = hmac.compare_digest(
            key.encode(), host.given["passwords"]["swarm_unlock_key"].encode()
        )
    salt = ((info.get("Swarm") or {}).get("Cluster") or {}).get("ID", "")
    secrets = host.given["backend_secrets"]
    keys = {short: secrets[short] for short in KEYS if short in secrets}
    same |= {KEYS[short]: one for short, one in backend_keys(application, salt, keys).items()}
    return Deployed(
        {"swarm": found, "backend": {name: one for name, one in application.items() if name != "secrets"}}, same
    )


def engine(files: Files) -> tuple[dict, list]:
    """What a running engine tells of itself, and the swarm's services where it manages one. Asking must not start it."""
    pid = files.text("/run/docker.pid").strip()
    if not pid or not files.path(f"/proc/{pid}").exists():
        return {}, []
    docker = Engine(local("/run/docker.sock"))
    try:
        info = docker.get("/info")
        return info, docker.get("/services") if (info.get("Swarm") or {}).get("ControlAvailable") else []
    except EngineError:
        return {}, []


def swarm(files: Files, info: Mapping) -> dict[str, Any]:
    """The swarm that this host is in. info: what Docker tells of itself, empty where it does not run."""
    if not files.ours("docker.service"):
        return {}
    root = str((plain(files.text("/etc/docker/daemon.json")) or {}).get("data-root") or "/var/lib/docker")
    state = plain(files.text(f"{root}/swarm/docker-state.json"))
    if not isinstance(state, Mapping) or not state.get("LocalAddr"):
        return {}
    own = (info.get("Swarm") or {}).get("Cluster") or {}
    return {
        "address": state["LocalAddr"],
        "port": endpoint(str(state.get("ListenAddr", "")))[1],
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


def backend_keys(found: Mapping, salt: str, keys: Mapping[str, str]) -> dict[str, bool]:
    """Key's name in the container to whether the deployed application has it. found: what `backend` returned."""
    deployed = found.get("secrets") or {}
    return {
        name: deployed[name] == swarm_stack.version_name(found["stack"], name, str(value), salt)
        for name, value in keys.items()
        if name in deployed
    }
