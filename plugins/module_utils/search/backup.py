# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Snapshots of the search engine as backups: which one counts, and whether what is in it can be restored.

The server's own policies take and delete snapshots; here the newest complete one becomes a record, with what its indices had when they were
looked at. A verification restores indices under another name, compares what came back, and deletes it again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.backup import FAILED, NO_ROOM, SETTINGS, UNVERIFIED, BackupError
from ..common.text import size as readable
from . import client as search_client
from . import policy as search_policy
from . import repository as search_repository
from . import snapshot as search_snapshot
from .client import part

CHECKED = "restored-backup-check-"
# What a copy for a check must not bring along: where it has to lie, who else looks after it, whether it may be written.
IGNORED = [
    "index.routing.allocation.*",
    "index.lifecycle.*",
    "index.plugins.index_state_management.*",
    "index.blocks.*",
    "index.default_pipeline",
    "index.final_pipeline",
]
# A node is not filled above this by a check; below it the server places shards (its low watermark).
FULL = 0.85
DAY = 86400
_STATS = "/_stats/docs?level=shards&expand_wildcards=all&filter_path=" + ",".join(
    f"indices.*.shards.*.{name}" for name in ("routing.primary", "docs.count", "seq_no.max_seq_no")
)


@dataclass(frozen=True)
class Found:
    """The newest complete snapshot of a policy, and the policy's later ones that are not complete."""

    repository: str
    policy: str
    snapshot: Mapping[str, Any] | None
    failed: tuple[Mapping[str, Any], ...] = ()

    @property
    def name(self) -> str:
        return self.snapshot["snapshot"] if self.snapshot else ""


def policy_of(snapshot: Mapping[str, Any]) -> str:
    """Which policy took a snapshot: Elasticsearch's and our own note it as `policy`, OpenSearch's as `sm_policy`; empty for others."""
    metadata = snapshot.get("metadata") or {}
    return str(metadata.get("policy") or metadata.get("sm_policy") or "")


def found(
    repository: str, snapshots: Sequence[Mapping[str, Any]], policies: Iterable[str] | None = None
) -> list[Found]:
    """What policies have taken into a repository. snapshots: all of it, oldest first. policies: those that there still are; None where that is not
    known."""
    taken = {policy_of(one) for one in snapshots} - {""}
    result = []
    for policy in sorted(taken if policies is None else taken.intersection(policies)):
        own = [one for one in snapshots if policy_of(one) == policy]
        whole = [number for number, one in enumerate(own) if one["state"] == "SUCCESS"]
        later = own[whole[-1] + 1 :] if whole else own
        result.append(
            Found(
                repository,
                policy,
                own[whole[-1]] if whole else None,
                tuple(one for one in later if one["state"] not in search_snapshot.RUNNING),
            )
        )
    return result


def judged(policies: Sequence[Found]) -> None:
    """Raise BackupError where a policy has no complete snapshot, or has failed since."""
    if not policies:
        raise BackupError(
            "no policy has taken a snapshot yet. Set elasticsearch_snapshot_policies, and wait for the time of its schedule"
        )
    said = []
    for one in policies:
        counts = {state: sum(late["state"] == state for late in one.failed) for state in ("FAILED", "PARTIAL")}
        told = " and ".join(f"{count} {state}" for state, count in counts.items() if count)
        newest = (
            f"the newest complete one is {one.name} of {_iso(one.snapshot)}" if one.snapshot else "none is complete"
        )
        if told:
            why = "; ".join(search_snapshot.failures(dict(one.failed[-1]))[:3]) or one.failed[-1].get("reason") or ""
            said.append(
                f"policy {one.policy}: {told} since then, {newest}. Of {one.failed[-1]['snapshot']}: {why or 'no reason is given'}"
            )
        elif not one.snapshot:
            said.append(f"policy {one.policy}: {newest} in {one.repository}")
    if said:
        raise BackupError("; ".join(said))


