# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What HAProxy tells through its runtime socket, and how its servers are taken out and back.

The columns of `show stat` are those of "9.1. CSV format" in HAProxy's management guide; they, and those of `show servers state`
(9.3. "Unix Socket commands" there), are read by name, as versions add some.
"""

from __future__ import annotations

import csv
import io
import socket

INFO_AND_STAT = "show info;show stat;show servers state"

READY, DRAIN, MAINT = "ready", "drain", "maint"
# Bits of srv_admin_state: forced by somebody, inherited from a tracked server, or for want of an address.
_FORCED_MAINT, _INHERITED_MAINT, _FORCED_DRAIN, _INHERITED_DRAIN, _OTHER_MAINT = 0x01, 0x02, 0x08, 0x10, 0x20 | 0x40


class HAProxyError(Exception):
    """What the operator must know, as a sentence."""


class NotRunning(HAProxyError):
    """Nobody listens on the socket, so there is no HAProxy that could send anybody anything."""


def ask(path, command, seconds):
    """Send one line to the socket and return all of the answer. Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(seconds)
        sock.connect(path)
        sock.sendall(command.encode() + b"\n")
        parts = []
        while part := sock.recv(65536):
            parts.append(part)
    return b"".join(parts).decode("utf-8", "replace")


def split_answers(text):
    """Divide the answer to INFO_AND_STAT into its three parts. Raises ValueError for something else."""
    info, separator, rest = text.partition("# pxname,")
    stat, mark, states = rest.partition("# be_id ")
    if not separator or not mark:
        raise ValueError("HAProxy's answer has no statistics: " + " ".join(text.split())[:200])
    # Before the servers' states there is a line with the version of their format.
    return info, separator + stat.rstrip().removesuffix("\n1") + "\n", mark + states


def parse_info(text):
    """Turn the answer to `show info` into a dict of texts."""
    lines = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in lines}


def parse_stat(text):
    """Turn the answer to `show stat` into a list of dicts, one for each row, texts as HAProxy wrote them."""
    return list(csv.DictReader(io.StringIO(text.lstrip("# \n").rstrip() + "\n")))


def parse_states(text):
    """Turn the answer to `show servers state` into {(backend, server): (administrative state, whether it is inherited)}."""
    header, _newline, rest = text.lstrip("# \n").partition("\n")
    rows = (dict(zip(header.split(), line.split(), strict=False)) for line in rest.splitlines() if line.strip())
    return {(row["be_name"], row["srv_name"]): administrative(int(row["srv_admin_state"])) for row in rows}


def administrative(bits):
    """The administrative state that HAProxy's bits mean, and whether the server has it only from the one that it tracks."""
    if bits & (_FORCED_MAINT | _OTHER_MAINT):
        return MAINT, False
    if bits & _INHERITED_MAINT:
        return MAINT, True
    if bits & _FORCED_DRAIN:
        return DRAIN, False
    return (DRAIN, True) if bits & _INHERITED_DRAIN else (READY, False)


def _number(row, key):
    value = row.get(key) or ""
    return int(value) if value.lstrip("-").isdigit() else None


def gets_sessions(status):
    """Whether a server of this status gets new sessions. Not with `DOWN`, `DOWN 1/2`, `MAINT (via a/b)`, `DRAIN`, `NOLB`."""
    return status.startswith("UP") or status == "no check"


def server(row, admin=(READY, False)):
    """One server's row as a dict with typed values and readable names. admin: what `parse_states` has of it."""
    return {
        "name": row["svname"],
        "admin": admin[0],
        "admin_inherited": admin[1],
        "address": row.get("addr", ""),
        "status": row["status"],
        "up": gets_sessions(row["status"]),
        "check": row.get("check_status", "").lstrip("* "),
        "check_code": _number(row, "check_code"),
        "check_seen": row.get("last_chk") or row.get("check_desc", ""),
        "check_ms": _number(row, "check_duration"),
        "weight": _number(row, "weight"),
        "backup": _number(row, "bck") == 1,
        "sessions": _number(row, "scur") or 0,
        "sessions_total": _number(row, "stot") or 0,
        "seconds_in_status": _number(row, "lastchg"),
        "failed_checks": _number(row, "chkfail"),
    }


