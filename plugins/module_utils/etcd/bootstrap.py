# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides who forms, starts, joins or restarts, so that there is never a second cluster and never a lost quorum."""

from __future__ import annotations

from ..common.bootstrap import without_leader
from ..common.order import order
from .members import find

LOST = "restore etcd from a backup (playbooks/restore_etcd.yml), or move the remaining data away to begin anew"


def plan_bootstrap(members: list[dict], facts: dict[str, dict], cluster: dict) -> dict:
    """What has to be done on which hosts.

    members: all of the inventory, each {name, peer_url}. facts: what was seen on the hosts of this run, by name:
    {data: whether etcd's data is there, running: whether etcd runs, forming: the initial cluster that the host was
    started with and has not finished to form or join, else '', restart: whether it runs with old settings}.
    cluster: what etcd_info returned (members, leader, healthy).

    Returns lists of names, and two texts:
      form     starts with no data, as part of a new cluster of `initial_cluster`
      start    starts with its own data, or goes on forming
      restart  restarts at once: nobody leads, so nothing can be lost by it
      join     has no data, or data that belongs to no member: it joins the running cluster, one host after the other
      archive  those of `join` with such data, which is moved aside first
      promote  runs as a learner: has to be promoted
      roll     restarts one at a time, in this order: first those that are ill, the leader last
      begin    all of form, start and restart: what happens at once on all hosts
      needed   whether there is anything to do but to roll
      refusal  why nothing may be done, or ''
    """
    plan = {key: [] for key in ("form", "start", "restart", "join", "archive", "promote", "roll")}
    plan |= {"initial_cluster": ",".join(f"{one['name']}={one['peer_url']}" for one in members), "refusal": ""}
    if cluster.get("leader"):
        _with_quorum(plan, members, facts, cluster)
    else:
        _without_quorum(plan, members, facts)
    plan["begin"] = plan["form"] + plan["start"] + plan["restart"]
    plan["needed"] = bool(plan["refusal"] or plan["begin"] or plan["join"] or plan["promote"])
    return plan


def _with_quorum(plan: dict, members: list[dict], facts: dict[str, dict], cluster: dict) -> None:
    """A cluster works: everyone in this run who isn't part of it becomes so."""
    leader = cluster["leader"]
    ill: list[str] = []
    for one in members:
        name = one["name"]
        seen = facts.get(name)
        if seen is None:
            continue
        entries = find(cluster["members"], name, [one["peer_url"]])
        listed = entries[0] if len(entries) == 1 else None
        if not seen["data"]:
            unfinished = [other["forming"] for other in facts.values() if _begun_with(name, other["forming"])]
            if listed and not listed["name"] and not listed["learner"] and unfinished:
                plan["form"].append(name)
                plan["initial_cluster"] = unfinished[0]
            else:
                plan["join"].append(name)
        elif listed is None:
            plan["join"].append(name)
            plan["archive"].append(name)
        elif not seen["running"]:
            plan["start"].append(name)
        elif seen["restart"]:
            plan["roll"].append(name)
            ill += [] if listed["healthy"] else [name]
        if listed and listed["learner"] and seen["data"]:
            plan["promote"].append(name)
    plan["roll"] = order(sorted(plan["roll"]), ill, {leader: 1})


def _without_quorum(plan: dict, members: list[dict], facts: dict[str, dict]) -> None:
    """Nobody leads. Whoever has no data waits for a leader, as it has to join, unless the cluster was begun with it."""
    plan |= without_leader([one["name"] for one in members], facts, "etcd", "etcd has no leader", LOST)
    if begun := plan.pop("begun"):
        plan["initial_cluster"] = begun
        plan["form"] = [name for name in plan["form"] if _begun_with(name, begun)]


def _begun_with(name: str, initial_cluster: str) -> bool:
    """Whether an initial cluster, `a=https://a:2380,b=https://b:2380`, has this member."""
    return f",{name}=" in f",{initial_cluster}"
