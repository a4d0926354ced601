# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is on a host already and in the way of what it is to become: decided on plain values, before anything is touched.

`plan` says what a host is to have, `conflicts_look` what it has, `decide` what of that is neither ours nor given up by the operator.
A unit is ours when it has our drop-in, or when an earlier run has put it down in CLAIMS, which is written before the first package is
installed: so neither a run that died nor a unit that Debian has started with its own settings in between is taken for somebody else's.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..services.listener import HOST, VIP
from ..services.registry import backups
from ..services.software import services_of
from ..topology.names import path_fault
from ..topology.ports import listeners

# The units of this host that runs of ours have taken, one a line, and those of others that were put out of the way.
CLAIMS = "/var/lib/utmstack-ha/units"
# Ours, entered by the accounts that services run as.
OWN_DIRECTORIES = ("/etc/utmstack-ha", "/usr/local/lib/utmstack-ha", "/var/lib/utmstack-ha")
OWN_UNIT = "/etc/systemd/system/{}"
# An administrator's own unit of this name would be replaced by the mask.
OWN_SERVER = "postgresql.service"
DROP_IN = "/etc/systemd/system/{}.d/utmstack-ha.conf"


# Ports that the kernel listens on for a unit, so that no process has them: the VXLAN of Docker's overlay networks.
KERNEL_PORTS = {"swarm_data": "docker.service"}
# Who needs others is stopped before them.
_STOP_FIRST = ("keepalived", "haproxy", "pgbouncer", "docker.socket", "patroni", "postgresql@")
_STOP_LAST = ("etcd",)


def layers_of(ha: Mapping, host: Mapping) -> list[str]:
    """The layers of a host of the topology: its groups, backend for both of Swarm's, pgbouncer beside each load balancer."""
    layers = list(host["groups"])
    if {"swarm_managers", "swarm_workers"}.intersection(layers):
        layers.append("backend")
    if "loadbalancer" in layers and ha["pgbouncer"]["enabled"]:
        layers.append("pgbouncer")
    return layers


def plan(ha: Mapping, host: str, settings: Mapping) -> dict[str, Any]:
    """What a host is to have, as module host_conflicts_info takes it.

    settings: those of all services, as settings() of services/software.py returns them.
    """
    own = ha["hosts"][host]
    layers = layers_of(ha, own)
    present = {layer for other in ha["hosts"].values() for layer in layers_of(ha, other)}
    chosen = [service for service in services_of(ha, host) if service.enabled(ha)]
    units = [unit.format(**settings) for service in chosen for unit in service.units]
    data = [
        {
            "path": settings[service.data.setting],
            "user": service.data.user.format(**settings),
            "setting": service.data.setting,
            "former": service.data.former.format(**settings),
            "unit": service.units[0].format(**settings),
        }
        for service in chosen
        if service.data
    ]
    entered = [{"path": path, "user": entry["user"]} for entry in data for path in (entry["path"], ha["tls"]["ca"])]
    for service in chosen:
        if service.data:
            user = service.data.user.format(**settings)
            entered += [{"path": path, "user": user} for path in service.entered(settings)]
    return {
        "address": own["address"],
        "interface": settings["keepalived_interface"] if "loadbalancer" in layers else "",
        "virtual_ip": ha["virtual_ip"]["address"] if "loadbalancer" in layers else "",
        "peers": _peers(ha, own, layers),
        "units": units,
        "rivals": [
            unit for service in chosen for unit in (*service.rivals, *service.every(service.units)) if unit not in units
        ],
        "configs": {unit: list(paths) for service in chosen for unit, paths in service.configs.items()},
        "packages": sorted({name for service in chosen for name in service.barred} | _barred_by_backups(ha, own)),
        "clusters": "postgresql" in layers,
        "swarm": "backend" in layers and not settings["swarm_adopt"],
        "data": data,
        "entered": entered,
        "listeners": [
            {
                "service": listener.service,
                "setting": f"ha_ports.{listener.key}",
                "kernel_of": KERNEL_PORTS.get(listener.key, ""),
                "port": ha["ports"][listener.key],
                "addresses": [
                    {HOST: own["address"], VIP: ha["virtual_ip"]["address"]}[listener.bind],
                    *(["127.0.0.1"] if listener.key == "postgresql" else []),
                ],
            }
            for listener in listeners(layers, present)
            # Nobody's but the operator's: the way in, and a web server of his own.
            if listener.layer not in ("", "web")
        ],
    }