def summarise(rows, states):
    """Return (frontends, backends) from the rows of `show stat` and the states of `parse_states`, in HAProxy's order.

    A backend is a dict with name, status, up, servers, servers_up, sessions; a frontend one with name, status, sessions.
    Backends without servers (statistics, redirects) are left out.
    """
    frontends, backends = [], {}
    for row in rows:
        name, kind = row["pxname"], row["svname"]
        if kind == "FRONTEND":
            frontends.append({"name": name, "status": row["status"], "sessions": _number(row, "scur") or 0})
            continue
        backend = backends.setdefault(name, {"name": name, "status": "", "up": False, "sessions": 0, "servers": []})
        if kind == "BACKEND":
            status, sessions = row["status"], _number(row, "scur") or 0
            backend.update(status=status, up=status.startswith("UP"), sessions=sessions)
        else:
            backend["servers"].append(server(row, states.get((name, kind), (READY, False))))
    for backend in backends.values():
        backend["servers_up"] = sum(1 for entry in backend["servers"] if entry["up"])
    return frontends, [backend for backend in backends.values() if backend["servers"]]


def process(info):
    """The process's own figures from `show info`, typed."""
    return {
        "version": info.get("Version", ""),
        "pid": int(info.get("Pid") or 0),
        "uptime_seconds": int(info.get("Uptime_sec") or 0),
        "node": info.get("node", ""),
        "stopping": info.get("Stopping", "0") not in ("0", ""),
        "connections": int(info.get("CurrConns") or 0),
        "connections_max": int(info.get("Maxconn") or 0),
    }


# -- taking servers out and back --------------------------------------------------------------------------------------


def look(asked, path="the runtime socket"):
    """The backends as `summarise` returns them, by name; asked: a function command -> answer, raising OSError.

    Raises NotRunning, HAProxyError.
    """
    try:
        _info, stat, states = split_answers(asked(INFO_AND_STAT))
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NotRunning(f"No HAProxy listens on {path}.") from error
    except OSError as error:
        raise HAProxyError(f"HAProxy does not answer on {path}: {error.strerror or error}.") from error
    except ValueError as error:
        raise HAProxyError(str(error)) from error
    return {backend["name"]: backend for backend in summarise(parse_stat(stat), parse_states(states))[1]}


def plan(backends, names, among, state, only_from=(), allow_last=False):
    """Which servers to set to the administrative state `state`: (servers, changes, absent, faults).

    backends: as `look` returns them. names: of servers. among: names of backends. only_from: administrative states of which
    one a server must have to be changed; any, where it is empty. allow_last: whether a backend may be left without a server.

    servers, changes: (backend, server) of all that are meant, and of those to be changed. A server that inherits its state
    from one that it tracks is never changed by itself. absent: those that are not in this HAProxy. faults: why it may not be.
    """
    servers, changes, absent, faults = [], [], [], []
    for backend in among:
        here = {server["name"]: server for server in backends.get(backend, {"servers": []})["servers"]}
        absent += [f"{backend}/{name}" for name in names if name not in here]
        servers += [(backend, name) for name in names if name in here]
        due = [
            name
            for name in names
            if name in here
            and not here[name]["admin_inherited"]
            and here[name]["admin"] != state
            and (not only_from or here[name]["admin"] in only_from)
        ]
        changes += [(backend, name) for name in due]
        up = {name for name, server in here.items() if server["up"]}
        if state != READY and not allow_last and up & set(due) and not up - set(due):
            faults.append(f"{backend} would have no server left: of {', '.join(here)}, {', '.join(sorted(up))} is up.")
    return servers, changes, absent, faults


def command(changes, state):
    """The one line that changes the servers."""
    return ";".join(f"set server {backend}/{name} state {state}" for backend, name in changes)


def arrived(backends, servers, state, sessions=0, alone=True):
    """Whether the servers are where `state` leads: up when ready, else taken out and with at most so many sessions each.

    alone: whether a server has to be up also where no other server of its backend is.
    """
    for backend, name in servers:
        here = {server["name"]: server for server in backends[backend]["servers"]}
        server, others = here[name], any(one["up"] for one in here.values() if one["name"] != name)
        if state == READY and not server["up"] and (others or alone):
            return False
        if state != READY and (server["admin"] != state or server["sessions"] > sessions):
            return False
    return True
