# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which hosts an operation takes, and in which order: those that are ill first, those that lead last.

`plan` decides on plain values: the topology, the state of the platform (module_utils/operation/status.py), and what host_info said of each host.
It asks nobody, so the same state always gives the same order, which the operation prints before it begins.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..common.text import nearest, table
from .status import LEADING_ROLES, maintenance


@dataclass(frozen=True)
class Service:
    """A part of the platform that is taken host by host. units: those that tell by their start whether it was restarted."""

    role: str
    layer: str
    units: tuple[str, ...] = ()
    restart: str = "restart"
    upgrade: str = "upgrade"
    drain: bool = True


# In the order in which site.yml has them: what others stand on comes first.
SERVICES = {
    "etcd": Service("etcd", "etcd", ("etcd.service",)),
    "postgresql": Service("postgresql", "postgresql", ("patroni.service",)),
    # Its packages are Java; the server is an archive, which its role upgrades by the same loop.
    "elasticsearch": Service("elasticsearch", "elasticsearch", ("elasticsearch.service",), upgrade="upgrade_packages"),
    "sentinel": Service(
        "redis",
        "sentinel",
        ("redis-sentinel.service", "valkey-sentinel.service"),
        restart="restart_sentinel",
        upgrade="upgrade_sentinel",
        drain=False,
    ),
    "redis": Service("redis", "redis", ("redis-server.service", "valkey-server.service")),
    "swarm": Service("swarm", "swarm", ("docker.service",)),
    "backend": Service("backend", "backend"),
    "pgbouncer": Service("pgbouncer", "pgbouncer", ("pgbouncer.service",)),
    "haproxy": Service("haproxy", "loadbalancer", ("haproxy.service",)),
    "keepalived": Service("keepalived", "loadbalancer", ("keepalived.service",)),
}
UNITS = tuple(unit for service in SERVICES.values() for unit in service.units)
# A whole host, with all of its services.
HOST = "host"
# What a host can lead, in the words of a plan.
LED = {
    "postgresql": "PostgreSQL's primary",
    "etcd": "etcd's leader",
    "elasticsearch": "the elected master of the search cluster",
    "redis": "Redis's master",
    "swarm": "the swarm's leader",
    "vip": "the virtual IP",
}
# What of it a turn hands over. Docker can't hand over leadership by itself: another manager is elected.
_OF_SERVICE = {
    "pgbouncer": ("vip",),
    "haproxy": ("vip",),
    "keepalived": ("vip",),
    "sentinel": (),
    "backend": (),
    HOST: tuple(LED),
}


_BY_HAND = "Run this on another machine; or playbooks/maintenance.yml -e host={0} -e state=present, reboot it, and -e state=absent."


def leaders(state: Mapping[str, Any]) -> dict[str, str]:
    """Who leads what, by the keys of LED; without what the topology lacks or nobody leads."""
    found = {
        "postgresql": (state["postgresql"] or {}).get("leader"),
        "etcd": (state["etcd"] or {}).get("leader"),
        "elasticsearch": (state["elasticsearch"] or {}).get("master"),
        "redis": (state["redis"] or {}).get("master"),
        "swarm": (state["swarm"] or {}).get("leader"),
        "vip": (state["vip"] or {}).get("holder"),
    }
    return {what: host for what, host in found.items() if host}


def members(topology: Mapping[str, Any], name: str) -> list[str]:
    """The hosts of a service, or of the platform for `host`, as the inventory orders them."""
    if name == HOST:
        return [host for host, own in topology["hosts"].items() if own["groups"]]
    layer = SERVICES[name].layer
    return [member["name"] for member in topology.get(layer, {}).get("members", [])]


def ill(state: Mapping[str, Any], name: str, hosts: Iterable[str]) -> list[str]:
    """Those of the hosts on which the service does not do its part."""
    away = {host["name"] for host in state["hosts"] if not host["reachable"]}
    if name == HOST:
        bad = {host for part in SERVICES for host in ill(state, part, hosts)}
    else:
        bad = {host for host in hosts if not _SERVES.get(name, lambda _state, _host: True)(state, host)}
    return [host for host in hosts if host in away | bad]


def _member(layer: Mapping[str, Any] | None, key: str, name: str, label: str = "name") -> Mapping[str, Any] | None:
    return next((member for member in (layer or {}).get(key, []) if member[label] == name), None)


def _serves_redis(state, host):
    member = _member(state["redis"], "members", host)
    return bool(member and not member["error"])


