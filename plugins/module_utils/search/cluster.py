# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the nodes of a search cluster say of it, and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from . import client as search_client
from . import settings as search_settings

COLOURS = ("red", "yellow", "green")
MASTER_ROLES = ("master", "cluster_manager")

# Settings that an operation changes for a while. Left behind by one that died, they keep shards where they are.
PASSING = (
    "cluster.routing.allocation.enable",
    "cluster.routing.rebalance.enable",
    "cluster.routing.allocation.exclude._name",
    "cluster.routing.allocation.exclude._ip",
    "cluster.routing.allocation.exclude._host",
)
HARMLESS = ("", "all")

# Who must not vote on the master. Of the metadata only this is asked for, and no index's.
COORDINATION = "metadata.cluster_coordination"
NO_INDEX = ".no-such-index?ignore_unavailable=true&allow_no_indices=true"


@dataclass
class View:
    """What one URL said: who answers there, and which master and cluster that node knows; or why it did not."""

    name: str = ""
    error: str = ""
    refused: bool = False
    cluster_uuid: str = ""
    master: str = ""
    version: str = ""
    nodes: dict = field(default_factory=dict)


@dataclass
class Observation:
    """All that was seen: URL -> View, and what the chosen node says of the cluster as a whole."""

    views: dict[str, View]
    chosen: str = ""
    health: dict = field(default_factory=dict)
    nodes: dict = field(default_factory=dict)
    shards: list[dict] = field(default_factory=list)
    waiting: list[dict] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    explanation: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    stored: dict[str, dict] | None = None
    error: str = ""


def _timeout(engine: search_client.Engine) -> str:
    return f"{engine.master_timeout}=2s"


def _own_view(engine: search_client.Engine) -> str:
    """The parameter by which a node tells what it knows itself, without asking the master (which may be frozen)."""
    # Elasticsearch always does since 9.0, and calls the parameter obsolete.
    always = not engine.opensearch and int(engine.version.partition(".")[0]) >= 9
    return _timeout(engine) if always else "local=true"


def view(client: search_client.Client, url: str) -> View:
    """Ask one node who it is and whom it follows. Never raises."""
    seen = View()
    try:
        reply = client.call(url, "GET", search_client.LOCAL_NODE)
        if reply.status != 200:
            seen.refused = reply.status in (401, 403)
            seen.error = reply.reason
            return seen
        node = next(iter(reply.body["nodes"].values()))
        seen.name, seen.version = node["name"], node["version"]
        own = _own_view(search_client.engine_of_node(reply.body))
        reply = client.call(url, "GET", f"/_cluster/state/master_node,nodes?{own}&filter_path={_STATE}")
        if reply.status == 200:
            seen.cluster_uuid = reply.body.get("cluster_uuid", "")
            seen.nodes = {ident: node["name"] for ident, node in reply.body.get("nodes", {}).items()}
            seen.master = seen.nodes.get(reply.body.get("master_node") or "", "")
        elif reply.status != 503:
            seen.error = reply.reason
    except search_client.NoAnswer as error:
        seen.error = str(error).partition("does not answer: ")[2]
    except (AttributeError, KeyError, StopIteration, TypeError):
        seen.error = "what answers is neither Elasticsearch nor OpenSearch"
    return seen


_STATE = "cluster_uuid,master_node,nodes.*.name"
_NODES = "/_nodes/_all/http?timeout=2s&filter_path=nodes.*.name,nodes.*.ip,nodes.*.version,nodes.*.roles,nodes.*.http.publish_address"


def excluded(state: dict) -> list[str]:
    """The names of the nodes that are excluded from voting on the master, as the cluster's state has them."""
    coordination = state.get("metadata", {}).get("cluster_coordination", {})
    return sorted(one["node_name"] for one in coordination.get("voting_config_exclusions", []))


_COORDINATION = f"/_cluster/state/metadata/{NO_INDEX}&filter_path={COORDINATION}.voting_config_exclusions"


