# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides who makes, joins or leaves the swarm and what its nodes should be, so that there is never a second swarm."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from types import MappingProxyType

from ..common.bootstrap import without_leader
from ..common.order import order
from .cluster import assess, host_of, member_of

# Marks a swarm as one that this collection made, with the name of the cluster.
OWNER_LABEL = "utmstack.ha.cluster"
# Marks the nodes that may carry replicas of the backend.
BACKEND_LABEL = "utmstack.ha.backend"
RACK_LABEL = "utmstack.ha.rack"

LOST = "run playbooks/restore_swarm.yml -e from=HOST with one that is left, which makes a swarm of its state"
NOTHING = {
    "unlock": [], "init": [], "join": [], "leave": [], "remove": [], "nodes": [], "viewpoint": "", "roll": [], "settings": False, "ill": False, "key": False,
    "needed": False, "refusal": "", "warnings": [],
}  # fmt: skip


def members(ha: Mapping, seen: Mapping[str, Mapping] = MappingProxyType({})) -> list[dict]:
    """The members of the inventory as the nodes that they should be.

    ha: the topology. seen: by name of each host in this run its `availability` and further `labels`. The availability
    of a host that is not in this run is not known: '', and so are its labels: None.
    """
    managers = {one["name"] for one in ha["swarm"]["managers"]}
    backend = {one["name"] for one in ha["backend"]["members"]}
    wanted = []
    for one in ha["swarm"]["members"]:
        name, own = one["name"], seen.get(one["name"], {})
        labels = {BACKEND_LABEL: "true"} if name in backend else {}
        labels |= {RACK_LABEL: ha["hosts"][name]["rack"]} if ha["hosts"][name]["rack"] else {}
        labels |= {label: str(value) for label, value in (own.get("labels") or {}).items()}
        wanted.append(
            {
                "name": name,
                "address": one["address"],
                "role": "manager" if name in managers else "worker",
                "availability": own.get("availability") or "",
                "labels": labels if own else None,
            }
        )
    return wanted


def plan(ha: Mapping, seen: Mapping[str, Mapping], options: Mapping) -> dict:
    """What has to be done on which hosts.

    ha: the topology. seen: by name of each host in this run what swarm_info returned, and `restart`, whether Docker runs there
    with old settings, `availability` and `labels`. options: `adopt`, whether a swarm that carries no cluster's name is taken
    over, `unlock_key_known`, `address_pools` for overlay networks, `settings` as swarm_cluster takes them.

    Returns lists of names, and:
      viewpoint  the manager that knows the swarm and carries out what changes it, or ''
      unlock     managers that wait for the unlock key; all else is decided once they are unlocked
      init       the one host that makes the swarm
      leave      carry what remains of a membership that the swarm has ended
      join       {name, role} of the hosts that join, managers first
      remove     {id, name, role} of nodes that are gone, each a former life of a host
      nodes      {id, name, role, availability, labels} of the nodes that are not as they should be
      settings   whether the swarm's settings are not as they should be
      ill        whether the swarm is not whole, as far as the hosts of this run go
      key        whether the unlock key has to be read from the swarm
      roll       hosts whose Docker restarts, in this order: workers first, the leader last
      needed     whether hosts have to make, join, unlock or leave the swarm, or nothing may be done
      refusal    why nothing may be done, or ''
      warnings   what a person should know
    """
    result = {name: value.copy() if isinstance(value, list) else value for name, value in NOTHING.items()}
    wanted = members(ha, seen)
    here = [one for one in wanted if one["name"] in seen]
    result["unlock"] = [one["name"] for one in here if seen[one["name"]]["state"] == "locked"]
    active = [one["name"] for one in here if seen[one["name"]]["state"] in ("active", "pending", "error")]
    views = [name for name in active if seen[name]["nodes"] and any(node["leader"] for node in seen[name]["nodes"])]
    result["refusal"] = (
        _unanswered(here, seen)
        or _locked_out(result["unlock"], options["unlock_key_known"])
        or _foreign(active, seen)
        or _unowned(views, seen, ha["cluster"], options["adopt"])
        or _exposed(active, seen)
    )
    if result["refusal"]:
        pass
    elif result["unlock"]:
        result["needed"] = True
        return result
    elif views:
        _within(result, wanted, here, seen, views[0])
    else:
        _without(result, wanted, here, active, seen)
        if result["init"]:
            result["refusal"] = _overlapping(options["address_pools"], ha)
    if result["viewpoint"] and not result["init"]:
        view = seen[result["viewpoint"]]
        result["settings"] = any(
            value is not None and view["settings"][name] != value for name, value in options["settings"].items()
        )
        away = [one["name"] for one in wanted if one["name"] not in seen]
        result["ill"] = bool(assess(view, wanted, away))
        result["key"] = options["settings"]["autolock"] and not view["unlock_key_known"]
    result["needed"] = bool(result["refusal"] or any(result[name] for name in ("init", "join", "leave", "remove")))
    return result


