# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides who forms a search cluster, who starts, and in which order nodes restart, so that there are never two clusters."""

from __future__ import annotations

from ..common.bootstrap import without_leader
from ..common.order import order

LOST = "restore a snapshot into a new cluster: move the remaining data away to begin anew"


def plan_bootstrap(members: list[dict], facts: dict[str, dict], cluster: dict) -> dict:
    """What has to be done on which hosts.

    members: all of the inventory, each {name, roles}. facts: what was seen on the hosts of this run, by name: {data: whether a
    node's data is there, running: whether the server runs, forming: the initial masters that it was started with and has not
    finished to form a cluster with, cluster_uuid: the cluster that its data belongs to, else '', restart: whether it runs with
    old settings}. cluster: what elasticsearch_health returned (master, cluster_uuid, nodes).

    Returns lists of names, and a text:
      form     starts with no data, to form a new cluster with the `initial_masters`
      start    starts with its own data, or to join the cluster that there is
      restart  restarts at once: it is in no cluster, so nothing can be lost by it
      settle   is in the cluster and has not noted so: the options of its first start have to go
      roll     restarts one at a time, in this order: first those that can't be master, then the others, the elected master last
      begin    all of form, start and restart: what happens at once on all hosts
      needed   whether there is anything to do but to settle and to roll
      refusal  why nothing may be done, or ''
    """
    plan = {key: [] for key in ("form", "start", "restart", "settle", "roll")}
    plan |= {"initial_masters": [one["name"] for one in members if "master" in one["roles"]], "refusal": ""}
    plan["refusal"] = _strangers(members, facts, cluster)
    if plan["refusal"]:
        pass
    elif cluster.get("master"):
        _with_master(plan, members, facts, cluster)
    else:
        _without_master(plan, members, facts)
    plan["begin"] = plan["form"] + plan["start"] + plan["restart"]
    plan["needed"] = bool(plan["refusal"] or plan["begin"])
    return plan


def _strangers(members: list[dict], facts: dict[str, dict], cluster: dict) -> str:
    """Why hosts with data of different clusters can't be one, or ''."""
    owners: dict[str, list[str]] = {}
    for one in members:
        seen = facts.get(one["name"])
        if seen and seen["data"] and seen["cluster_uuid"]:
            owners.setdefault(seen["cluster_uuid"], []).append(one["name"])
    present = cluster.get("cluster_uuid") if cluster.get("master") else None
    if present:
        strangers = {uuid: names for uuid, names in owners.items() if uuid != present}
        where = f"the cluster {present}, whose master is {cluster['master']}"
    else:
        most = max(owners, key=lambda uuid: len(owners[uuid]), default="")
        strangers = {uuid: names for uuid, names in owners.items() if uuid != most}
        where = f"the cluster {most}, as {', '.join(owners.get(most, []))} has"
    if not strangers:
        return ""
    found = "; ".join(f"{', '.join(names)} of the cluster {uuid}" for uuid, names in strangers.items())
    return (
        f"There is data of another cluster: {found}; here belongs that of {where}. A node with it can't join, and starting it could "
        "lead to two clusters. If it is not needed, stop elasticsearch on that host and move its data directory away; the "
        "next run lets the host join with nothing."
    )


def _with_master(plan: dict, members: list[dict], facts: dict[str, dict], cluster: dict) -> None:
    """A cluster works: whoever is not part of it starts and joins it."""
    joined = {node["name"] for node in cluster["nodes"]}
    rolled = []
    for one in members:
        name = one["name"]
        seen = facts.get(name)
        if seen is None:
            continue
        if not seen["running"]:
            plan["start"].append(name)
        elif seen["restart"] and name not in joined:
            plan["restart"].append(name)
        elif seen["restart"]:
            rolled.append(name)
        if name in joined and (seen["forming"] or seen["cluster_uuid"] != cluster["cluster_uuid"]):
            plan["settle"].append(name)
    eligible = {one["name"]: 1 for one in members if "master" in one["roles"]}
    plan["roll"] = order(sorted(rolled), leads={cluster["master"]: 1}, late=eligible)


def _without_master(plan: dict, members: list[dict], facts: dict[str, dict]) -> None:
    """Nobody is master. Where data belongs to a cluster, that one was formed, whatever the host was started with."""
    names = [one["name"] for one in members]
    seen = {name: one | {"forming": [] if one["cluster_uuid"] else one["forming"]} for name, one in facts.items()}
    plan |= without_leader(names, seen, "elasticsearch", "No master is elected", LOST, all_start=True)
    plan["initial_masters"] = plan.pop("begun") or plan["initial_masters"]
