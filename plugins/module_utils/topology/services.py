# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Elasticsearch in the topology: who does what, how many must agree, and what can't hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..common.text import nearest
from ..common.values import url
from ..services.members import quorum
from .faults import Findings

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


def flavor(value: Any, found: Findings) -> str:
    """Return which engine the group elasticsearch runs."""
    if value not in FLAVORS:
        found.refuse("group elasticsearch", "elasticsearch_flavor", f"is {value!r}", nearest(str(value), FLAVORS))
        return FLAVORS[0]
    return value


def node_roles(host: str, value: Any, engine: str, found: Findings) -> list[str]:
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


def elasticsearch(
    members: list[dict[str, Any]], engine: str, cluster: str, vip: Mapping[str, Any], ports: Mapping[str, int]
) -> dict[str, Any]:
    """Return what others must know of the search cluster; `members` have name, address, rack and roles.

    Elasticsearch leaves one of an even number of masters out of its votes, so the quorum is that of one less
    (its documentation, "Voting configurations").
    """
    masters = [entry["name"] for entry in members if "master" in entry["roles"]]
    data = [entry["name"] for entry in members if is_data(entry["roles"])]
    for entry in members:
        entry["url"] = url("https", entry["address"], ports["elasticsearch_http"])
        # Dedicated masters are left to their work.
        entry["serves"] = not entry["roles"] or not set(entry["roles"]) <= {"master", "voting_only"}
        entry["transport"] = url("", entry["address"], ports["elasticsearch_transport"]).removeprefix("://")
    return {
        "flavor": engine,
        "cluster_name": cluster,
        "superuser": {"elasticsearch": "elastic", "opensearch": "admin"}[engine],
        "members": members,
        "masters": masters,
        "data": data,
        "quorum": quorum(len(masters) - (len(masters) % 2 == 0) if masters else 0),
        "replicas": 1 if len(data) > 1 else 0,
        "urls": [entry["url"] for entry in members],
        "client": {"host": vip.get("address", ""), "port": ports["elasticsearch"]},
    }


def check_elasticsearch(roles: Mapping[str, list[str]], found: Findings) -> None:
    """Refuse a search cluster that can't elect a master safely or that has nowhere to put data; `roles` by host."""
    if not roles:
        return
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
