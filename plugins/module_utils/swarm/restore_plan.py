# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a restore of the swarm will do, told before anything of it is done: all of it, and all that stands in its way, in one list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..common.moments import clock
from ..common.text import size
from .state import fingerprint

LATEST = "latest"
# What the log of Raft takes besides what the backup has: two files of 64 MB, made in advance.
SPARE = 256 << 20


def plan(
    ha: Mapping[str, Any],
    seen: Mapping[str, Mapping[str, Any]],
    disks: Mapping[str, Mapping[str, Any]],
    kept: Sequence[Mapping[str, Any]],
    wanted: str = LATEST,
    own: str = "",
    unlock_key: str = "",
) -> dict[str, Any]:
    """Return what restoring does.

    ha: the topology. seen: host -> what swarm_info told of it. disks: host -> what swarm_restore told of it (free, copies). kept: usable backups,
    newest last. wanted: a label, or `latest`. own: a manager whose own state is taken in the place of a backup. unlock_key: the one that the controller has.
    Returns refusals, lines, host (which gets the state), kept (the backup, empty with `own`) and members (the hosts that leave what they are in).
    """
    refusals: list[str] = []
    members = [one["name"] for one in ha["swarm"]["members"]]
    managers = {one["name"]: one["address"] for one in ha["swarm"]["managers"]}
    backup, why = (None, _unfit(own, managers, seen, disks)) if own else _chosen(kept, wanted)
    refusals += [why] if why else []
    facts = (backup or {}).get("record", {}).get("manifest", {})
    host = own or next((name for name, address in managers.items() if address == facts.get("address")), "")
    if backup and not host:
        refusals.append(
            f"The backup {backup['label']} is of a manager with the address {facts.get('address')}, which no manager of the inventory has, and a swarm"
            " goes on to look for its managers where they were. Give a manager that address, or take another backup with -e backup=LABEL."
        )
    away = [name for name in members if seen.get(name, {}).get("state", "stopped") == "stopped"]
    if away:
        refusals.append(
            f"{', '.join(away)} can't be reached, or Docker does not answer there. All hosts leave the swarm that they are in, or there would be two:"
            " bring it back, or take it out of the inventory."
        )
    if facts.get("key") and fingerprint(unlock_key) != facts["key"]:
        refusals.append(
            f"The swarm had another unlock key when {backup['label']} was taken than the controller has. Put that one into passwords.yml as swarm_unlock_key,"
            " from the sealed configuration of that time, or take another backup with -e backup=LABEL."
        )
    needed = 4 * int(backup["record"]["bytes"] if backup else 0) + SPARE
    free = disks.get(host, {}).get("free")
    if free is not None and free < needed:
        refusals.append(
            f"{host} has {size(free)} free where Docker has its data, and {size(needed)} are needed. Make room there."
        )
    release, own = (
        backup and backup["record"].get("software", {}).get("docker", ""),
        seen.get(host, {}).get("engine") or "",
    )
    if release and own and _numbers(own) < _numbers(release):
        refusals.append(
            f"{host} has Docker {own}, and the backup is of {release}. Upgrade Docker there first: an older engine may not read it."
        )
    return {
        "refusals": refusals,
        "lines": [] if refusals else _lines(backup, facts, host, members, seen, disks),
        "host": host,
        "kept": dict(backup or {}),
        "members": members,
    }


def _chosen(kept: Sequence[Mapping[str, Any]], wanted: str) -> tuple[Mapping[str, Any] | None, str]:
    if not kept:
        return (
            None,
            "There is no usable backup of the swarm. Take one with backup.yml -e kind=swarm, or see status.yml for why there is none.",
        )
    if wanted in ("", LATEST):
        return kept[-1], ""
    named = [one for one in kept if one["label"] == wanted]
    if not named:
        return (
            None,
            f"There is no usable backup {wanted} of the swarm. There are: {', '.join(one['label'] for one in kept[-20:])}.",
        )
    return named[-1], ""


def _unfit(
    own: str,
    managers: Mapping[str, str],
    seen: Mapping[str, Mapping[str, Any]],
    disks: Mapping[str, Mapping[str, Any]],
) -> str:
    """Why no swarm is made of a manager's own state; empty where one can be."""
    if own not in managers:
        return f"{own} is no manager of the inventory ({', '.join(managers)}). Give -e from= one of them."
    if seen.get(own, {}).get("state") == "inactive" and not disks.get(own, {}).get("copies"):
        return f"{own} is in no swarm, so it has no state. Give -e from= another manager, or leave it out to take a backup."
    return ""


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.partition("+")[0].split(".")[:2] if part.isdigit())


def _lines(
    backup: Mapping[str, Any] | None,
    facts: Mapping[str, Any],
    host: str,
    members: Sequence[str],
    seen: Mapping[str, Mapping[str, Any]],
    disks: Mapping[str, Mapping[str, Any]],
) -> list[str]:
    if backup:
        counted = ", ".join(
            f"{facts[kind]} {kind}" for kind in ("services", "secrets", "configs", "networks") if kind in facts
        )
        lines = [
            f"  from       the backup {backup['label']} of {backup['record'].get('host', '')}, taken from {backup['record'].get('source', '')}"
            + ("" if backup.get("verified") else ", NOT VERIFIED"),
            f"  up to      {clock(int(backup['point']['time']))}: what was changed in the swarm since is lost",
            f"  restores   {counted}, on {host}, which becomes the only manager",
        ]
    else:
        interrupted = seen[host]["state"] == "inactive"
        whose = (
            f"{disks[host]['copies'][-1]}, which an interrupted restore has kept, on {host}"
            if interrupted
            else f"the present state of {host}"
        )
        lines = [
            f"  from       {whose}, which becomes the only manager",
            f"  up to      the last change that {host} has; one that only lost managers had acknowledged is lost",
        ]
    others = [name for name in members if name != host]
    if others:
        lines.append(f"  joins      {', '.join(others)}, anew, when they have left what they are in")
    if any(node.get("leader") for name in members for node in seen[name].get("nodes", [])):
        lines.append("  BEWARE     the present swarm has a leader: what is in it is replaced, not mended")
    held = [
        name
        for name in members
        if seen[name]["state"] != "inactive" and (seen[name].get("manager") or seen[name]["state"] == "locked")
    ]
    if held:
        lines.append(
            f"  keeps      the present state of {', '.join(held)}, as swarm.before-restore-TIME in Docker's data directory"
        )
    return ["Docker Swarm", *lines, "  meanwhile  all tasks end, the application among them; Docker itself goes on"]
