# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides who forms, starts, joins or restarts, so that there is never a second cluster and never a lost quorum."""

from __future__ import annotations

from ..common.order import order
from .members import find


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
            unfinished = [other["forming"] for other in facts.values() if f"{name}=" in other["forming"]]
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
    """Nobody leads: form a cluster where there has never been one, else start what there is."""
    names = [one["name"] for one in members]
    unseen = [name for name in names if name not in facts]
    empty = [name for name in names if name in facts and not facts[name]["data"]]
    kept = [name for name in names if name in facts and facts[name]["data"]]
    unfinished = {facts[name]["forming"] for name in kept}
    plan["start"] = [name for name in kept if not facts[name]["running"]]
    plan["restart"] = [name for name in kept if facts[name]["running"] and facts[name]["restart"]]
    if not kept and not unseen:
        plan["form"] = empty
    elif kept and len(unfinished) == 1 and "" not in unfinished:
        # An earlier run died while it formed the cluster: nobody has ever led, so those that are missing may begin.
        plan["initial_cluster"] = unfinished.pop()
        begun = {pair.split("=", 1)[0] for pair in plan["initial_cluster"].split(",")}
        plan["form"] = [name for name in empty if name in begun]
    elif not kept:
        plan["refusal"] = (
            f"No etcd member answers, none of {', '.join(empty)} has data, and {', '.join(unseen)} cannot be looked at. "
            "A new cluster is formed only when all members are known to be empty, as there must never be two. "
            "Run without --limit, with all hosts of group etcd up."
        )
    elif not plan["start"] and not plan["restart"]:
        plan["refusal"] = (
            f"etcd has no leader. It runs with data on {', '.join(kept)}"
            + (f", there is no data on {', '.join(empty)}" if empty else "")
            + (f", and nothing is known of {', '.join(unseen)}" if unseen else "")
            + ". Nothing is done, as a new cluster would throw this data away. Bring back hosts that have data until more "
            f"than half of the members run; look at `journalctl -u etcd` on {kept[0]} for what they wait for. If most of the "
            "members are lost for good, restore etcd from a snapshot, or move the remaining data away to begin anew."
        )