def waiting(shards: list[dict], nodes: list[dict]) -> list[dict]:
    """The unassigned replicas that only wait for another node to be upgraded.

    A replica never goes to a node that is older than that of its primary. So it waits where every node that keeps data and is
    not older has a copy already. shards: each {index, shard, prirep, state, node}. nodes: each {name, version, roles}.
    """
    versions = {node["name"]: _numbers(node["version"]) for node in nodes}
    keepers = {node["name"] for node in nodes if any(role.startswith("data") for role in node["roles"])}
    copies: dict[tuple[str, str], set[str]] = {}
    primaries: dict[tuple[str, str], str] = {}
    for shard in shards:
        if shard["state"] in ("STARTED", "RELOCATING", "INITIALIZING") and shard["node"]:
            # A shard that is moving reads "node1 -> 10.0.1.12 … node2".
            name = shard["node"].partition(" ")[0]
            copies.setdefault((shard["index"], shard["shard"]), set()).add(name)
            if shard["prirep"] == "p":
                primaries[shard["index"], shard["shard"]] = name
    newest = max(versions.values())

    def waits(shard):
        key = shard["index"], shard["shard"]
        primary = versions.get(primaries.get(key, ""))
        if shard["prirep"] != "r" or primary is None or primary < newest:
            return False
        return not {name for name in keepers if versions[name] >= primary} - copies[key]

    return [shard for shard in shards if shard["state"] == "UNASSIGNED" and waits(shard)]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.partition("-")[0].split("."))


def best_url(views: dict[str, View]) -> str:
    """The URL to ask about the cluster: one that follows the master that most follow, at best the master itself, or ''."""
    followers = Counter((seen.cluster_uuid, seen.master) for seen in views.values() if seen.master)
    fit = [url for url, seen in views.items() if seen.master and not seen.error]
    return max(
        fit,
        key=lambda url: (followers[views[url].cluster_uuid, views[url].master], views[url].name == views[url].master),
        default="",
    )


def observe(client: search_client.Client) -> Observation:
    """Look at all nodes at once. Never raises: what can't be asked is in the observation."""
    found = Observation(client.everywhere(client.urls, lambda url: view(client, url)))
    found.chosen = best_url(found.views)
    if not found.chosen:
        return found
    chosen = search_client.Client([found.chosen], client.send, client.credentials, client.timeout)
    try:
        timeout = _timeout(chosen.engine())
        found.nodes = chosen.get(_NODES, "The list of nodes").get("nodes", {})
        found.health = chosen.get(f"/_cluster/health?{timeout}", "The cluster's health")
        found.excluded = excluded(chosen.get(f"{_COORDINATION}&{timeout}", "The state of the cluster"))
        stored = chosen.get(f"/_cluster/settings?flat_settings=true&{timeout}", "The cluster's settings")
        found.settings = {**stored["persistent"], **stored["transient"]}
        found.stored = {kind: stored[kind] for kind in ("persistent", "transient")}
        if found.health["unassigned_shards"]:
            columns = "index,shard,prirep,state,unassigned.reason"
            path = f"/_cat/shards?format=json&h={columns}&{timeout}"
            listed = chosen.get(path, "The list of shards", timeout=chosen.patience)
            found.shards = [shard for shard in listed if shard["state"] == "UNASSIGNED"]
            if len({node["version"] for node in found.nodes.values()}) > 1:
                path = f"/_cat/shards?format=json&h=index,shard,prirep,state,node&{timeout}"
                placed = chosen.get(path, "The list of shards", timeout=chosen.patience)
                found.waiting = waiting(placed, list(found.nodes.values()))
            found.explanation = explain(chosen)
    except search_client.NoAnswer:
        seen = found.views[found.chosen]
        found.error = (
            f"{seen.name} cannot report the cluster's health. Does the elected master, {seen.master}, answer it?"
        )
    except search_client.SearchError as error:
        found.error = str(error)
    return found


def explain(client: search_client.Client) -> str:
    """Why the first unassigned shard is where it is, in the server's words, or '' where it has none."""
    reply = client.ask("/_cluster/allocation/explain")
    body = reply.body if reply.status == 200 and isinstance(reply.body, dict) else {}
    said = [body.get("allocate_explanation", "")]
    last = body.get("unassigned_info", {}).get("details", "")
    said.append(last.partition("Stack")[0][:300] if "failed" in last else "")
    for decision in body.get("node_allocation_decisions", []):
        reasons = [
            one["explanation"]
            for one in decision.get("deciders", [])
            if one.get("decision") == "NO" and one.get("decider") != "same_shard"
        ]
        said.append(f"{decision['node_name']}: {reasons[0]}" if reasons else "")
    return " ".join(" ".join(text.split()) for text in said if text)[:1000]


