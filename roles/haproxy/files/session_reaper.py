#!/usr/bin/python3
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""session_reaper.py SETTINGS: ends database sessions whose load balancer has lost the virtual IP.

Runs on every load balancer. When the virtual IP has left this host, the clients of its HAProxy can't be heard again, and what
their transactions have locked would stay locked until keepalives notice. So the sessions that came in by the virtual IP and
wait for their client are ended in PostgreSQL after a grace; those with a statement under way when it has been answered, or at a limit.
A load balancer that loses the address without knowing it (no power, frozen, cut off) does not show up in the database; then the
new holder ends the sessions that come from there.

SETTINGS is a JSON file: virtual_ip, port (of PostgreSQL), direct_port (of HAProxy to the primary), members (addresses),
balancers (addresses of the other load balancers), pgbouncer (whether there is one), ca, username, password, grace_s, answer_limit_s.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Mapping
from pathlib import Path

# Of the kernel's rtnetlink.h and netlink.h.
RTM_NEWROUTE, RTM_GETROUTE, RTA_DST, RTN_LOCAL, NLM_F_REQUEST = 24, 26, 1, 2, 1

ADMIN_SOCKET = "/run/haproxy/admin.sock"
TICK_S = 0.2
# How long the new holder waits, after the grace, for a load balancer that lost the address to show up in the database.
SHOW_UP_S = 0.5
# How long one that lost the address stays connected, for the new holder to see it.
SEEN_S = 10
NAME = "utmstack-ha session reaper"

# A session that waits for its client is idle in whatever way (PostgreSQL's documentation of pg_stat_activity). Superusers' sessions
# are not the application's, and may be ended by superusers only.
END = """
SELECT CASE WHEN state LIKE 'idle%%' OR %(force)s THEN pg_terminate_backend(pid) ELSE false END AS ended
FROM pg_stat_activity JOIN pg_roles ON pg_roles.oid = usesysid
WHERE backend_type = 'client backend' AND usename <> current_user AND NOT rolsuper AND
"""
BY_PORT = "(host(client_addr), client_port) IN (SELECT * FROM unnest(%(addresses)s::text[], %(ports)s::int[]))"
BY_BALANCER = "host(client_addr) = ANY (%(balancers)s::text[]) AND backend_start < clock_timestamp() - make_interval(secs => %(held)s)"
PRESENT = """
SELECT DISTINCT host(client_addr) FROM pg_stat_activity
WHERE usename = current_user AND application_name = %(name)s AND clock_timestamp() - query_start < interval '1.5 s'
"""

# (address, port) of one end of a connection.
End = tuple[str, int]


def end(text: str) -> End:
    """Return address and port of `10.0.1.11:5432`, `[fd00::1]:5432` or HAProxy's `fd00::1:5432`."""
    address, _colon, port = text.rpartition(":")
    return address.strip("[]").removeprefix("::ffff:"), int(port)


def sockets(ss: str, program: str) -> dict[End, End]:
    """Return local to remote end of a program's connections, of what `ss --no-header --tcp --numeric --processes` printed."""
    found = {}
    for line in ss.splitlines():
        fields = line.split()
        if len(fields) >= 4 and f'("{program}"' in line:
            found[end(fields[2])] = end(fields[3])
    return found


def kept(show_sess: str, virtual_ip: str) -> set[End]:
    """Return the local ends, towards servers, of HAProxy's sessions that did not come in by the virtual IP: their clients are not lost.

    show_sess: HAProxy's answer to `show sess all`. A session that HAProxy has opened to itself belongs to the one that did.
    """
    sessions = []
    for text in re.split(r"^(?=0x)", show_sess, flags=re.MULTILINE):
        source = re.search(r"proto=tcpv[46] source=(\S+)", text)
        listener = re.search(r"listener=.* addr=(\S+)", text)
        server = re.search(r"backend=.* addr=(\S+)", text)
        if source and listener and server:
            sessions.append((end(source[1]), end(listener[1]), end(server[1])))
    own = {server for _source, _listener, server in sessions}
    return {server for source, listener, server in sessions if listener[0] != virtual_ip and source not in own}


