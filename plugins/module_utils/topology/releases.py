# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What differs between the releases of Debian whose packages the platform runs on; the roles have it as `ha.releases`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# By VERSION_ID of /etc/os-release.
RELEASES: dict[str, dict[str, Any]] = {
    "12": {
        "postgresql": "15",
        "java": "17",
        # 1.18 can't share a connection among clients that prepare statements: max_prepared_statements came with 1.21.
        "pgbouncer": False,
        # Patroni 3.0.2: its validator refuses ports that it listens on itself, its leader writes the leader key without comparing, and
        # synchronous_mode knows no quorum.
        "patroni_ignores_listen_port": False,
        "patroni_compares": False,
        "patroni_quorum": False,
        # keepalived 2.2 takes whole seconds for a script.
        "keepalived_fractions": False,
        # docker.io 20.10 brings its client along, and can't judge its file (dockerd --validate, 23.0).
        "docker_client": False,
        "docker_validates": False,
        "valkey": False,
    },
    "13": {
        "postgresql": "17",
        "java": "21",
        "pgbouncer": True,
        "patroni_ignores_listen_port": True,
        "patroni_compares": True,
        "patroni_quorum": True,
        "keepalived_fractions": True,
        "docker_client": True,
        "docker_validates": True,
        "valkey": True,
    },
}

# What a release does without by default, or does less well: layer -> what the plan says of it.
WITHOUT: dict[str, dict[str, str]] = {
    "12": {
        "pgbouncer": "left out, as 1.18 can't share a connection among clients that prepare statements; writes go straight to the primary",
        "postgresql": "version 15; Patroni 3.0.2 has no synchronous mode quorum, and the read port goes by a replica's lag alone; it is started by a "
        "program that has it compare before it writes the leader key",
        "loadbalancer": "keepalived 2.2 runs a check once a second at most, so a frozen HAProxy or a dead host of the virtual IP is found later",
        "elasticsearch": "Java 17, with which versions that need 21 can't run",
    },
}


def release_faults(ha: Mapping[str, Any], version: str, host: str, redis_flavor: str = "redis") -> list[str]:
    """Return what is asked of a host that its release's packages can't do, each with what to do instead.

    ha: the topology, as the host sees it. version: of its Debian, one of RELEASES.
    """
    release, groups = RELEASES[version], ha["host"]["groups"]
    faults = []
    pooling = ha["pgbouncer"]
    if "loadbalancer" in groups and pooling["enabled"] and not pooling["auto"] and not release["pgbouncer"]:
        faults.append(
            "pgbouncer_enabled is true, but pgbouncer 1.18 can't share a connection among clients that prepare statements. "
            f"Set auto or false for all hosts, or upgrade {host} to Debian 13."
        )
    if "postgresql" in groups and ha["postgresql"]["synchronous_mode"] == "quorum" and not release["patroni_quorum"]:
        faults.append(
            f"postgresql_synchronous_mode is quorum, which needs Patroni 4. Set strict, or upgrade {host} to Debian 13."
        )
    if {"redis", "sentinel"} & set(groups) and redis_flavor == "valkey" and not release["valkey"]:
        faults.append(f"redis_flavor is valkey, which it has no package of. Set redis, or upgrade {host} to Debian 13.")
    return faults


def without(layers: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return what releases do without, of these layers only; releases without such are left out."""
    present = set(layers)
    found = {
        version: {layer: text for layer, text in texts.items() if layer in present}
        for version, texts in WITHOUT.items()
    }
    return {version: texts for version, texts in found.items() if texts}
