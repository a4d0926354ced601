# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a restore from a snapshot will do, told before anything of it is done: all of it, and all that stands in its way, in one list."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..common.moments import clock, epoch
from ..common.text import size as readable
from . import backup as search_backup
from . import client as search_client
from . import snapshot as search_snapshot
from .client import part

# Elasticsearch and OpenSearch move shards away from a node above this (their high watermark).
FULL = 0.90
LATEST = "latest"


@dataclass(frozen=True)
class Present:
    """An index of the cluster: open or close, its bytes, and the primary shards that are nowhere."""

    status: str
    shards: int
    bytes: int = 0
    lost: int = 0


@dataclass
class Plan:
    """What will be done. The names are those of module elasticsearch_restore_plan's result."""

    refusals: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    repository: str = ""
    snapshot: str = ""
    time: int = 0
    bytes: int = 0
    targets: dict[str, str] = field(default_factory=dict)
    overwritten: list[str] = field(default_factory=list)
    whole: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    partial: bool = False


def chosen(
    snapshots: Sequence[tuple[str, Mapping[str, Any]]], name: str, before: int = 0
) -> tuple[str, Mapping[str, Any]] | tuple[str, None]:
    """The snapshot that is meant, with its repository. snapshots: (repository, snapshot) of all. With `latest` the newest complete one that a
    policy took, or the newest that began no later than `before` (seconds since 1970). Where there is none, the first of the pair is the reason."""
    if name == LATEST:
        whole = [
            one
            for one in snapshots
            if one[1]["state"] == "SUCCESS"
            and search_backup.policy_of(one[1])
            and (not before or one[1]["start_time_in_millis"] <= before * 1000)
        ]
        if not whole:
            when = f" from before {clock(before)}" if before else ""
            return (
                f"There is no complete snapshot of a policy{when}. Name one of those that there are with -e snapshot=NAME.",
                None,
            )
        return max(whole, key=lambda one: one[1]["start_time_in_millis"])
    named = [one for one in snapshots if one[1]["snapshot"] == name]
    if len(named) > 1:
        where = " and ".join(sorted(repository for repository, _snapshot in named))
        return f"There is a snapshot {name} in {where}. Name the repository as well, with -e repository=.", None
    if not named:
        newest = [
            one["snapshot"] for _repository, one in sorted(snapshots, key=lambda one: one[1]["start_time_in_millis"])
        ]
        return f"There is no snapshot {name}. There are: {', '.join(newest[-20:]) or 'none'}.", None
    return named[0]


