# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The state of the whole platform from what its hosts said.

`status` merges plain values: the topology and, by host, what the modules vip_info, haproxy_info, etcd_info, patroni_info,
elasticsearch_health, redis_sentinel_info and swarm_info returned there. `screen` of status_screen lays its result out.
Neither asks anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..common.text import shorten
from ..services.postgresql import LEADING_ROLES
from ..services.registry import SERVICES
from ..services.service import Service
from ..topology.build import MAINTENANCE_FILE

Answer = Mapping[str, Any]
WIDTH = 100
# What HAProxy's PostgreSQL ports are for. A server that is down in one of them may be right to be.
PRIMARY_BACKEND, REPLICA_BACKEND = "postgresql_write", "postgresql_read"
REDIS_BACKEND = "redis"
# The way around pgbouncer stands in for it.
POOL_BACKEND = "pgbouncer"
# The parts of the state that are made below, each with what its product has to tell.
OWN_FORM = ("vip", "etcd", "postgresql", "elasticsearch", "redis", "swarm", "haproxy")
SERVER_KEYS = ("status", "up", "admin", "admin_inherited", "check", "check_code", "check_seen", "sessions")
# Why a server may be down in a backend that is for one kind of role.
LEADING_OR_FOLLOWING = ("primary", "master", "replica")


