# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Snapshots of the search engine: taken, listed, restored and deleted."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from . import client as search_client
from .client import part

RUNNING = ("IN_PROGRESS", "STARTED", "INIT")
_FORMAT = {"yyyy": "%Y", "uuuu": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}


def resolve(name: str, now: datetime) -> str:
    """A snapshot's name with its date math resolved: `<nightly-{now/d}>`, `<x-{now-1d{yyyy.MM.dd-HHmm}}>`; others as they are.

    So the same name is known before and after it is sent. now: in UTC. Raises SearchError for what is not understood.
    """
    found = re.fullmatch(r"<(.*)>", name)
    if not found:
        return name

    def moment(match: re.Match) -> str:
        at, pattern = now, match["format"] or "yyyy.MM.dd"
        for sign, count, unit, rounding in re.findall(r"([+-])(\d+)([wdhms])|/([yMwdhms])", match["math"]):
            at = _rounded(at, rounding) if rounding else at + timedelta(**{_SPANS[unit]: int(sign + count)})
        words = re.split(r"(yyyy|uuuu|MM|dd|HH|mm|ss)", pattern)
        if any(re.search("[A-Za-z]", word) for word in words if word not in _FORMAT):
            raise search_client.SearchError(f"The name {name} has a date format that is not understood: {pattern}.")
        return "".join(at.strftime(_FORMAT[word]) if word in _FORMAT else word for word in words)

    math = r"\{now(?P<math>(?:[+-]\d+[wdhms]|/[yMwdhms])*)(?:\{(?P<format>[^{}]+)\})?\}"
    resolved = re.sub(math, moment, found[1])
    if "{" in resolved or "}" in resolved:
        raise search_client.SearchError(f"The name {name} has date math that is not understood, only {{now…}} is.")
    return resolved


_SPANS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def _rounded(at: datetime, unit: str) -> datetime:
    if unit == "w":
        at, unit = at - timedelta(days=at.weekday()), "d"
    zero = {"second": 0, "minute": 0, "hour": 0, "day": 1, "month": 1}
    smaller = list(zero)[: "smhdMy".index(unit)]
    return at.replace(microsecond=0, **{name: zero[name] for name in smaller})


def chosen(names: list[str], patterns: list[str]) -> list[str]:
    """Those of the names that the patterns select, in their order; a pattern with `-` in front takes away again.

    As with files, a name that begins with a dot is meant only by a pattern that does: such indices are the server's own.
    """

    def matches(name: str, pattern: str) -> bool:
        return fnmatch.fnmatchcase(name, pattern) and name.startswith(".") <= pattern.startswith(".")

    taken: list[str] = []
    for pattern in patterns or ["*"]:
        if pattern.startswith("-"):
            taken = [name for name in taken if not matches(name, pattern[1:])]
        else:
            found = [name for name in names if matches(name, "*" if pattern == "_all" else pattern)]
            taken += [name for name in found if name not in taken]
    return [name for name in names if name in taken]


def renamed(name: str, pattern: str | None, replacement: str | None) -> str:
    """What an index is called after a restore. The replacement refers to groups as the server does: `$1`.

    Raises SearchError for a pattern that is none.
    """
    if not pattern:
        return name
    try:
        return re.sub(pattern, re.sub(r"\$(\d)", r"\\g<\1>", replacement or ""), name)
    except (re.error, IndexError) as error:
        raise search_client.SearchError(
            f"rename_pattern and rename_replacement do not go together: {error}."
        ) from error


@dataclass(frozen=True)
class Restore:
    """What a restore does.

    targets: index in the snapshot -> name afterwards; data_streams likewise. overwritten, to_close: names afterwards.
    """

    targets: dict[str, str] = field(default_factory=dict)
    data_streams: dict[str, str] = field(default_factory=dict)
    overwritten: list[str] = field(default_factory=list)
    to_close: list[str] = field(default_factory=list)

    @property
    def sources(self) -> list[str]:
        """What to name in the request."""
        return [*self.targets, *self.data_streams]


