# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides what a restore of etcd does on which hosts, also after one that was interrupted: what lies on the hosts says how far it came."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..common.text import size
from .backup import room


def plan_restore(
    members: list[Mapping[str, Any]],
    seen: Mapping[str, Mapping[str, Any]],
    kept: list[Mapping[str, Any]],
    chosen: Mapping[str, Any],
    masked: Mapping[str, bool],
    wanted: str = "",
) -> dict[str, Any]:
    """Return the plan, as the filter etcd_restore_plan documents it.

    Data that were restored carry the label of their backup until all is done. Patroni is masked on all hosts before any member is restored, and
    unmasked only after its keys were reset: so where all members have the label and Patroni is unmasked anywhere, only its start is left.
    """
    names = [one["name"] for one in members]
    begun = sorted({one["label"] for one in seen.values() if one["label"]})
    label = wanted or (begun[0] if begun else kept[-1]["label"] if kept else "")
    backup = next((one for one in kept if one["label"] == label), None)
    away = [name for name in names if name not in seen]
    todo = [name for name in names if name in seen and seen[name]["label"] != label]
    released = not todo and not away and any(not one for one in masked.values())
    refusals = []
    if begun and begun != [label]:
        refusals.append(
            f"A restore from {', '.join(begun)} was begun and is not done. Finish it: the same command with -e at={begun[0]}"
        )
    if backup is None and (todo or not begun):
        known = ", ".join(one["label"] for one in kept) or "none"
        refusals.append(f"There is no backup {label or 'of etcd'}. Kept are: {known}")
    if away:
        refusals.append(
            f"{', '.join(away)} can't be reached, and all members are restored from one file. Bring it back, or take it out of the inventory"
        )
    if backup and todo:
        needed = room(int(backup["record"]["bytes"]))
        refusals += [
            f"{name} has {size(seen[name]['free'])} free for etcd's data, and {size(needed)} are needed beside the present ones. Make room there"
            for name in todo
            if seen[name]["free"] < needed
        ]
        release = _minor(backup["record"].get("software", {}).get("etcd", ""))
        refusals += [
            f"{name} has etcd {seen[name]['version']}, and the backup is of {release}.x. Install that release there first"
            for name in todo
            if release and seen[name]["version"] and _minor(seen[name]["version"]) != release
        ]
    if not released:
        # Doubts are for when all have stopped: then they are refusals, or gone.
        refusals += chosen["refusals"]
    return {
        "kept": backup or {},
        "label": label,
        # Another one than that of the lost cluster, and the same in each run of this restore: members of both never take each other for theirs.
        "token": f"restored-{label}",
        "initial_cluster": ",".join(f"{one['name']}={one['peer_url']}" for one in members),
        "restore": todo,
        "hold": not released,
        "reset": not released,
        "refusals": refusals,
        "lines": _lines(backup, label, names, todo, seen, chosen, released)
        + (
            [
                "  PostgreSQL still runs: who leads is decided when all members have stopped, and where no other has all data of it, that is asked"
            ]
            if chosen["doubts"] and not released
            else []
        ),
        "begun": begun,
        "state": _state(names, seen, begun, masked),
    }


def _state(names, seen, begun, masked):
    """In what state the hosts are where this run changes nothing: the head of its refusals."""
    held = ", ".join(name for name, one in masked.items() if one) or "no host"
    if begun:
        done = ", ".join(name for name in names if name in seen and seen[name]["label"])
        return (
            f"This run has replaced no data. An earlier one has restored etcd on {done} from {begun[0]}, and Patroni is stopped and masked on {held}"
            f" until all is done. Start again with -e at={begun[0]} when this is mended"
        )
    if any(masked.values()):
        return (
            f"This run has replaced no data. An earlier one was interrupted, and Patroni is stopped and masked on {held}. Start again when this is"
            " mended; or give the restore up, on each host: systemctl start etcd, systemctl unmask patroni, systemctl start patroni"
        )
    return "Nothing was changed"


def _lines(backup, label, names, todo, seen, chosen, released):
    """The plan, as the operator reads it before the question."""
    lines = [f"Restore of etcd from {label}"]
    if backup:
        moment = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(backup["point"]["time"]))
        proven = (
            "verified"
            if backup["verified"]
            else "NOT VERIFIED: its restore may fail; run playbooks/verify_backup.yml -e kind=etcd"
        )
        lines.append(f"  everything in etcd there up to {moment}, revision {backup['point']['revision']}, {proven}")
    if released:
        return [*lines, "  all members are restored and Patroni's keys were reset; Patroni is started where it is not"]
    done = [name for name in names if name not in todo and name in seen]
    lines += [f"  restored on {', '.join(todo)}" if todo else "  all members are restored already"]
    lines += [f"  restored already on {', '.join(done)}, by a run that was interrupted"] if done and todo else []
    lines += ["  each member's present data stay beside the new ones, as DIRECTORY.before-restore-TIME"] if todo else []
    if todo and not all(seen[name]["bumps"] for name in todo if name in seen):
        lines.append(
            "  this release can't bump revisions: stop all other clients of etcd than Patroni before, and start them after it"
        )
    lines.append(
        "  PostgreSQL is stopped meanwhile; its data stay, and Patroni's keys on leader and standbys are made anew from them:"
    )
    return lines + [f"    {line}" for line in chosen["lines"]]


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
