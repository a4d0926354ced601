# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which upgrades of a search cluster are possible, in which order, and what stands in the way.

Paths: "Plan your upgrade" of Elastic (8.18 before 9.0, 8.19 or 9.0 before 9.1 and later, 7.17 before 8), and
"Rolling upgrade" in OpenSearch's documentation (2.19 before 3). Order: "Upgrade Elasticsearch", master-eligible nodes last.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from ..common.order import order
from . import client as search_client
from . import cluster as search_cluster

# What must run before a version of the next major: ((major, minor) from which on it counts, the least version before).
_BEFORE = {
    "elasticsearch": (((8, 0), (7, 17)), ((9, 0), (8, 18)), ((9, 1), (8, 19))),
    "opensearch": (((2, 0), (1, 0)), ((3, 0), (2, 19))),
}
# Steps to a higher number that was released before the lower one.
_YOUNGER = (("elasticsearch", (8, 19), (9, 0)),)
# The least Java for a major version, where the archive brings none.
_JAVA = {"elasticsearch": {8: 17, 9: 21}, "opensearch": {2: 11, 3: 21}}
_OPENSEARCH_MASK = 0x08000000
SNAPSHOT_AGE = timedelta(days=1)
LISTED = 10


def numbers(version: str) -> tuple[int, int, int]:
    """The numbers of a version such as 8.19.4. Raises ValueError."""
    match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)(?:[.-].*)?", version)
    if not match:
        raise ValueError(f"{version!r} is no version, write it like 8.19.4")
    return tuple(int(part) for part in match.groups())


def _text(pair: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in pair)


def java_needed(product: str, version: str) -> int:
    """The least Java that runs this version; 0 where that is not known."""
    return _JAVA.get(product, {}).get(numbers(version)[0], 0)


def step_fault(product: str, before: str, after: str) -> str:
    """Why `before` can't be upgraded to `after` in one step, or ''."""
    old, new = numbers(before), numbers(after)
    name = "OpenSearch" if product == "opensearch" else "Elasticsearch"
    if new < old:
        return (
            f"{name} {before} cannot go back to {after}: data that a newer version has written is not read by an older one. Set "
            f"elasticsearch_version to {before} or newer; the only rollback is a new cluster with a restored snapshot."
        )
    if old[0] == new[0]:
        return ""
    known = [(since, least) for since, least in _BEFORE[product] if since[0] == new[0] and since <= new[:2]]
    least = known[-1][1] if known else (new[0] - 1,)
    if (product, old[:2], new[:2]) in _YOUNGER:
        return f"{name} {before} cannot be upgraded to {after}, which is older by its date. Upgrade to {new[0]}.{new[1] + 1} or later."
    if new[0] == old[0] + 1 and old[:2] >= least:
        return ""
    # What leads out of the present major where it is not the one before, and then what leads to the wanted version.
    out = [stop for since, stop in _BEFORE[product] if stop[0] == old[0] and since[0] == old[0] + 1]
    stops = [*(out[-1:] if new[0] > old[0] + 1 else []), least]
    stops = [_text(stop) for stop in dict.fromkeys(stops) if old[:2] < stop]
    return f"{name} {before} cannot be upgraded to {after} in one step. Upgrade to the last release of {', then of '.join(stops)} first."


def upgrade_order(nodes: list[dict], wanted: str) -> list[str]:
    """The nodes that do not run the wanted version: first those that can't be master, the elected master last.

    nodes: each {name, version, roles, master}, as elasticsearch_health returns them.
    """

    due = sorted(node["name"] for node in nodes if node["version"] != wanted)
    eligible = {node["name"]: 1 for node in nodes if {"master", "cluster_manager"}.intersection(node["roles"])}
    return order(due, leads={node["name"]: 1 for node in nodes if node["master"]}, late=eligible)


