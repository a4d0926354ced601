# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The topology as tables that a person reads before saying yes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from ..common.text import table
from ..services.listener import HOST, VIP, Endpoint
from ..services.registry import SERVICES, backups
from .groups import layers as all_layers
from .ports import all_listeners, listeners
from .releases import without

Topology = Mapping[str, Any]
WIDTH = 110


def plan(topology: Topology) -> str:
    """Return the whole plan as text without trailing blanks; `topology` is what `build` returned."""
    vip = topology["virtual_ip"]
    name = f" ({vip['name']})" if vip["name"] else ""
    title = f"Cluster {topology['cluster']}, virtual IP {vip['cidr']}{name}, VRRP router {vip['router_id']}"
    sections = (
        ("Hosts", _hosts(topology)),
        ("Endpoints for clients", _clients(topology)),
        ("Listening", _listening(topology)),
        ("Layers", _layers(topology)),
        ("Backups", _backups(topology)),
        (f"Timing, profile {topology['profile']}, * set in the inventory", _timing(topology)),
        ("Expect", _expectations(topology)),
        *((f"With Debian {version}", lines) for version, lines in _releases(topology).items()),
        ("Warnings", _warnings(topology)),
    )
    blocks = [
        title,
        *("\n".join((heading, *(f"  {line}".rstrip() for line in lines))) for heading, lines in sections if lines),
    ]
    return "\n\n".join(blocks)


def survives(topology: Topology) -> dict[str, int]:
    """Return for each layer that has members how many of them may be lost with the layer still doing all of its work.

    What a service does not say by itself, one member is enough for.
    """
    own = {service.layer: service for service in SERVICES.values() if service.survives}
    shown = {service.layer for service in SERVICES.values()} | {"web"}
    counts = {layer: len(topology[layer]["members"]) for layer in all_layers() if layer in shown}
    losses = {
        layer: own[layer].survives(topology) if layer in own else count - 1 for layer, count in counts.items() if count
    }
    return {layer: loss for layer, loss in losses.items() if loss is not None}


def _layers_of(host: Mapping[str, Any]) -> list[str]:
    swarm = {"swarm_managers", "swarm_workers"} & set(host["groups"])
    return [*host["groups"], *(["backend"] if swarm else [])]


def _present(topology: Topology) -> set[str]:
    layers = {layer for host in topology["hosts"].values() for layer in _layers_of(host)}
    return layers | ({"pgbouncer"} if topology["pgbouncer"]["enabled"] else set())


def _hosts(topology: Topology) -> list[str]:
    hosts = list(topology["hosts"].values())
    rack = any(host["rack"] for host in hosts)
    rows = [["host", "address", "VRRP", *(["rack"] if rack else []), "groups"]]
    for host in hosts:
        rows.append(
            [
                host["name"],
                host["address"],
                host["priority"] or "-",
                *([host["rack"] or "-"] if rack else []),
                ", ".join(host["groups"]),
            ]
        )
    return table(rows)


def ways_in(topology: Topology, names: Mapping[str, str], ca: str) -> str:
    """Return for a person how clients reach the platform.

    names: the users `postgresql` and `statistics`, and the `database`. ca: the path of the CA's certificate on the controller.
    """
    balancers, secrets = topology["loadbalancer"]["members"], topology["secrets_dir"]
    if not balancers:
        return ""
    rows = [
        [entry.what, _url(topology, entry).format(**names), entry.user.format(**names), entry.password]
        for entry in _endpoints(topology)
    ]
    statistics = f"https://{_socket(balancers[0]['address'], topology['ports']['stats'])}/stats"
    rows.append(["HAProxy's statistics", statistics, names["statistics"], "haproxy_stats_password"])
    lines = table([["service", "address", "user", "name of the password"], *rows])
    return "\n".join(
        (
            "Endpoints for clients",
            *(f"  {line}".rstrip() for line in lines),
            "",
            f"The passwords are in {secrets}/passwords.yml under these names. Back up the directory {secrets}.",
            f"The CA's certificate is {ca}.",
        )
    )


def _clients(topology: Topology) -> list[str]:
    entries = [entry for entry in _endpoints(topology) if not entry.address]
    rows = [[entry.what, _address(topology, entry), entry.target] for entry in entries]
    return table([["service", "address", "goes to"], *rows]) if rows else []


def _endpoints(topology: Topology) -> list[Endpoint]:
    """What leads to a layer that there is, through the virtual IP or past it."""
    present = _present(topology)
    keys = {entry.key for entry in all_listeners() if entry.bind == VIP and present.intersection(entry.serves)}
    entries = [entry for service in SERVICES.values() for entry in service.endpoints(topology)]
    return [entry for entry in entries if entry.address or entry.key in keys]


def _address(topology: Topology, endpoint: Endpoint) -> str:
    return _socket(topology["virtual_ip"]["address"], topology["ports"][endpoint.key])


def _url(topology: Topology, endpoint: Endpoint) -> str:
    scheme = f"{endpoint.scheme}://" if endpoint.scheme else ""
    return endpoint.address or scheme + _address(topology, endpoint) + endpoint.path


