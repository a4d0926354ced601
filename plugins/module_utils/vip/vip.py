# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who holds a virtual address, who answers for it, and whether the service behind it answers.

The functions in the first half are pure: text or plain values in, plain values out. Those in the second half talk to
the network with nothing but the standard library.
"""

from __future__ import annotations

import errno
import http.client
import ipaddress
import json
import re
import select
import socket
import ssl
import struct
import time

ETHERTYPE_ARP = 0x0806
ARP_REQUEST, ARP_REPLY = 1, 2
POSTGRESQL_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
VRRP_STATES = ("MASTER", "BACKUP", "FAULT", "INIT", "STOP")
DEFAULT_PORTS = {"postgresql": 5432, "http": 80, "https": 443}


def plain_address(text):
    """Return the address of `10.0.1.100` or `10.0.1.100/24` in its canonical form; ValueError where it is none."""
    return str(ipaddress.ip_interface(text).ip)


def parse_addresses(ip_json):
    """Turn the output of `ip -j address` into a list of addresses.

    Each is a dict with interface, address, prefix, label, scope, up (the interface carries traffic),
    mac (of the interface) and duplicate (the kernel's own duplicate detection, IPv6 only, rejected it).
    """
    found = []
    for link in json.loads(ip_json or "[]"):
        for entry in link.get("addr_info", []):
            if "local" not in entry:
                continue
            found.append(
                {
                    "interface": link["ifname"],
                    "address": str(ipaddress.ip_address(entry["local"])),
                    "prefix": entry["prefixlen"],
                    "label": entry.get("label", ""),
                    "scope": entry.get("scope", ""),
                    "up": "UP" in link.get("flags", []) and "NO-CARRIER" not in link.get("flags", []),
                    "mac": link.get("address", ""),
                    "duplicate": bool(entry.get("dadfailed", False)),
                }
            )
    return found


def places_of(addresses, address):
    """Those of the parsed addresses which are the virtual one, in the order of `ip`."""
    wanted = plain_address(address)
    return [entry for entry in addresses if entry["address"] == wanted]


def parse_route(ip_json):
    """Turn the output of `ip -j route get ADDRESS` into {interface, local, direct}; None where there is no route.

    local: the address is this host's own. direct: it is on a connected network, so that it can be asked by ARP.
    """
    routes = json.loads(ip_json or "[]")
    if not routes:
        return None
    route = routes[0]
    return {
        "interface": route.get("dev", ""),
        "local": route.get("type") == "local",
        "direct": route.get("type") != "local" and "gateway" not in route and "via" not in route,
    }


def parse_neighbours(ip_json):
    """The hardware addresses in the output of `ip -j neigh show to ADDRESS` that the kernel has confirmed lately."""
    usable = {"REACHABLE", "PERMANENT"}
    return sorted(
        {
            entry["lladdr"].lower()
            for entry in json.loads(ip_json or "[]")
            if entry.get("lladdr") and usable & set(entry.get("state", []))
        }
    )


def vrrp_state_in_log(lines, instance=None):
    """The last state that keepalived logged (MASTER, BACKUP, FAULT…), of one instance or of any; None if it did not.

    The lines are in the order of time, as in `(VI_1) Entering MASTER STATE`.
    """
    state = None
    for line in lines:
        match = re.search(r"\((?P<name>[^)]+)\) Entering (?P<state>[A-Z]+) STATE", line)
        if match and match.group("state") in VRRP_STATES and instance in (None, match.group("name")):
            state = match.group("state")
    return state


def vrrp_state_in_file(text):
    """The state in a file that a notify script wrote: the first known state's name in it, in either case."""
    for word in re.findall(r"[A-Za-z]+", text or ""):
        if word.upper() in VRRP_STATES:
            return word.upper()
    return None


def host_problems(address, places, keepalived, macs, own_macs=()):
    """What is wrong with the address as one host sees it: a list of sentences without the host's name.

    places: from places_of. keepalived: {running, state}. macs: who answered an ARP probe from this host.
    """
    problems = []
    held = bool(places)
    others = sorted(set(macs) - set(own_macs))
    if not keepalived["running"]:
        if held:
            problems.append(f"holds {address} although keepalived is not running: nothing will take it away from here")
        else:
            problems.append("keepalived is not running: this host cannot take the address over")
    elif keepalived["state"] == "MASTER" and not held:
        problems.append(f"keepalived is MASTER but {address} is on no interface")
    elif keepalived["state"] == "FAULT":
        problems.append(
            "keepalived is in FAULT: its check of the load balancer fails, no other host answers, or the interface is down"
        )
    elif keepalived["state"] == "BACKUP" and held:
        problems.append(f"holds {address} although keepalived is BACKUP")
    if len(places) > 1:
        names = ", ".join(sorted({place["interface"] for place in places}))
        problems.append(f"{address} is on this host {len(places)} times ({names})")
    for place in places:
        if not place["up"]:
            problems.append(f"{address} is on {place['interface']}, which is down")
        if place["duplicate"]:
            problems.append(f"the kernel rejected {address} on {place['interface']} as a duplicate")
    if held and others:
        problems.append(f"another host answers for {address} too ({', '.join(others)})")
    elif len(others) > 1:
        problems.append(f"{len(others)} hosts answer for {address} ({', '.join(others)})")
    return problems


def check_name(check):
    """How a check is called in messages: its own name, or what it does, as in `postgresql port 5432`."""
    return check.get("name") or f"{check['type']} port {check['port']}"


def complete_check(check):
    """A check with the defaults filled in. ValueError says what is missing."""
    done = {key: value for key, value in check.items() if value is not None}
    if not done.get("port"):
        if done["type"] not in DEFAULT_PORTS:
            raise ValueError(f"a check of type {done['type']} needs a port")
        done["port"] = DEFAULT_PORTS[done["type"]]
    done["name"] = check_name(done)
    done.setdefault("path", "/")
    done.setdefault("method", "GET")
    done.setdefault("status", [200])
    done.setdefault("validate_certs", True)
    done.setdefault("tls", False)
    return done


def verdict(address, holders, answer, checks):
    """The sentences that say why the address does not serve; none means it does.

    holders: names of the hosts that were seen holding it, or None where nobody looked.
    answer: {reachable, method, macs, local}. checks: results with name, ok, seen.
    """
    problems = []
    if holders is not None and not holders:
        problems.append(f"no host holds {address}")
    elif holders is not None and len(holders) > 1:
        problems.append(f"{len(holders)} hosts hold {address}: {', '.join(sorted(holders))}")
    served = any(check["ok"] for check in checks)
    others = len(answer["macs"]) + (1 if answer.get("local") else 0)
    if others > 1:
        also = " besides this host" if answer.get("local") else ""
        problems.append(f"more than one host answers for {address}: {', '.join(answer['macs'])}{also}")
    if not answer["reachable"] and not served:
        problems.append(f"nobody answers for {address}" + (f" ({answer['seen']})" if answer.get("seen") else ""))
    problems.extend(f"{check['name']}: {check['seen']}" for check in checks if not check["ok"])
    return problems


# -- the network ------------------------------------------------------------------------------------------------------


def arp_request(own_mac, address):
    """An ARP probe (RFC 5227: sender address 0.0.0.0), as a whole Ethernet frame; it alters no neighbour's table."""
    frame = b"\xff" * 6 + own_mac + struct.pack("!H", ETHERTYPE_ARP)
    frame += struct.pack("!HHBBH", 1, 0x0800, 6, 4, ARP_REQUEST)
    return frame + own_mac + bytes(4) + bytes(6) + socket.inet_aton(address)


def arp_answer(frame, address):
    """The hardware address in a frame that claims the address, as text; None for any other frame."""
    if len(frame) < 42 or struct.unpack("!H", frame[12:14])[0] != ETHERTYPE_ARP:
        return None
    if struct.unpack("!H", frame[20:22])[0] != ARP_REPLY or frame[28:32] != socket.inet_aton(address):
        return None
    return frame[22:28].hex(":")


def arp_probe(interface, address, seconds, own_macs=()):
    """Ask the network of an interface who has an IPv4 address; wait the whole time, since a second answer is the point.

    Returns the sorted hardware addresses without our own. Raises OSError (PermissionError) where raw sockets are not
    allowed.
    """
    found = set()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE_ARP)) as raw:
        raw.bind((interface, ETHERTYPE_ARP))
        own = raw.getsockname()[4]
        request = arp_request(own, address)
        end = time.monotonic() + seconds
        # A single lost frame must not look like a lost address.
        for deadline in (end - seconds / 2, end):
            raw.send(request)
            while (left := deadline - time.monotonic()) > 0:
                if select.select([raw], [], [], left)[0]:
                    found.add(arp_answer(raw.recv(2048), address))
    found.discard(None)
    return sorted(found - {own.hex(":")} - {mac.lower() for mac in own_macs})