def _barred_by_backups(ha: Mapping, own: Mapping) -> set[str]:
    """What the tools of a backup host can't be installed beside."""
    kinds = ha["backup"]["kinds"] if "backup" in own["groups"] else ()
    return {name for kind in kinds for name in backups()[kind].barred}


def _peers(ha: Mapping, own: Mapping, layers: Iterable[str]) -> list[str]:
    """The PostgreSQL servers that let this host in by its address."""
    servers = [member["address"] for member in ha["postgresql"]["members"] if member["address"] != own["address"]]
    return servers if {"loadbalancer", "postgresql"}.intersection(layers) else []


@dataclass(frozen=True)
class Unit:
    """A unit of systemd that the host has. ours: it has our drop-in, or is ours altogether."""

    active: bool = False
    enabled: bool = False
    ours: bool = False
    detail: str = ""


@dataclass(frozen=True)
class Socket:
    """Something that listens; unit is empty where its process belongs to none, and program where it has none."""

    port: int
    address: str
    program: str = ""
    pid: int = 0
    unit: str = ""


@dataclass(frozen=True)
class Seen:
    """What is on the host.

    units: by name, those that there are. clusters: unit -> a few words, of PostgreSQL's servers. claims: what CLAIMS says.
    configs: files that would be written over and that no package has left like this. data: directories that are not empty.
    former: files that there are, of those that tell where data were. written: units that listen and have our drop-in. closed: sentences.
    holder: a few words on who has the virtual IP already, empty where nobody has. sources: peer -> the address of this host that it would see.
    """

    units: Mapping[str, Unit] = field(default_factory=dict)
    clusters: Mapping[str, str] = field(default_factory=dict)
    claims: frozenset[str] = frozenset()
    configs: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    former: tuple[str, ...] = ()
    sockets: tuple[Socket, ...] = ()
    written: frozenset[str] = frozenset()
    packages: tuple[str, ...] = ()
    swarm: bool = False
    closed: tuple[str, ...] = ()
    interfaces: Mapping[str, list[str]] = field(default_factory=dict)
    holder: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)


class _Findings:
    def __init__(self, listed: Iterable[str]):
        self.listed = {name if name.startswith("/") or "." in name else f"{name}.service" for name in listed}
        self.found: list[dict[str, str]] = []
        self.stop: list[str] = []

    def add(self, text: str, remedy: str, name: str = "") -> None:
        """name: what ha_take_over may list, empty where that can't help."""
        entry = {"text": text, "remedy": remedy, "name": name}
        if entry not in self.found:
            self.found.append(entry)

    def given_up(self, name: str, text: str) -> bool:
        """Whether the operator has listed it; it is told otherwise."""
        if name in self.listed:
            return True
        self.add(text, "", name)
        return False