def _listening(topology: Topology) -> list[str]:
    """Hosts with the same layers listen alike, so they share lines."""
    present = _present(topology)
    alike: dict[tuple[str, ...], list[str]] = {}
    for host in topology["hosts"].values():
        alike.setdefault(tuple(_layers_of(host)), []).append(host["name"])
    lines = []
    for layers, names in alike.items():
        lines += _wrap(names, ", ")
        rows = [
            [f"  {topology['ports'][entry.key]}", _bind(entry.bind, topology), entry.service]
            for entry in listeners(list(layers), present)
        ]
        lines += table(sorted(rows, key=lambda row: (row[1], int(row[0]))))
    return lines


def _bind(bind: str, topology: Topology) -> str:
    return {VIP: topology["virtual_ip"]["address"], HOST: "host"}.get(bind, "any")


def _layers(topology: Topology) -> list[str]:
    losses = survives(topology)
    rows = [["layer", "members", "needs", "may lose"]]
    for layer, loss in losses.items():
        count = len(topology[layer]["members"])
        rows.append([layer, count, count - loss, loss])
    lines = table(rows)
    notes = [note for service in SERVICES.values() if service.members(topology) for note in service.notes(topology)]
    lines += ["", *notes] if notes else []
    if losses:
        least = min(losses.values())
        which = [layer for layer, loss in losses.items() if loss == least]
        may = "No host" if least == 0 else "Any 1 host" if least == 1 else f"Any {least} hosts"
        lines.append(f"{may} may be lost at once (limited by {', '.join(which)}).")
    return lines


def _backups(topology: Topology) -> list[str]:
    """What is taken, by whom, when, and for how long it is kept."""
    own = topology.get("backup", {})
    if not own.get("hosts"):
        return ["No backups: group backup has no hosts."]
    known = backups()
    rows = [["backup", "from", "to", "when", "verified", "kept", "a restore goes"]]
    for host, kinds in own["times"].items():
        for kind, times in kinds.items():
            rows.append(
                [
                    known[kind].title,
                    known[kind].source,
                    _repository(own, host, kind),
                    ", ".join(times["take"]) or "site.yml",
                    ", ".join(times["verify"]) or "NEVER",
                    f"{times['retention_days']} days",
                    known[kind].point,
                ]
            )
    rows += [
        [
            "copy of all these",
            host,
            copy["title"],
            copy["schedule"],
            "each time",
            f"{copy['days']} days" if copy["days"] else "for ever",
            "",
        ]
        for host, copy in own["copies"].items()
        if copy
    ]
    lines = table(rows)
    alone = [host for host, copy in own["copies"].items() if not copy]
    if alone:
        lines += ["", f"No remote copy: backup_remote is not set on {', '.join(alone)}."]
    if len(own["hosts"]) == 1:
        lines += ["", "No second repository: group backup has one host, with which all backups are lost."]
    return lines


def _repository(own: Topology, host: str, kind: str) -> str:
    repository = own["repositories"][host]
    if kind == "postgresql" and repository["type"] == "s3":
        return f"{host}: {repository['bucket']}/{repository['prefix']}"
    return f"{host}:{own['directory']}"


def _timing(topology: Topology) -> list[str]:
    rows = []
    for part, values in topology["timing"].items():
        figures = [
            f"{_label(key)} {value:g}{_unit(key)}{'*' if f'{part}.{key}' in topology['overrides']['timing'] else ''}"
            for key, value in values.items()
        ]
        lines = _wrap(figures, ", ", WIDTH - 14)
        rows += [[part if number == 0 else "", line] for number, line in enumerate(lines)]
    if topology["overrides"]["ports"]:
        rows.append(["ports", ", ".join(f"{key} {topology['ports'][key]}*" for key in topology["overrides"]["ports"])])
    return table(rows)


def _expectations(topology: Topology) -> list[str]:
    """What failures cost, computed from the timings; `make test` measures it."""
    rows = []
    for service in SERVICES.values():
        if service.members(topology):
            rows += service.outages(topology)
    return table(rows) if rows else []


def _releases(topology: Topology) -> dict[str, list[str]]:
    """What hosts with an older release do without; which of them have it is known in a run only."""
    layers = _present(topology) - ({"pgbouncer"} if not topology["pgbouncer"]["auto"] else set())
    return {
        version: [
            line
            for layer, text in texts.items()
            for line in textwrap.wrap(f"{layer}: {text}", WIDTH, initial_indent="- ", subsequent_indent="  ")
        ]
        for version, texts in without(layers).items()
    }


def _warnings(topology: Topology) -> list[str]:
    return [
        line
        for warning in topology["warnings"]
        for line in textwrap.wrap(warning, WIDTH, initial_indent="- ", subsequent_indent="  ")
    ]


def _label(key: str) -> str:
    return key.removesuffix("_ms").removesuffix("_s")


def _unit(key: str) -> str:
    return " ms" if key.endswith("_ms") else " s" if key.endswith("_s") else ""


def _socket(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _wrap(words: Iterable[str], separator: str, width: int = WIDTH) -> list[str]:
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(separator) + len(word) > width:
            lines[-1] += separator.rstrip()
            lines.append("")
        lines[-1] += (separator if lines[-1] else "") + word
    return lines
