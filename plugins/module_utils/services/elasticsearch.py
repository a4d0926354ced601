# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The search cluster, Elasticsearch or OpenSearch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..common.text import nearest
from ..common.values import url
from .answers import cluster
from .backup import Backup
from .change import (
    APPLIED,
    CLIENT_PORT,
    NOT_ROTATED,
    PORT,
    REFUSED,
    SWITCH,
    Change,
    address,
    cluster_name,
    given,
    name,
    port,
)
from .drill import LEADER, LOSSY, POWER_OFF, REPLICA, Fault, LedgerPath, frozen, killed
from .listener import HOST, VIP, Endpoint, Listener
from .members import quorum
from .service import Data, Layer, Service, member_of

# Role elasticsearch makes the drill's user where ha_drill_allowed is true, with the right to indices of this begin only.
DRILL_USER, DRILL_INDEX = "utmstack-drill", "utmstack-drill"
# Role elasticsearch makes it, for the timer on the elected master and for backup hosts.
SNAPSHOT_USER = "utmstack-snapshots"
_ENGINES = {"elasticsearch": "Elasticsearch", "opensearch": "OpenSearch"}
_FILES = ("elasticsearch.yml", "opensearch.yml", "jvm.options", "log4j2.properties")


FLAVORS = ("elasticsearch", "opensearch")
ALL_PURPOSE = ["master", "data", "ingest"]
_COMMON_ROLES = ("master", "data", "ingest", "remote_cluster_client", "ml")
# Elastic's documentation "Node settings" and OpenSearch's "Creating a cluster"; there master is called cluster_manager.
NODE_ROLES = {
    "elasticsearch": (
        *_COMMON_ROLES,
        "voting_only",
        "transform",
        "data_content",
        "data_hot",
        "data_warm",
        "data_cold",
        "data_frozen",
    ),
    "opensearch": (*_COMMON_ROLES, "search", "warm"),
}


def flavor(value: Any, found: Any) -> str:
    """Return which engine the group elasticsearch runs."""
    if value not in FLAVORS:
        found.refuse("group elasticsearch", "elasticsearch_flavor", f"is {value!r}", nearest(str(value), FLAVORS))
        return FLAVORS[0]
    return value


def node_roles(host: str, value: Any, engine: str, found: Any) -> list[str]:
    """Return a node's roles: all-purpose when unset, none (it only coordinates) for an empty list."""
    if value is None or value == "":
        return list(ALL_PURPOSE)
    where, setting, known = f"host {host}", "elasticsearch_node_roles", NODE_ROLES[engine]
    if not isinstance(value, list):
        found.refuse(where, setting, f"is {value!r}, no list", "Write it like [master, data, ingest]")
        return list(ALL_PURPOSE)
    roles = ["master" if role == "cluster_manager" else str(role) for role in value]
    for role in roles:
        if role not in known:
            found.refuse(where, setting, f"names {role!r}, no role of {engine}", nearest(role, known))
    if "voting_only" in roles and "master" not in roles:
        found.refuse(where, setting, "has voting_only without master, which Elasticsearch refuses", "Add master")
    return list(dict.fromkeys(roles))


def is_data(roles: list[str]) -> bool:
    """Whether a node of these roles keeps shards that a new index needs."""
    return bool({"data", "data_content", "data_hot"}.intersection(roles))


def _check_roles(roles: Mapping[str, list[str]], found: Any) -> None:
    """Refuse a search cluster that can't elect a master safely or that has nowhere to put data; `roles` by host."""
    masters = [host for host, own in roles.items() if "master" in own]
    data = [host for host, own in roles.items() if is_data(own)]
    where, setting = "group elasticsearch", "elasticsearch_node_roles"
    if not masters:
        found.refuse(where, setting, "makes no host master-eligible", "Give three hosts the role master")
    elif len(masters) == 2:
        found.refuse(
            where,
            setting,
            f"makes two hosts master-eligible ({', '.join(masters)}), of which the loss of one stops the cluster",
            "Have three, or one where availability does not matter",
        )
    elif len(masters) == 1:
        found.warn(where, setting, f"makes only {masters[0]} master-eligible", "Have three where availability matters")
    if masters and all("voting_only" in roles[host] for host in masters):
        found.refuse(where, setting, "makes every master voting_only, so none can be elected", "Leave it out on two")
    if not data:
        found.refuse(where, setting, "makes no host a data node", "Give two hosts or more the role data")
    elif len(data) == 1:
        found.warn(
            where, setting, f"makes only {data[0]} a data node: no shard has a replica", "Have two or more data nodes"
        )