def proxied(connections: Mapping[End, End], member: str, port: int, spared: Collection[End]) -> list[End]:
    """Return the local ends of HAProxy's connections to a PostgreSQL server that are not spared."""
    return sorted(local for local, remote in connections.items() if remote == (member, port) and local not in spared)


def answers_no_more(servers_state: str) -> bool:
    """Whether HAProxy's answer to `show servers state pgbouncer` has pgbouncer's own server as stopped, by its check."""
    for line in servers_state.splitlines():
        fields = line.split()
        # be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state …: 0 is stopped (management guide, 9.3).
        if len(fields) > 6 and fields[3] == "own":
            return fields[5] == "0"
    return False


class Host:
    """This host: its addresses, its connections and its HAProxy."""

    def __init__(self, virtual_ip: str):
        self.virtual_ip = virtual_ip
        family = socket.AF_INET6 if ":" in virtual_ip else socket.AF_INET
        packed = socket.inet_pton(family, virtual_ip)
        route = struct.pack("=BBBBBBBBI", family, 8 * len(packed), 0, 0, 0, 0, 0, 0, 0)
        attribute = struct.pack("=HH", 4 + len(packed), RTA_DST) + packed
        body = route + attribute
        self.question = struct.pack("=IHHII", 16 + len(body), RTM_GETROUTE, NLM_F_REQUEST, 1, 0) + body

    def holds(self) -> bool:
        """Whether the virtual IP is this host's own, as the kernel routes it (rtnetlink(7)). Raises OSError."""
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
            kernel.settimeout(5)
            kernel.send(self.question)
            answer = kernel.recv(4096)
        # The message's header (nlmsghdr, 16 bytes), then rtmsg, whose eighth byte is the route's type.
        return struct.unpack_from("=IH", answer)[1] == RTM_NEWROUTE and answer[16 + 7] == RTN_LOCAL

    def connections(self, program: str) -> dict[End, End]:
        """Return local to remote end of a program's established connections; those of a frozen one, too."""
        command = ["ss", "--no-header", "--tcp", "--numeric", "--processes", "state", "established"]
        return sockets(subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout, program)

    def break_off(self, local: End, remote: End) -> None:
        """Reset a connection."""
        sides = [f"[{address}]:{port}" if ":" in address else f"{address}:{port}" for address, port in (local, remote)]
        command = ["ss", "--kill", "--tcp", "state", "established", "src", sides[0], "dst", sides[1]]
        subprocess.run(command, check=False, capture_output=True, timeout=10)

    def ask_haproxy(self, command: str) -> str:
        """Return HAProxy's answer, or nothing where it gives none within half a second: it is frozen or dead."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(0.5)
                connection.connect(ADMIN_SOCKET)
                connection.sendall(command.encode() + b"\n")
                parts = []
                while part := connection.recv(1 << 16):
                    parts.append(part)
            return b"".join(parts).decode(errors="replace")
        except OSError:
            return ""


class Member:
    """A PostgreSQL server, connected to when something is to be done there."""

    def __init__(self, settings: Mapping, address: str):
        self.settings, self.address, self.connection = settings, address, None

    def ask(self, query: str, **values: object) -> list[tuple]:
        """Return the rows of a query. Raises psycopg2.Error."""
        import psycopg2

        try:
            if self.connection is None:
                self.connection = psycopg2.connect(
                    host=self.address, port=self.settings["port"], dbname="postgres", application_name=NAME,
                    user=self.settings["username"], password=self.settings["password"],
                    sslmode="verify-full", sslrootcert=self.settings["ca"],
                    connect_timeout=2, tcp_user_timeout=3000, options="-c statement_timeout=5s",
                )  # fmt: skip
                # Its own transactions must not stay open.
                self.connection.autocommit = True
            with self.connection.cursor() as cursor:
                cursor.execute(query, values)
                return cursor.fetchall()
        except psycopg2.Error:
            self.close()
            raise

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Reaper:
    """What is done at one member about sessions whose load balancer has lost the virtual IP."""

    def __init__(
        self, settings: Mapping, host: Host, member: Member, clock=time.monotonic, sleep=time.sleep, say=print
    ):
        self.settings, self.host, self.member = settings, host, member
        self.clock, self.sleep, self.say = clock, sleep, say

    def watch(self) -> None:
        """Follow the virtual IP for ever. At the start only what has left is looked after: it is not known since when it is here."""
        held = True
        while True:
            holds = self.host.holds()
            if holds != held:
                self.take_over() if holds else self.give_up()
                self.member.close()
            else:
                self.sleep(TICK_S)
            held = holds

    def give_up(self) -> None:
        """The virtual IP has left this host: end the sessions that came in by it, unless it comes back within the grace."""
        since, ended = self.clock(), 0
        while not self.host.holds():
            passed = self.clock() - since
            lost = self._lost() if passed >= self.settings["grace_s"] else []
            if passed > (self.settings["answer_limit_s"] if lost else 0) + SEEN_S:
                break
            ended += self._do(
                END + BY_PORT, passed, addresses=[end[0] for end in lost], ports=[end[1] for end in lost]
            )[0]
            self.sleep(TICK_S)
        self._tell(ended, "this host, which has lost it")

    def take_over(self) -> None:
        """This host holds the virtual IP now: end the sessions of load balancers that do not show up to do that themselves."""
        since, ended, alive = self.clock(), 0, set()
        while self.host.holds():
            passed = self.clock() - since
            alive |= {address for row in self._try(PRESENT, name=NAME) for address in row}
            silent = sorted(set(self.settings["balancers"]) - alive)
            if passed >= self.settings["grace_s"] + SHOW_UP_S:
                now, left = self._do(END + BY_BALANCER, passed, balancers=silent, held=passed)
                ended += now
                if left == 0 or passed > self.settings["answer_limit_s"] + SEEN_S:
                    break
            self.sleep(TICK_S)
        self._tell(ended, "load balancers that have lost it without a word")

    def _lost(self) -> list[End]:
        connections = self.host.connections("haproxy")
        spared = kept(self.host.ask_haproxy("show sess all"), self.settings["virtual_ip"])
        return proxied(connections, self.member.address, self.settings["port"], spared)

    def _do(self, query: str, passed: float, **values: object) -> tuple[int, int]:
        """Return how many sessions were ended, and how many are left for later; -1 where the server can't be asked."""
        rows = self._try(query, force=passed > self.settings["answer_limit_s"], **values)
        return sum(row[0] for row in rows), sum(not row[0] for row in rows) if self.member.connection else -1

    def _try(self, query: str, **values: object) -> list[tuple]:
        import psycopg2

        try:
            return self.member.ask(query, **values)
        except psycopg2.Error:
            # A server that is away has no sessions either; one that starts or fails over is asked again.
            return []

    def _tell(self, ended: int, whose: str) -> None:
        if ended:
            self.say(
                f"{self.settings['virtual_ip']}: ended {ended} sessions on {self.member.address} of {whose}", flush=True
            )