def counts(stats: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """What each index has, of a reply to _stats by shard: documents, and the operations that it has seen.

    Two copies of an index that have seen as many operations have the same documents.
    """
    result = {}
    for index, own in (stats.get("indices") or {}).items():
        primaries = [
            copy
            for copies in own.get("shards", {}).values()
            for copy in copies
            if copy.get("routing", {}).get("primary")
        ]
        result[index] = {
            "documents": sum(copy["docs"]["count"] for copy in primaries),
            "operations": sum(copy.get("seq_no", {}).get("max_seq_no", -1) + 1 for copy in primaries),
        }
    return result


def sizes(status: Mapping[str, Any]) -> dict[str, int]:
    """The bytes of each index in a snapshot, of a reply to its _status."""
    (snapshot,) = status["snapshots"]
    return {name: own["stats"]["total"]["size_in_bytes"] for name, own in snapshot.get("indices", {}).items()}


def unfinished(status: Mapping[str, Any]) -> list[str]:
    """The shards of a snapshot that are not in it, of a reply to its _status."""
    (snapshot,) = status["snapshots"]
    return [
        f"{index}[{number}] is {shard['stage']}"
        for index, own in snapshot.get("indices", {}).items()
        for number, shard in own["shards"].items()
        if shard["stage"] != "DONE"
    ]


def selected(indices: Mapping[str, int], limit: int, day: int) -> list[str]:
    """The indices that a check restores: as many as fit, beginning each day with another one, so that in time all have their turn."""
    names = sorted(name for name in indices if not name.startswith("."))
    start = day % len(names) if names else 0
    taken, room = [], limit
    for name in names[start:] + names[:start]:
        if indices[name] <= room:
            taken.append(name)
            room -= indices[name]
    return taken


def room(allocation: Iterable[Mapping[str, Any]]) -> int:
    """How many bytes the data node with most room can take, of a reply to _cat/allocation in bytes."""
    free = [
        round(int(one["disk.avail"]) - (1 - FULL) * int(one["disk.total"]))
        for one in allocation
        if one.get("disk.avail") and one.get("disk.total")
    ]
    return max(0, *free) if free else 0


def compared(
    before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, int]]
) -> tuple[list[str], list[str]]:
    """The indices whose restored copy is as it was, and what is wrong of others.

    before: what indices had when the snapshot was recorded. after: what was restored of them, by the same names. An index that was written to
    between the snapshot and its record has seen more operations than its copy, and can't be compared.
    """
    same, wrong = [], []
    for index, copy in after.items():
        known = before.get(index) or {}
        if known.get("operations") != copy["operations"]:
            continue
        if known["documents"] == copy["documents"]:
            same.append(index)
        else:
            wrong.append(f"{index} has {copy['documents']} documents, and had {known['documents']}")
    return same, wrong