def plan(
    repository: str,
    snapshot: Mapping[str, Any],
    status: Mapping[str, Any],
    present: Mapping[str, Present],
    streams: Iterable[str],
    allocation: Iterable[Mapping[str, Any]],
    version: str,
    patterns: Sequence[str],
    rename: str,
    replicas: int,
) -> Plan:
    """Return what restoring does.

    status: the snapshot's _status. streams: data streams that the cluster has. version: of the server. patterns: which indices, all where empty.
    rename: what is put before their names; empty restores in place. replicas: how many each restored index will have.
    """
    name = snapshot["snapshot"]
    result = Plan(
        repository=repository,
        snapshot=name,
        time=int(snapshot["start_time_in_millis"] / 1000),
        partial=snapshot["state"] == "PARTIAL",
    )
    refusals = result.refusals
    refusals += _of_version(str(snapshot.get("version", "")), version) + _of_name(rename)
    held = list(snapshot.get("indices", []))
    taken_streams = search_snapshot.chosen(list(snapshot.get("data_streams", [])), list(patterns))
    sources = [one for one in search_snapshot.chosen(held, list(patterns)) if not one.startswith(".ds-")]
    if not sources and not taken_streams:
        refusals.append(
            f"No index of {name} is called {' or '.join(patterns) or 'anything'}. It has {', '.join(held[:20]) or 'none'}"
            f"{' and others' if len(held) > 20 else ''}."
        )
    refusals += _of_state(snapshot, sources)
    names = [*sources, *taken_streams]
    result.targets = {one: f"{rename}{one}" for one in names}
    result.overwritten = [one for one in result.targets.values() if one in present]
    barred = sorted(set(streams).intersection(result.targets.values()))
    if barred:
        refusals.append(
            f"The cluster has the data streams {', '.join(barred)}, which the server does not replace. Restore beside them with -e rename=, "
            "or delete them first."
        )
    if rename and result.overwritten:
        refusals.append(
            f"There is already {', '.join(result.overwritten[:10])}. Choose another beginning with -e rename=, or delete them first."
        )
    refusals += _of_shards(status, result, present)
    result.whole = [one for one in result.overwritten if not present[one].lost]
    result.incomplete = [one for one in result.overwritten if present[one].lost]
    result.left = sorted(one for one in present if not one.startswith(".") and one not in result.targets.values())
    sizes = search_backup.sizes(status)
    backing = [one for one in sizes if any(re.match(rf"\.ds-{re.escape(stream)}-", one) for stream in taken_streams)]
    result.bytes = sum(sizes.get(one, 0) for one in [*sources, *backing]) * (1 + replicas)
    free = sum(
        max(0, int(int(one["disk.avail"]) - (1 - FULL) * int(one["disk.total"])))
        for one in allocation
        if one.get("disk.avail") and one.get("disk.total")
    )
    if result.bytes > free:
        refusals.append(
            f"The restored indices need {readable(result.bytes)} with {replicas} replicas, and the data nodes have {readable(free)} free below "
            f"{FULL:.0%}. Restore fewer at a time with -e indices=, make room, or add a node."
        )
    result.lines = _lines(result, snapshot, present, rename, replicas, free)
    return result


def _of_state(snapshot: Mapping[str, Any], sources: Sequence[str] = ()) -> list[str]:
    """Why nothing can be restored from a snapshot in its state, or not these of its indices."""
    name, state = snapshot["snapshot"], snapshot["state"]
    if state in search_snapshot.RUNNING:
        return [f"The snapshot {name} is still being taken. Wait until it is over."]
    if state == "PARTIAL":
        lacking = [one for one in snapshot.get("failures", []) if one["index"] in sources]
        if not lacking:
            return []
        said = "; ".join(search_snapshot.failures({"failures": lacking})[:5])
        return [f"The snapshot {name} is incomplete: {said}. Choose another one, or leave these out with -e indices=."]
    return [] if state == "SUCCESS" else [f"The snapshot {name} is {state}. Choose another one."]


def _of_version(taken: str, running: str) -> list[str]:
    """A snapshot goes back into the major version that took it, or into the next one. A range of versions ends with the newest."""
    majors = [
        int(found[0]) for found in (re.findall(r"\d+", text) for text in (taken.split("-")[-1], running)) if found
    ]
    if len(majors) < 2 or 0 <= majors[1] - majors[0] <= 1:
        return []
    return [
        f"The snapshot was taken by version {taken}, and {running} runs here: only the same or the next major version can restore it."
    ]


def _of_name(rename: str) -> list[str]:
    if not rename or re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", rename):
        return []
    return [f"rename is {rename!r}: use lower case letters, digits, dashes and underscores, such as restored-."]


def _of_shards(status: Mapping[str, Any], result: Plan, present: Mapping[str, Present]) -> list[str]:
    (snapshot,) = status["snapshots"]
    said = []
    for source, target in result.targets.items():
        taken = len(snapshot.get("indices", {}).get(source, {}).get("shards", {}))
        if target in present and taken and present[target].shards != taken:
            said.append(
                f"{target} has {present[target].shards} primary shards, and {taken} in the snapshot: the server replaces it only by one with as "
                "many. Restore under another name with -e rename=, or delete it first."
            )
    return said


