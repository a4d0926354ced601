# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which hosts an operation takes, and in which order: those that are ill first, those that lead last.

`plan` decides on plain values: the topology, the state of the platform (module_utils/operation/status.py), and what host_info said of each host.
It asks nobody, so the same state always gives the same order, which the operation prints before it begins.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..common.order import order
from ..common.text import nearest, table
from ..services.registry import SERVICES, leaderships
from .status import maintenance

# What the virtual IP weighs in an order: more than all else that a host can lead.
ABOVE_ALL = 1000
# A whole host, with all of its services, and the role that stands in the place of a service's then.
HOST = "host"
ROLE_OF_HOSTS = "rolling"

_BY_HAND = "Run this on another machine; or playbooks/maintenance.yml -e host={0} -e state=present, reboot it, and -e state=absent."


def leaders(state: Mapping[str, Any]) -> dict[str, str]:
    """Who leads what, by the names of registry.leaderships(); without what the topology lacks or nobody leads."""
    found = {what: service.leader_of(state) for what, service in leaderships().items()}
    return {what: host for what, host in found.items() if host}


def members(topology: Mapping[str, Any], name: str) -> list[str]:
    """The hosts of a service, or of the platform for `host`, as the inventory orders them."""
    if name == HOST:
        return [host for host, own in topology["hosts"].items() if own["groups"]]
    return SERVICES[name].members(topology)


def ill(state: Mapping[str, Any], name: str, hosts: Iterable[str]) -> list[str]:
    """Those of the hosts on which the service does not do its part."""
    away = {host["name"] for host in state["hosts"] if not host["reachable"]}
    if name == HOST:
        bad = {host for part in SERVICES for host in ill(state, part, hosts)}
    else:
        service = SERVICES[name]
        bad = {host for host in hosts if not service.serves(service.layer_of(state), host)}
    return [host for host in hosts if host in away | bad]


