# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Redis, or Valkey."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ..common.secrets import HAPROXY_FORBIDS
from ..common.text import size
from ..common.values import number, url
from .answers import cluster
from .backup import HOUR, Backup
from .change import APPLIED, CLIENT_PORT, NOT_ROTATED, PORT, REFUSED, Change, address, given, port, tls_directory
from .drill import CUT_OFF, LEADER, LOSSY, POWER_OFF, Fault, LedgerPath, addresses, frozen, killed
from .listener import HOST, VIP, Endpoint, Listener
from .members import check_single
from .service import Data, Layer, Service, Timing, member_of

# Its configuration and ACL files give a meaning to them.
_FORBIDDEN = "\"'\\#"
# How its passwords change.
_BOTH = "every server accepts the old one too until the end of the run"
# Role redis makes it where ha_drill_allowed is true, with the right to the drill's keys only.
DRILL_USER = "drill"
# Role redis makes it where group backup has hosts: it may have the data sent as a replica may.
BACKUP_USER = "backup"


# Sentinel splits its configuration at blanks and takes these characters in a master's name.
_MASTER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def facts(settings: Mapping[str, Any], hosts: Mapping[str, Any], found: Any) -> dict[str, Any]:
    """Return the master's name and min-replicas-to-write: 1 with three data nodes or more, else 0."""
    name = settings["redis_master_name"]
    if not isinstance(name, str) or not _MASTER_NAME.fullmatch(name):
        found.refuse(
            "group redis",
            "redis_master_name",
            f"is {name!r}",
            "Set 1 to 63 letters, digits, dots, hyphens and underscores, for example utmstack-redis",
        )
    members = len(hosts)
    least = 1 if members >= 3 else 0
    given = settings["redis_min_replicas_to_write"]
    if given not in (None, ""):
        figure = number(given)
        setting = "redis_min_replicas_to_write"
        if not isinstance(figure, int) or figure < 0:
            found.refuse("group redis", setting, f"is {given!r}", "Set a whole number from 0, or leave it out")
        elif members and figure > members - 1:
            found.refuse(
                "group redis",
                setting,
                f"is {figure}, but {members} hosts have {members - 1} replicas: no write would ever be taken",
                f"Set it to {least}, or add hosts to group redis",
            )
        else:
            least = figure
            if members and figure == members - 1 and figure:
                found.warn(
                    "group redis",
                    setting,
                    f"is {figure}: writes stop with the first replica lost",
                    f"Have {figure - 1}",
                )
            elif figure == 0 and members >= 3:
                found.warn(
                    "group redis",
                    setting,
                    "is 0: a master that is cut off goes on taking writes, which are lost",
                    "Leave it unset where none may be lost",
                )
    return {"master_name": str(name), "min_replicas_to_write": least}