def _nodes(found: Observation, chosen: View) -> list[dict]:
    """The nodes that the chosen node counts, with what they told of themselves in time."""
    listed = []
    for ident, name in chosen.nodes.items():
        node = found.nodes.get(ident, {})
        listed.append(
            {
                "name": name,
                "address": node.get("ip", ""),
                "roles": node.get("roles", []),
                "version": node.get("version", ""),
                "master": name == chosen.master,
            }
        )
    return sorted(listed, key=lambda node: node["name"])


def _enumerate(names) -> str:
    return ", ".join(sorted(names))


def _who(url: str, seen: View, found: Observation, expected: dict[str, str]) -> str:
    """The name of the node at a URL, else ''."""
    address = url.partition("://")[2]
    at = {node.get("http", {}).get("publish_address", ""): node["name"] for node in found.nodes.values()}
    return seen.name or at.get(address, "") or expected.get(url, "")


def _silent(found: Observation, expected: dict[str, str], without: list[str]) -> list[str]:
    """Sentences on URLs that gave no answer, or none that helps."""
    problems = []
    shut: dict[str, list[str]] = {}
    for url, seen in found.views.items():
        name = _who(url, seen, found, expected)
        if not seen.error or name in without:
            continue
        subject = f"{name} ({url})" if name else url
        if seen.refused:
            shut.setdefault(seen.error, []).append(subject)
        else:
            problems.append(f"{subject} does not answer ({seen.error}).")
    problems += [
        f"This user and password are refused by {', '.join(subjects)} ({reason}). While the index that keeps the users has no "
        "primary, nobody can log in."
        for reason, subjects in shut.items()
    ]
    return problems


def _division(found: Observation, without: list[str]) -> list[str]:
    """Sentences on nodes that follow nobody, or different masters."""
    seen = [one for one in found.views.values() if one.name and one.name not in without and not one.error]
    lost = [one.name for one in seen if not one.master]
    groups: dict[tuple[str, str], list[str]] = {}
    for one in seen:
        if one.master:
            groups.setdefault((one.cluster_uuid, one.master), []).append(one.name)
    problems = []
    if len({uuid for uuid, _master in groups}) > 1:
        sides = "; ".join(
            f"{_enumerate(names)} in cluster {uuid}, led by {master}"
            for (uuid, master), names in sorted(groups.items())
        )
        problems.append(
            f"There are two clusters: {sides}. What is written to one is not in the other. Stop the nodes of the one that "
            "has less, move their data away and let them join the other."
        )
    elif len(groups) > 1:
        sides = "; ".join(f"{_enumerate(names)} follow {master}" for (_uuid, master), names in sorted(groups.items()))
        problems.append(f"The nodes disagree on who is the elected master: {sides}.")
    if lost and groups:
        problems.append(f"No master is seen by {_enumerate(lost)}.")
    elif lost:
        problems.append(
            f"No master is elected, according to {_enumerate(lost)}. Are too few of the master-eligible nodes up?"
        )
    return problems


def whole(found: Observation) -> bool:
    """Whether every shard has all the copies that it can have: green, or yellow for want of upgraded nodes only."""
    health = found.health
    if health.get("status") == "green":
        return True
    return (
        health.get("status") == "yellow"
        and not health["initializing_shards"]
        and 0 < health["unassigned_shards"] == len(found.waiting)
    )


def _colour(found: Observation, accepted: str) -> list[str]:
    status = found.health.get("status", "red")
    if COLOURS.index(status) >= COLOURS.index(accepted) or whole(found):
        return []
    count = found.health["unassigned_shards"]
    first = sorted(found.shards, key=lambda shard: (shard["prirep"], shard["index"], int(shard["shard"])))
    names = [f"{shard['index']}[{shard['shard']}]{shard['prirep']}" for shard in first]
    reasons = sorted({shard.get("unassigned.reason") or "" for shard in found.shards} - {""})
    listed = ", ".join(names[:5]) + (" and others" if len(names) > 5 else "")
    detail = f": {listed} ({', '.join(reasons)})" if names else ""
    moving = found.health.get("initializing_shards", 0)
    doing = f", {moving} are being copied" if moving else ""
    sentence = f"The cluster is {status}: {count} shards are not assigned{doing}{detail}."
    return [f"{sentence} {found.explanation}".strip()]