def plan_restore(
    snapshot: dict,
    existing: dict[str, str],
    patterns: list[str],
    pattern: str | None,
    replacement: str | None,
    overwrite: bool,
) -> Restore:
    """What restoring from the snapshot does to the indices there are (name -> open or close).

    Raises SearchError where nothing is selected, two indices get one name, or an open index is in the way.
    """
    held = snapshot["indices"]
    sources, streams = chosen(held, patterns), chosen(snapshot.get("data_streams", []), patterns)
    if not sources and not streams:
        said = ", ".join(held[:20]) + (" and others" if len(held) > 20 else "")
        raise search_client.SearchError(
            f"No index in the snapshot {snapshot['snapshot']} is called {', '.join(patterns) or 'anything'}. It has {said or 'none'}."
        )
    targets = {name: renamed(name, pattern, replacement) for name in sources}
    twice = sorted({one for one in targets.values() if list(targets.values()).count(one) > 1})
    if twice:
        raise search_client.SearchError(
            f"Several indices would be restored as {', '.join(twice)}. Rename them differently."
        )
    overwritten = [one for one in targets.values() if one in existing]
    to_close = [one for one in overwritten if existing[one] == "open"]
    if to_close and not overwrite:
        raise search_client.SearchError(
            f"There is already {', '.join(to_close)}. Restore under another name (rename_pattern, rename_replacement), or allow"
            " to overwrite (overwrite), which closes these indices and replaces what is in them."
        )
    return Restore(targets, {name: renamed(name, pattern, replacement) for name in streams}, overwritten, to_close)


def told(snapshot: dict) -> dict:
    """What there is to say of a snapshot, as elasticsearch_snapshot documents it."""
    shards = snapshot.get("shards", {})
    return {
        "name": snapshot["snapshot"],
        "state": snapshot["state"],
        "indices": sorted(snapshot.get("indices", [])),
        "data_streams": sorted(snapshot.get("data_streams", [])),
        "start_time": snapshot.get("start_time"),
        "end_time": snapshot.get("end_time") if snapshot.get("end_time_in_millis") else None,
        "duration_s": round(snapshot.get("duration_in_millis", 0) / 1000, 1),
        "shards": shards.get("total", 0),
        "failed_shards": shards.get("failed", 0),
        "failures": failures(snapshot),
        "include_global_state": snapshot.get("include_global_state"),
        "policy": (snapshot.get("metadata") or {}).get("policy"),
    }


def failures(snapshot: dict) -> list[str]:
    """Which shards are not in the snapshot, and why, as sentences."""
    return [
        f"{one['index']}[{one['shard_id']}]: {' '.join(str(one.get('reason')).split())[:300]}"
        for one in snapshot.get("failures", [])
    ]