def decide(wanted: Mapping, seen: Seen, listed: Iterable[str]) -> dict[str, Any]:
    """Return conflicts ({text, remedy, name}), stop and disable (units), keep (files to copy first), claims (the new list), keepalived_ours.

    listed: ha_take_over of this host. What is to be done holds where there are no conflicts.
    """
    findings = _Findings(listed)
    disable: list[str] = []
    keep: list[str] = []
    claims = set(wanted["units"]) | seen.claims
    mine = {name for name in wanted["units"] if name in seen.claims or seen.units.get(name, Unit()).ours}

    for name in wanted["units"]:
        unit = seen.units.get(name, Unit())
        if name in mine:
            # Debian's packages, or a reboot in the middle of a first run, have started it before it was configured.
            if unit.active and not unit.ours:
                findings.stop.append(name)
            continue
        files = [path for path in wanted["configs"].get(name, []) if path in seen.configs]
        if not (unit.active or files):
            continue
        what = [*(["runs"] if unit.active else []), *([f"is configured by {', '.join(files)}"] if files else [])]
        detail = f" ({unit.detail})" if unit.detail else ""
        if findings.given_up(name, f"{name} {' and '.join(what)}{detail}"):
            keep += files
            if unit.active or unit.enabled:
                findings.stop.append(name)
                disable.append(name)
    for name in wanted["rivals"]:
        unit = seen.units.get(name, Unit())
        if not (unit.active or unit.enabled):
            continue
        state = "runs" if unit.active else "is enabled"
        if findings.given_up(name, f"{name} {state}{f' ({unit.detail})' if unit.detail else ''}"):
            findings.stop.append(name)
            disable.append(name)
    for name, detail in seen.clusters.items():
        active = seen.units.get(name, Unit()).active
        if name in seen.claims and not active:
            continue
        state = "runs" if active else "is there, stopped"
        if findings.given_up(name, f"{name}, a PostgreSQL server that no Patroni manages, {state} ({detail})"):
            claims.add(name)
            if name == OWN_SERVER:
                keep.append(OWN_UNIT.format(name))
            if active:
                findings.stop.append(name)
    _ports(wanted, seen, mine, findings, disable)
    _others(wanted, seen, mine, findings)
    if "docker.service" in findings.stop and seen.units.get("docker.socket", Unit()).active:
        findings.stop.append("docker.socket")
    return {
        "conflicts": findings.found,
        "keepalived_ours": "keepalived.service" in mine,
        "stop": sorted(set(findings.stop), key=_stop_order),
        "disable": sorted(set(disable)),
        "keep": keep,
        "claims": sorted(claims),
    }


def _stop_order(unit: str) -> tuple[int, str]:
    for number, name in enumerate(_STOP_FIRST):
        if unit.startswith(name):
            return number, unit
    return (99 if unit.startswith(_STOP_LAST) else 50), unit


def _ports(wanted: Mapping, seen: Seen, mine: set[str], findings: _Findings, disable: list[str]) -> None:
    """What listens where a service of ours has to, but for units that are told or stopped anyway."""
    # A helper of ours, such as pgBackRest's server, is no service's own unit.
    known = set(wanted["units"]) | seen.written | set(findings.stop) | {entry["name"] for entry in findings.found}
    told: dict[tuple, dict[str, Any]] = {}
    for listener in wanted["listeners"]:
        for socket in seen.sockets:
            if socket.port != listener["port"] or socket.unit in known:
                continue
            if socket.address != "*" and socket.address not in listener["addresses"]:
                continue
            # Also where the operator has given Docker up: it goes on as ours.
            if not socket.pid and listener["kernel_of"] in mine | findings.listed:
                continue
            entry = told.setdefault((socket.unit or socket.pid, socket.port), {"socket": socket, "for": []})
            if (pair := (listener["service"], listener["setting"])) not in entry["for"]:
                entry["for"].append(pair)
    for entry in told.values():
        socket = entry["socket"]
        who = socket.program or "a process"
        where = (
            f"{socket.unit}: {who}" if socket.unit else f"{who}, process {socket.pid}" if socket.pid else "the kernel"
        )
        services = " and ".join(service for service, _setting in entry["for"])
        text = f"port {socket.port} is taken ({where}), which {services} needs"
        settings = " or ".join(dict.fromkeys(setting for _service, setting in entry["for"]))
        if not socket.unit:
            findings.add(text, f"End it, or set {settings} to another number")
        elif findings.given_up(socket.unit, text):
            findings.stop.append(socket.unit)
            disable.append(socket.unit)