def facts(settings: Mapping[str, Any], hosts: Mapping[str, Mapping[str, Any]], found: Any) -> dict[str, Any]:
    """Return the engine, and the roles of each node."""
    engine = flavor(settings["elasticsearch_flavor"], found)
    roles = {host: node_roles(host, own.get("elasticsearch_node_roles"), engine, found) for host, own in hosts.items()}
    if roles:
        _check_roles(roles, found)
    return {"flavor": engine, "roles": roles}


def part(own: Mapping[str, Any], ha: Mapping[str, Any]) -> dict[str, Any]:
    """Return what others must know of the search cluster.

    Elasticsearch leaves one of an even number of masters out of its votes, so the quorum is that of one less
    (its documentation, "Voting configurations").
    """
    ports, engine = ha["ports"], own["flavor"]
    members = []
    for one in own["members"]:
        roles = own["roles"][one["name"]]
        members.append(
            {
                **one,
                "rack": ha["hosts"][one["name"]]["rack"],
                "roles": roles,
                "url": url("https", one["address"], ports["elasticsearch_http"]),
                # Dedicated masters are left to their work.
                "serves": not roles or not set(roles) <= {"master", "voting_only"},
                "transport": url("", one["address"], ports["elasticsearch_transport"]).removeprefix("://"),
            }
        )
    masters = [one["name"] for one in members if "master" in one["roles"]]
    data = [one["name"] for one in members if is_data(one["roles"])]
    return {
        "flavor": engine,
        "cluster_name": ha["cluster"],
        "superuser": {"elasticsearch": "elastic", "opensearch": "admin"}[engine],
        "members": members,
        "masters": masters,
        "data": data,
        "quorum": quorum(len(masters) - (len(masters) % 2 == 0) if masters else 0),
        "replicas": 1 if len(data) > 1 else 0,
        "urls": [one["url"] for one in members],
        "client": own["client"],
    }


def entered(settings: Mapping[str, Any]) -> list[str]:
    """The directories that its account enters besides its data."""
    return [
        settings["elasticsearch_log_directory"],
        "/opt/utmstack-ha",
        *settings["elasticsearch_repository_directories"],
    ]


def held_in_place(layer: Layer) -> bool:
    """Whether shards are still held in place: by a run that died in its last turn."""
    return "cluster.routing.allocation.enable" in (layer or {}).get("changed_settings", {})


def survives(ha: Mapping[str, Any]) -> int:
    """A majority of its masters is needed, and every shard has one replica at least."""
    search = ha["elasticsearch"]
    return min(len(search["masters"]) - search["quorum"], search["replicas"])


def endpoints(ha: Mapping[str, Any]) -> list[Endpoint]:
    """The nodes that serve clients."""
    target = f"its nodes, port {ha['ports']['elasticsearch_http']}"
    engine = _ENGINES[ha["elasticsearch"]["flavor"]]
    return [Endpoint("elasticsearch", engine, target, "utmstack", "elasticsearch_application_password", "https")]


def asks(ha: Mapping[str, Any], secrets: Mapping[str, str], host: str) -> dict[str, dict[str, Any]]:
    """The host's own node tells of the cluster."""
    search = ha["elasticsearch"]
    return {
        "utmstack.ha.elasticsearch_health": {
            "url": [one["url"] for one in search["members"] if one["name"] == host],
            "ca_path": ha["tls"]["ca"],
            "username": search["superuser"],
            "password": secrets["elasticsearch_superuser_password"],
            "expected_nodes": [one["name"] for one in search["members"]],
            "timeout": 3,
        }
    }


def deployed_by(ha: Mapping[str, Any], groups: Iterable[str]) -> dict[str, Any]:
    """Hosts that act on what it says to its users ask it, too: load balancers by their checks, and those of the application."""
    asking = {"elasticsearch", "loadbalancer", "swarm_managers", "swarm_workers"}.intersection(groups)
    return {"flavor": ha["elasticsearch"]["flavor"], "urls": ha["elasticsearch"]["urls"] if asking else []}