class Snapshots:
    """The snapshots of one repository."""

    def __init__(self, client: search_client.Client, repository: str):
        self.client, self.repository = client, repository

    def path(self, name: str) -> str:
        return f"/_snapshot/{part(self.repository)}/{part(name)}"

    def find(self, name: str) -> list[dict]:
        """The snapshots with this name or pattern, oldest first. Raises SearchError, also where there is no repository."""
        # A list of many snapshots takes long in a repository far away.
        reply = self.client.ask(self.path(name) + "?ignore_unavailable=true", timeout=max(self.client.timeout, 60))
        if reply.status == 404 and "repository_missing_exception" in reply.types:
            raise self.client.refusal(
                f"There is no repository {self.repository}, register it with elasticsearch_snapshot_repository first",
                reply,
            )
        if reply.status == 404:
            return []
        if reply.status >= 400:
            raise self.client.refusal(f"The snapshots in {self.repository} cannot be listed", reply)
        # Of several snapshots, OpenSearch and Elasticsearch leave their order open.
        return sorted(reply.body["snapshots"], key=lambda one: one.get("start_time_in_millis", 0))

    def one(self, name: str) -> dict | None:
        """The snapshot with exactly this name. Raises SearchError."""
        return next((found for found in self.find(name) if found["snapshot"] == name), None)

    def missing(self, name: str) -> search_client.SearchError:
        """The error for a snapshot that is not there."""
        names = [found["snapshot"] for found in self.find("*")]
        said = ", ".join(names[-20:]) if names else "none"
        first = f"the newest of {len(names)} are " if len(names) > 20 else "there are: "
        return search_client.SearchError(f"There is no snapshot {name} in {self.repository}; {first}{said}.")

    def finished(self, name: str, patience: float) -> dict:
        """The snapshot once it runs no more; patience in s. Raises SearchError when it still does then."""
        last: dict = {}

        def look():
            last.update(self.one(name) or {})
            return last and last["state"] not in RUNNING

        if not self.client.wait(patience, look):
            state = last.get("state", "not there")
            raise search_client.SearchError(
                f"The snapshot {name} is {state} after {patience:.0f} s. It goes on; give it more time with wait_timeout."
            )
        return last

    def take(self, name: str, body: dict, wait: bool, patience: float, check: bool) -> tuple[bool, dict | None]:
        """Take a snapshot of that name, if there is none yet; whether it was taken now, and what is known of it.

        Raises SearchError, also for a snapshot that is not whole.
        """
        found = self.one(name)
        changed = found is None
        if changed and check:
            return True, None
        if changed:
            self._begin(name, body)
            found = self.one(name)
        if wait and (found is None or found["state"] in RUNNING):
            found = self.finished(name, patience)
        whole = ("SUCCESS", "PARTIAL") if body.get("partial") else ("SUCCESS",)
        if found and found["state"] not in (*RUNNING, *whole):
            lacking = "; ".join(failures(found)[:5]) or found.get("reason", "")
            raise search_client.SearchError(
                f"The snapshot {name} is {found['state']}: {lacking}. What is in it can be restored, but it is incomplete. See"
                " elasticsearch_health, and take another one under a new name.",
                snapshots=[told(found)],
            )
        return changed, found

    def _begin(self, name: str, body: dict) -> None:
        try:
            self.client.act("PUT", self.path(name), body, f"Taking the snapshot {name}")
        except search_client.Refused as error:
            types = error.reply.types
            if "concurrent_snapshot_execution_exception" in types or "already running" in error.reply.reason:
                busy = [one["snapshot"] for one in self.find("_current")]
                raise search_client.SearchError(
                    f"{error} {', '.join(busy) or 'Another operation'} is under way in {self.repository}: wait until it is over."
                ) from error
            if "index_not_found_exception" in types:
                raise search_client.SearchError(
                    f"{error} Name indices that there are, or leave out those that are missing with ignore_unavailable."
                ) from error
            if "primary shards" in error.reply.reason:
                raise search_client.SearchError(
                    f"{error} See elasticsearch_health for why; to leave out what is lacking (partial), say so."
                ) from error
            if "same name already exists" in error.reply.reason:
                return  # another run was faster
            raise

    def delete(self, name: str, abort: bool, check: bool) -> dict | None:
        """Delete the snapshot; what was known of it, None where there was none. Raises SearchError."""
        found = self.one(name)
        if found and found["state"] in RUNNING and not abort:
            raise search_client.SearchError(
                f"The snapshot {name} is being taken. Wait until it is over, or give it up and delete it (abort)."
            )
        if found and not check:
            self.client.act(
                "DELETE", self.path(name), None, f"Deleting the snapshot {name}", allowed=(404,), timeout=600
            )
        return found

    def restorable(self, name: str, partial: bool) -> dict:
        """The snapshot, when there is something to restore. Raises SearchError."""
        found = self.one(name)
        if found is None:
            raise self.missing(name)
        if found["state"] in RUNNING:
            raise search_client.SearchError(f"The snapshot {name} is still being taken. Wait until it is over.")
        if found["state"] == "FAILED":
            raise search_client.SearchError(
                f"The snapshot {name} has failed, nothing can be restored from it. Choose another."
            )
        if found["state"] == "PARTIAL" and not partial:
            raise search_client.SearchError(
                f"The snapshot {name} is incomplete: {'; '.join(failures(found)[:5])}. To restore what is there, and leave shards"
                " empty that are not (partial), say so."
            )
        return found


def existing_indices(client: search_client.Client) -> dict[str, str]:
    """All indices, hidden ones too: name -> open or close. Raises SearchError."""
    path = "/_cat/indices?format=json&h=index,status&expand_wildcards=all"
    listed = client.get(path, "The list of indices", timeout=client.patience)
    return {one["index"]: one["status"] for one in listed}


