# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""HAProxy, which has the ports of the virtual IP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..common.secrets import HAPROXY_FORBIDS
from .answers import answers_of, together
from .change import APPLIED, RELOAD_HAPROXY, Change
from .drill import VIP_HOLDER, Fault, frozen, killed
from .listener import HOST, VIP, Endpoint, Listener
from .service import Layer, Service, Timing, member_of


def drained(layer: Layer, host: str) -> list[str]:
    """The backends that send the host nothing, on purpose."""
    return [
        f"{row['backend']} of HAProxy"
        for row in (layer or {}).get("servers", [])
        if row["server"] == host and any(view.get("admin", "ready") != "ready" for view in row["on"].values())
    ]


def endpoints(ha: Mapping[str, Any]) -> list[Endpoint]:
    """The application in a browser: the backend, the web servers, or both by path."""
    http = f"backend, port {ha['ports']['backend_http']}" if ha["backend"]["members"] else ""
    web = f"web servers, port {ha['ports']['web']}" if ha["web"]["members"] else ""
    both = f"/api and /websocket: {http}; the rest: {web}" if http and web else http or web
    return [Endpoint("https", "Application", both, scheme="https", path="/")]


def check_timing(timing: Mapping[str, Any], require: Callable[[bool, str, str, str], None]) -> None:
    own = timing["haproxy"]
    inter, check_timeout = own["inter_ms"], own["check_timeout_ms"]
    require(
        check_timeout <= inter,
        "haproxy.check_timeout_ms",
        f"is {check_timeout}, above inter_ms ({inter}): a check would outlast the interval and delay the next",
        f"Set it to {inter} or less, or raise inter_ms",
    )
    for key in ("fastinter_ms", "downinter_ms"):
        require(
            own[key] <= inter,
            f"haproxy.{key}",
            f"is {own[key]}, above inter_ms ({inter}), though it is the faster one",
            f"Set it to {inter} or less",
        )


def asks(_ha: Mapping[str, Any], _secrets: Mapping[str, str], _host: str) -> dict[str, dict[str, Any]]:
    """The host's own process is asked."""
    return {"utmstack.ha.haproxy_info": {}}


# A server that is down in a backend for replicas may be right to be, since it is none.
REPLICA_BACKEND = "postgresql_read"
# The way around pgbouncer stands in for it.
POOL_BACKEND = "pgbouncer"
SERVER_KEYS = ("status", "up", "admin", "admin_inherited", "check", "check_code", "check_seen", "sessions")
# Why a server may be down in a backend that is for one kind of role.
LEADING_OR_FOLLOWING = ("primary", "master", "replica")


def expected_down(backend: str, server: Mapping[str, Any], roles) -> str:
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


def form(topology, observations, roles):
    """Return its part of the state of the platform, as Service.form says."""
    members = topology["loadbalancer"]["members"]
    if not members:
        return None
    hosts, silent, empty, backends = [], [], [], {}
    for name, answer, error in answers_of(members, observations, "haproxy"):
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
    rows, problems = [], [*together(silent), *together(empty)]
    for backend, servers in backends.items():
        for server, views in servers.items():
            first = next(iter(views.values()))
            expected = expected_down(backend, first, roles)
            row = {"backend": backend, "server": server, "backup": first["backup"], "expected_down": expected}
            row["on"] = {host: {key: view[key] for key in SERVER_KEYS} for host, view in views.items()}
            rows.append(row)
            problems += server_problems(row)
    return {"healthy": not problems, "problems": problems, "hosts": hosts, "servers": rows}


def server_problems(row) -> list[str]:
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


def table(state):
    """Return its table, as Service.table says."""
    haproxy = state["haproxy"]
    if not haproxy or not haproxy["servers"]:
        return "", []
    total = sum(1 for host in haproxy["hosts"] if host["answers"])
    rows = [["backend", "server", "status", "last check", "sessions"]]
    for row in haproxy["servers"]:
        if row["expected_down"] == "spare":
            continue
        view = next(iter(row["on"].values()))
        # HAProxy has a code only from a check over HTTP; it helps where the result is not the expected one.
        code = "" if view["up"] or row["expected_down"] else view["check_code"] or ""
        last = f"{view['check']} {code}".strip() or "-"
        sessions = str(sum(view["sessions"] for view in row["on"].values()))
        rows.append([row["backend"], row["server"], server_status(row, total), last, sessions])
    return f"HAProxy, as {total} load balancer{'s see' if total != 1 else ' sees'} it", rows


