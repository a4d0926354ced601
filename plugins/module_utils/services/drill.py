# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the drill knows of a service: the faults that meet it, and the paths on which the ledger writes to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

# Whom a fault may meet, but for a host by its name: who leads the service or follows, who holds the virtual IP, who leads everything.
LEADER, REPLICA, VIP_HOLDER, LEADER_OF_ALL = "leader", "replica", "vip_holder", "leader_of_all"

# What is done to a host, where a fault has no more to say. `cut` is rest (all other hosts) or one (one other member of the service), clients
# (all but the hosts), or everyone. How many packets are lost, and in which direction: drill_loss_percent, drill_loss_direction.
POWER_OFF = {"kind": "power"}
CUT_OFF = {"kind": "partition", "cut": "rest", "direction": "both"}
LOSSY = {"kind": "lossy", "cut": "everyone"}


def killed(process: str) -> dict[str, str]:
    """A process is killed; systemd, Patroni or Swarm start it again."""
    return {"kind": "signal", "signal": "KILL", "process": process}


def frozen(process: str) -> dict[str, str]:
    """A process is frozen, and goes on afterwards."""
    return {"kind": "signal", "signal": "STOP", "process": process}


@dataclass(frozen=True)
class Fault:
    """A fault of the drill's catalogue, which docs/drill.md describes.

    alone: what else the host leads is handed over before, so that only this is measured. hold_s: how long it lasts, or for what starts again
    by itself is watched. target_s: the most seconds without writes that we mean to need, for all paths of the ledger or by path; what
    has none is measured all the same.
    """

    name: str
    text: str
    target: str
    fault: Mapping[str, Any]
    hold_s: float
    target_s: float | Mapping[str, float] | None = None
    alone: bool = False

    def plain(self, service: str = "") -> dict[str, Any]:
        """As a scenario's file has one. service: whose leader or replica is meant."""
        return {
            "text": self.text,
            "target": self.target,
            **({"service": service} if self.target in (LEADER, REPLICA) else {}),
            **({"alone": True} if self.alone else {}),
            "fault": dict(self.fault),
            "hold_s": self.hold_s,
            **({} if self.target_s is None else {"target_s": self.target_s}),
        }


@dataclass(frozen=True)
class LedgerPath:
    """A way on which an application reaches a service, and on which the ledger writes its records.

    client: the module of drill/ledger. settings: what it is told (topology, passwords). most_rate: records a second at most.
    requested: the operator describes its requests (drill_api); without them it is left out. accounts: its records are transfers between
    accounts that all such paths share, so they wait for each other and for what was left behind. host_lost_s: the most seconds
    without writes that we mean to need where the host that leads all is lost.
    expected_loss: what a leader that is cut off costs by design (kind of the fault, topology): seconds of acknowledged writes, and why.
    """

    name: str
    title: str
    client: str
    settings: Callable[[Mapping[str, Any], Mapping[str, str]], Mapping[str, Any]]
    most_rate: float | None = None
    requested: bool = False
    accounts: bool = False
    host_lost_s: float | None = None
    expected_loss: Callable[[str, Mapping[str, Any]], tuple[float, str]] | None = None

    def lost(self, verdict: Mapping[str, Any], expected_loss_s: float) -> bool:
        """Whether it has lost an acknowledged write that it must not lose, or its accounts are wrong.

        verdict: its entry of verdict.json. expected_loss_s: what the turn may cost those that lose anything by design.
        """
        if verdict.get("sum_right") is False:
            return True
        expected = self.expected_loss is not None and (verdict.get("lost_s") or 0) <= expected_loss_s
        return bool(verdict.get("missing")) and not expected


def addresses(layer: Mapping[str, Any], port: int) -> dict[str, list[Any]]:
    """The address and the port of each member, by its name."""
    return {member["name"]: [member["address"], port] for member in layer["members"]}