def unsupported(_ha: Any, release: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[str, ...]:
    if settings["redis_flavor"] != "valkey" or release["valkey"]:
        return ()
    return "redis_flavor is valkey, which it has no package of", "Set redis"


def survives(ha: Mapping[str, Any]) -> int:
    """A master needs its replicas as min-replicas-to-write says."""
    return len(ha["redis"]["members"]) - 1 - ha["redis"]["min_replicas_to_write"]


def outages(ha: Mapping[str, Any]) -> list[list[str]]:
    """Down-after, up to two seconds until a sentinel begins, and the promotion."""
    down_after_s = ha["timing"]["redis"]["down_after_ms"] / 1000
    return [["Redis master dies", f"up to about {down_after_s + 3:g} s without writes"]]


def endpoints(ha: Mapping[str, Any]) -> list[Endpoint]:
    """The master, for clients that do not ask Sentinel."""
    target = f"the master, port {ha['ports']['redis']}"
    return [Endpoint("redis_master", "Redis master", target, "utmstack", "redis_application_password", "rediss")]


def check_timing(timing: Mapping[str, Any], require: Callable[[bool, str, str, str], None]) -> None:
    own = timing["redis"]
    require(
        own["failover_timeout_ms"] > 2 * own["down_after_ms"],
        "redis.failover_timeout_ms",
        f"is {own['failover_timeout_ms']}, not above 2 x down_after_ms (2 x {own['down_after_ms']}): Sentinel would give "
        "up a failover before the members agree that the master is down",
        f"Set it above {2 * own['down_after_ms']}, or lower down_after_ms",
    )


def answers(layer: Layer, host: str) -> bool:
    """Whether a server answers."""
    found = member_of(layer, "members", host)
    return bool(found and not found["error"])


def asks(ha: Mapping[str, Any], secrets: Mapping[str, str], _host: str) -> dict[str, dict[str, Any]]:
    """Each host asks all servers and sentinels."""
    return {
        "utmstack.ha.redis_sentinel_info": {
            "master_name": ha["redis"]["master_name"],
            "members": ha["redis"]["members"],
            "sentinels": ha["sentinel"]["members"],
            "port": ha["ports"]["redis"],
            "sentinel_port": ha["ports"]["sentinel"],
            "ca_path": ha["tls"]["ca"],
            "username": "admin",
            "password": secrets["redis_admin_password"],
        }
    }


def backup_settings(ha: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    """What its kind of backup is told."""
    return {
        "members": [dict(member) for member in ha["redis"]["members"]],
        "port": ha["ports"]["redis"],
        "ca_path": ha["tls"]["ca"],
        "username": BACKUP_USER,
        "password": secrets["redis_backup_password"],
    }


def ledger(ha: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    """The sentinels that name the master, as applications ask them, and the servers that read back."""
    password = secrets["redis_drill_password"]
    return {
        "sentinels": [[member["address"], ha["ports"]["sentinel"]] for member in ha["sentinel"]["members"]],
        "master_name": ha["redis"]["master_name"],
        "username": DRILL_USER,
        "password": password,
        "sentinel_username": DRILL_USER,
        "sentinel_password": password,
        "members": addresses(ha["redis"], ha["ports"]["redis"]),
    }


def expected_loss(kind: str, ha: Mapping[str, Any]) -> tuple[float, str]:
    """How many seconds of acknowledged writes a master costs by design that is cut off, and why.

    A master that is cut off takes its clients' writes until it misses its replicas (min-replicas-max-lag). Where nothing stops it, that
    is no design but a setting, and every loss counts. One that hears them now and then may lose as much when another is promoted; more
    counts as a loss, though nothing in Redis keeps it from that.
    """
    if not ha["redis"]["min_replicas_to_write"]:
        return 0, ""
    # Redis takes both times in whole seconds, so lag + 1 s may have to pass, and looks once a second; half a second more if it is busy.
    lag = ha["timing"]["redis"]["min_replicas_max_lag_s"]
    if kind == "lossy":
        why = (
            f"What had not reached a replica is lost when another one is promoted. The master takes writes until its replicas have been "
            f"silent for more than min-replicas-max-lag, {lag:g} s, so this much is told as expected. It is no limit here: where their "
            "signs of life arrive and its data do not, more can be lost, which then counts as a loss."
        )
    else:
        why = (
            f"The cut-off Redis master takes writes of clients that still reach it until its replicas have been silent for more "
            f"than min-replicas-max-lag, {lag:g} s. It counts in whole seconds and looks once a second, so this takes up to "
            f"{lag + 2:g} s, and a little more on a busy machine; the new master does not have these writes."
        )
    return lag + 2.5, why


def form(topology, observations, _roles):
    """Return its part of the state of the platform, as Service.form says."""
    if not topology["redis"]["members"]:
        return None
    asked = {member["name"]: member for layer in ("redis", "sentinel") for member in topology[layer]["members"]}

    def view(answer):
        return {**answer, "leader": answer["master"]}

    def answered(member):
        return not member["error"]

    best, problems = cluster("redis", topology, observations, "redis", answered, view, list(asked.values()))
    return {
        "healthy": not problems,
        "problems": problems,
        "master": best["master"] if best else None,
        "members": best["members"] if best else [],
        "sentinels": best["sentinels"] if best else [],
    }


def table(state):
    """Return its table, as Service.table says."""
    redis = state["redis"]
    if not redis:
        return "", []
    agree = sum(1 for sentinel in redis["sentinels"] if redis["master"] and sentinel["master"] == redis["master"])
    sentinels = {sentinel["name"]: sentinel for sentinel in redis["sentinels"]}
    rows = [["host", "address", "role", "link", "lag", "version", "its sentinel reports"]]
    for member in redis["members"]:
        link = "-" if member["role"] == "master" else "up" if member["link_up"] else "DOWN"
        lag = size(member["lag_bytes"]) if member["role"] == "replica" else "-"
        role = member["role"] or "NO ANSWER"
        version = member["version"] or "-"
        sentinel = sentinel_word(sentinels.pop(member["name"], None))
        rows.append([member["name"], member["address"], role, link, lag, version, sentinel])
    for name, sentinel in sentinels.items():
        rows.append([name, sentinel["address"], "-", "-", "-", "-", sentinel_word(sentinel)])
    if len(rows) == 1:
        return "Redis, nobody answers", [["-"]]
    return f"Redis, master {redis['master'] or 'NONE'}, {agree} of {len(redis['sentinels'])} sentinels agree", rows


def server_roles(layer: Layer) -> dict[str, dict[str, str]]:
    """Who is master and who replica, to the backend that is for the master."""
    return {"redis": {one["name"]: one["role"] for one in (layer or {}).get("members", []) if one["role"]}}


def sentinel_word(sentinel) -> str:
    if sentinel is None:
        return "-"
    if sentinel["error"]:
        return "NO ANSWER"
    return ", ".join(sentinel["flags"]).upper() or sentinel["master"] or "NO MASTER"


def environment(ha: Mapping[str, Any], settings: Mapping[str, Any], _ca: str) -> dict[str, Any]:
    """It is found by its sentinels, in the names of Spring Boot 3 (spring.data.redis) and 2 (spring.redis)."""
    user = settings["redis_user"]
    nodes = [url("", one["address"], ha["ports"]["sentinel"]).removeprefix("://") for one in ha["sentinel"]["members"]]
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


def traces(look: Any, unit: str) -> str:
    place = f"/var/lib/{unit.split('-')[0]}"
    return look.data(path for name in ("*.rdb", "appendonly*") for path in look.glob(f"{place}/{name}"))


SERVICE = Service(
    name="redis",
    title="Redis",
    role="redis",
    layer="redis",
    groups=("redis",),
    listeners=(
        Listener(
            "redis",
            "Redis",
            "redis",
            6379,
            HOST,
            "load balancers, Redis hosts, Sentinel hosts, swarm hosts (the application), clients that ask Sentinel",
        ),
        Listener(
            "loadbalancer",
            "HAProxy (Redis master)",
            "redis_master",
            6379,
            VIP,
            "clients that do not ask Sentinel (`haproxy_redis_allowed_networks`)",
            ("redis",),
        ),
    ),
    # It writes a line for each connection that speaks no TLS.
    probe_port="redis",
    probe_rank=4,
    proxied=True,
    tls_passed=True,
    facts=facts,
    check_members=lambda members, found: check_single(
        "redis", members["redis"], "there is no replica to take over", found
    ),
    survives=survives,
    outages=outages,
    endpoints=endpoints,
    # With min-replicas-max-lag a cut-off master takes writes for that long; below 2 s its replicas' acknowledgements, one a second, come
    # too seldom.
    timing=(
        Timing(
            part="redis",
            profiles={
                "fast": {"down_after_ms": 1500, "failover_timeout_ms": 10000, "min_replicas_max_lag_s": 2},
                "normal": {"down_after_ms": 3000, "failover_timeout_ms": 60000, "min_replicas_max_lag_s": 3},
                "wan": {"down_after_ms": 10000, "failover_timeout_ms": 180000, "min_replicas_max_lag_s": 10},
            },
            limits={
                "down_after_ms": (100, 600000),
                "failover_timeout_ms": (1000, 3600000),
                "min_replicas_max_lag_s": (1, 3600),
            },
            check=check_timing,
        ),
    ),
    changes=(
        Change(
            "redis_data_directory",
            REFUSED,
            "To have the data on another disk, mount it there while the server is stopped",
        ),
        Change("redis_flavor", REFUSED, "To change the server, deploy new hosts for it"),
        Change("redis_min_replicas_to_write", APPLIED, "at run time"),
        Change("ha_ports.redis", REFUSED, PORT),
        Change("ha_ports.redis_master", REFUSED, CLIENT_PORT),
        Change(
            "redis_admin_password",
            APPLIED,
            _BOTH,
            unknown=(
                "is not the one that is deployed, and no host has noted that one",
                "Put the old value back and run site.yml once, by which each host notes what a change needs; then change it",
            ),
        ),
        Change("redis_replication_password", APPLIED, _BOTH),
        Change(
            "redis_sentinel_password",
            REFUSED,
            NOT_ROTATED,
            "utmstack-ha-sentinel-secret.conf beside Redis's settings in /etc",
        ),
        Change("redis_monitoring_password", APPLIED, _BOTH),
        Change("redis_application_password", APPLIED, _BOTH),
        Change("redis_drill_password", APPLIED, _BOTH),
        Change("redis_backup_password", APPLIED, _BOTH),
    ),
    compared=(
        ("redis", "address", "ha_address", address),
        ("redis", "port", "ha_ports.redis", port("redis")),
        ("redis", "data_directory", "redis_data_directory", given("redis_data_directory")),
        ("redis", "flavor", "redis_flavor", given("redis_flavor")),
        ("redis", "tls_directory", "ha_tls_directory", tls_directory),
        ("haproxy", "redis", "ha_ports.redis_master", port("redis_master")),
    ),
    memory=2,
    settings={"redis_flavor": "redis", "redis_data_directory": "/var/lib/{redis_flavor}/{cluster}"},
    choices={"redis_flavor": ("redis", "valkey")},
    numbers_or_empty=("redis_takeover_wait_s",),
    releases={"12": {"valkey": False}, "13": {"valkey": True}},
    unsupported=unsupported,
    shared={"redis_master_name": "utmstack-redis", "redis_min_replicas_to_write": ""},
    passwords={
        "redis_admin_password": _FORBIDDEN,
        "redis_replication_password": _FORBIDDEN,
        "redis_sentinel_password": _FORBIDDEN,
        "redis_monitoring_password": HAPROXY_FORBIDS,
        "redis_application_password": _FORBIDDEN,
        "redis_drill_password": _FORBIDDEN,
        "redis_backup_password": _FORBIDDEN,
    },
    units=("{redis_flavor}-server.service",),
    packages=("{redis_flavor}-server", "{redis_flavor}-tools"),
    held=("{redis_flavor}-server", "{redis_flavor}-tools"),
    # Redis and Sentinel are one program, so their packages go together.
    upgrades=("{redis_flavor}-server", "{redis_flavor}-tools", "{redis_flavor}-sentinel"),
    upgraded={"{redis_flavor}-server.service": (), "{redis_flavor}-sentinel.service": ()},
    data=Data("redis_data_directory", "{redis_flavor}", "/var/lib/{redis_flavor}/utmstack-ha.conf"),
    traces=traces,
    # It forks to save its data.
    kernel={"vm.overcommit_memory": 1},
    asks=asks,
    form=form,
    table=table,
    server_roles=server_roles,
    environment=environment,
    secrets={"REDIS_PASSWORD": "redis_application_password"},
    whole_host=("health", "drain", "hold", "release", "undrain", "retire"),
    serves=answers,
    leads="Redis's master",
    leader="master",
    processes={"redis": {"what": "Redis"}},
    faults=(
        Fault("redis-sigkill", "The Redis master is killed", LEADER, killed("redis"), hold_s=15, target_s=5),
        Fault("redis-sigstop", "The Redis master is frozen", LEADER, frozen("redis"), hold_s=20, target_s={"redis": 5}),
        Fault(
            "redis-host-power-off",
            "The host of the Redis master loses its power, and leads nothing else",
            LEADER,
            POWER_OFF,
            hold_s=40,
            target_s={"redis": 5},
            alone=True,
        ),
        Fault("redis-partition", "The host of the Redis master is cut off from all others", LEADER, CUT_OFF, hold_s=30),
        Fault("redis-lossy", "The host of the Redis master loses a share of its packets", LEADER, LOSSY, hold_s=60),
    ),
    ledger=(LedgerPath("redis", "Redis", "redis", ledger, host_lost_s=5, expected_loss=expected_loss),),
    backups=(
        Backup(
            kind="redis",
            title="Redis",
            playbook="restore_redis",
            store=True,
            asked=backup_settings,
            source="a replica",
            schedule=("hourly",),
            stale_s=3 * HOUR,
            # A server that has loaded it, beside the copy in the scratch directory.
            scratch=lambda size: (size + (64 << 20), 4 * size + (64 << 20)),
            isolated=True,
            packages=("{redis_flavor}-tools",),
            secrets=("redis_backup_password",),
        ),
    ),
)