def watch_pgbouncer(settings: Mapping, host: Host, sleep=time.sleep, say=print) -> None:
    """For ever: a pgbouncer that does not answer has lost its clients, so the transactions that it holds open are ended."""
    while True:
        sleep(0.5)
        if not (host.holds() and answers_no_more(host.ask_haproxy("show servers state pgbouncer"))):
            continue
        held = {
            local: remote for local, remote in host.connections("pgbouncer").items()
            if remote[1] == settings["direct_port"]
        }  # fmt: skip
        for local, remote in held.items():
            host.break_off(local, remote)
        if held:
            say(f"pgbouncer does not answer: broke {len(held)} of its connections to the primary off", flush=True)


def main() -> None:
    settings = json.loads(Path(sys.argv[1]).read_text())
    host = Host(settings["virtual_ip"])
    watches = [Reaper(settings, host, Member(settings, address)).watch for address in settings["members"]]
    if settings["pgbouncer"]:
        watches.append(lambda: watch_pgbouncer(settings, host))
    threads = [threading.Thread(target=watch, daemon=True) for watch in watches]
    for thread in threads:
        thread.start()
    # systemd starts all again where one ends.
    while all(thread.is_alive() for thread in threads):
        time.sleep(1)
    sys.exit(1)


if __name__ == "__main__":
    main()