_SERVES = {
    "etcd": lambda state, host: bool((_member(state["etcd"], "members", host) or {}).get("healthy")),
    "postgresql": lambda state, host: bool((_member(state["postgresql"], "members", host) or {}).get("serves")),
    "elasticsearch": lambda state, host: bool(_member(state["elasticsearch"], "nodes", host)),
    "redis": _serves_redis,
    "swarm": lambda state, host: (_member(state["swarm"], "nodes", host, "hostname") or {}).get("state") == "ready",
    "haproxy": lambda state, host: bool((_member(state["haproxy"], "hosts", host) or {}).get("answers")),
    "keepalived": lambda state, host: bool((_member(state["vip"], "members", host) or {}).get("keepalived")),
}


def order(
    hosts: Sequence[str], led: Mapping[str, Sequence[str]], ill_hosts: Iterable[str], sync: Iterable[str]
) -> list[str]:
    """The hosts in the order of their turns.

    First what is ill, or left drained, since its turn is what repairs it, and no other may go away meanwhile. Then those that lead nothing; of
    PostgreSQL's standbys, those that confirm writes after those that don't. Last those that lead: the fewer things the earlier,
    and the holder of the virtual IP, whose clients notice most, at the very end. Equals keep the order of `hosts`.
    """
    ill_hosts, sync = set(ill_hosts), set(sync)

    def rank(host):
        own = led.get(host, ())
        return (host not in ill_hosts, "vip" in own, len(own), host in sync)

    return sorted(hosts, key=rank)


def plan(
    topology: Mapping[str, Any],
    state: Mapping[str, Any],
    seen: Mapping[str, Mapping[str, Any]],
    verb: str,
    service: str = "",
    since: str = "",
    only: Sequence[str] | None = None,
    todo: Mapping[str, Sequence[str]] | None = None,
    controller: Sequence[str] = (),
) -> dict[str, Any]:
    """What an operation will do.

    topology: as build() of topology/build.py returned it. state: as status() of status.py did. seen: by host, what host_info said, with
    units and booted; a host that could not be asked is left out. verb: restart, upgrade or reboot. service: one name or several with
    commas in between, `all`, or `host`. since: a time (ISO 8601); what was started later counts as done. only: hosts that are meant,
    all by default. todo: for an upgrade, by service the hosts that do not run what is wanted; the others are done.
    controller: the hosts that are the machine this runs on, which would end with its reboot.

    Returns {faults: sentences, each with its remedy, empty where the operation may begin; verb; began: `since`, or the time of the
    look; services: a list of {name, role, verb, drain, order: host names, done: host names, left: host names that are left to a
    person, leads: host name to what it leads}; accept_status: the colour of the search cluster that its gate accepts}.
    """
    names, faults = _chosen(topology, state, service)
    moment, fault = _moment(since)
    faults += fault
    faults += _states(state, seen, names, only)
    services = []
    for name in names:
        hosts = members(topology, name)
        faults += [
            f"{host} has no {name}; its hosts are {', '.join(hosts)}."
            for host in only or ()
            if hosts and host not in hosts
        ]
        sick = ill(state, name, hosts)
        if len(sick) > 1:
            faults.append(
                f"{name}: {' and '.join(sick)} do not serve, and one host is away in each turn. Repair one of them first; "
                "playbooks/status.yml tells what is wrong."
            )
        meant = [host for host in hosts if not only or host in only]
        if todo is None:
            done = [host for host in meant if moment and _done(name, verb, seen.get(host), moment, state, host)]
        else:
            done = [host for host in meant if host not in todo.get(name, ()) and not drained(state, host)]
        done = [host for host in done if host not in sick]
        left = [host for host in meant if host not in done and verb == "reboot" and host in controller]
        faults += [
            f"{host} is the controller, whose reboot would end this run. {_BY_HAND.format(host)}"
            for host in left
            if only
        ]
        due = [host for host in meant if host not in (*done, *left)]
        if sick and due and not set(sick) & set(due):
            faults.append(
                f"{name}: {sick[0]} does not serve, and is not among the hosts of this operation ({', '.join(due)}). Repair it first."
            )
        led = _led(state, name)
        parts = SERVICES.get(name)
        services.append(
            {
                "name": name,
                "role": f"utmstack.ha.{parts.role if parts else HOST}",
                "verb": getattr(parts, verb, verb) if parts else verb,
                "drain": parts.drain if parts else True,
                "order": order(due, led, [*sick, *(host for host in due if drained(state, host))], confirming(state)),
                "done": done,
                "left": left,
                "leads": {host: [LED[what] for what in own] for host, own in led.items() if host in due},
            }
        )
    status = (state["elasticsearch"] or {}).get("status")
    clocks = [answer["time"] for answer in seen.values()]
    return {
        "faults": list(dict.fromkeys(faults)),
        "verb": verb,
        "began": since or (_whole_second(min(clocks)) if clocks else ""),
        "services": services,
        "accept_status": "yellow" if status == "yellow" else "green",
    }