def plan(product: str, wanted: str, running: str, nodes: list[dict]) -> dict:
    """What an upgrade has to do: needed, step (none, patch, minor, major), from, order, done, faults.

    running: the product that runs. `from` is the oldest version that runs. Versions that are mixed are those of an upgrade
    that was interrupted; it goes on with the rest.
    """
    versions = sorted({node["version"] for node in nodes}, key=numbers)
    todo = upgrade_order(nodes, wanted)
    result = {
        "needed": bool(todo),
        "step": "none",
        "from": versions[0] if versions else None,
        "to": wanted,
        "order": todo,
        "done": [node["name"] for node in nodes if node["version"] == wanted],
        "faults": [],
    }
    if not nodes:
        return result
    if running != product:
        result["faults"].append(
            f"The nodes run {running}, and {product} cannot read its data. Set elasticsearch_flavor back to {running}."
        )
        return result
    if not todo:
        return result
    # The newest that runs tells whether it would be a step back, the oldest how far the step is.
    faults = [step_fault(product, version, wanted) for version in (versions[-1], versions[0])]
    result["faults"] = list(dict.fromkeys(filter(None, faults)))
    old, new = numbers(versions[0]), numbers(wanted)
    if old >= new:
        return result
    result["step"] = "major" if old[0] != new[0] else "minor" if old[1] != new[1] else "patch"
    return result


# -- what stands in the way of a major step ---------------------------------------------------------------------------


def created_major(product: str, created: int) -> int:
    """The major version that an index of this index.version.created was made by.

    OpenSearch marks its own; what Elasticsearch 7 has left there counts as OpenSearch 1, which is as far as it is read.
    """
    if product == "opensearch":
        return (created ^ _OPENSEARCH_MASK) // 1_000_000 if created & _OPENSEARCH_MASK else 1
    return created // 1_000_000


def too_old(product: str, wanted: str, settings: dict[str, dict]) -> list[str]:
    """Indices that the wanted version can't open. settings: flat, by index, as GET /_all/_settings gives them.

    A version opens what the major before it has made. Elasticsearch opens what is older by one more, where it was made
    read-only by the API for it.
    """
    least = numbers(wanted)[0] - 1
    found = []
    for index, entry in sorted(settings.items()):
        own = entry.get("settings", {})
        major = created_major(product, int(own.get("index.version.created", 0)))
        frozen = product == "elasticsearch" and own.get("index.verified_read_only") == "true" and major == least - 1
        if major < least and not frozen:
            found.append(index)
    return found


def listed(names: list[str]) -> str:
    """Some names, and how many there are beside them."""
    rest = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {rest} more" if rest > 0 else "")


def old_indices_fault(product: str, wanted: str, settings: dict[str, dict]) -> str:
    """The sentence about indices that are too old, or ''."""
    names = too_old(product, wanted, settings)
    if not names:
        return ""
    least = numbers(wanted)[0] - 1
    return (
        f"{wanted} opens only indices that were made by {least}.0 or later. Older: {listed(names)}. Reindex or delete them; those "
        "with a dot in front are the product's own, and its upgrade assistant migrates them."
    )


def deprecations(body: dict) -> tuple[list[str], list[str]]:
    """(critical, others) of what GET /_migration/deprecations says, as sentences."""
    critical, others = [], []

    def add(where, entries):
        for entry in entries:
            text = f"{where}: {entry['message'].rstrip('.')}." + (f" See {entry['url']}" if entry.get("url") else "")
            (critical if entry.get("level") == "critical" else others).append(text)

    for group, found in body.items():
        if isinstance(found, dict):
            for name, entries in found.items():
                add(name, entries)
        else:
            add(group.replace("_", " "), found)
    return critical, others


def snapshot_warning(newest: dict[str, datetime | None], now: datetime) -> str:
    """What to say about snapshots, or ''. newest: by repository, the end of its newest successful one."""
    if not newest:
        return "There is no snapshot repository: without a snapshot an upgrade cannot be rolled back."
    ends = [end for end in newest.values() if end is not None]
    if ends and now - max(ends) <= SNAPSHOT_AGE:
        return ""
    last = f"the newest is of {max(ends).strftime('%Y-%m-%d %H:%M')} UTC" if ends else "there is none"
    return (
        f"No snapshot in {', '.join(newest)} is younger than a day, {last}. An upgrade can be rolled back only with a snapshot: take one "
        "first, with the module elasticsearch_snapshot."
    )


# -- asking -----------------------------------------------------------------------------------------------------------


