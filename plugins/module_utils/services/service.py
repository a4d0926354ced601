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
from itertools import product
from typing import Any, Optional

from .backup import Backup
from .change import Change, Wanted
from .drill import Fault, LedgerPath
from .listener import Endpoint, Listener

Layer = Optional[Mapping[str, Any]]  # noqa: UP045 (this is evaluated, and sanity judges it for Python 3.8)


def member_of(layer: Layer, key: str, name: str, label: str = "name") -> Mapping[str, Any]:
    """The member of this name in a list of a layer's state; empty where there is none."""
    return next((one for one in (layer or {}).get(key, []) if one[label] == name), {})


@dataclass(frozen=True)
class Data:
    """Where a service keeps its data: the setting of the directory, and the account that has it.

    former: a file in the directory that was the default before. Where a host was deployed with that one, it stays there.
    """

    setting: str
    user: str
    former: str = ""


@dataclass(frozen=True)
class Timing:
    """A part of the failover timing, by profile; what it takes, smallest and largest; which figures may be parts of a whole; and the rule of it.

    check: (timing of all parts, require: called with whether it holds, setting, problem, remedy).
    """

    part: str
    profiles: Mapping[str, Mapping[str, float]]
    limits: Mapping[str, tuple[float, float]]
    decimals: tuple[str, ...] = ()
    check: Callable[[Mapping[str, Any], Callable[[bool, str, str, str], None]], None] = lambda _timing, _require: None