def _chosen(topology, state, text):
    """The services that are meant, in the order of SERVICES, and what is wrong with the choice."""
    present = [name for name in SERVICES if members(topology, name)]
    if "backend" in present and not (state["swarm"] or {}).get("services"):
        present.remove("backend")
    asked = [part.strip() for part in str(text or "").split(",") if part.strip()]
    if not asked:
        return [], [
            f"No service is chosen. Give -e service=all, or some of {', '.join(present)}, with commas in between."
        ]
    if asked == [HOST]:
        return [HOST], []
    if "all" in asked:
        return present, []
    faults = []
    for name in asked:
        if name not in SERVICES:
            faults.append(f"service={name} is not known. {nearest(name, (*SERVICES, 'all'))}")
        elif name not in present:
            faults.append(f"This inventory has no {name}; it has {', '.join(present)}.")
    return [name for name in present if name in asked], faults


def moment_of(text: str) -> datetime.datetime:
    """A time with its zone; without one, UTC. Raises ValueError."""
    parsed = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=datetime.UTC)


def _whole_second(seconds):
    """A time in seconds since 1970 as ISO 8601, rounded down, since systemd tells when units started in whole seconds."""
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(since):
    if not since:
        return None, []
    try:
        return moment_of(str(since)), []
    except ValueError:
        return None, [
            f"since={since} is no time. Give it like 2026-03-01T12:00:00Z, as the interrupted run printed it."
        ]


def _states(state, seen, names, only):
    """Why nothing at all may begin."""
    faults = [
        f"{host['name']} cannot be reached ({host['error']}). Bring it back first, or take it out of the inventory."
        for host in state["hosts"]
        if not host["reachable"]
    ]
    for host, answer in seen.items():
        if maintenance(answer) and not (only and host in only):
            faults.append(
                f"{host} is in maintenance ({maintenance(answer)}). End that first: playbooks/maintenance.yml -e host={host} -e state=absent."
            )
    if (state["postgresql"] or {}).get("paused") and {"postgresql", HOST} & set(names):
        faults.append("postgresql: Patroni is paused. End that first: patronictl resume.")
    return faults


def _led(state, name):
    """By host, what it leads that a turn of this service would have to hand over."""
    found: dict[str, list[str]] = {}
    for what, host in leaders(state).items():
        if what in _OF_SERVICE.get(name, (name,)):
            found.setdefault(host, []).append(what)
    return found


def confirming(state: Mapping[str, Any]) -> list[str]:
    """PostgreSQL's standbys that confirm writes: the only ones that may take over while there are any."""
    layer = state["postgresql"] or {}
    return [member["name"] for member in layer.get("members", []) if member["role"] not in (*LEADING_ROLES, "replica")]


def _done(name, verb, answer, moment, state, host):
    """Whether a host runs what was started after the moment, and nothing of it is still drained."""
    if not answer or drained(state, host):
        return False
    if verb == "reboot":
        return moment_of(answer["booted"]) >= moment
    own = [answer["units"][unit] for unit in SERVICES[name].units if unit in answer.get("units", {})]
    if not own or not all(unit["started"] and moment_of(unit["started"]) >= moment for unit in own):
        return False
    # A cluster whose shards are still held in place was left by a run that died in its last turn.
    return name != "elasticsearch" or "cluster.routing.allocation.enable" not in (state["elasticsearch"] or {}).get(
        "changed_settings", {}
    )


def drained(state: Mapping[str, Any], host: str) -> list[str]:
    """From what a host is kept out: its node of the swarm, its servers in HAProxy."""
    found = []
    node = _member(state["swarm"], "nodes", host, "hostname")
    if node and node.get("availability") not in (None, "active"):
        found.append("swarm")
    for row in (state["haproxy"] or {}).get("servers", []):
        if row["server"] == host and any(view.get("admin", "ready") != "ready" for view in row["on"].values()):
            found.append(f"{row['backend']} of HAProxy")
    return found