def _others(wanted: Mapping, seen: Seen, mine: set[str], findings: _Findings) -> None:
    for entry in wanted["data"]:
        path = entry["path"]
        if path_fault(path):
            findings.add(f"{entry['setting']} is {path!r}, which {path_fault(path)}", "Choose another directory")
        if path in seen.data and entry["unit"] not in mine and path not in findings.listed:
            findings.add(
                f"{path} is not empty, and no run of ours has made what is in it",
                f"Set {entry['setting']} to another directory, or, where the data are this platform's, list the path in ha_take_over",
            )
        if entry.get("former") in seen.former and path not in seen.data and entry["unit"] not in mine:
            findings.add(
                f"the data of this platform are not in {path}, but beside {entry['former']}",
                f"Set {entry['setting']} to {posixpath.dirname(entry['former'])}",
            )
    for name in wanted["packages"]:
        if name in seen.packages:
            findings.add(
                f"package {name} is installed, beside which what is needed can't be",
                f"Remove it (apt-get remove {name}; its data stay)",
            )
    if wanted["swarm"] and seen.swarm and "docker.service" not in mine:
        findings.add(
            "Docker is a member of another swarm",
            "Have it leave (docker swarm leave), or set swarm_adopt to true where it is the one that is meant",
        )
    for sentence in seen.closed:
        findings.add(sentence, "Let others enter it (chmod o+x), or choose another directory")
    addresses = [address for own in seen.interfaces.values() for address in own]
    if addresses and wanted["address"] not in addresses:
        findings.add(
            f"no interface has the address {wanted['address']} (there are {', '.join(addresses)})",
            "Set ha_address to the one by which the other hosts reach it",
        )
    by_source: dict[str, list[str]] = {}
    for peer, source in seen.sources.items():
        # The virtual IP is let in as well; a host that has just booted may have got it first.
        if wanted["address"] in addresses and source not in (wanted["address"], wanted["virtual_ip"]):
            by_source.setdefault(source, []).append(peer)
    for source, peers in by_source.items():
        findings.add(
            f"it reaches {' and '.join(peers)} from its address {source}, but PostgreSQL lets it in as {wanted['address']}",
            f"Set ha_address to {source}, or have the route use the other one (ip route change … src {wanted['address']})",
        )
    if wanted["interface"] and seen.interfaces and wanted["interface"] not in seen.interfaces:
        findings.add(
            f"there is no interface {wanted['interface']} (there are {', '.join(seen.interfaces)})",
            "Correct keepalived_interface",
        )
    if wanted["virtual_ip"] and seen.holder and "keepalived.service" not in mine:
        findings.add(
            f"the virtual IP {wanted['virtual_ip']} is in use already ({seen.holder})",
            "Set ha_vip to a free address",
            "",
        )


def report(hosts: Mapping[str, Mapping]) -> str:
    """Return the refusal with all findings of all hosts, or nothing. hosts: host -> what module host_conflicts_info returned."""
    # Whoever holds the address of a platform that serves is one of ours; another host can't tell.
    serving = any(result["keepalived_ours"] for result in hosts.values())
    lines: dict[tuple[str, str], list[str]] = {}
    names: dict[str, list[str]] = {}
    for host, result in hosts.items():
        for entry in result["conflicts"]:
            if serving and entry["text"].startswith("the virtual IP "):
                continue
            lines.setdefault((entry["text"], entry["remedy"]), []).append(host)
            if entry["name"]:
                names.setdefault(entry["name"], []).append(host)
    if not lines:
        return ""
    count = "1 finding" if len(lines) == 1 else f"{len(lines)} findings"
    shown = [
        f"The hosts have a past that is in the way, and nothing was touched: {count}.",
        *(
            f"{number:>3}. host{'s' if len(on) > 1 else ''} {', '.join(on)}: {text}.{f' {remedy}.' if remedy else ''}"
            for number, ((text, remedy), on) in enumerate(lines.items(), start=1)
        ),
    ]
    if names:
        shown.append(
            "What may be stopped and disabled for good, with its data left as they are and a copy of each configuration that is "
            f"replaced, can be listed for these hosts: ha_take_over: [{', '.join(names)}]"
        )
    return "\n".join(shown)
