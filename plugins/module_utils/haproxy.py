# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What HAProxy tells through its runtime socket: `show info` and `show stat`.

The columns are those of "9.1. CSV format" in HAProxy's management guide; they are read by name, as versions add some.
"""

from __future__ import annotations

import csv
import io
import socket

INFO_AND_STAT = "show info;show stat"


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
    """Divide the answer to `show info;show stat` into its two parts, in whatever order they came."""
    info, separator, stat = text.partition("# pxname,")
    if not separator:
        raise ValueError("HAProxy's answer has no statistics: " + " ".join(text.split())[:200])
    return info, separator + stat


def parse_info(text):
    """Turn the answer to `show info` into a dict of texts."""
    lines = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in lines}


def parse_stat(text):
    """Turn the answer to `show stat` into a list of dicts, one for each row, texts as HAProxy wrote them."""
    return list(csv.DictReader(io.StringIO(text.lstrip("# \n").rstrip() + "\n")))


def _number(row, key):
    value = row.get(key) or ""
    return int(value) if value.lstrip("-").isdigit() else None


def gets_sessions(status):
    """Whether a server of this status gets new sessions. Not with `DOWN`, `DOWN 1/2`, `MAINT (via a/b)`, `DRAIN`, `NOLB`."""
    return status.startswith("UP") or status == "no check"


def server(row):
    """One server's row as a dict with typed values and readable names."""
    return {
        "name": row["svname"],
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


def summarise(rows):
    """Return (frontends, backends) from the rows of `show stat`, in HAProxy's order.

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
            backend["servers"].append(server(row))
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
