# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The backend as a stack for Swarm: the topology and the role's settings in, a Compose definition out.

The settings are the variables of role backend without its prefix; the role documents them.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any

from ..services.registry import SERVICES
from ..swarm.bootstrap import BACKEND_LABEL

# Where things are in the container.
CA = "/run/utmstack/ca.crt"
TLS_DIRECTORY = "/run/utmstack/tls"
WRAPPER = "/run/utmstack/entrypoint"
SECRETS = "/run/secrets"
HTTP_PORT, GRPC_PORT = 8080, 50051

# For images that know secrets only as variables. Swarm mounts the files, so that neither `docker inspect` nor the swarm tells them.
WRAPPER_SCRIPT = f"""\
#!/bin/sh
# Written by the role utmstack.ha.backend. Reads each secret into a variable of its name, then runs the image's program.
set -eu
for file in {SECRETS}/*; do
    [ -f "$file" ] || continue
    export "${{file##*/}}=$(cat "$file")"
done
exec "$@"
"""

UPDATE = {
    "parallelism": 1, "delay": "10s", "order": "stop-first", "failure_action": "rollback", "monitor": "15s", "max_failure_ratio": 0,
}  # fmt: skip
ROLLBACK = {"parallelism": 1, "delay": "0s", "order": "stop-first", "failure_action": "pause", "monitor": "15s"}
# Without a number of attempts: a store that was away for a minute must not leave the application dead for good.
RESTART = {"condition": "any", "delay": "5s"}


def stack(ha: Mapping, settings: Mapping, secrets: list[str], image: Mapping) -> dict:
    """What swarm_stack takes: {definition, configs, config_files}.

    ha: the topology. secrets: names of the secrets. image: {reference, entrypoint, command}, the latter two as the image has them
    where that is known.
    """
    wrapped = settings["secret_environment"] == "environment"
    files = {_config_name(path): (path, content) for path, content in settings["configs"].items()}
    configs = {
        "ca": CA,
        **({"entrypoint": WRAPPER} if wrapped else {}),
        **{name: file[0] for name, file in files.items()},
    }
    entrypoint, command = settings["entrypoint"], settings["command"]
    if wrapped:
        # Whoever sets the entrypoint gets no command from the image any more.
        command = command or ([] if entrypoint else image["command"])
        entrypoint = [WRAPPER, *(entrypoint or image["entrypoint"])]
    service = {
        "image": image["reference"],
        "hostname": "backend-{{.Node.Hostname}}",
        "init": True,
        "entrypoint": entrypoint or None,
        "command": command or None,
        "environment": environment(ha, settings, secrets),
        "secrets": [{"source": name, "target": name, "mode": 0o400} for name in secrets],
        "configs": [
            {"source": name, "target": path, "mode": 0o555 if name == "entrypoint" else 0o444}
            for name, path in configs.items()
        ],
        "volumes": _mounts(ha, settings),
        "networks": ["utmstack"],
        # Only the host's own address is bound, see role swarm; the load balancer has the virtual IP.
        "ports": [
            {"target": target, "published": int(ha["ports"][name]), "protocol": "tcp", "mode": "host"}
            for target, name in ((HTTP_PORT, "backend_http"), (GRPC_PORT, "backend_grpc"))
        ],
        "healthcheck": settings["healthcheck"] or None,
        "stop_grace_period": settings["stop_grace_period"],
        # A container does not inherit it from its host: how soon its connections to a dead store are given up.
        "sysctls": {"net.ipv4.tcp_retries2": str(ha["timing"]["tcp"]["retries2"])},
        "deploy": {
            "replicas": int(settings["replicas"] or len(ha["backend"]["members"])),
            "endpoint_mode": "dnsrr",
            "placement": {
                "max_replicas_per_node": 1,
                "constraints": [f"node.labels.{BACKEND_LABEL} == true"],
            },
            # A host's port can be had by one container only, so the old replica ends before the new one starts.
            "update_config": UPDATE | settings["update_config"],
            "rollback_config": ROLLBACK | settings["rollback_config"],
            "restart_policy": RESTART | settings["restart_policy"],
            "resources": _resources(ha, settings["memory_limit_mb"]),
        },
    }
    network = {"driver": "overlay", "driver_opts": {"encrypted": "true"} if settings["network_encrypted"] else None}
    whole = {
        "services": {"backend": merge(service, settings["service_settings"])},
        "networks": {"utmstack": network},
    }
    contents = {name: content for name, (_path, content) in files.items()}
    return {
        "definition": merge(whole, settings["stack_settings"]),
        "configs": {**contents, "entrypoint": WRAPPER_SCRIPT} if wrapped else contents,
        "config_files": {"ca": ha["tls"]["ca"]},
    }