def _unanswered(here: list[dict], seen: Mapping) -> str:
    """Why hosts whose Docker does not answer stop the run, or ''."""
    silent = [one["name"] for one in here if seen[one["name"]]["state"] == "stopped"]
    if not silent:
        return ""
    said = "; ".join(f"{name}: {seen[name]['error']}" for name in silent)
    return f"Docker does not answer ({said}). See `journalctl -u docker` there, and start the run again when it runs."


def _overlapping(pools: list[str], ha: Mapping) -> str:
    """Why overlay networks must not be made from these subnets, or ''."""
    known = {f"host {name}": host["address"] for name, host in ha["hosts"].items()}
    known["the virtual IP"] = ha["virtual_ip"]["address"]
    for pool in pools:
        try:
            network = ipaddress.ip_network(pool)
        except ValueError as error:
            return f"swarm_address_pools has {pool!r}, which is no subnet: {error}. Write it like 10.201.0.0/16."
        inside = [name for name, address in known.items() if address and ipaddress.ip_address(address) in network]
        if inside:
            return (
                f"swarm_address_pools has {pool}, which contains the address of {', '.join(inside)}: containers could not reach it. "
                "Set it to a subnet that is used nowhere else."
            )
    return ""


def _locked_out(locked: list[str], key: bool) -> str:
    """Why locked managers can't be unlocked, or ''."""
    if not locked or key:
        return ""
    return (
        f"Docker on {', '.join(locked)} waits for the swarm's unlock key, and the controller does not have it. Put it into "
        "passwords.yml as swarm_unlock_key (a running manager prints it: `docker swarm unlock-key -q`), or unlock by hand."
    )


def _foreign(active: list[str], seen: Mapping) -> str:
    """Why hosts that are in different swarms can't become one, or ''."""
    swarms: dict[str, list[str]] = {}
    for name in active:
        if seen[name]["cluster_id"]:
            swarms.setdefault(seen[name]["cluster_id"], []).append(name)
    if len(swarms) < 2:
        return ""
    listed = "; ".join(f"{', '.join(names)} in swarm {number}" for number, names in swarms.items())
    return (
        f"The hosts are in different swarms: {listed}. Nothing is done, as leaving a swarm destroys what runs there. On the hosts "
        "whose swarm is not wanted run `docker swarm leave --force`, and start the run again: they join the other."
    )


def _unowned(views: list[str], seen: Mapping, cluster: str, adopt: bool) -> str:
    """Why a swarm that someone else made is left alone, or ''."""
    for name in views:
        owner = seen[name]["settings"]["labels"].get(OWNER_LABEL)
        if owner == cluster or (adopt and owner is None):
            continue
        made = f"belongs to the cluster {owner}" if owner else "was not made by this collection"
        remedy = (
            "Correct ha_cluster_name, or run `docker swarm leave --force` there to give that swarm up"
            if owner
            else "Set swarm_adopt to true to take it over, or run `docker swarm leave --force` there to give it up"
        )
        return f"{name} is in a Docker swarm ({seen[name]['cluster_id']}) that {made}. {remedy}."
    return ""


def _exposed(active: list[str], seen: Mapping) -> str:
    """Why a swarm whose gateway network publishes ports on all addresses is refused, or ''."""
    wrong = [name for name in active if seen[name].get("gateway_wrong")]
    if not wrong:
        return ""
    return (
        f"The network docker_gwbridge of {', '.join(wrong)} publishes ports on all addresses of the host, the virtual IP included, "
        "which collides with the load balancer. It can't be changed while the host is in a swarm: on one host after the other "
        "`docker node update --availability drain`, `docker swarm leave --force`, `docker network rm docker_gwbridge`, then run again."
    )


