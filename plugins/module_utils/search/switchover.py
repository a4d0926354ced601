# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Has the elected master of a search cluster hand over, by voting configuration exclusions.

A master that is excluded from voting elects one of those that are left to vote, and follows it. Who that is the cluster
decides: excluded nodes shrink the voting configuration to an odd number, so that of three voters one alone remains, always
the same one (tried: Elasticsearch 8.18). To have a certain node elected, all others are excluded, which comes to the same.

Until the exclusions are removed, the loss of a lone voter would leave the cluster without a master. So they are removed as
soon as another leads, and whatever happened. Before a node merely stops, a hand-over isn't worth that moment, unless more than three
vote: the other two of three elect a master by themselves.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

from . import client as search_client
from . import cluster as search_cluster

EXCLUSIONS = "/_cluster/voting_config_exclusions"
# The server's own limit for taking a node out of the voting configuration.
TIMEOUT_S = 30
# Fewer voters than these can't do without one and still survive the loss of another.
VOTERS = 3


class SwitchoverError(search_client.SearchError):
    """Why there is no hand-over, or none yet, as a sentence."""


@dataclass(frozen=True)
class Voters:
    """Who leads and who votes. master: a name or ''; voters: names of nodes in the cluster that vote; eligible: those of them
    that may become master; excluded: names that must not vote."""

    master: str
    voters: list[str] = field(default_factory=list)
    eligible: list[str] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)


def voters_of(state: dict, roles: dict[str, list[str]]) -> Voters:
    """Read what GET /_cluster/state/metadata,master_node,nodes says; roles: of the nodes, by name."""
    names = {ident: node["name"] for ident, node in state.get("nodes", {}).items()}
    coordination = state.get("metadata", {}).get("cluster_coordination", {})
    voters = sorted(names[ident] for ident in coordination.get("last_committed_config", []) if ident in names)
    return Voters(
        master=names.get(state.get("master_node") or "", ""),
        voters=voters,
        eligible=[name for name in voters if "voting_only" not in roles.get(name, [])],
        excluded=search_cluster.excluded(state),
    )


def due(seen: Voters, host: str | None, to: str | None) -> bool:
    """Whether the master has to hand over: it is not `to`, and it is `host`, where they are given."""
    return bool(seen.master) and seen.master != to and (host is None or seen.master == host)


def fault(seen: Voters, to: str | None) -> str:
    """Why the master can't hand over, or ''. seen: with no exclusions left."""
    if not seen.master:
        return "No master is elected."
    if len(seen.voters) < VOTERS:
        return (
            f"Only {', '.join(seen.voters) or 'nobody'} can vote on the master. With fewer than {VOTERS} the cluster would stand "
            "still as soon as one is missing; bring the others back first."
        )
    others = [name for name in seen.eligible if name != seen.master]
    if not others:
        return f"Nobody but {seen.master} may become master."
    if to is not None and to not in others:
        return f"{to} cannot become master, only {', '.join(others)} can."
    return ""


class Switchover:
    """One hand-over. client: a search_client.Client of the whole cluster."""

    def __init__(self, client: search_client.Client, patience: float):
        self.client, self.patience = client, patience

    def look(self) -> Voters:
        """Who leads and votes. Raises SearchError."""
        roles = search_cluster.members(self.client)
        wanted = f"nodes.*.name,master_node,{search_cluster.COORDINATION}"
        path = f"/_cluster/state/metadata,master_node,nodes/{search_cluster.NO_INDEX}&filter_path={wanted}"
        return voters_of(self.client.get(path, "The state of the cluster"), roles)

    def clear(self) -> None:
        """Let every node vote again. Raises SearchError."""

        def try_once():
            self.client.ask("/_cluster/health?filter_path=status")
            reply = self.client.act(
                "DELETE", f"{EXCLUSIONS}?wait_for_removal=false", None, "Letting every node vote again", allowed=(503,)
            )
            return reply.status < 400

        if not self.client.wait(self.patience, try_once):
            raise SwitchoverError(
                "A node is still excluded from voting on the master, since no master answers. The next run lets it vote again; "
                f"by hand: DELETE {EXCLUSIONS}?wait_for_removal=false"
            )

    def hand_over(self, seen: Voters, to: str | None) -> str:
        """Have the master hand over; the name of the new one. Every node may vote again in the end. Raises SearchError."""
        names = [name for name in seen.eligible if name != to] if to else [seen.master]
        try:
            path = f"{EXCLUSIONS}?node_names={search_client.part(','.join(names))}&timeout={TIMEOUT_S}s"
            # What a node answers, or does not, that has just stopped leading means nothing: who leads is asked for.
            with contextlib.suppress(search_client.NoAnswer):
                self.client.act("POST", path, None, f"Excluding {', '.join(names)} from voting", allowed=(503,))
            found = self.client.wait(self.patience, lambda: self._other_than(seen.master), pause=0.1)
        finally:
            self.clear()
        if not found:
            raise SwitchoverError(f"{seen.master} still leads {self.patience:g} s after the switchover request.")
        return found

    def _other_than(self, master: str) -> str:
        now = self.look().master
        return now if now != master else ""

    def settled(self) -> Voters:
        """Look once every node votes again that may, or after some seconds all the same."""
        last: list[Voters] = []

        def try_once():
            last.append(self.look())
            return not last[-1].excluded and last[-1].master and len(last[-1].voters) >= VOTERS

        self.client.wait(min(self.patience, 10.0), try_once)
        return last[-1]


def switch_over(client, host=None, to=None, only_clear=False, patience=60.0, check=False) -> dict:
    """What module elasticsearch_switchover returns. Raises SearchError."""
    run = Switchover(client, patience)
    start = client.now()
    before = seen = run.look()
    if before.excluded and not check:
        run.clear()
        seen = run.settled()
    wanted = not only_clear and due(seen, host, to)
    # With exclusions, a dry run can't know who will vote without them.
    reason = fault(seen, to) if wanted and not seen.excluded else ""
    if reason:
        raise SwitchoverError(reason)
    master = seen.master
    if wanted and not check:
        master = run.hand_over(seen, to)
        run.settled()
    if to and wanted and not check and master != to:
        raise SwitchoverError(f"{master} was elected, not {to}. The cluster works; start again to try once more.")
    return {
        "changed": wanted or bool(before.excluded),
        "master": master or None,
        "old_master": before.master or None,
        "cleared": before.excluded,
        "seconds": round(client.now() - start, 3),
    }