def server_status(row, total) -> str:
    """One word where all load balancers agree, else who sees what."""
    words: dict[str, list[str]] = {}
    for host, view in row["on"].items():
        word = view["status"]
        if row["expected_down"] in LEADING_OR_FOLLOWING and not view["up"]:
            word = f"- ({row['expected_down']})"
        words.setdefault(word, []).append(host)
    if len(words) == 1 and len(row["on"]) == total:
        return next(iter(words))
    return "; ".join(f"{word} on {', '.join(hosts)}" for word, hosts in words.items())


SERVICE = Service(
    name="haproxy",
    title="HAProxy",
    role="haproxy",
    layer="loadbalancer",
    groups=("loadbalancer",),
    listeners=(
        Listener(
            "loadbalancer",
            "HAProxy (statistics)",
            "stats",
            8404,
            HOST,
            "operators and Prometheus (`haproxy_stats_allowed_networks`)",
        ),
        Listener("loadbalancer", "HAProxy (HTTPS)", "https", 443, VIP, "users", ("backend", "web")),
        Listener(
            "loadbalancer",
            "HAProxy (redirect to HTTPS)",
            "http",
            80,
            VIP,
            "users, who are sent on to HTTPS",
            ("backend", "web"),
        ),
    ),
    endpoints=endpoints,
    timing=(
        Timing(
            part="haproxy",
            profiles={
                "fast": {
                    "inter_ms": 500,
                    "fastinter_ms": 250,
                    "downinter_ms": 250,
                    "check_timeout_ms": 400,
                    "connect_timeout_ms": 300,
                    "fall": 3,
                    "rise": 1,
                    "retries": 3,
                },
                "normal": {
                    "inter_ms": 2000,
                    "fastinter_ms": 1000,
                    "downinter_ms": 1000,
                    "check_timeout_ms": 1000,
                    "connect_timeout_ms": 1000,
                    "fall": 2,
                    "rise": 1,
                    "retries": 3,
                },
                "wan": {
                    "inter_ms": 5000,
                    "fastinter_ms": 2000,
                    "downinter_ms": 2000,
                    "check_timeout_ms": 3000,
                    "connect_timeout_ms": 3000,
                    "fall": 3,
                    "rise": 2,
                    "retries": 3,
                },
            },
            limits={
                "inter_ms": (50, 60000),
                "fastinter_ms": (50, 60000),
                "downinter_ms": (50, 60000),
                "check_timeout_ms": (10, 60000),
                "connect_timeout_ms": (10, 60000),
                "fall": (1, 100),
                "rise": (1, 100),
                "retries": (0, 100),
            },
            check=check_timing,
        ),
    ),
    changes=(
        Change("ha_ports.https", APPLIED, RELOAD_HAPROXY),
        Change("ha_ports.http", APPLIED, RELOAD_HAPROXY),
        Change("ha_ports.stats", APPLIED, RELOAD_HAPROXY),
        Change("haproxy_stats_password", APPLIED, RELOAD_HAPROXY),
    ),
    memory=1,
    passwords={"haproxy_stats_password": HAPROXY_FORBIDS},
    units=("haproxy.service",),
    packages=("haproxy", "python3-psycopg2"),
    held=("haproxy",),
    upgrades=("haproxy",),
    upgraded={"haproxy.service": ()},
    configs={"haproxy.service": ("/etc/haproxy/haproxy.cfg",)},
    asks=asks,
    form=form,
    table=table,
    serves=lambda layer, host: bool(member_of(layer, "hosts", host).get("answers")),
    drained=drained,
    hands_over=("vip",),
    independent=True,
    processes={"haproxy": {"what": "HAProxy"}},
    faults=(
        Fault(
            "haproxy-sigkill",
            "HAProxy is killed on the holder of the virtual IP",
            VIP_HOLDER,
            killed("haproxy"),
            hold_s=10,
            target_s=1,
        ),
        Fault(
            "haproxy-sigstop",
            "HAProxy is frozen on the holder of the virtual IP",
            VIP_HOLDER,
            frozen("haproxy"),
            hold_s=15,
        ),
    ),
)