def _lines(
    result: Plan, snapshot: Mapping[str, Any], present: Mapping[str, Present], rename: str, replicas: int, free: int
) -> list[str]:
    moment = clock(result.time)
    policy = search_backup.policy_of(snapshot)
    count = len(result.targets)
    lines = [
        "Search engine" + (f", policy {policy}" if policy else ""),
        f"  from       snapshot {result.snapshot} of repository {result.repository}",
        f"  up to      {moment}: everything that was there then; nothing that was written since",
        f"  restores   {count} indices: {_some(list(result.targets.values()))}",
        f"  room       {readable(result.bytes)} with {replicas} replicas, {readable(free)} free",
    ]
    if rename:
        return [*lines, f"  beside     as {rename}…; what is there stays as it is, and the application runs on"]
    if result.whole:
        replaced = sum(present[one].bytes for one in result.whole)
        lines.append(
            f"  replaces   {_some(result.whole)} ({readable(replaced)}); a snapshot of these is taken first and is kept"
        )
    if result.incomplete:
        lines.append(
            f"  replaces   {_some(result.incomplete)}, of which shards are lost: what is left of these is in a snapshot of its own"
        )
    if result.left:
        lines.append(f"  leaves     {_some(result.left)}, not in the snapshot or not chosen")
    return [*lines, "  meanwhile  the application is stopped"]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def recorded(records: Sequence[Mapping[str, Any]], repository: str, snapshot: str) -> dict[str, Any]:
    """What the newest of these records has of a snapshot's indices; empty where none has it."""
    for record in reversed(records):
        for one in (record.get("manifest") or {}).get("snapshots", []):
            if (one["repository"], one["snapshot"]) == (repository, snapshot):
                return one["indices"]
    return {}


# -- what is asked of the servers ---------------------------------------------------------------------------------------


def every(client: search_client.Client, repository: str = "") -> list[tuple[str, dict]]:
    """All snapshots of all repositories, or of one. Raises SearchError."""
    known = sorted(client.get("/_snapshot", "The list of repositories", timeout=client.patience))
    if repository and repository not in known:
        raise search_client.SearchError(
            f"There is no repository {repository}. There are: {', '.join(known) or 'none'}."
        )
    return [
        (name, one)
        for name in ([repository] if repository else known)
        for one in search_snapshot.Snapshots(client, name).find("*")
    ]


def indices(client: search_client.Client) -> dict[str, Present]:
    """The indices of the cluster. Raises SearchError."""
    path = "/_cat/indices?format=json&bytes=b&h=index,status,pri,pri.store.size&expand_wildcards=all"
    listed = client.get(path, "The list of indices", timeout=client.patience)
    path = "/_cat/shards?format=json&h=index,shard,prirep,state"
    shards = client.get(path, "The list of shards", timeout=client.patience)
    lost = [one["index"] for one in shards if one["prirep"] == "p" and one["state"] == "UNASSIGNED"]
    return {
        one["index"]: Present(one["status"], int(one["pri"]), int(one["pri.store.size"] or 0), lost.count(one["index"]))
        for one in listed
    }


def look(
    client: search_client.Client,
    name: str,
    repository: str,
    patterns: Sequence[str],
    rename: str,
    replicas: int,
    before: Any = "",
) -> Plan:
    """The plan for the cluster as it is. before: as epoch takes it. Raises SearchError where it can't be asked."""
    try:
        until = epoch(before)
    except ValueError as error:
        return Plan(refusals=[f"before: {error}"])
    where, snapshot = chosen(every(client, repository), name, until)
    if snapshot is None:
        return Plan(refusals=[where])
    if snapshot["state"] in ("FAILED", *search_snapshot.RUNNING):
        return Plan(refusals=_of_state(snapshot))
    status = client.get(
        f"/_snapshot/{part(where)}/{part(snapshot['snapshot'])}/_status",
        f"The state of the snapshot {snapshot['snapshot']}",
        timeout=max(client.patience, 120),
    )
    streams = client.get("/_data_stream", "The list of data streams", missing=(400, 403, 404, 405))
    return plan(
        where,
        snapshot,
        status,
        indices(client),
        [one["name"] for one in (streams or {}).get("data_streams", [])],
        client.get("/_cat/allocation?format=json&bytes=b", "The room on the data nodes"),
        client.engine().version,
        patterns,
        rename,
        replicas,
    )
