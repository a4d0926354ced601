# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The state of the whole platform from what its hosts said, and that state as one screen.

`status` merges plain values: the topology and, by host, what the modules vip_info, haproxy_info, etcd_info and patroni_info
returned there. `screen` lays its result out. Neither asks anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Answer = Mapping[str, Any]
WIDTH = 100
# What HAProxy's PostgreSQL ports are for. A server that is down in one of them may be right to be.
PRIMARY_BACKEND, REPLICA_BACKEND = "postgresql_write", "postgresql_read"
LEADING_ROLES = ("leader", "standby_leader")


def status(topology: Mapping[str, Any], observations: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Merge what the hosts said into one state.

    topology: what `build` of module_utils.topology returned. observations: by host what M(utmstack.ha.observe) returned:
    reachable, error and answers, with the answers vip, haproxy, etcd and postgresql where the host was asked for them.

    Returns healthy, problems (sentences, each begins with the layer or host it is about), cluster, hosts, and for each layer
    a dict or, where the topology has no such layer, None: vip, etcd, postgresql, haproxy.
    """
    hosts = _hosts(topology, observations)
    layers = {
        "vip": _vip(topology, observations),
        "etcd": _etcd(topology, observations),
        "postgresql": _postgresql(topology, observations),
    }
    layers["haproxy"] = _haproxy(topology, observations, layers["postgresql"])
    problems = [f"{host['name']}: cannot be reached ({host['error']})" for host in hosts if not host["reachable"]]
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


def _hosts(topology, observations) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "address": topology["hosts"].get(name, {}).get("address", ""),
            "reachable": bool(seen.get("reachable")),
            "error": "" if seen.get("reachable") else reason(seen),
        }
        for name, seen in observations.items()
    ]


def reason(seen: Answer) -> str:
    """Why there is no answer, in a few words: the last line of what SSH or the module said."""
    text = seen.get("error") or seen.get("msg") or "no answer"
    # ssh: connect to host 10.0.1.13 port 22: No route to host
    return shorten(text.strip().splitlines()[-1].rpartition("ssh: ")[2].strip(" .") or "no answer", 120)


def shorten(text: str, width: int) -> str:
    """The text, cut to the width with an ellipsis where it is longer."""
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


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


def _cluster(label, topology, observations, question, good):
    """The best answer about a cluster, and what is wrong by it, by those who see it differently, or by their silence."""
    members = topology[label]["members"]
    views, silent = [], []
    for name, answer, error in _answers(members, observations, question):
        if answer is not None:
            views.append((name, answer))
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


# -- HAProxy ----------------------------------------------------------------------------------------------------------


def _expected_down(backend: str, server: Mapping[str, Any], postgresql) -> str:
    """Why a server may be down: its role in PostgreSQL, or `unknown` without one; '' where it has to be up.

    `spare` are the servers that stand in for others, as the primary does where no replica is left to read from.
    """
    if backend not in (PRIMARY_BACKEND, REPLICA_BACKEND):
        return ""
    if server["backup"]:
        return "spare"
    members = postgresql["members"] if postgresql else []
    role = next((member["role"] for member in members if member["name"] == server["name"]), None)
    if role is None:
        return "unknown"
    leads = role in LEADING_ROLES
    if leads == (backend == REPLICA_BACKEND):
        return "primary" if leads else "replica"
    return ""


def _haproxy(topology, observations, postgresql):
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
            expected = _expected_down(backend, first, postgresql)
            row = {"backend": backend, "server": server, "backup": first["backup"], "expected_down": expected}
            row["on"] = {
                host: {key: view[key] for key in ("status", "up", "check", "check_code", "check_seen", "sessions")}
                for host, view in views.items()
            }
            rows.append(row)
            problems += _server_problems(row)
    return {"healthy": not problems, "problems": problems, "hosts": hosts, "servers": rows}


def _server_problems(row) -> list[str]:
    """What is wrong with one server, one sentence for all load balancers that see the same."""
    wrong: dict[str, list[str]] = {}
    for host, view in row["on"].items():
        if not row["expected_down"] and not view["up"]:
            detail = " ".join(str(part) for part in (view["check"], view["check_code"], view["check_seen"]) if part)
            wrong.setdefault(f"is {view['status']}" + (f" ({detail})" if detail else ""), []).append(host)
        elif row["expected_down"] in ("primary", "replica") and view["up"]:
            wrong.setdefault(f"is UP although it is a {row['expected_down']}", []).append(host)
    return [f"haproxy: {row['backend']}/{row['server']} {what} on {', '.join(on)}" for what, on in wrong.items()]


# -- the screen -------------------------------------------------------------------------------------------------------


def screen(state: Mapping[str, Any]) -> str:
    """The state as text of at most 100 columns, for a person: the verdict, the problems, one table for each layer."""
    count = len(state["problems"])
    verdict = "OK" if state["healthy"] else f"DEGRADED, {count} problem{'s' if count > 1 else ''}"
    blocks = [f"{state['cluster']}: {verdict}"]
    if state["problems"]:
        blocks.append("\n".join(["Problems", *(line for text in state["problems"] for line in _item(text))]))
    for title, rows in (_host_table(state), _etcd_table(state), _postgresql_table(state), _haproxy_table(state)):
        if rows:
            blocks.append("\n".join([title, *(f"  {line}" for line in table(rows, WIDTH - 2))]))
    return "\n\n".join(blocks)


def _item(text: str) -> list[str]:
    """A sentence as a list item, continued on lines of its own where it is long."""
    lines, line = [], "  -"
    for word in text.split():
        if len(line) + 1 + len(word) > WIDTH and line.strip() not in ("", "-"):
            lines.append(line)
            line = "   "
        line += f" {word}"
    return [*lines, line]


def table(rows: list[list[str]], width: int) -> list[str]:
    """Rows of cells as aligned lines; the last column is cut where a line would be too long."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(size) for cell, size in zip(row, widths)).rstrip() for row in rows)
    return [shorten(line, width) for line in lines]


def size(count: int | None) -> str:
    """A number of bytes with a binary unit, as in `1.5 MiB`; `-` where it is not known."""
    if count is None:
        return "-"
    value, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def _host_table(state):
    vip, haproxy = state["vip"], state["haproxy"]
    title = "Hosts"
    if vip:
        title += f", virtual address {vip['cidr']} on {' and '.join(vip['holders']) or 'no host'}"
    balancers = {member["name"]: member for member in vip["members"]} if vip else {}
    proxies = {host["name"]: host for host in haproxy["hosts"]} if haproxy else {}
    rows = [["host", "address", "reachable", *(["virtual address", "keepalived", "haproxy"] if vip else [])]]
    for host in state["hosts"]:
        row = [host["name"], host["address"], "yes" if host["reachable"] else "NO"]
        if vip:
            row += _balancer_cells(balancers.get(host["name"]), proxies.get(host["name"]))
        rows.append(row)
    return title, rows


def _balancer_cells(balancer, proxy):
    if balancer is None:
        return ["", "", ""]
    if balancer["held"] is None:
        return ["?", "?", "?"]
    held = f"{balancer['interface']}/{balancer['prefix']}" if balancer["held"] else "-"
    keepalived = (balancer["state"] or "running") if balancer["keepalived"] else "DOWN"
    return [held, keepalived, (proxy["version"] or "running") if proxy and proxy["answers"] else "DOWN"]


def _etcd_table(state):
    etcd = state["etcd"]
    if not etcd:
        return "", []
    rows = [["member", "address", "role", "health", "version", "database", "term"]]
    for member in etcd["members"]:
        role = "leader" if member["leader"] else "learner" if member["learner"] else "follower"
        known = member["version"] is not None
        rows.append(
            [
                member["name"],
                member["address"],
                role if known else "-",
                "ok" if member["healthy"] else "BAD",
                member["version"] or "-",
                size(member["db_size_bytes"]),
                str(member["raft_term"] or "-"),
            ]
        )
    rows += [[name, "", "-", "NO MEMBER", "-", "-", "-"] for name in etcd["not_members"]]
    if len(rows) == 1:
        return "etcd, nobody answers", [["-"]]
    healthy = sum(1 for member in etcd["members"] if member["healthy"])
    return f"etcd, {healthy} of {len(rows) - 1} healthy, quorum {etcd['quorum']}", rows


def _postgresql_table(state):
    postgresql = state["postgresql"]
    if not postgresql:
        return "", []
    rows = [["member", "address", "role", "state", "timeline", "lag", "notes"]]
    for member in postgresql["members"]:
        leads = member["role"] in LEADING_ROLES
        doing = (member["replication_state"] or member["state"] if member["reachable"] else "no answer") or "unknown"
        notes = ["restart pending"] if member["pending_restart"] else []
        notes += [f"{key}: {value}" for key, value in member["tags"].items() if value]
        rows.append(
            [
                member["name"],
                str(member["host"] or ""),
                member["role"].replace("_", " "),
                doing if member["serves"] else doing.upper(),
                str(member["timeline"] or "-"),
                "-" if leads else size(member["lag_bytes"]) if member["lag_bytes"] is not None else "unknown",
                ", ".join(notes),
            ]
        )
    rows += [[name, "", "-", "NO MEMBER", "-", "-", ""] for name in postgresql["not_members"]]
    if len(rows) == 1:
        return "PostgreSQL, nobody answers", [["-"]]
    title = f"PostgreSQL, primary {postgresql['leader'] or 'NONE'}"
    if postgresql["synchronous_mode"] not in (None, "off"):
        standbys = ", ".join(postgresql["synchronous_standbys"]) or "NONE"
        title += f", synchronous mode {postgresql['synchronous_mode']} ({standbys})"
    return title + (", PAUSED (no automatic failover)" if postgresql["paused"] else ""), rows


def _haproxy_table(state):
    haproxy = state["haproxy"]
    if not haproxy or not haproxy["servers"]:
        return "", []
    total = sum(1 for host in haproxy["hosts"] if host["answers"])
    rows = [["backend", "server", "status", "last check", "sessions"]]
    for row in haproxy["servers"]:
        if row["expected_down"] == "spare":
            continue
        view = next(iter(row["on"].values()))
        last = f"{view['check']} {view['check_code'] or ''}".strip() or "-"
        sessions = str(sum(view["sessions"] for view in row["on"].values()))
        rows.append([row["backend"], row["server"], _server_status(row, total), last, sessions])
    return f"HAProxy, as {total} load balancer{'s see' if total != 1 else ' sees'} it", rows


def _server_status(row, total) -> str:
    """One word where all load balancers agree, else who sees what."""
    words: dict[str, list[str]] = {}
    for host, view in row["on"].items():
        word = view["status"]
        if row["expected_down"] in ("primary", "replica") and not view["up"]:
            word = f"- ({row['expected_down']})"
        words.setdefault(word, []).append(host)
    if len(words) == 1 and len(row["on"]) == total:
        return next(iter(words))
    return "; ".join(f"{word} on {', '.join(hosts)}" for word, hosts in words.items())
