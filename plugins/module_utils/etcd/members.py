# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Membership of an etcd cluster: which changes lead to the wanted one. Members are as etcd_cluster.assess returns them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Change:
    """Numbers (hexadecimal) to remove, in order, then whether to add the member."""

    remove: list[str] = field(default_factory=list)
    add: bool = False

    def __bool__(self) -> bool:
        return bool(self.remove) or self.add


def find(members: list[dict], name: str, peer_urls: list[str]) -> list[dict]:
    """The entries that stand for the member: by name, or by an address (one that never started has no name)."""
    return [member for member in members if member["name"] == name or set(member["peer_urls"]) & set(peer_urls)]


def plan_present(members: list[dict], name: str, peer_urls: list[str], replace: bool) -> Change:
    """How to have the member, once and at these addresses.

    replace: its data is lost, so an entry that may have voted must go: it promised other members what it has forgotten.
    A learner that never started promised nothing and is kept, so that a second try changes nothing.
    """
    entries = find(members, name, peer_urls)
    kept = [
        entry
        for entry in entries
        if set(entry["peer_urls"]) == set(peer_urls)
        and entry["name"] in ("", name)
        and not (replace and (entry["name"] or not entry["learner"]))
    ]
    remove = [entry["id"] for entry in entries if entry not in kept[:1]]
    return Change(remove, add=not kept)


def initial_cluster(members: list[dict], name: str, peer_urls: list[str]) -> str:
    """What a member that joins needs as `initial-cluster`: all members, itself under its coming name."""
    pairs = []
    for member in members:
        own = member["name"] or (name if set(member["peer_urls"]) & set(peer_urls) else "")
        pairs += [f"{own}={url}" for url in member["peer_urls"] if own]
    return ",".join(pairs)


def successor(members: list[dict], name: str, wanted: str | None = None) -> dict | None:
    """Who shall lead instead of the member: a healthy voter, the wanted one or that with most entries. None where there is none."""
    fit = [
        member
        for member in members
        if member["healthy"]
        and not member["learner"]
        and member["name"] not in ("", name)
        and wanted in (None, member["name"])
    ]
    return max(fit, key=lambda member: (member["raft_applied_index"] or 0, member["name"]), default=None)