@dataclass(frozen=True)
class Service:
    """A part of the platform that is taken host by host."""

    name: str
    role: str
    # The key of the topology whose `members` are its hosts, and that of its part in the state of the platform.
    layer: str
    state: str = ""
    # The service whose hosts it has where the inventory has no group of its own.
    default_hosts: str = ""
    # What messages call it.
    title: str = ""
    # The groups of the inventory whose hosts run it, unless it is switched off in the topology.
    groups: tuple[str, ...] = ()
    enabled: Callable[[Mapping[str, Any]], bool] = lambda _ha: True

    # -- what it is on a host. In these texts {NAME} stands for a setting of a service, {release[NAME]} for what differs between Debian's
    # releases (topology/releases.py), and {cluster} for the cluster's name.
    # The settings of its role that others must know, with the role's defaults; and the values of those that are a choice.
    settings: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # Those that are a number or empty, which argument specs have no type for.
    numbers_or_empty: tuple[str, ...] = ()
    # What differs of it between Debian's releases, which the roles have as `ha.releases`; what a release does without by default, or does less
    # well, as the plan says it; and what is asked for that the packages of a host's release can't do: of the topology as the host sees it, the
    # release and the settings of all services, problem and remedy.
    releases: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    without: Mapping[str, str] = field(default_factory=dict)
    unsupported: Callable[[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]], tuple[str, ...]] = (
        lambda _ha, _release, _settings: ()
    )
    # Its settings of a single host that the topology looks at.
    host_settings: tuple[str, ...] = ()
    # Its settings that hold for the whole cluster, which role topology documents, with their defaults.
    shared: Mapping[str, Any] = field(default_factory=dict)
    # What becomes of other values of its settings, passwords and ports; and what is compared: of what deployed_info knows (layer, key), the
    # setting that it comes from, and what the inventory wants.
    changes: tuple[Change, ...] = ()
    compared: tuple[tuple[str, str, str, Wanted], ...] = ()
    # What else of a change is refused, of the topology and of what deployed_info returned by host.
    check_changes: Callable[[Mapping[str, Any], Mapping[str, Mapping[str, Any]], Any], None] = (
        lambda _ha, _hosts, _found: None
    )
    # Refuses and warns of numbers of members, of the members of all layers.
    check_members: Callable[[Mapping[str, list[str]], Any], None] = lambda _members, _found: None
    # What others must know of it besides its members, judged: of the settings of the platform and the variables of its hosts.
    facts: Callable[[Mapping[str, Any], Mapping[str, Mapping[str, Any]], Any], Mapping[str, Any]] = (
        lambda _settings, _hosts, _found: {}
    )
    # Its part of the topology, once all is right: of its members and facts, and of the platform (cluster, ports, virtual_ip, hosts).
    part: Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]] = lambda own, _ha: own
    # How many of its members may be lost with it still doing all of its work; all but one where not said.
    survives: Callable[[Mapping[str, Any]], int] | None = None
    # What failures cost, computed from the timing: rows of what fails and for how long.
    outages: Callable[[Mapping[str, Any]], list[list[str]]] = lambda _ha: []
    timing: tuple[Timing, ...] = ()
    # What clients reach of it, of the topology; and what a plan says beneath its layers.
    endpoints: Callable[[Mapping[str, Any]], list[Endpoint]] = lambda _ha: []
    notes: Callable[[Mapping[str, Any]], list[str]] = lambda _ha: []
    # Its passwords, each with the characters that it must not have; and secrets that it makes by itself.
    passwords: Mapping[str, str] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    # Of systemd. By their start it is told whether the service was restarted.
    units: tuple[str, ...] = ()
    # Units that run beside these, and must not be restarted on all hosts at once either.
    helpers: tuple[str, ...] = ()
    # Debian's packages, and those that only some topologies or releases need. Those of python3 serve Ansible's modules.
    packages: tuple[str, ...] = ()
    some_packages: Callable[[Mapping[str, Any], Mapping[str, Any]], tuple[str, ...]] = lambda _ha, _release: ()
    # What must not be replaced on all hosts in one night: packages that restart a server of a quorum, or whose files a running server goes
    # on to read, as Java does. A hold stops `apt upgrade` by hand as well as unattended upgrades. Libraries and tools restart nothing and
    # are free, so that their fixes come by themselves.
    held: tuple[str, ...] = ()
    # What an upgrade replaces, where it is installed, of whichever release, and the units that run with it, each with what it executes or
    # reads besides its main program. versioned: whether a wanted version is one of these packages'.
    upgrades: tuple[str, ...] = ()
    upgraded: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    versioned: bool = True
    data: Data | None = None
    # Further directories that the account of its data enters, by the settings of all services.
    entered: Callable[[Mapping[str, Any]], list[str]] = lambda _settings: []
    # What may be in its way on a host: other units of the kind, packages that Debian's can't be installed beside, and files that it
    # writes over, by unit. The units of the other choices are rivals, too.
    rivals: tuple[str, ...] = ()
    barred: tuple[str, ...] = ()
    configs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # A few words on what one of its units has left on a host, by its files (Look of host/conflicts_look.py) and the unit.
    traces: Callable[[Any, str], str] = lambda _look, _unit: ""
    # Where it listens on its hosts, and where HAProxy listens for it.
    listeners: tuple[Listener, ...] = ()
    # The port, which every load balancer must reach anyhow, by which it finds out whether a host is there; of several the one with the smallest
    # rank, whose server says least of a connection on which nothing is said.
    probe_port: str = ""
    probe_rank: int = 0
    # Whether HAProxy has a part for it: roles/haproxy/templates/services/NAME.cfg.j2.
    proxied: bool = False
    # Whether HAProxy passes its TLS through, so that its hosts' certificates must be valid for the virtual IP, too.
    tls_passed: bool = False
    # How much of a host's memory its layer should count on, relative to what else is there.
    memory: int = 0
    # Settings of the kernel.
    kernel: Mapping[str, int] = field(default_factory=dict)

    # -- how it is asked: its information module with its options (topology, passwords, host), and maybe further ones, on the hosts of which
    # groups, all of its own where not said. Services that are one part of the state are asked once.
    asks: Callable[[Mapping[str, Any], Mapping[str, str], str], Mapping[str, Mapping[str, Any]]] | None = None
    asked_groups: tuple[str, ...] = ()
    # What its component is given, besides settings and passwords, to tell what is deployed of it on a host (topology, the host's groups).
    deployed_by: Callable[[Mapping[str, Any], Iterable[str]], Mapping[str, Any]] | None = None

    # -- how it is shown: its part of the state of what the hosts said (topology, observations, by backend of HAProxy the role of each server),
    # and of the state its table, a title and rows. Without them it is shown as members with their health.
    form: Callable[[Mapping[str, Any], Mapping[str, Any], Mapping[str, Mapping[str, str]]], Layer] | None = None
    table: Callable[[Mapping[str, Any]], tuple[str, list[list[str]]]] | None = None
    # Who leads and who follows, by backend of HAProxy that is for one kind of them.
    server_roles: Callable[[Layer], dict[str, dict[str, str]]] = lambda _layer: {}

    # -- the application: the variables that tell it of the service (topology, settings of role backend without its prefix, the CA's file
    # in the container)
    environment: Callable[[Mapping[str, Any], Mapping[str, Any], str], Mapping[str, Any]] | None = None
    # Which passwords it gets as secrets, by the names that it knows them by.
    secrets: Mapping[str, str] = field(default_factory=dict)

    # -- rolling operations: entry points of the role (docs/role-contract.md), and whether a turn drains the host
    restart: str = "restart"
    upgrade: str = "upgrade"
    drain: bool = True
    # The entry points that are called when a whole host is taken away and comes back; and `retire`, after all clients have got new
    # passwords, where former ones were let in until then.
    whole_host: tuple[str, ...] = ("health", "drain", "undrain")
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
    successors: Callable[[Layer], list[str]] = lambda _layer: []
    # The leaderships that draining one of its hosts hands over: its own, where not said.
    hands_over: tuple[str, ...] | None = None

    # -- upgrades of Debian's packages
    # Each host serves by itself, so hosts may end with different versions, such as those of two releases of Debian.
    independent: bool = False
    # On hosts with this other service its packages come with that one's.
    comes_with: str = ""
    # What the product forbids, beyond going back, as sentences with the remedy: package, the project's old and new version as numbers, and of
    # all packages of the host the version as text and as numbers.
    forbids: Callable[
        [str, tuple[int, ...], tuple[int, ...], Mapping[str, tuple[str, tuple[int, ...]]]], Iterable[str]
    ] = lambda _package, _old, _new, _installed: ()

    # -- the drill: processes that a fault may meet, by name; which of the units' (`only`, see processes() of drill/fault/host.py), or
    # those of a container; and what a report calls them
    processes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    # None of its hosts leads, and any of them is a replica to a fault.
    peers: bool = False
    # The faults that meet it, and the paths on which the ledger writes to it.
    faults: tuple[Fault, ...] = ()
    ledger: tuple[LedgerPath, ...] = ()
    # What a report calls what it leads, where it has no path of that name.
    reported: str = ""
    # The unit that reads the host's certificate anew when it is reloaded, and the port that serves it then.
    certificate: tuple[str, str] | None = None
    # The setting with the directories that all of its hosts share.
    shares: str = ""
    # What can be backed up of it.
    backups: tuple[Backup, ...] = ()

    def every(self, texts: Iterable[str]) -> list[str]:
        """The texts with each value of what is a choice."""
        chosen = [dict(zip(self.choices, values)) for values in product(*self.choices.values())]
        return list(dict.fromkeys(text.format(**words) for text in texts for words in chosen))

    def layer_of(self, state: Mapping[str, Any]) -> Layer:
        """Its part of the state of the platform."""
        return state.get(self.state or self.name)

    def leader_of(self, state: Mapping[str, Any]) -> str | None:
        """The host that leads it."""
        return (self.layer_of(state) or {}).get(self.leader)

    def gives(self) -> tuple[str, ...]:
        """The leaderships that draining one of its hosts hands over."""
        if self.hands_over is not None:
            return self.hands_over
        return (self.leadership or self.name,) if self.leads else ()

    def members(self, topology: Mapping[str, Any]) -> list[str]:
        """Its hosts, as the inventory orders them."""
        return _names(topology.get(self.layer, {}).get("members", []))

    def may_lead(self, topology: Mapping[str, Any]) -> list[str]:
        """Those of its hosts that may be the leader at all."""
        return _names(topology.get(self.layer, {}).get(self.candidates, []))


def _names(entries: Iterable[Any]) -> list[str]:
    return [entry if isinstance(entry, str) else entry["name"] for entry in entries]


def asked(services: Iterable[Service]) -> dict[str, Service]:
    """The services that are asked, by their part of the state; of those that share one, the last."""
    return {service.state or service.name: service for service in services if service.asks}


def processes_of(service: Service) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and description of the processes of a service, as a fault takes them."""
    for name, process in service.processes.items():
        yield name, process if "container" in process else {"units": service.every(service.units), **process}