def turns(
    hosts: Sequence[str], led: Mapping[str, Sequence[str]], ill_hosts: Iterable[str], sync: Iterable[str]
) -> list[str]:
    """The hosts in the order of their turns.

    First what is ill, or left drained, since its turn is what repairs it, and no other may go away meanwhile. Then those that lead nothing; of
    PostgreSQL's standbys, those that confirm writes after those that don't. Last those that lead: the fewer things the earlier,
    and the holder of the virtual IP, whose clients notice most, at the very end. Equals keep the order of `hosts`.
    """
    leads = {host: len(own) + (ABOVE_ALL if "vip" in own else 0) for host, own in led.items()}
    return order(hosts, set(ill_hosts), leads, dict.fromkeys(sync, 1))


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
                f"{name}: {len(sick)} of {len(hosts)} hosts are unhealthy ({', '.join(sick)}), and each step takes one more down. Repair one first; "
                "playbooks/status.yml shows the problems."
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
                f"{name}: {sick[0]} is unhealthy, and is not among the hosts of this operation ({', '.join(due)}). Repair it first."
            )
        led = _led(state, name)
        parts = SERVICES.get(name)
        services.append(
            {
                "name": name,
                "role": f"utmstack.ha.{parts.role if parts else ROLE_OF_HOSTS}",
                "verb": getattr(parts, verb, verb) if parts else verb,
                "drain": parts.drain if parts else True,
                "order": turns(due, led, [*sick, *(host for host in due if drained(state, host))], successors(state)),
                "done": done,
                "left": left,
                "leads": {
                    host: [leaderships()[what].leads for what in own] for host, own in led.items() if host in due
                },
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
    present = [name for name, service in SERVICES.items() if members(topology, name) and service.present(state)]
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
    for name, service in SERVICES.items():
        if {name, HOST} & set(names) and (refusal := service.refusal(service.layer_of(state))):
            faults.append(f"{name}: {refusal}")
    return faults


def _led(state, name):
    """By host, what it leads that a turn of this service would have to hand over."""
    found: dict[str, list[str]] = {}
    service = SERVICES.get(name)
    given = leaderships() if service is None else service.gives()
    for what, host in leaders(state).items():
        if what in given:
            found.setdefault(host, []).append(what)
    return found


def successors(state: Mapping[str, Any]) -> list[str]:
    """The replicas that alone may take over now, of all services that have such."""
    return [host for service in SERVICES.values() for host in service.successors(service.layer_of(state))]


def _done(name, verb, answer, moment, state, host):
    """Whether a host runs what was started after the moment, and nothing of it is still drained."""
    if not answer or drained(state, host):
        return False
    if verb == "reboot":
        return moment_of(answer["booted"]) >= moment
    own = [
        answer["units"][unit] for unit in SERVICES[name].every(SERVICES[name].units) if unit in answer.get("units", {})
    ]
    if not own or not all(unit["started"] and moment_of(unit["started"]) >= moment for unit in own):
        return False
    return not SERVICES[name].unfinished(SERVICES[name].layer_of(state))


def drained(state: Mapping[str, Any], host: str) -> list[str]:
    """From what a host is kept out: its node of the swarm, its servers in HAProxy."""
    return [place for service in SERVICES.values() for place in service.drained(service.layer_of(state), host)]


def switchover(
    topology: Mapping[str, Any],
    state: Mapping[str, Any],
    seen: Mapping[str, Mapping[str, Any]],
    service: str = "",
    to: str = "",
) -> dict[str, Any]:
    """What a planned hand-over will do; topology, state and seen as for plan().

    service: a name of registry.leaderships(). to: the host that shall lead; empty, the service itself chooses.
    Returns {faults: sentences with the remedy; needed; leader: who leads now; to; role; text: the plan in a sentence}.
    """
    if service not in leaderships():
        told = (
            f"service={service} can't be handed over. {nearest(service, leaderships())}"
            if service
            else "No service is chosen."
        )
        return {"faults": [f"{told} Give -e service= one of {', '.join(leaderships())}."], "needed": False}
    part = leaderships()[service]
    hosts = part.members(topology)
    leader, faults = leaders(state).get(service), []
    if not hosts:
        faults.append(f"This inventory has no {service}.")
    elif leader is None:
        faults.append(f"{service} has no leader to switch over from. playbooks/status.yml shows the problems.")
    elif len(hosts) < 2:
        faults.append(f"{service}: there is no other host than {leader}.")
    if to and not part.successor:
        faults.append(f"{service}: its members elect whom they want, so leave -e to={to} out.")
    elif to and hosts and to not in hosts:
        faults.append(f"to={to} has no {service}; its hosts are {', '.join(hosts)}.")
    elif to and to in ill(state, part.name, hosts):
        faults.append(f"{to} is not a healthy member of {service} (to={to}). playbooks/status.yml shows the problems.")
    elif to and maintenance(seen.get(to)):
        faults.append(f"to={to} is in maintenance ({maintenance(seen.get(to))}).")
    needed = not faults and to != leader
    shown = (
        f"{leader} hands over {part.leads} to {to or 'another host'}" if needed else f"{leader} leads {service} already"
    )
    return {
        "faults": faults,
        "needed": needed,
        "leader": leader,
        "to": to,
        "role": f"utmstack.ha.{part.role}",
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
    lines = table([["step", "service", "host", ""], *rows]) if rows else ["Nothing is left to do."]
    if passed:
        lines.append(f"Skipped, already done: {'; '.join(passed)}.")
    for host in dict.fromkeys(host for part in planned["services"] for host in part["left"]):
        lines.append(
            f"Left out: {host}, which is the controller: its reboot would end this run. {_BY_HAND.format(host)}"
        )
    steps = "1 step" if number == 1 else f"{number} steps"
    return "\n".join([f"Rolling {planned['verb']}, {steps}, one host at a time", *(f"  {line}" for line in lines)])


def stopped(order: Sequence[str], host: str, role: str, verb: str, step: str, seen: str, again: str = "") -> list[str]:
    """What a rolling operation says where a turn failed, as lines.

    order: all hosts in their order. host: whose turn failed. step: the task that failed. seen: what it said. again: what to add to
    the command that goes on.
    """
    place = list(order).index(host)
    done, left = order[:place], order[place + 1 :]
    command = f"the same command with {again}" if again else "the same command again"
    what = role.rpartition(".")[2]
    return [
        f'{HOST if what == ROLE_OF_HOSTS else what}, {verb}: stopped at {host}, at the task "{step}".',
        f"Seen: {' '.join(str(seen).split())}",
        f"Done: {', '.join(done)}." if done else "No host was done before it.",
        *([f"Not begun: {', '.join(left)}. They serve as before."] if left else []),
        f"Next: repair {host}, and start {command}; it finishes the rest.",
    ]