def merge(base: Mapping, over: Mapping) -> dict:
    """`base` with `over` laid over it, dictionaries in each other."""
    result = dict(base)
    for name, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(name), Mapping)
        result[name] = merge(result[name], value) if both else value
    return result


def environment(ha: Mapping, settings: Mapping, secrets: list[str]) -> dict[str, Any]:
    """The application's variables: what the topology says, UTMStack's and Spring Boot's names for it, and the user's own.

    Spring Boot fills in ${NAME} by itself, from the files of the secrets or from variables of their names.
    """
    vip = ha["virtual_ip"]["address"]
    found: dict[str, Any] = {
        "NODE_NAME": "{{.Node.Hostname}}",
        "SERVER_NAME": ha["virtual_ip"]["name"] or vip,
        "SERVER_PORT": HTTP_PORT,
        "GRPC_SERVER_PORT": GRPC_PORT,
        "GRPC_AGENT_MANAGER_HOST": vip,
        "GRPC_AGENT_MANAGER_PORT": ha["ports"]["grpc"],
        "CA_CERTIFICATE": CA,
        # Of the container's memory; Java would take a quarter.
        "JAVA_TOOL_OPTIONS": "-XX:MaxRAMPercentage=70",
    }
    for service in SERVICES.values():
        if service.environment and service.members(ha):
            found |= service.environment(ha, settings, CA)
    if settings["tls"]:
        found |= {
            "SERVER_SSL_ENABLED": True,
            "SERVER_SSL_CERTIFICATE": posixpath.join(TLS_DIRECTORY, posixpath.basename(ha["tls"]["certificate"])),
            "SERVER_SSL_CERTIFICATE_PRIVATE_KEY": posixpath.join(TLS_DIRECTORY, posixpath.basename(ha["tls"]["key"])),
        }
    if settings["secret_environment"] == "file":
        found |= {f"{name}_FILE": f"{SECRETS}/{name}" for name in secrets}
        found["SPRING_CONFIG_IMPORT"] = f"optional:configtree:{SECRETS}/"
    return {name: value for name, value in (found | settings["environment"]).items() if value is not None}


def _mounts(ha: Mapping, settings: Mapping) -> list[dict]:
    """Bind mounts and volumes in Compose's long form."""
    own = {"type": "bind", "source": ha["tls"]["directory"], "target": TLS_DIRECTORY, "read_only": True}
    return ([own] if settings["tls"] else []) + list(settings["mounts"])


def _resources(ha: Mapping, given: Any) -> dict | None:
    """The limit of memory: the one given, else the backend's share of the smallest host, else none.

    Only what the inventory says counts, so that a run limited to some hosts comes to the same figure.
    """
    hosts = [ha["hosts"][one["name"]] for one in ha["backend"]["members"]]
    limit = given
    if given in ("", None) and all(host["memory_mb"] for host in hosts):
        limit = min(int(host["memory_mb"] * host["memory_share"]["backend"]) for host in hosts)
    return {"limits": {"memory": f"{int(limit)}M"}} if limit else None


def _config_name(path: str) -> str:
    """A name for the Swarm config of a file in the container."""
    return "file_" + re.sub(r"[^A-Za-z0-9.-]+", "_", path).strip("_.-")