def explain(error):
    """What a network error means to a person, in a few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
    if isinstance(error, (socket.timeout, TimeoutError)):
        return "no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ConnectionResetError):
        return "connection closed by the other side"
    if isinstance(error, OSError) and error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return "no route to the address, or nobody has it"
    if isinstance(error, http.client.HTTPException):
        return f"no valid HTTP answer ({type(error).__name__})"
    return str(error) or type(error).__name__


def tcp_probe(address, port, seconds):
    """Whether a host is behind the address: (True, what was seen) also when it refuses the connection."""
    try:
        socket.create_connection((address, port), timeout=seconds).close()
    except ConnectionRefusedError:
        return True, f"port {port} refused the connection"
    except OSError as error:
        return False, f"port {port}: {explain(error)}"
    return True, f"port {port} accepted a connection"


def run_check(address, check, seconds):
    """Do one complete check against the address. Returns the result: name, type, port, ok, seen, seconds."""
    start = time.monotonic()
    ok, seen = False, ""
    try:
        seen = _PROBES[check["type"]](address, check, seconds)
        ok = True
    except _Refused as error:
        seen = str(error)
    except (OSError, http.client.HTTPException, ValueError) as error:
        seen = explain(error)
    spent = round(time.monotonic() - start, 3)
    return {
        "name": check["name"],
        "type": check["type"],
        "port": check["port"],
        "ok": ok,
        "seen": seen,
        "seconds": spent,
    }


class _Refused(Exception):
    """The service answered, but not as it should."""


def _connect(address, check, seconds):
    return socket.create_connection((address, check["port"]), timeout=seconds)


def _secure(sock, address, check):
    context = ssl.create_default_context(cafile=check.get("ca_path"))
    if not check["validate_certs"]:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(sock, server_hostname=check.get("server_name") or address)


def _tcp(address, check, seconds):
    _connect(address, check, seconds).close()
    return "accepts connections"


def _tls(address, check, seconds):
    with _connect(address, check, seconds) as sock, _secure(sock, address, check) as secure:
        return f"{secure.version()} with a {'valid' if check['validate_certs'] else 'not verified'} certificate"


def _postgresql(address, check, seconds):
    """A server that answers the SSLRequest is PostgreSQL; HAProxy without a server behind it just closes."""
    with _connect(address, check, seconds) as sock:
        sock.sendall(POSTGRESQL_SSL_REQUEST)
        answer = sock.recv(1)
        if answer == b"":
            raise _Refused("connection closed before PostgreSQL answered: no server behind it")
        if answer not in (b"S", b"N"):
            raise _Refused(f"not PostgreSQL: answered {answer!r} to an SSLRequest")
        if not check["tls"]:
            return "PostgreSQL answers, " + ("TLS offered" if answer == b"S" else "without TLS")
        if answer == b"N":
            raise _Refused("PostgreSQL answers but offers no TLS")
        with _secure(sock, address, check) as secure:
            return f"PostgreSQL answers over {secure.version()}"


def _http(address, check, seconds):
    with _connect(address, check, seconds) as plain:
        sock = _secure(plain, address, check) if check["type"] == "https" else plain
        name = check.get("server_name") or address
        connection = http.client.HTTPConnection(name, check["port"], timeout=seconds)
        connection.sock = sock
        try:
            connection.request(check["method"], check["path"], headers={"Connection": "close"})
            response = connection.getresponse()
            response.read(65536)
        finally:
            connection.close()
    seen = f"HTTP {response.status} for {check['path']}"
    if response.status not in check["status"]:
        raise _Refused(f"{seen}, expected {' or '.join(str(status) for status in check['status'])}")
    return seen


_PROBES = {"tcp": _tcp, "tls": _tls, "postgresql": _postgresql, "http": _http, "https": _http}