def status(topology: Mapping[str, Any], observations: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Merge what the hosts said into one state.

    topology: what `build` of module_utils.topology returned. observations: by host what M(utmstack.ha.observe) returned:
    reachable, error and answers, with the answers host, vip, haproxy, etcd, postgresql, elasticsearch, redis and swarm where the
    host was asked for them.

    Returns healthy, problems (sentences, each begins with the layer or host it is about), cluster, hosts, and for each layer
    a dict or, where the topology has no such layer, None: vip, etcd, postgresql, elasticsearch, redis, swarm, haproxy, and others().
    """
    hosts = _hosts(topology, observations)
    layers = {
        "vip": _vip(topology, observations),
        "etcd": _etcd(topology, observations),
        "postgresql": _postgresql(topology, observations),
        "elasticsearch": _elasticsearch(topology, observations),
        "redis": _redis(topology, observations),
        "swarm": _swarm(topology, observations),
    }
    for part, service in others().items():
        layers[part] = _other(topology, observations, part, service)
    layers["haproxy"] = _haproxy(topology, observations, _roles(layers))
    problems = [f"{host['name']}: cannot be reached ({host['error']})" for host in hosts if not host["reachable"]]
    problems += [f"{host['name']}: is in maintenance ({host['maintenance']})" for host in hosts if host["maintenance"]]
    for layer in layers.values():
        problems += layer["problems"] if layer else []
    problems = list(dict.fromkeys(problems))
    return {
        "healthy": not problems,
        "problems": problems,
        "cluster": topology["cluster"],
        "hosts": hosts,
        **layers,
    }


def others() -> dict[str, Service]:
    """The services that are asked and have no form of their own here, by their part of the state."""
    parts = {service.state or name: service for name, service in SERVICES.items() if service.asks}
    return {part: service for part, service in parts.items() if part not in OWN_FORM}


def _other(topology, observations, part, service):
    """A cluster whose information module returns members, each with its name and whether it is healthy, leader, healthy and problems."""
    if not service.members(topology):
        return None
    hosts = topology[service.layer]["members"]
    best, problems = _cluster(part, topology, observations, part, lambda member: member["healthy"], members=hosts)
    found = list(best["members"]) if best else []
    missing, differences = _against_inventory(service.layer, topology, found)
    return {
        "healthy": not problems + differences,
        "problems": problems + differences,
        "leader": best["leader"] if best else None,
        "members": found,
        "not_members": missing,
    }


def _hosts(topology, observations) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "address": topology["hosts"].get(name, {}).get("address", ""),
            "reachable": bool(seen.get("reachable")),
            "error": "" if seen.get("reachable") else reason(seen),
            "maintenance": maintenance(seen.get("answers", {}).get("host")),
        }
        for name, seen in observations.items()
    ]


def maintenance(answer: Answer | None) -> str:
    """Since when and why a host is in maintenance, from what host_info said; empty where it is not."""
    return " ".join(((answer or {}).get("texts") or {}).get(MAINTENANCE_FILE, "").split())


def reason(seen: Answer) -> str:
    """Why there is no answer, in a few words: the last line of what SSH or the module said."""
    text = seen.get("error") or seen.get("msg") or "no answer"
    # ssh: connect to host 10.0.1.13 port 22: No route to host
    return shorten(text.strip().splitlines()[-1].rpartition("ssh: ")[2].strip(" .") or "no answer", 120)


def _sentence(text: str) -> str:
    return text.strip().rstrip(".")


def _together(said: Iterable[tuple[str, str]]) -> list[str]:
    """What hosts said, as sentences; one for all hosts that said the same."""
    hosts: dict[str, list[str]] = {}
    for host, text in said:
        hosts.setdefault(_sentence(text), []).append(host)
    return [f"{', '.join(names)}: {text}" for text, names in hosts.items()]


def _answers(members, observations, question) -> Iterator[tuple[str, Answer | None, str]]:
    """By member of a layer: its name, its answer or None, and why there is none ('' where its host is out of reach)."""
    for member in members:
        seen = observations.get(member["name"], {})
        answer = seen.get("answers", {}).get(question)
        if not seen.get("reachable"):
            yield member["name"], None, ""
        elif answer is None:
            yield member["name"], None, "was not asked"
        elif answer.get("failed"):
            yield member["name"], None, reason(answer)
        else:
            yield member["name"], answer, ""


# -- the virtual address ----------------------------------------------------------------------------------------------


def _vip(topology, observations):
    members = topology["loadbalancer"]["members"]
    if not members:
        return None
    address = topology["virtual_ip"]["address"]
    rows, said, unasked, strangers = [], [], [], set()
    for name, answer, error in _answers(members, observations, "vip"):
        priority = topology["hosts"].get(name, {}).get("priority")
        row = {"name": name, "priority": priority, "held": None, "interface": None, "prefix": None}
        row.update(keepalived=None, state=None)
        if answer is None:
            unasked.append(name)
            said += [(name, f"the virtual address could not be looked for ({error})")] if error else []
        else:
            row.update({key: answer[key] for key in ("held", "interface", "prefix")})
            row.update(keepalived=answer["keepalived"]["running"], state=answer["keepalived"]["state"])
            said += [(name, problem) for problem in answer["problems"]]
            strangers.update(answer["others"])
        rows.append(row)
    problems = _together(said)
    holders = [row["name"] for row in rows if row["held"]]
    if len(holders) > 1:
        problems.insert(0, f"vip: {len(holders)} hosts hold {address}: {', '.join(holders)}")
    elif not holders:
        asked = f" of those that could be asked (not {', '.join(unasked)})" if unasked else ""
        who = f", but {', '.join(sorted(strangers))} answers for it" if strangers else ""
        problems.insert(0, f"vip: no load balancer{asked} holds {address}{who}")
    return {
        "healthy": not problems and not unasked,
        "problems": problems,
        "address": address,
        "cidr": topology["virtual_ip"]["cidr"],
        "holder": holders[0] if len(holders) == 1 else None,
        "holders": holders,
        "members": rows,
    }


# -- clusters that every member can tell about ------------------------------------------------------------------------


def _best(answers: Iterable[tuple[str, Answer]], good) -> tuple[str, Answer | None]:
    """The answer that counts most members as good; the first of them where several do."""
    best, most = ("", None), (-1, False)
    for name, answer in answers:
        score = (sum(1 for member in answer["members"] if good(member)), bool(answer["healthy"]))
        if score > most:
            best, most = (name, answer), score
    return best


def _cluster(label, topology, observations, question, good, view=lambda answer: answer, members=None):
    """The best answer about a cluster, and what is wrong by it, by those who see it differently, or by their silence.

    `view` turns an answer into one with members and leader. `members` are who was asked, by default all of the layer.
    """
    members = topology[label]["members"] if members is None else members
    views, silent = [], []
    for name, answer, error in _answers(members, observations, question):
        if answer is not None:
            views.append((name, view(answer)))
        elif error:
            silent.append((name, f"{label} could not be asked ({error})"))
    teller, best = _best(views, good)
    if best is None:
        return None, _together(silent) or [f"{label}: nobody could be asked"]
    told = [_sentence(problem) for problem in best["problems"]]
    problems = [f"{label}: {problem}" for problem in told]
    problems += _together((name, text) for name, text in silent if not any(name in problem for problem in told))
    leaders = {answer["leader"]: name for name, answer in reversed(views) if answer["leader"]}
    if len(leaders) > 1:
        views_of = ", ".join(f"{leader} by {name}" for leader, name in sorted(leaders.items()))
        problems.insert(0, f"{label}: hosts see different leaders: {views_of}")
    for name, answer in views:
        other = [_sentence(problem) for problem in answer["problems"] if _sentence(problem) not in told]
        if name != teller and other and best["members"]:
            problems.append(f"{label}: seen from {name}: {'; '.join(other)}")
    return best, problems


def _against_inventory(label, topology, members):
    """Names in the inventory that are no members, and both kinds of difference as sentences. Nothing where nobody told."""
    wanted = [member["name"] for member in topology[label]["members"]]
    known = [member["name"] for member in members]
    missing = [name for name in wanted if name not in known] if known else []
    problems = [f"{label}: {name} is in the inventory but not a member" for name in missing]
    problems += [
        f"{label}: {name} is a member but not in the inventory" for name in known if name and name not in wanted
    ]
    return missing, problems


def _etcd(topology, observations):
    members = topology["etcd"]["members"]
    if not members:
        return None
    best, problems = _cluster("etcd", topology, observations, "etcd", lambda member: member["healthy"])
    found = list(best["members"]) if best else []
    missing, differences = _against_inventory("etcd", topology, found)
    problems += differences
    healthy = sum(1 for member in found if member["healthy"])
    if found and healthy < topology["etcd"]["quorum"]:
        quorum = f"{healthy} of {len(found)} members are healthy, {topology['etcd']['quorum']} are needed"
        problems.insert(0, f"etcd: no quorum: {quorum}")
    addresses = {member["name"]: member["address"] for member in members}
    keys = ("leader", "learner", "healthy", "version", "db_size_bytes", "raft_term", "error")
    return {
        "healthy": not problems,
        "problems": problems,
        "leader": best["leader"] if best else None,
        "quorum": topology["etcd"]["quorum"],
        "members": [
            {
                "name": member["name"] or "(never started)",
                "address": addresses.get(member["name"], ""),
                **{key: member[key] for key in keys},
            }
            for member in found
        ],
        "not_members": missing,
    }


def _streams(member) -> bool:
    """Whether a member of the PostgreSQL cluster does its part."""
    works = member["reachable"] and member["state"] == "running"
    return works and (member["role"] in LEADING_ROLES or member["replication_state"] == "streaming")


def _postgresql(topology, observations):
    members = topology["postgresql"]["members"]
    if not members:
        return None
    best, problems = _cluster("postgresql", topology, observations, "postgresql", _streams)
    found = list(best["members"]) if best else []
    missing, differences = _against_inventory("postgresql", topology, found)
    keys = ("name", "host", "role", "reachable", "state", "replication_state", "timeline", "lag_bytes")
    keys += ("pending_restart", "tags")
    return {
        "healthy": not problems + differences,
        "problems": problems + differences,
        "leader": best["leader"] if best else None,
        "paused": best["paused"] if best else None,
        "synchronous_mode": best["synchronous_mode"] if best else None,
        "synchronous_standbys": best["synchronous_standbys"] if best else [],
        "members": [{**{key: member[key] for key in keys}, "serves": _streams(member)} for member in found],
        "not_members": missing,
    }


def _elasticsearch(topology, observations):
    if not topology["elasticsearch"]["members"]:
        return None

    def view(answer):
        return {**answer, "members": answer["nodes"], "leader": answer["master"]}

    best, problems = _cluster("elasticsearch", topology, observations, "elasticsearch", lambda _node: True, view)
    keys = ("status", "master", "unassigned", "initializing", "relocating", "changed_settings")
    wanted = [member["name"] for member in topology["elasticsearch"]["members"]]
    nodes = best["nodes"] if best else []
    return {
        "healthy": not problems,
        "problems": problems,
        "flavor": topology["elasticsearch"]["flavor"],
        **{key: best[key] if best else None for key in keys},
        "nodes": nodes,
        "absent_nodes": [name for name in wanted if nodes and name not in [node["name"] for node in nodes]],
    }


def _redis(topology, observations):
    if not topology["redis"]["members"]:
        return None
    asked = {member["name"]: member for layer in ("redis", "sentinel") for member in topology[layer]["members"]}

    def view(answer):
        return {**answer, "leader": answer["master"]}

    def answered(member):
        return not member["error"]

    best, problems = _cluster("redis", topology, observations, "redis", answered, view, list(asked.values()))
    return {
        "healthy": not problems,
        "problems": problems,
        "master": best["master"] if best else None,
        "members": best["members"] if best else [],
        "sentinels": best["sentinels"] if best else [],
    }


def _swarm(topology, observations):
    if not topology["swarm"]["members"]:
        return None

    def view(answer):
        leader = next((node["hostname"] for node in answer["nodes"] if node["leader"]), None)
        return {**answer, "members": [{**node, "name": node["hostname"]} for node in answer["nodes"]], "leader": leader}

    best, problems = _cluster(
        "swarm", topology, observations, "swarm", lambda node: node["state"] == "ready", view,
        topology["swarm"]["managers"],
    )  # fmt: skip
    nodes = best["nodes"] if best else []
    wanted = [member["name"] for member in topology["swarm"]["members"]]
    return {
        "healthy": not problems,
        "problems": problems,
        "leader": best["leader"] if best else None,
        "quorum": topology["swarm"]["quorum"],
        "nodes": nodes,
        "services": best["services"] if best else [],
        "not_members": [name for name in wanted if nodes and name not in [node["hostname"] for node in nodes]],
    }


# -- HAProxy ----------------------------------------------------------------------------------------------------------


def _roles(layers) -> dict[str, dict[str, str]]:
    """By backend for one kind of role: who is `primary`, `master` or `replica`, as far as known."""
    postgresql, redis = layers["postgresql"], layers["redis"]
    found = {}
    for member in postgresql["members"] if postgresql else []:
        found[member["name"]] = "primary" if member["role"] in LEADING_ROLES else "replica"
    of_redis = {member["name"]: member["role"] for member in redis["members"] if member["role"]} if redis else {}
    return {PRIMARY_BACKEND: found, REPLICA_BACKEND: found, REDIS_BACKEND: of_redis}


def _expected_down(backend: str, server: Mapping[str, Any], roles) -> str:
    """Why a server may be down: its role, or `unknown` without one; '' where it has to be up.

    `spare` are the servers that stand in for others, as the primary does where no replica is left to read from.
    """
    if backend not in roles and backend != POOL_BACKEND:
        return ""
    if server["backup"]:
        return "spare"
    if backend == POOL_BACKEND:
        return ""
    role = roles[backend].get(server["name"])
    if role is None:
        return "unknown"
    return role if (role == "replica") != (backend == REPLICA_BACKEND) else ""


def _haproxy(topology, observations, roles):
    members = topology["loadbalancer"]["members"]
    if not members:
        return None
    hosts, silent, empty, backends = [], [], [], {}
    for name, answer, error in _answers(members, observations, "haproxy"):
        hosts.append({"name": name, "answers": answer is not None, "version": answer["version"] if answer else None})
        if answer is None:
            silent += [(name, error)] if error else []
            continue
        for backend in answer["backends"]:
            servers = backends.setdefault(backend["name"], {})
            for server in backend["servers"]:
                servers.setdefault(server["name"], {})[name] = server
            if not backend["servers_up"]:
                empty.append((name, f"haproxy: {backend['name']} has no server that is up"))
    rows, problems = [], [*_together(silent), *_together(empty)]
    for backend, servers in backends.items():
        for server, views in servers.items():
            first = next(iter(views.values()))
            expected = _expected_down(backend, first, roles)
            row = {"backend": backend, "server": server, "backup": first["backup"], "expected_down": expected}
            row["on"] = {host: {key: view[key] for key in SERVER_KEYS} for host, view in views.items()}
            rows.append(row)
            problems += _server_problems(row)
    return {"healthy": not problems, "problems": problems, "hosts": hosts, "servers": rows}


def _server_problems(row) -> list[str]:
    """What is wrong with one server, one sentence for all load balancers that see the same."""
    wrong: dict[str, list[str]] = {}
    for host, view in row["on"].items():
        if view["admin"] != "ready":
            # A server that follows another one is told of with that.
            if not view["admin_inherited"]:
                wrong.setdefault(f"is taken out ({view['admin']})", []).append(host)
        elif not row["expected_down"] and not view["up"]:
            detail = " ".join(str(part) for part in (view["check"], view["check_code"], view["check_seen"]) if part)
            wrong.setdefault(f"is {view['status']}" + (f" ({detail})" if detail else ""), []).append(host)
        elif row["expected_down"] in LEADING_OR_FOLLOWING and view["up"]:
            wrong.setdefault(f"is UP although it is a {row['expected_down']}", []).append(host)
    return [f"haproxy: {row['backend']}/{row['server']} {what} on {', '.join(on)}" for what, on in wrong.items()]