def examine(
    client: search_client.Client, product: str, wanted: str, expected: list[str], now: datetime, patience: float = 0
) -> dict:
    """Ask the cluster whether it can be upgraded; what module elasticsearch_upgrade_check returns. Changes nothing.

    expected: names of nodes that must be there before an upgrade begins. patience: for how long, in s, to wait then until
    all are and every shard has its copies, as those of an index that has just been made. Raises SearchError where it can't be
    asked.
    """
    found = search_cluster.observe(client)
    seen = search_cluster.assess(found, expected)
    if not seen["nodes"]:
        return plan(product, wanted, product, []) | {"warnings": [], "deprecated": []}
    engine = client.engine()
    result = plan(product, wanted, engine.flavor, seen["nodes"]) | {"warnings": [], "deprecated": []}
    if not result["needed"] or result["faults"]:
        return result
    # What is asked for beyond the path is what an upgrade must not begin with. One that has begun is to be finished, also where
    # no node is done, but a run has left the cluster as it is while a node is drained.
    if not (result["done"] or seen["changed_settings"] or seen["excluded_from_voting"]):
        result["faults"] += client.wait(patience, lambda: Whole(client, expected)).faults
        result["warnings"] += [text for text in (snapshot_warning(newest_snapshots(client), now),) if text]
        if result["step"] == "major":
            major_faults(client, product, wanted, result)
    return result


class Whole:
    """Whether a cluster is whole enough to begin an upgrade. `faults`: why not."""

    def __init__(self, client: search_client.Client, expected: list[str]):
        seen = search_cluster.assess(search_cluster.observe(client), expected)
        absent = [f"{name} is not in the cluster." for name in seen["absent_nodes"]]
        colour = [] if seen["whole"] else [text for text in seen["problems"] if text.startswith("The cluster is ")]
        self.faults = absent + (colour or ([] if seen["whole"] else ["No node can report the cluster's health."]))

    def __bool__(self) -> bool:
        return not self.faults


def newest_snapshots(client: search_client.Client) -> dict[str, datetime | None]:
    """The end of the newest successful snapshot in every repository, None where there is none or it can't be read."""
    newest: dict[str, datetime | None] = {}
    for name in sorted(client.get("/_snapshot", "The list of repositories")):
        # Without details it is one read of the repository, however many snapshots it has.
        path = f"/_snapshot/{search_client.part(name)}/_all?verbose=false&ignore_unavailable=true"
        reply = client.ask(path, timeout=client.patience)
        found = reply.body.get("snapshots", []) if reply.status == 200 and isinstance(reply.body, dict) else []
        good = [one["snapshot"] for one in found if one.get("state") == "SUCCESS"]
        newest[name] = _end_of(client, name, good)
    return newest


def _end_of(client: search_client.Client, repository: str, names: list[str]) -> datetime | None:
    """The latest end of these snapshots; the list is in the order in which they were taken, so the last tells."""
    if not names:
        return None
    path = f"/_snapshot/{search_client.part(repository)}/{search_client.part(names[-1])}"
    reply = client.ask(path, timeout=client.patience)
    found = reply.body.get("snapshots", []) if reply.status == 200 and isinstance(reply.body, dict) else []
    ends = [one["end_time_in_millis"] for one in found if one.get("end_time_in_millis")]
    return datetime.fromtimestamp(max(ends) / 1000, UTC) if ends else None


def major_faults(client: search_client.Client, product: str, wanted: str, result: dict) -> None:
    """Add to the result what stands in the way of a major step."""
    names = ",".join(f"*.settings.index%5C.{name}" for name in ("version%5C.created", "verified_read_only"))
    path = f"/_all/_settings?flat_settings=true&expand_wildcards=all&filter_path={names}"
    settings = client.get(path, "The settings of the indices", timeout=client.patience)
    result["faults"] += [text for text in (old_indices_fault(product, wanted, settings),) if text]
    reply = client.ask("/_migration/deprecations", timeout=client.patience)
    if reply.status == 200 and isinstance(reply.body, dict):
        critical, others = deprecations(reply.body)
        result["deprecated"] = critical + others
        result["faults"] += [f"{text} (critical deprecation)" for text in critical]
        result["warnings"] += others
    elif reply.has_no_handler or reply.status in (400, 404, 405):
        result["warnings"].append(
            f"This server cannot list the features that {wanted} has removed, as it lacks the deprecation API. Read the "
            "release notes for breaking changes."
        )
    else:
        raise client.refusal("The deprecations cannot be read", reply)