def environment(ha: Mapping[str, Any], settings: Mapping[str, Any], _ca: str) -> dict[str, Any]:
    host, port = ha["elasticsearch"]["client"]["host"], ha["elasticsearch"]["client"]["port"]
    return {
        "ELASTICSEARCH_HOST": host,
        "ELASTICSEARCH_PORT": port,
        "ELASTICSEARCH_SCHEME": "https",
        "ELASTICSEARCH_USER": settings["elasticsearch_user"],
        "SPRING_ELASTICSEARCH_URIS": url("https", host, port),
        "SPRING_ELASTICSEARCH_USERNAME": settings["elasticsearch_user"],
        "SPRING_ELASTICSEARCH_PASSWORD": "${ELASTICSEARCH_PASS}",
    }


def backup_settings(ha: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    """What its kind of backup is told: the nodes, and the user that takes snapshots. Role elasticsearch gives that one the right to restore under
    the names of a check where there are backup hosts."""
    members = ha["elasticsearch"]["members"]
    return {
        "urls": [member["url"] for member in members],
        "names": {member["url"]: member["name"] for member in members},
        "ca": ha["tls"]["ca"],
        "username": SNAPSHOT_USER,
        "password": secrets["elasticsearch_snapshot_password"],
    }


def backup_refused(hosts: Mapping[str, Mapping[str, Any]]) -> tuple[str, str] | tuple[()]:
    """Without a policy nobody takes snapshots, so there would be nothing to record."""
    if any(own.get("elasticsearch_snapshot_policies") for own in hosts.values()):
        return ()
    return (
        "no snapshot policy is set (elasticsearch_snapshot_policies)",
        "Set one with a repository, or name the kinds that shall be taken in backup_kinds, without elasticsearch",
    )


def ledger(ha: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    """The address that applications use, and the nodes that read back."""
    search = ha["elasticsearch"]
    return {
        "url": url("https", search["client"]["host"], search["client"]["port"]),
        "username": DRILL_USER,
        "password": secrets["elasticsearch_drill_password"],
        "index": DRILL_INDEX,
        "members": {member["name"]: member["url"] for member in search["members"] if member["serves"]},
    }


def form(topology, observations, _roles):
    """Return its part of the state of the platform, as Service.form says."""
    if not topology["elasticsearch"]["members"]:
        return None

    def view(answer):
        return {**answer, "members": answer["nodes"], "leader": answer["master"]}

    best, problems = cluster("elasticsearch", topology, observations, "elasticsearch", lambda _node: True, view)
    keys = ("status", "master", "unassigned", "initializing", "relocating", "changed_settings")
    wanted = [member["name"] for member in topology["elasticsearch"]["members"]]
    nodes = best["nodes"] if best else []
    return {
        "healthy": not problems,
        "problems": problems,
        "flavor": topology["elasticsearch"]["flavor"],
        **{key: best[key] if best else None for key in keys},
        "nodes": nodes,
        "absent_nodes": [name for name in wanted if nodes and name not in [node["name"] for node in nodes]],
    }


def table(state):
    """Return its table, as Service.table says."""
    search = state["elasticsearch"]
    if not search:
        return "", []
    engine = _ENGINES[search["flavor"]]
    rows = [["node", "address", "role", "version", "roles"]]
    for node in search["nodes"]:
        role = "master" if node["master"] else "-"
        rows.append([node["name"], node["address"] or "", role, node["version"] or "-", ", ".join(node["roles"])])
    rows += [[name, "", "NOT THERE", "-", ""] for name in search["absent_nodes"]]
    if len(rows) == 1:
        return f"{engine}, nobody answers", [["-"]]
    title = f"{engine}, {search['status'] if search['status'] == 'green' else (search['status'] or 'unknown').upper()}"
    title += f", master {search['master'] or 'NONE'}"
    moving = [f"{search[key]} shards {key}" for key in ("unassigned", "initializing", "relocating") if search[key]]
    return ", ".join([title, *moving]), rows


def check_changes(ha: Mapping[str, Any], hosts: Mapping[str, Mapping[str, Any]], found: Any) -> None:
    """A node that has shards must go on having a data role."""
    for member in ha["elasticsearch"]["members"]:
        present = hosts.get(member["name"], {}).get("layers", {}).get("elasticsearch", {}).get("roles") or []
        if _data(present) and not _data(member["roles"]):
            found.refuse(
                f"host {member['name']}",
                "elasticsearch_node_roles",
                f"takes {', '.join(_data(present))} from a node that has shards, which then would not start",
                "Put it back, or move the shards away first (cluster.routing.allocation.exclude._name), stop the node and remove its data",
            )


def _data(roles: list[str]) -> list[str]:
    return [role for role in roles if role == "data" or role.startswith("data_")]


SERVICE = Service(
    name="elasticsearch",
    title="the search engine",
    role="elasticsearch",
    layer="elasticsearch",
    groups=("elasticsearch",),
    listeners=(
        Listener(
            "elasticsearch",
            "Elasticsearch (HTTPS)",
            "elasticsearch_http",
            9200,
            HOST,
            "load balancers, search nodes, backup hosts, swarm hosts while the application's password changes",
        ),
        Listener("elasticsearch", "Elasticsearch (nodes)", "elasticsearch_transport", 9300, HOST, "search nodes"),
        Listener(
            "loadbalancer",
            "HAProxy (Elasticsearch)",
            "elasticsearch",
            9200,
            VIP,
            "clients (`haproxy_elasticsearch_allowed_networks`), swarm hosts (the application)",
            ("elasticsearch",),
        ),
    ),
    probe_port="elasticsearch_http",
    probe_rank=1,
    proxied=True,
    facts=facts,
    part=part,
    survives=survives,
    endpoints=endpoints,
    changes=(
        Change(
            "elasticsearch_node_roles",
            APPLIED,
            "one node after the other. Taking the last data role from a node that has shards is refused: move them away first"
            " (cluster.routing.allocation.exclude._name), stop the node and remove its data",
        ),
        Change(
            "elasticsearch_data_directory",
            REFUSED,
            "To have the data on another disk, mount it there while the node is stopped",
        ),
        Change("elasticsearch_version", APPLIED, "upgrades roll through the nodes; a step back or too far is refused"),
        Change(
            "elasticsearch_flavor",
            REFUSED,
            "To change the engine, deploy a new cluster and restore a snapshot or index anew",
        ),
        Change("ha_ports.elasticsearch_http", REFUSED, PORT),
        Change("ha_ports.elasticsearch_transport", REFUSED, PORT),
        Change("ha_ports.elasticsearch", REFUSED, CLIENT_PORT),
        Change(
            "elasticsearch_superuser_password",
            REFUSED,
            NOT_ROTATED,
            "each node's keystore (bootstrap.password), unless it was changed since",
        ),
        Change("elasticsearch_application_password", APPLIED, SWITCH.format("the backend", "the backend")),
        Change("elasticsearch_monitoring_password", APPLIED, SWITCH.format("HAProxy", "HAProxy")),
        Change("elasticsearch_snapshot_password", APPLIED, "at once; the timer tries again"),
        Change("elasticsearch_drill_password", APPLIED, "at once"),
    ),
    check_changes=check_changes,
    compared=(
        ("elasticsearch", "name", "inventory name", name),
        ("elasticsearch", "cluster", "ha_cluster_name", cluster_name),
        ("elasticsearch", "address", "ha_address", address),
        ("elasticsearch", "http_port", "ha_ports.elasticsearch_http", port("elasticsearch_http")),
        ("elasticsearch", "transport_port", "ha_ports.elasticsearch_transport", port("elasticsearch_transport")),
        ("elasticsearch", "data_directory", "elasticsearch_data_directory", given("elasticsearch_data_directory")),
        ("elasticsearch", "flavor", "elasticsearch_flavor", lambda ha, host, given: ha["elasticsearch"]["flavor"]),
        ("haproxy", "elasticsearch", "ha_ports.elasticsearch", port("elasticsearch")),
    ),
    memory=8,
    settings={
        "elasticsearch_data_directory": "/var/lib/elasticsearch",
        "elasticsearch_log_directory": "/var/log/elasticsearch",
        "elasticsearch_repository_directories": [],
    },
    numbers_or_empty=(
        "elasticsearch_heap_mb",
        "elasticsearch_min_replicas",
        "elasticsearch_recover_after_data_nodes",
        "elasticsearch_uid",
    ),
    host_settings=("elasticsearch_node_roles",),
    releases={"12": {"java": "17"}, "13": {"java": "21"}},
    without={"12": "Java 17, with which versions that need 21 can't run"},
    shared={"elasticsearch_flavor": "elasticsearch"},
    passwords={
        "elasticsearch_superuser_password": "",
        "elasticsearch_application_password": "",
        "elasticsearch_monitoring_password": "",
        "elasticsearch_snapshot_password": "",
        "elasticsearch_drill_password": "",
    },
    units=("elasticsearch.service",),
    packages=("openjdk-{release[java]}-jre-headless",),
    some_packages=lambda ha, _release: ("python3-bcrypt",) if ha["elasticsearch"]["flavor"] == "opensearch" else (),
    held=("openjdk-{release[java]}-jre-headless",),
    upgrades=("openjdk-{release[java]}-jre-headless",),
    upgraded={"elasticsearch.service": ()},
    data=Data("elasticsearch_data_directory", "elasticsearch"),
    entered=entered,
    rivals=("opensearch.service",),
    barred=("elasticsearch", "elasticsearch-oss", "opensearch"),
    configs={
        "elasticsearch.service": (
            "/etc/systemd/system/elasticsearch.service",
            *(f"/etc/elasticsearch/{name}" for name in _FILES),
        )
    },
    traces=lambda look, _unit: look.data(path for path in ("/var/lib/elasticsearch",) if look.filled(path)),
    versioned=False,
    # Elasticsearch and OpenSearch map their files into memory, and refuse to start below it.
    kernel={"vm.max_map_count": 262144},
    # Its packages are Java; the server is an archive, which its role upgrades by the same loop.
    upgrade="upgrade_packages",
    asks=asks,
    deployed_by=deployed_by,
    form=form,
    table=table,
    environment=environment,
    secrets={"ELASTICSEARCH_PASS": "elasticsearch_application_password"},
    # After it there is nothing to take back.
    whole_host=("health", "drain", "hold", "undrain"),
    serves=lambda layer, host: bool(member_of(layer, "nodes", host)),
    unfinished=held_in_place,
    leads="the elected master of the search cluster",
    leader="master",
    candidates="masters",
    processes={"elasticsearch": {"what": "Elasticsearch"}},
    faults=(
        Fault(
            "elasticsearch-sigkill",
            "The elected master of the search cluster is killed",
            LEADER,
            killed("elasticsearch"),
            hold_s=20,
            target_s=6,
        ),
        Fault(
            "elasticsearch-sigstop",
            "The elected master of the search cluster is frozen",
            LEADER,
            frozen("elasticsearch"),
            hold_s=60,
        ),
        Fault(
            "elasticsearch-host-power-off",
            "The host of the search cluster's elected master loses its power, and leads nothing else",
            LEADER,
            POWER_OFF,
            hold_s=45,
            target_s={"elasticsearch": 20},
            alone=True,
        ),
        Fault(
            "elasticsearch-lossy",
            "The host of the search cluster's elected master loses a share of its packets",
            LEADER,
            LOSSY,
            hold_s=60,
        ),
        Fault(
            "elasticsearch-disk-full",
            "The data volume of a search node runs full",
            REPLICA,
            {"kind": "fill", "volume": "elasticsearch"},
            hold_s=45,
        ),
        Fault(
            "elasticsearch-disk-dead",
            "A search node can write no file",
            REPLICA,
            {"kind": "dead", "process": "elasticsearch"},
            hold_s=60,
        ),
        Fault(
            "elasticsearch-disk-hung",
            "The data volume of a search node hangs",
            REPLICA,
            {"kind": "hung", "volume": "elasticsearch"},
            hold_s=60,
        ),
        Fault(
            "snapshots-lost",
            "The shared snapshot folder is lost on the elected master",
            LEADER,
            {"kind": "unshare"},
            hold_s=30,
        ),
    ),
    ledger=(LedgerPath("elasticsearch", "Elasticsearch", "search", ledger, host_lost_s=20),),
    shares="elasticsearch_repository_directories",
    # Taken by the server's own policies: what runs here finds the newest one, and proves it.
    backups=(
        Backup(
            kind="elasticsearch",
            title="the search engine",
            playbook="restore_elasticsearch",
            store=True,
            asked=backup_settings,
            source="snapshots by the server's policies",
            point="to the last snapshot",
            # What a verification restores lies on the data nodes.
            scratch=lambda _size: (0, 0),
            schedule=("*-*-* 05:00",),
            verify_schedule=("*-*-* 06:00",),
            retention_days=30,
            files=False,
            elsewhere=True,
            refused=backup_refused,
            secrets=("elasticsearch_snapshot_password",),
        ),
    ),
)