# What can be handed over on purpose, the role that does it, and whether the successor can be named.
SWITCHOVERS = {
    "postgresql": ("postgresql", True),
    "redis": ("redis", True),
    "etcd": ("etcd", True),
    "elasticsearch": ("elasticsearch", True),
    "vip": ("keepalived", True),
    "swarm": ("swarm", False),
}


def switchover(
    topology: Mapping[str, Any],
    state: Mapping[str, Any],
    seen: Mapping[str, Mapping[str, Any]],
    service: str = "",
    to: str = "",
) -> dict[str, Any]:
    """What a planned hand-over will do; topology, state and seen as for plan().

    service: a key of SWITCHOVERS. to: the host that shall lead; empty, the service itself chooses.
    Returns {faults: sentences with the remedy; needed; leader: who leads now; to; role; text: the plan in a sentence}.
    """
    if service not in SWITCHOVERS:
        told = (
            f"service={service} can't be handed over. {nearest(service, SWITCHOVERS)}"
            if service
            else "No service is chosen."
        )
        return {"faults": [f"{told} Give -e service= one of {', '.join(SWITCHOVERS)}."], "needed": False}
    role, chosen = SWITCHOVERS[service]
    layer = "loadbalancer" if service == "vip" else service
    members_of = "keepalived" if service == "vip" else service
    hosts = [member["name"] for member in topology.get(layer, {}).get("members", [])]
    leader, faults = leaders(state).get(service), []
    if not hosts:
        faults.append(f"This inventory has no {service}.")
    elif leader is None:
        faults.append(
            f"{service}: nobody leads, so there is nothing to hand over. playbooks/status.yml tells what is wrong."
        )
    elif len(hosts) < 2:
        faults.append(f"{service}: there is no other host than {leader}.")
    if to and not chosen:
        faults.append(f"{service}: its members elect whom they want, so leave -e to={to} out.")
    elif to and hosts and to not in hosts:
        faults.append(f"to={to} has no {service}; its hosts are {', '.join(hosts)}.")
    elif to and to in ill(state, members_of, hosts):
        faults.append(f"to={to} does not do its part in {service}. playbooks/status.yml tells what is wrong.")
    elif to and maintenance(seen.get(to)):
        faults.append(f"to={to} is in maintenance ({maintenance(seen.get(to))}).")
    needed = not faults and to != leader
    shown = (
        f"{leader} hands over {LED[service]} to {to or 'another host'}"
        if needed
        else f"{leader} leads {service} already"
    )
    return {
        "faults": faults,
        "needed": needed,
        "leader": leader,
        "to": to,
        "role": f"utmstack.ha.{role}",
        "text": shown,
    }


def text(planned: Mapping[str, Any]) -> str:
    """The plan for a person: the turns in their order, with what is handed over in each, and whom it passes over."""
    rows, number = [], 0
    for service in planned["services"]:
        for host in service["order"]:
            number += 1
            leads = " and ".join(service["leads"].get(host, []))
            rows.append([number, service["name"], host, f"hands over {leads}" if leads else ""])
    passed = [f"{part['name']}: {', '.join(part['done'])}" for part in planned["services"] if part["done"]]
    lines = table([["turn", "service", "host", ""], *rows]) if rows else ["Nothing is left to do."]
    if passed:
        lines.append(f"Done before, and passed over: {'; '.join(passed)}.")
    for host in dict.fromkeys(host for part in planned["services"] for host in part["left"]):
        lines.append(
            f"Left out: {host}, which is the controller: its reboot would end this run. {_BY_HAND.format(host)}"
        )
    turns = "1 turn" if number == 1 else f"{number} turns"
    return "\n".join([f"Rolling {planned['verb']}, {turns}, one host at a time", *(f"  {line}" for line in lines)])


def stopped(order: Sequence[str], host: str, role: str, verb: str, step: str, seen: str, again: str = "") -> list[str]:
    """What a rolling operation says where a turn failed, as lines.

    order: all hosts in their order. host: whose turn failed. step: the task that failed. seen: what it said. again: what to add to
    the command that goes on.
    """
    place = list(order).index(host)
    done, left = order[:place], order[place + 1 :]
    command = f"the same command with {again}" if again else "the same command again"
    return [
        f'{role.rpartition(".")[2]}, {verb}: stopped at {host}, at the step "{step}".',
        f"Seen: {' '.join(str(seen).split())}",
        f"Done: {', '.join(done)}." if done else "No host was done before it.",
        *([f"Not begun: {', '.join(left)}. They serve as before."] if left else []),
        f"Next: repair {host}, and start {command}; it finishes the rest.",
    ]
