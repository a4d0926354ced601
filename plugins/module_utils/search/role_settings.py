# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What can't hold in the settings of role elasticsearch, told all at once before a host is touched."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from . import keystore as elasticsearch_keystore

REPOSITORY_KEYS = {"name", "type", "settings", "verify"}
POLICY_KEYS = {"name", "schedule", "repository", "snapshot_name", "indices", "config", "retention"}
RETENTION_KEYS = {"expire_after", "min_count", "max_count"}


def faults(
    data_nodes: int,
    recover_after: object,
    replicas: object,
    directories: list[str],
    repositories: list[dict],
    policies: list[dict],
    keystore: dict,
) -> list[str]:
    """Each fault as a sentence with setting, finding and remedy. The arguments are the role's settings; '' means derived."""
    return [
        *_numbers(data_nodes, recover_after, replicas),
        *_directories(directories),
        *_repositories(repositories, directories),
        *_policies(policies, {one.get("name") for one in repositories}),
        *_keystore(keystore),
    ]


def _whole(value: object) -> int | None:
    text = str(value)
    return int(text) if text.isdigit() else None


def _numbers(data_nodes: int, recover_after: object, replicas: object) -> Iterator[str]:
    least = _whole(recover_after)
    if recover_after != "" and (least is None or not 1 <= least <= data_nodes):
        yield (
            f"elasticsearch_recover_after_data_nodes is {recover_after}, but there are {data_nodes} data nodes: after a stop of "
            f"the whole cluster it would never recover. Set 1 to {data_nodes}, or leave it empty for more than half of them."
        )
    wanted = _whole(replicas)
    if replicas != "" and (wanted is None or wanted > data_nodes - 1):
        yield (
            f"elasticsearch_min_replicas is {replicas}, but {data_nodes} data nodes have room for at most {data_nodes - 1} "
            "replicas of a shard: the cluster would never be green. Set less, or leave it empty."
        )


def _directories(directories: list[str]) -> Iterator[str]:
    for path in directories:
        if not path.startswith("/") or posixpath.normpath(path) == "/" or set(path) & set(" \t\n:\"'"):
            yield (
                f"elasticsearch_repository_directories names {path!r}. Name absolute directories, without blanks and colons and not /."
            )


def _inside(path: str, directories: list[str]) -> bool:
    path = posixpath.normpath(path)
    return any(f"{path}/".startswith(posixpath.normpath(directory) + "/") for directory in directories)


def _repositories(repositories: list[dict], directories: list[str]) -> Iterator[str]:
    yield from _entries("elasticsearch_snapshot_repositories", repositories, REPOSITORY_KEYS, ("name", "type"))
    for one in repositories:
        if one.get("type") != "fs":
            continue
        where = f"elasticsearch_snapshot_repositories: {one.get('name')}"
        location = str((one.get("settings") or {}).get("location") or "")
        if not location.startswith("/"):
            yield f"{where} has the location {location!r}. Give settings.location, an absolute directory."
        elif not _inside(location, directories):
            yield (
                f"{where} has its location {location} outside of elasticsearch_repository_directories "
                f"({', '.join(directories) or 'none'}), where the server may not write. Add the directory in which the share is "
                "mounted on every node to that list."
            )


def _policies(policies: list[dict], repositories: set) -> Iterator[str]:
    setting = "elasticsearch_snapshot_policies"
    yield from _entries(setting, policies, POLICY_KEYS, ("name", "schedule", "repository"))
    for one in policies:
        where = f"{setting}: {one.get('name')}"
        if one.get("repository") not in repositories:
            yield (
                f"{where} wants the repository {one.get('repository')}, which is not in elasticsearch_snapshot_repositories. "
                "Declare it there, or correct the name."
            )
        retention = one.get("retention") or {}
        yield from (
            f"{where} has retention.{name}, which is none. Use {', '.join(sorted(RETENTION_KEYS))}."
            for name in retention
            if name not in RETENTION_KEYS
        )
        counts = {name: _whole(retention[name]) for name in ("min_count", "max_count") if name in retention}
        if None in counts.values() or 0 in counts.values():
            yield f"{where} has a retention that counts by no whole number from 1."
        elif len(counts) == 2 and counts["min_count"] > counts["max_count"]:
            yield f"{where} keeps at least {counts['min_count']} and at most {counts['max_count']} snapshots. Correct one of them."


def _entries(setting: str, entries: list[dict], known: set[str], needed: tuple[str, ...]) -> Iterator[str]:
    names = [one.get("name") for one in entries]
    for name in sorted({str(name) for name in names if names.count(name) > 1}):
        yield f"{setting} has {name} more than once. Keep one of them."
    for one in entries:
        for key in needed:
            if not one.get(key):
                yield f"{setting}: {one.get('name') or 'an entry'} has no {key}. Give it one."
        for key in one:
            if key not in known:
                yield f"{setting}: {one.get('name') or 'an entry'} has {key}, which is not known. Use {', '.join(sorted(known))}."


def _keystore(keystore: dict) -> Iterator[str]:
    fault = elasticsearch_keystore.fault({str(name): str(value or "") for name, value in keystore.items()})
    if fault:
        yield f"elasticsearch_keystore: {fault}"