def changed_settings(settings: dict[str, str]) -> dict[str, str]:
    """Those of the settings that an operation changes for a while and that are not at rest. Flat names."""
    return {name: settings[name] for name in PASSING if str(settings.get(name) or "") not in HARMLESS}


def differ(found: Observation, wanted: dict) -> bool:
    """Whether other settings than the wanted ones count, also where those were not told."""
    return found.stored is None or bool(search_settings.plan(found.stored, search_settings.flat(wanted)))


def assess(
    found: Observation,
    expected: list[str] = (),
    without: list[str] = (),
    accept: str = "green",
    ignore_settings: bool = False,
    settings: dict | None = None,
) -> dict:
    """What the observation means; the values that elasticsearch_health documents.

    expected: names that must be nodes; where there are as many as URLs, in the same order, a node that does not answer is
    called by its name. without: names whose own troubles are not counted. accept: the worst colour that is no problem.
    settings: the cluster settings that are wanted, as module elasticsearch_cluster_settings takes them.
    """
    by_url = dict(zip(found.views, expected)) if len(expected) == len(found.views) else {}
    chosen = found.views.get(found.chosen, View())
    nodes = _nodes(found, chosen)
    names = set(chosen.nodes.values())
    problems = _division(found, without) + _silent(found, by_url, without)
    if found.chosen:
        problems += [f"{name} is not in the cluster." for name in expected if name not in names and name not in without]
    if found.error:
        problems.append(found.error)
    elif found.chosen:
        problems += _colour(found, accept)
    left = changed_settings(found.settings)
    if left and not ignore_settings:
        said = ", ".join(f"{name} is {value}" for name, value in left.items())
        problems.append(f"Shards may not go where they should: {said}. Did an earlier operation end too soon?")
    if found.excluded and not ignore_settings:
        problems.append(
            f"{_enumerate(found.excluded)} must not vote on the master. Did an earlier operation end too soon?"
        )
    return {
        "healthy": bool(nodes) and not problems,
        "problems": problems,
        "status": found.health.get("status"),
        "master": chosen.master or None,
        "cluster_uuid": chosen.cluster_uuid or None,
        "cluster_name": found.health.get("cluster_name"),
        "nodes": nodes,
        "absent_nodes": [name for name in expected if name not in names] if found.chosen else list(expected),
        "unassigned": found.health.get("unassigned_shards"),
        "initializing": found.health.get("initializing_shards"),
        "relocating": found.health.get("relocating_shards"),
        "changed_settings": left,
        "settings_differ": settings is not None and differ(found, settings),
        "whole": whole(found),
        "awaiting_upgrade": len(found.waiting),
        "excluded_from_voting": found.excluded,
    }


def reached(answer: dict, goal: str, without: list[str] = ()) -> bool:
    """Whether the cluster is as far as the caller waits for."""
    if goal in ("yellow", "green"):
        return bool(answer["status"]) and COLOURS.index(answer["status"]) >= COLOURS.index(goal)
    return {
        "nothing": True,
        "master": bool(answer["master"]),
        "nodes": bool(answer["master"]) and not set(answer["absent_nodes"]) - set(without),
        "healthy": answer["healthy"],
    }[goal]


def members(client: search_client.Client) -> dict[str, list[str]]:
    """The names of the nodes and their roles. Raises SearchError."""
    listed = client.get("/_nodes/_all?filter_path=nodes.*.name,nodes.*.roles", "The list of nodes")["nodes"]
    return {node["name"]: node.get("roles", []) for node in listed.values()}


def look(client: search_client.Client, goal: str = "nothing", patience: float = 0.0, **expectations) -> dict:
    """Assess the cluster, again and again until the goal is reached or the time (in s) is over; says which in `reached`.

    expectations: as `assess` takes them.
    """
    last: dict = {}

    def try_once():
        last.update(assess(observe(client), **expectations))
        last["reached"] = reached(last, goal, expectations.get("without", ()))
        return last["reached"]

    client.wait(patience if goal != "nothing" else 0, try_once)
    return last