def same(
    client: search_client.Client, targets: Mapping[str, str], expected: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """The restored indices that have what is expected of them, by their names in the snapshot. targets: these names -> names now.

    Raises SearchError where one has not.
    """
    if not expected:
        return []
    there = counts(client.get(_STATS, "The documents of what was restored", timeout=client.patience))
    found, wrong = compared(expected, {name: there[target] for name, target in targets.items() if target in there})
    if wrong:
        raise search_client.SearchError(f"What was restored is not what was there: {'; '.join(wrong[:10])}.")
    return found


def cause(details: str) -> str:
    """The innermost exception of what the server says of a shard, without its stack."""
    last = " ".join(details.split()).rpartition("Caused by: ")[2]
    return last.partition(" at ")[0].strip()[:300]


def connect(settings: Mapping[str, Any]) -> search_client.Client:
    """The client for the settings of the kind. Raises BackupError."""
    try:
        return search_client.connect(
            {
                "url": settings["urls"],
                "ca_path": settings["ca"],
                "client_cert": None,
                "client_key": None,
                "username": settings["username"],
                "password": settings["password"],
                "timeout": settings.get("timeout_s", 10),
            }
        )
    except (KeyError, search_client.SearchError) as error:
        raise BackupError(f"the settings of kind elasticsearch can't be used: {error}", SETTINGS) from error


def take(settings: Mapping[str, Any], directory: Path, client: search_client.Client | None = None) -> dict[str, Any]:
    """Return the newest complete snapshot of the policies, as the facts of a backup. Nothing is written: it stays in the server's repository.

    Raises BackupError where there is none, or where a later one is not complete.
    """
    client = client or connect(settings)
    try:
        policies = _begun(client, settings)
        judged(policies)
        status = {one.policy: _status(client, one) for one in policies}
        present = counts(client.get(_STATS, "The documents of the indices", timeout=client.patience))
        engine = client.engine()
    except search_client.SearchError as error:
        raise BackupError(str(error)) from error
    first = policies[0]
    return {
        "source": _host(client, settings),
        # A snapshot has at least what was there when it began.
        "point": {"time": min(int(one.snapshot["start_time_in_millis"] / 1000) for one in policies)},
        "bytes": sum(sum(sizes(one).values()) for one in status.values()),
        "files": {},
        "needs": [],
        "label": first.name,
        "manifest": {
            "snapshots": [
                {
                    "repository": one.repository,
                    "policy": one.policy,
                    "snapshot": one.name,
                    "indices": {
                        index: {"bytes": size, **present.get(index, {})}
                        for index, size in sizes(status[one.policy]).items()
                    },
                }
                for one in policies
            ]
        },
        "software": {engine.flavor: engine.version},
    }


def verify(
    settings: Mapping[str, Any], directory: Path, scratch: Path, client: search_client.Client | None = None
) -> dict[str, Any]:
    """Prove the repository on every node, and restore what fits of the snapshots of settings["record"]; return what was found.

    Raises BackupError: UNVERIFIED where nothing could be tried, NO_ROOM where no index fits, FAILED where a snapshot is damaged or gone.
    """
    client = client or connect(settings)
    record = settings["record"]
    told: dict[str, str] = {}
    try:
        _removed(client)
        for taken in record["manifest"]["snapshots"]:
            snapshot = search_snapshot.Snapshots(client, taken["repository"]).one(taken["snapshot"])
            if snapshot is None:
                raise BackupError(f"the snapshot {taken['snapshot']} is gone from {taken['repository']}")
            told |= _verified(client, settings, Found(taken["repository"], taken["policy"], snapshot), taken["indices"])
    except search_client.SearchError as error:
        raise BackupError(f"could not verify: {error}", UNVERIFIED) from error
    return {"source": _host(client, settings), "checks": told}


def inspect(directory: Path) -> dict[str, Any]:
    """A snapshot lies in the server's repository, so there is nothing of it in a directory of backups."""
    return {"files": {}, "bytes": 0, "needs": []}


def expire(settings: Mapping[str, Any], labels: Iterable[str]) -> list[str]:
    """The policies delete their snapshots themselves, so nothing is deleted here."""
    return []


def _look(client: search_client.Client) -> list[Found]:
    """What the policies have taken, over all repositories."""
    repositories = client.get("/_snapshot", "The list of repositories", timeout=client.patience)
    policies = _policies(client)
    result = []
    for name in sorted(repositories):
        snapshots = search_snapshot.Snapshots(client, name).find("*")
        result += found(name, snapshots, None if policies is None else policies)
    return result


def _policies(client: search_client.Client) -> dict[str, dict[str, Any]] | None:
    """The policies that the server has, by name; None where it has no scheduler, and our own timer takes the snapshots."""
    path = "/_plugins/_sm/policies" if client.engine().opensearch else "/_slm/policy"
    reply = client.ask(path)
    if reply.has_no_handler:
        return None
    if reply.status >= 400:
        raise client.refusal("The policies cannot be read", reply)
    if client.engine().opensearch:
        return {one["sm_policy"]["name"]: one["sm_policy"]["snapshot_config"] for one in reply.body["policies"]}
    return {name: own["policy"] for name, own in reply.body.items()}


def _begun(client: search_client.Client, settings: Mapping[str, Any]) -> list[Found]:
    """What the policies have taken; one that has taken nothing yet takes its first snapshot now, so that a new platform has a backup at once."""
    policies, known = _look(client), _policies(client)
    limit = settings.get("first_limit_s", 3600)
    new = sorted(set(known or {}) - {one.policy for one in policies})
    for name in new:
        config = known[name]
        snapshots = search_snapshot.Snapshots(client, config["repository"])
        if client.engine().opensearch:
            # Its policies can't be executed. By these names it knows its own, and deletes them in their time.
            taken = f"{name}-{time.strftime('%Y-%m-%dt%H:%M:%S', time.gmtime()).replace(':', '-')}-first".lower()
            options = ("indices", "ignore_unavailable", "include_global_state", "partial")
            body = {**{key: config[key] for key in options if key in config}, "metadata": {"sm_policy": name}}
            client.act("PUT", snapshots.path(taken), body, f"Taking the snapshot {taken}")
        else:
            taken = search_policy.Lifecycle().execute(client, name)
        snapshots.finished(taken, limit)
    if known is None and not policies:
        # Our timer takes the first one of a new policy within its interval.
        client.wait(settings.get("timer_limit_s", 300), lambda: any(one.snapshot for one in _look(client)), 5)
    return _look(client) if new or not policies else policies


def _status(client: search_client.Client, one: Found) -> dict[str, Any]:
    path = f"/_snapshot/{part(one.repository)}/{part(one.name)}/_status"
    return client.get(path, f"The state of the snapshot {one.name}", timeout=max(client.patience, 120))


def _verified(
    client: search_client.Client, settings: Mapping[str, Any], one: Found, indices: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """What the checks of a snapshot said. indices: what was recorded of it."""
    told = {}
    kind = search_repository.read(client, one.repository) or search_repository.Repository("", {})
    nodes = search_repository.verify(client, one.repository, kind, 60)
    told[f"{one.policy}: repository"] = f"read and written by {', '.join(nodes)}"
    told[f"{one.policy}: integrity"] = _integrity(client, one, settings.get("integrity_limit_s", 3600))
    try:
        status = _status(client, one)
    except search_client.Refused as error:
        raise BackupError(f"{one.name} is damaged: {error}", FAILED) from error
    lacking = unfinished(status)
    if lacking:
        raise BackupError(f"{one.name} is not complete: {', '.join(lacking[:5])}", FAILED)
    told[f"{one.policy}: files"] = f"all shards of {len(sizes(status))} indices of {one.name} are there"
    told[f"{one.policy}: restore"] = _tried(client, settings, one, sizes(status), indices)
    return told


def _integrity(client: search_client.Client, one: Found, limit_s: float) -> str:
    """What the server says of all files of the repository, where it can check them (Elasticsearch from 8.16 on, with its module)."""
    path = f"/_snapshot/{part(one.repository)}/_verify_integrity"
    reply = client.call(client.urls[0], "POST", path, timeout=limit_s)
    # One without that module takes the word for a snapshot's name, and refuses it.
    if reply.has_no_handler or "invalid_snapshot_name_exception" in reply.types:
        return "this server can't check the repository's files by itself"
    if reply.status >= 400:
        raise client.refusal(f"The files of the repository {one.repository} cannot be checked", reply)
    results = reply.body.get("results", {}) if isinstance(reply.body, dict) else {}
    if results.get("result") != "pass":
        said = (
            [str(line.get("anomaly")) for line in reply.body.get("log", []) if line.get("anomaly")] if results else []
        )
        raise BackupError(
            f"the repository {one.repository} is damaged: {results.get('total_anomalies', 'unknown')} anomalies"
            + (f", such as {', '.join(list(dict.fromkeys(said))[:5])}" if said else ""),
            FAILED,
        )
    return f"the server found {results.get('total_anomalies', 0)} anomalies in the repository"


def _tried(
    client: search_client.Client,
    settings: Mapping[str, Any],
    one: Found,
    indices: Mapping[str, int],
    recorded: Mapping[str, Mapping[str, Any]],
) -> str:
    """Restore what fits under another name, compare, and delete it again."""
    plain = {name: size for name, size in indices.items() if not name.startswith(".")}
    if not plain:
        return "it has no index but the server's own"
    limit = int(settings.get("size_limit_bytes", 2 << 30))
    free = room(client.get("/_cat/allocation?format=json&bytes=b", "The room on the data nodes"))
    names = selected(plain, min(limit, free), int(time.time() // DAY))
    if not names:
        smallest = min(plain.values())
        if smallest > limit:
            raise BackupError(
                f"could not verify: the smallest index of {one.name} has {readable(smallest)}, and a check restores {readable(limit)} at most",
                UNVERIFIED,
            )
        raise BackupError(
            f"a check needs {readable(smallest)} on one data node, and {readable(free)} are free below {FULL:.0%} of its disk. "
            "Make room there",
            NO_ROOM,
        )
    targets = {name: f"{CHECKED}{name}" for name in names}
    snapshots = search_snapshot.Snapshots(client, one.repository)
    body = {
        "indices": ",".join(sorted(names)),
        "include_global_state": False,
        "include_aliases": False,
        "rename_pattern": "^(.+)$",
        "rename_replacement": f"{CHECKED}$1",
        "index_settings": {
            "index.number_of_replicas": 0,
            "index.auto_expand_replicas": False,
            "index.hidden": True,
        },
        "ignore_index_settings": IGNORED,
    }
    try:
        search_snapshot.restore(client, snapshots, one.name, search_snapshot.Restore(targets=targets), body)
        _arrived(client, list(targets.values()), settings.get("restore_limit_s", 3600))
        path = _STATS.replace("/_stats", f"/{part(CHECKED + '*')}/_stats")
        there = counts(client.get(path, "The documents of what was restored", timeout=client.patience))
    finally:
        _removed(client)
    after = {name: there[target] for name, target in targets.items() if target in there}
    if set(after) != set(targets):
        raise BackupError(f"{', '.join(sorted(set(targets) - set(after)))} did not come back", FAILED)
    same, wrong = compared(recorded, after)
    if wrong:
        raise BackupError(f"{one.name} has not what was there: {'; '.join(wrong[:5])}", FAILED)
    documents = sum(copy["documents"] for copy in after.values())
    rest = len(plain) - len(names)
    return (
        f"{len(names)} indices of {len(plain)} restored, {documents} documents; {len(same)} have as many as when the snapshot was recorded"
        + (f"; {rest} wait for another day or are too large" if rest else "")
    )


def _arrived(client: search_client.Client, targets: list[str], patience: float) -> None:
    """Wait until every primary shard of these is there. Raises BackupError at once where one can't be restored."""
    wanted = set(targets)
    path = f"/_cat/shards/{part(CHECKED + '*')}?format=json&h=index,shard,prirep,state,unassigned.reason,unassigned.details"
    state: dict[str, list[dict]] = {"pending": [], "failed": []}

    def look() -> bool:
        primaries = [one for one in client.get(path, "The list of shards") if one["prirep"] == "p"]
        state["pending"] = [one for one in primaries if one["state"] not in ("STARTED", "RELOCATING")]
        state["failed"] = [one for one in state["pending"] if one["unassigned.reason"] == "ALLOCATION_FAILED"]
        return bool(state["failed"]) or {one["index"] for one in primaries} == wanted and not state["pending"]

    done = client.wait(patience, look)
    if state["failed"]:
        first = state["failed"][0]
        why = cause(str(first.get("unassigned.details") or ""))
        raise BackupError(
            f"{first['index'].removeprefix(CHECKED)}[{first['shard']}] can't be restored: {why or 'see the journal of the search server'}",
            FAILED,
        )
    if not done:
        lacking = ", ".join(f"{one['index']}[{one['shard']}] is {one['state']}" for one in state["pending"][:5])
        raise BackupError(
            f"could not verify: after {patience:.0f} s {lacking or 'the indices are not there'}", UNVERIFIED
        )


def _removed(client: search_client.Client) -> None:
    """Delete what a check has restored, also an earlier one that was killed."""
    path = "/_cat/indices?format=json&h=index&expand_wildcards=all"
    for one in client.get(path, "The list of indices", timeout=client.patience):
        if one["index"].startswith(CHECKED):
            client.act("DELETE", f"/{part(one['index'])}", None, f"Deleting {one['index']}", allowed=(404,))


def _host(client: search_client.Client, settings: Mapping[str, Any]) -> str:
    """The host that answered: its name where the settings have it."""
    return (settings.get("names") or {}).get(client.urls[0], client.urls[0])


def _iso(snapshot: Mapping[str, Any]) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(snapshot["start_time_in_millis"] / 1000))