def _within(result: dict, wanted: list[dict], here: list[dict], seen: Mapping, viewpoint: str) -> None:
    """There is a swarm: every host of this run becomes the node that it should be."""
    nodes = seen[viewpoint]["nodes"]
    result["viewpoint"] = viewpoint
    listed = {node["id"]: node for node in nodes}
    ours = {member["address"] for member in wanted}
    known = set()
    for member in here:
        name, state = member["name"], seen[member["name"]]
        entry = listed.get(state["node_id"]) if state["state"] in ("active", "pending", "error") else None
        former = [one for one in nodes if one is not entry and member_of(one, [member])]
        known.update(one["id"] for one in former)
        if entry is None and state["state"] != "inactive":
            # Its membership ended, or it is another swarm's: only the managers that it knows can tell.
            strangers = [peer for peer in state["managers"] if host_of(peer) not in ours]
            if strangers and len(strangers) == len(state["managers"]):
                result["refusal"] = (
                    f"{name} is in another swarm, whose managers are {', '.join(strangers)}. Nothing is done, as leaving it "
                    f"destroys what runs there. If it is not wanted, run `docker swarm leave --force` on {name}."
                )
                return
            result["leave"].append(name)
        if entry is None:
            result["join"].append({"name": name, "role": member["role"]})
        else:
            known.add(entry["id"])
            result["nodes"] += _update(entry, member)
        result["remove"] += [{"id": one["id"], "name": name, "role": one["role"]} for one in former]
    result["join"].sort(key=lambda one: one["role"] != "manager")
    # More managers before fewer, so that the quorum is never smaller than before or after.
    result["nodes"].sort(key=lambda one: one["role"] != "manager")
    strangers = [node["hostname"] for node in nodes if node["id"] not in known and not member_of(node, wanted)]
    if strangers:
        result["warnings"].append(
            f"The swarm has nodes that are in no inventory: {', '.join(strangers)}. They are left alone; "
            "`docker node rm` removes those that are gone."
        )
    due = [one["name"] for one in here if seen[one["name"]].get("restart") and seen[one["name"]]["state"] == "active"]
    entries = {name: listed.get(seen[name]["node_id"], {}) for name in due}
    result["roll"] = order(
        due,
        leads={name: 1 for name, entry in entries.items() if entry.get("leader")},
        late={name: 1 for name, entry in entries.items() if entry.get("role") == "manager"},
    )


def _update(entry: Mapping, member: Mapping) -> list[dict]:
    """What a node should be, where it is something else. Labels that others gave it stay."""
    keep = {name: value for name, value in entry["labels"].items() if not name.startswith("utmstack.ha.")}
    wanted = {
        "role": member["role"],
        "availability": member["availability"],
        "labels": keep | member["labels"],
    }
    if all(entry[key] == value for key, value in wanted.items()):
        return []
    return [{"id": entry["id"], "name": member["name"], **wanted}]


def _without(result: dict, wanted: list[dict], here: list[dict], active: list[str], seen: Mapping) -> None:
    """Nobody knows a leader: the first manager makes a swarm where there has never been one, and all others join it."""
    names = [one["name"] for one in wanted if one["role"] == "manager" or one["name"] in seen]
    common = {"running": True, "restart": False, "forming": ""}
    facts = {one["name"]: {"data": one["name"] in active, **common} for one in here}
    said = "; ".join(f"{name}: {seen[name]['error'] or seen[name]['state']}" for name in active) or "no host is in one"
    decided = without_leader(names, facts, "docker", f"The swarm has no leader ({said})", LOST)
    result["refusal"] = decided["refusal"]
    if decided["form"]:
        first = next(one["name"] for one in here if one["role"] == "manager")
        result |= {"init": [first], "viewpoint": first}
        result["join"] = [{"name": one["name"], "role": one["role"]} for one in here if one["name"] != first]
        result["join"].sort(key=lambda one: one["role"] != "manager")
