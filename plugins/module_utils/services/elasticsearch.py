# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The search cluster, Elasticsearch or OpenSearch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .answers import cluster
from .listener import HOST, VIP, Listener
from .service import Data, Layer, Service, member_of

_FILES = ("elasticsearch.yml", "opensearch.yml", "jvm.options", "log4j2.properties")


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
    engine = "OpenSearch" if search["flavor"] == "opensearch" else "Elasticsearch"
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


SERVICE = Service(
    name="elasticsearch",
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
            "load balancers, search nodes, swarm hosts while the application's password changes",
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
    proxied=True,
    memory=8,
    settings={
        "elasticsearch_data_directory": "/var/lib/elasticsearch",
        "elasticsearch_log_directory": "/var/log/elasticsearch",
        "elasticsearch_repository_directories": [],
    },
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
    versioned=False,
    # Elasticsearch and OpenSearch map their files into memory, and refuse to start below it.
    kernel={"vm.max_map_count": 262144},
    # Its packages are Java; the server is an archive, which its role upgrades by the same loop.
    upgrade="upgrade_packages",
    asks=asks,
    form=form,
    table=table,
    # After it there is nothing to take back.
    whole_host=("health", "drain", "hold", "undrain"),
    serves=lambda layer, host: bool(member_of(layer, "nodes", host)),
    unfinished=held_in_place,
    leads="the elected master of the search cluster",
    leader="master",
    candidates="masters",
    processes={"elasticsearch": {"what": "Elasticsearch"}},
)