def close(client: search_client.Client, index: str, patience: float) -> None:
    """Close an index. One that an earlier run is still restoring can't be closed before that is over; patience: in s. Raises SearchError."""
    refused: list[search_client.Refused] = []

    def tried() -> bool:
        try:
            client.act("POST", f"/{part(index)}/_close", None, f"Closing {index}")
        except search_client.Refused as error:
            if "being restored" not in error.reply.reason:
                raise
            refused[:] = [error]
            return False
        return True

    if not client.wait(patience, tried):
        raise refused[0]


def restore(
    client: search_client.Client, snapshots: Snapshots, name: str, todo: Restore, body: dict, patience: float = 0
) -> None:
    """Begin the restore. What was closed for it is opened again where that fails. patience: see close. Raises SearchError."""
    for index in todo.to_close:
        close(client, index, patience)
    try:
        client.act("POST", snapshots.path(name) + "/_restore", body, f"Restoring from the snapshot {name}")
    except search_client.SearchError as error:
        opened = []
        for index in todo.to_close:
            client.act("POST", f"/{part(index)}/_open", None, f"Opening {index} again")
            opened.append(index)
        hint = remedy(error.reply.reason) if isinstance(error, search_client.Refused) else ""
        said = f" {', '.join(opened)} are open again, as they were." if opened else ""
        raise search_client.SearchError(f"{error}{hint}{said}") from error


def remedy(reason: str) -> str:
    """What to do about the server's reason for refusing a restore, or ''."""
    if "with same name already exists" in reason or "already exists in the cluster" in reason:
        return " Restore under another name, with rename_pattern and rename_replacement."
    if "shards" in reason and "cannot restore" in reason:
        return (
            " An index can only be replaced by one with as many shards. Delete it first, or restore under another name."
        )
    if "compatible" in reason or "written by version" in reason or "newer" in reason:
        return " Snapshots can be restored by the same or the next major version only."
    if "not included in the snapshot" in reason or "global state" in reason:
        return " Leave out what is not in the snapshot."
    return ""


def restored(client: search_client.Client, targets: list[str], patience: float) -> list[dict]:
    """Wait until every primary shard of these indices is recovered; the indices with their documents.

    patience: in s. Raises SearchError, with the server's explanation, where a shard is not there by then.
    """
    wanted = set(targets)
    pending: list[dict] = []

    def look():
        listed = client.get(
            "/_cat/shards?format=json&h=index,shard,prirep,state,unassigned.reason", "The list of shards"
        )
        primaries = [one for one in listed if one["index"] in wanted and one["prirep"] == "p"]
        pending[:] = [one for one in primaries if one["state"] not in ("STARTED", "RELOCATING")]
        return {one["index"] for one in primaries} == wanted and not pending

    if not client.wait(patience, look):
        lacking = ", ".join(f"{one['index']}[{one['shard']}] is {one['state']}" for one in pending[:5])
        raise search_client.SearchError(
            f"Not all shards are restored after {patience:.0f} s: {lacking or 'the indices are not there'}."
            f" {_explained(client, pending)}".strip()
        )
    columns = "index,status,health,docs.count,pri,rep"
    path = f"/_cat/indices?format=json&h={columns}&expand_wildcards=all"
    listed = client.get(path, "The list of indices", timeout=client.patience)
    return [
        {
            "index": one["index"],
            "documents": int(one["docs.count"] or 0),
            "shards": int(one["pri"]),
            "replicas": int(one["rep"]),
            "status": one["health"],
        }
        for one in sorted(listed, key=lambda one: one["index"])
        if one["index"] in wanted
    ]


def _explained(client: search_client.Client, pending: list[dict]) -> str:
    """Why the first of these shards is not there, in the server's words."""
    first = next((one for one in pending if one["state"] == "UNASSIGNED"), None)
    if first is None:
        return "They are on their way; give them more time with wait_timeout."
    body = {"index": first["index"], "shard": int(first["shard"]), "primary": True}
    reply = client.call(client.urls[0], "POST", "/_cluster/allocation/explain", body)
    if reply.status != 200:
        return ""
    said = [reply.body.get("unassigned_info", {}).get("details", ""), reply.body.get("allocate_explanation", "")]
    return " ".join(" ".join(text.split())[:500] for text in said if text)


def generated(now: datetime) -> str:
    """A name for a snapshot that was given none."""
    return f"utmstack-{now:%Y.%m.%d-%H%M%S}"


def utc_now() -> datetime:
    """The time in UTC."""
    return datetime.now(UTC)
