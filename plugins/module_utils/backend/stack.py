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
    if ha["postgresql"]["members"]:
        found |= _database(ha, settings)
    if ha["elasticsearch"]["members"]:
        found |= _search(ha, settings)
    if ha["redis"]["members"]:
        found |= _redis(ha, settings)
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


def _database(ha: Mapping, settings: Mapping) -> dict[str, Any]:
    """PostgreSQL. A dead connection is noticed within seconds, and each is given up before the load balancer would."""
    host, port = ha["postgresql"]["write"]["host"], ha["postgresql"]["write"]["port"]
    name, user = settings["database_name"], settings["database_user"]
    options = f"sslmode=verify-full&sslrootcert={CA}&connectTimeout=2&socketTimeout=60&tcpKeepAlive=true"
    return {
        "DB_HOST": host,
        "DB_PORT": port,
        "DB_NAME": name,
        "DB_USER": user,
        "DB_SSLMODE": "verify-full",
        "DB_SSLROOTCERT": CA,
        "SPRING_DATASOURCE_URL": f"jdbc:postgresql://{_in_url(host)}:{port}/{name}?{options}",
        "SPRING_DATASOURCE_USERNAME": user,
        "SPRING_DATASOURCE_PASSWORD": "${DB_PASS}",
        "SPRING_DATASOURCE_HIKARI_CONNECTION_TIMEOUT": 5000,
        "SPRING_DATASOURCE_HIKARI_VALIDATION_TIMEOUT": 2000,
        "SPRING_DATASOURCE_HIKARI_KEEPALIVE_TIME": 30000,
        "SPRING_DATASOURCE_HIKARI_MAX_LIFETIME": 600000,
    }


def _search(ha: Mapping, settings: Mapping) -> dict[str, Any]:
    """Elasticsearch or OpenSearch."""
    host, port = ha["elasticsearch"]["client"]["host"], ha["elasticsearch"]["client"]["port"]
    return {
        "ELASTICSEARCH_HOST": host,
        "ELASTICSEARCH_PORT": port,
        "ELASTICSEARCH_SCHEME": "https",
        "ELASTICSEARCH_USER": settings["elasticsearch_user"],
        "SPRING_ELASTICSEARCH_URIS": f"https://{_in_url(host)}:{port}",
        "SPRING_ELASTICSEARCH_USERNAME": settings["elasticsearch_user"],
        "SPRING_ELASTICSEARCH_PASSWORD": "${ELASTICSEARCH_PASS}",
    }


def _redis(ha: Mapping, settings: Mapping) -> dict[str, Any]:
    """Redis by its sentinels, in the names of Spring Boot 3 (spring.data.redis) and 2 (spring.redis)."""
    user = settings["redis_user"]
    nodes = [f"{_in_url(one['address'])}:{ha['ports']['sentinel']}" for one in ha["sentinel"]["members"]]
    properties = {
        "SENTINEL_MASTER": ha["redis"]["master_name"],
        "SENTINEL_NODES": ",".join(nodes),
        "SENTINEL_USERNAME": user,
        "SENTINEL_PASSWORD": "${REDIS_PASSWORD}",
        "USERNAME": user,
        "PASSWORD": "${REDIS_PASSWORD}",
        "CONNECT_TIMEOUT": "2s",
        "TIMEOUT": "3s",
        "LETTUCE_POOL_ENABLED": True,
        "LETTUCE_POOL_MAX_ACTIVE": 20,
        "LETTUCE_POOL_MAX_IDLE": 10,
    }
    return {
        **{f"SPRING_DATA_REDIS_{name}": value for name, value in properties.items()},
        **{f"SPRING_REDIS_{name}": value for name, value in properties.items()},
        "SPRING_DATA_REDIS_SSL_ENABLED": True,
        "SPRING_REDIS_SSL": True,
    }


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


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _config_name(path: str) -> str:
    """A name for the Swarm config of a file in the container."""
    return "file_" + re.sub(r"[^A-Za-z0-9.-]+", "_", path).strip("_.-")
