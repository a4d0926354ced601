# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a service of the platform is. Each has one object of this kind, in a file of its own beside this one; registry.py lists them.

Everything that is shared asks these objects and names no service: topology, role base, rolling operations, status, drill. What is plain is
plain data; what has to look at the state of the platform is a function of the service's part of that state (operation/status.py), which
is None where nobody could be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Layer = Mapping[str, Any] | None


def member(layer: Layer, key: str, name: str, label: str = "name") -> Mapping[str, Any]:
    """The member of this name in a list of a layer's state; empty where there is none."""
    return next((one for one in (layer or {}).get(key, []) if one[label] == name), {})


@dataclass(frozen=True)
class Service:
    """A part of the platform that is taken host by host."""

    name: str
    role: str
    # The key of the topology whose `members` are its hosts, and that of its part in the state of the platform.
    layer: str
    state: str = ""
    # Of systemd. By their start it is told whether the service was restarted.
    units: tuple[str, ...] = ()

    # -- rolling operations: entry points of the role (docs/role-contract.md), and whether a turn drains the host
    restart: str = "restart"
    upgrade: str = "upgrade"
    drain: bool = True
    # Whether a host does its part. A service that nobody asks counts as serving.
    serves: Callable[[Layer, str], bool] = lambda _layer, _host: True
    # Whether there is anything of it to take.
    present: Callable[[Mapping[str, Any]], bool] = lambda _state: True
    # Why nothing of it may begin, with the remedy; empty where it may.
    refusal: Callable[[Layer], str] = lambda _layer: ""
    # Whether a turn that died has left something that its next turn finishes, though the unit was started.
    unfinished: Callable[[Layer], bool] = lambda _layer: False
    # Where a host is kept out by it.
    drained: Callable[[Layer, str], list[str]] = lambda _layer, _host: []

    # -- what one of its hosts leads: in the words of a plan; its name in -e service= of a switchover; the key of the state that has the host
    leads: str = ""
    leadership: str = ""
    leader: str = "leader"
    # Whether the successor can be named, and the key of the topology that lists who may lead.
    successor: bool = True
    candidates: str = "members"
    # Which replicas alone may take over now; none: any. They are taken after the others, since most depends on them.
    heirs: Callable[[Layer], list[str]] = lambda _layer: []
    # The leaderships that draining one of its hosts hands over: its own, where not said.
    hands_over: tuple[str, ...] | None = None

    # -- upgrades of Debian's packages
    # Each host serves by itself, so hosts may end with different versions, such as those of two releases of Debian.
    independent: bool = False
    # On hosts with this other service its packages come with that one's.
    comes_with: str = ""

    # -- the drill: processes that a fault may meet, by name; which of the units' (`only`, see processes() of drill/fault/host.py), or
    # those of a container; and what a report calls them
    processes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    # None of its hosts leads, and any of them is a replica to a fault.
    peers: bool = False

    def layer_of(self, state: Mapping[str, Any]) -> Layer:
        """Its part of the state of the platform."""
        return state.get(self.state or self.name)

    def leader_of(self, state: Mapping[str, Any]) -> str | None:
        """The host that leads it."""
        return (self.layer_of(state) or {}).get(self.leader)

    def members(self, topology: Mapping[str, Any]) -> list[str]:
        """Its hosts, as the inventory orders them."""
        return _names(topology.get(self.layer, {}).get("members", []))

    def may_lead(self, topology: Mapping[str, Any]) -> list[str]:
        """Those of its hosts that may be the leader at all."""
        return _names(topology.get(self.layer, {}).get(self.candidates, []))


def _names(entries: Iterable[Any]) -> list[str]:
    return [entry if isinstance(entry, str) else entry["name"] for entry in entries]


def processes_of(service: Service) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and description of the processes of a service, as a fault takes them."""
    for name, process in service.processes.items():
        yield name, process if "container" in process else {"units": list(service.units), **process}
