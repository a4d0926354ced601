# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a restore of Redis will do, told before anything of it is done: all of it, and all that stands in its way, in one list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..common.moments import clock, epoch
from ..common.text import size as readable
from . import bootstrap as redis_bootstrap

LATEST = "latest"
# What a node needs beside twice the data: it copies all from its master into a file, and then makes its append-only file of it.
SPARE = 64 << 20


def chosen(kept: Sequence[Mapping[str, Any]], wanted: str, before: int = 0) -> tuple[Mapping[str, Any] | None, str]:
    """The backup that is meant, and a reason where there is none. kept: usable ones, newest last. With `latest` the newest one, or the newest that
    has nothing of later than `before` (seconds since 1970)."""
    if not kept:
        return (
            None,
            "There is no usable backup of Redis. Take one with backup.yml -e kind=redis, or see status.yml for why there is none.",
        )
    if wanted in ("", LATEST):
        older = [one for one in kept if not before or int(one["point"].get("time", 0)) <= before]
        if not older:
            return (
                None,
                f"No usable backup of Redis is from before {clock(before)}. The oldest one is {kept[0]['label']}.",
            )
        return older[-1], ""
    named = [one for one in kept if one["label"] == wanted]
    if not named:
        return (
            None,
            f"There is no usable backup {wanted} of Redis. There are: {', '.join(one['label'] for one in kept[-20:])}.",
        )
    return named[-1], ""


def master(
    members: Sequence[Mapping[str, Any]],
    seen: Mapping[str, Mapping[str, Any]],
    cluster: Mapping[str, Any],
    first: str,
) -> tuple[str, str]:
    """The host that gets the data and becomes master, and a reason where there is none: redis_first_master, else the present or last master, else
    the first host. All data are replaced, so any of them would do."""
    names = {member["address"]: member["name"] for member in members}
    if first:
        if first in names.values():
            return first, ""
        return (
            "",
            f"redis_first_master is {first}, no host of group redis ({', '.join(names.values())}). Name one of them.",
        )
    found = redis_bootstrap.plan_master(members, seen, cluster, members[0]["name"])
    return names.get(found["address"], members[0]["name"]), ""


def plan(
    members: Sequence[Mapping[str, Any]],
    seen: Mapping[str, Mapping[str, Any]],
    cluster: Mapping[str, Any],
    kept: Sequence[Mapping[str, Any]],
    wanted: str = LATEST,
    first: str = "",
    before: Any = "",
) -> dict[str, Any]:
    """Return what restoring does.

    members: ha.redis.members. seen: host -> what redis_data_info told of it. cluster: what redis_sentinel_info told. kept: what backup_kept_info
    told. wanted: a label, or `latest`. first: redis_first_master. before: with `latest`, a time after which it has nothing, as epoch takes it.
    Returns refusals, lines, master, address, kept (the backup), time, keys (how many it has, and how many of them end).
    """
    refusals = []
    try:
        backup, why = chosen(kept, wanted, epoch(before))
    except ValueError as error:
        backup, why = None, f"before: {error}"
    refusals += [why] if why else []
    host, why = master(members, seen, cluster, first)
    refusals += [why] if why else []
    names = [member["name"] for member in members]
    unseen = [name for name in names if name not in seen]
    if unseen:
        refusals.append(
            f"{' and '.join(unseen)} can't be looked at in this run. All hosts of Redis get the restored data: run it without a limit, when they are "
            "back, or take them out of group redis."
        )
    needed = 2 * int(backup["record"]["bytes"]) + SPARE if backup else 0
    for name in names:
        free = (seen.get(name) or {}).get("free_bytes")
        if backup and free is not None and free < needed:
            refusals.append(
                f"{name} has {readable(free)} free where Redis has its data, and needs {readable(needed)}, beside the present data, which are kept. "
                "Make room there; former safety copies are listed by status.yml."
            )
    manifest = (backup or {}).get("record", {}).get("manifest", {})
    keys = {name: int(manifest[name]) for name in ("keys", "expires")} if "keys" in manifest else {}
    return {
        "refusals": refusals,
        "lines": [] if refusals else _lines(names, seen, backup, host, keys, _former(kept, backup)),
        "master": host,
        "address": next((member["address"] for member in members if member["name"] == host), ""),
        "kept": dict(backup or {}),
        "time": int((backup or {}).get("point", {}).get("time", 0)),
        "keys": keys,
    }


def _former(kept: Sequence[Mapping[str, Any]], backup: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The backup before this one, where it has more than twice as many keys: this one may be of a platform that has just been made."""
    earlier = kept[: list(kept).index(backup)] if backup else []
    if not earlier or "keys" not in earlier[-1]["record"]["manifest"]:
        return None
    return (
        earlier[-1]
        if earlier[-1]["record"]["manifest"]["keys"] > 2 * backup["record"]["manifest"].get("keys", 0)
        else None
    )


def _lines(
    names: Sequence[str],
    seen: Mapping[str, Mapping[str, Any]],
    backup: Mapping[str, Any],
    host: str,
    keys: Mapping[str, int],
    former: Mapping[str, Any] | None,
) -> list[str]:
    moment = clock(int(backup["point"].get("time", 0)))
    record = backup["record"]
    others = [name for name in names if name != host]
    lines = [
        "Redis",
        f"  from       the backup {backup['label']} of {record.get('host', '')}, taken from {record.get('source') or 'an unknown host'}"
        + ("" if backup.get("verified") else ", NOT VERIFIED"),
        f"  up to      {moment}: everything that was there then; nothing that was written since",
        f"  restores   {keys.get('keys', 'an unknown number of')} keys, {readable(record['bytes'])}, on {host}, which becomes master",
    ]
    if former:
        lines.append(
            f"  BEWARE     the backup before, {former['label']}, has {former['record']['manifest']['keys']} keys: -e backup={former['label']} restores that one"
        )
    if others:
        lines.append(f"  copies     from there to {', '.join(others)}")
    held = [name for name in names if seen[name].get("data")]
    if held:
        lines.append(
            f"  keeps      the present data of {', '.join(held)}, as before-restore-TIME beside the restored ones"
        )
    return [*lines, "  meanwhile  the application, Redis and its sentinels are stopped"]
