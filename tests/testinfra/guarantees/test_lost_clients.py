# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A client whose way to the database was lost leaves no lock behind for long; one that is only silent keeps its session.

LOST_TURNS (1): how often each way is lost. LOST_IDLE_S (60): how long the silent sessions are idle.
Each turn loses the sessions of two clients, one of each port, that hold a row in an open transaction and say nothing.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest
from cluster import LAB, Cluster, until

TURNS = int(os.environ.get("LOST_TURNS", "1"))
IDLE_S = int(os.environ.get("LOST_IDLE_S", "60"))
PORTS = (5432, 5434)
# The issue's own limits: where the load balancer's host lives, and where it does not (from when the address has moved).
LIVING_S, DEAD_S = 3, 10
# How far over its limit a turn may be on the lab's two cores, for a failed test to mean more than a busy machine.
GIVE_UP_S = 120


def strike(cluster: Cluster, host: str, command: str) -> float:
    """Run a command on a host; returns when it began there, in seconds since 1970. The lab's hosts have this machine's clock."""
    return float(cluster.ssh(host, f"date +%s.%N; {command} >&2").stdout)


def signalled(signal: str, process: str) -> Callable:
    """Send a signal to all processes of a name; those that were stopped go on afterwards."""

    @contextlib.contextmanager
    def way(cluster: Cluster, host: str) -> Iterator[float]:
        yield strike(cluster, host, f"pkill -{signal} -x {process}")
        if signal == "STOP":
            cluster.ssh(host, f"pkill -CONT -x {process}")

    return way


@contextlib.contextmanager
def moved(cluster: Cluster, host: str) -> Iterator[float]:
    """Move the address as the switchover does, without the time that a playbook takes."""
    yield strike(cluster, host, "/usr/local/lib/utmstack-ha/vip drain 60")
    cluster.ssh(host, "/usr/local/lib/utmstack-ha/vip undrain")


@contextlib.contextmanager
def by_lab(lose: str, restore: str, host: str) -> Iterator[float]:
    began = time.time()
    subprocess.run([*LAB, lose, host], check=True, capture_output=True)
    try:
        yield began
    finally:
        subprocess.run([*LAB, restore, host], check=True, capture_output=True)


@contextlib.contextmanager
def cut_off(cluster: Cluster, host: str) -> Iterator[float]:
    """Cut a host off from all others and from its clients, a second later; it ends that itself after 40 s."""
    others = ", ".join(
        [*(address for name, address in cluster.hosts.items() if name != host), str(cluster.lab.subnet[1])]
    )
    began = 1 + strike(
        cluster,
        host,
        f"""systemd-run --quiet --unit=cut-off sh -c 'sleep 1; nft "table inet cut_off {{
            chain input {{ type filter hook input priority -10; ip saddr {{ {others} }} drop; }}
            chain output {{ type filter hook output priority -10; ip daddr {{ {others} }} drop; }}
        }}"; sleep 40; nft delete table inet cut_off'""",
    )
    time.sleep(max(0, began - time.time()))
    yield began
    time.sleep(max(0, began + 42 - time.time()))


# How the way is lost, whether the load balancer's host lives on, and the ports whose clients lose their way.
WAYS: dict[str, tuple[Callable, bool, tuple[int, ...]]] = {
    "address moved by plan": (moved, True, PORTS),
    "keepalived SIGKILL": (signalled("KILL", "keepalived"), True, PORTS),
    "keepalived SIGSTOP": (signalled("STOP", "keepalived"), True, PORTS),
    "HAProxy SIGKILL": (signalled("KILL", "haproxy"), True, PORTS),
    "HAProxy SIGSTOP": (signalled("STOP", "haproxy"), True, PORTS),
    "pgbouncer SIGKILL": (signalled("KILL", "pgbouncer"), True, (5432,)),
    "pgbouncer SIGSTOP": (signalled("STOP", "pgbouncer"), True, (5432,)),
    "holder without power": (lambda _cluster, host: by_lab("power-off", "power-on", host), False, PORTS),
    "holder frozen": (lambda _cluster, host: by_lab("freeze", "thaw", host), False, PORTS),
    "holder cut off": (cut_off, False, PORTS),
}
KEEP_THE_ADDRESS = ("HAProxy SIGSTOP", "holder frozen")


def connect(cluster: Cluster, port: int) -> psycopg.Connection:
    """A client that finds out by itself whether its server is gone only after 40 s."""
    patient = cluster.conninfo(port).replace("tcp_user_timeout=2000", "tcp_user_timeout=40000")
    return psycopg.connect(patient.replace("keepalives_idle=1 ", "keepalives_idle=40 "))


def pooled(cluster: Cluster) -> bool:
    """Whether port 5432 leads through pgbouncer, which gives its clients numbers of its own, and not around one that is down."""
    with psycopg.connect(cluster.conninfo()) as connection:
        return connection.info.backend_pid != connection.execute("SELECT pg_backend_pid()").fetchone()[0]


class Turn:
    """Two clients that hold a row each, and two that want these rows as soon as the way is lost."""

    def __init__(self, cluster: Cluster, ports: tuple[int, ...]):
        self.cluster, self.ports = cluster, ports
        # When each port took a new session, gave the row, and had the change on a synchronous standby, in seconds since 1970.
        self.in_again: dict[int, float] = {}
        self.locked: dict[int, float] = {}
        self.free: dict[int, float] = {}

    def hold(self) -> None:
        with psycopg.connect(self.cluster.conninfo()) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS lost_clients (port int PRIMARY KEY, turns int NOT NULL)")
            connection.execute(
                "INSERT INTO lost_clients SELECT port, 0 FROM unnest(%s) AS port ON CONFLICT DO NOTHING",
                [list(self.ports)],
            )
        if 5432 in self.ports:
            until(lambda: pooled(self.cluster), 60, "a session through pgbouncer")
        self.holders = {port: connect(self.cluster, port) for port in self.ports}
        for port, holder in self.holders.items():
            holder.execute("UPDATE lost_clients SET turns = turns + 1 WHERE port = %s", [port])

    def want(self) -> None:
        self.lost = time.time()
        self.wanting = [threading.Thread(target=self._want, args=[port], daemon=True) for port in self.ports]
        for thread in self.wanting:
            thread.start()

    def _want(self, port: int) -> None:
        while port not in self.free and time.time() - self.lost < GIVE_UP_S:
            # A session through the old way may still begin; it is given up soon.
            with contextlib.suppress(psycopg.Error), psycopg.connect(self.cluster.conninfo(port)) as connection:
                connection.execute("SELECT 1")
                self.in_again.setdefault(port, time.time())
                connection.execute("UPDATE lost_clients SET turns = turns + 1 WHERE port = %s", [port])
                self.locked.setdefault(port, time.time())
                connection.commit()
                self.free[port] = time.time()
            time.sleep(0.05)

    def wait(self) -> None:
        for thread in self.wanting:
            thread.join(GIVE_UP_S + 20)
        for holder in self.holders.values():
            holder.close()


def primary_elsewhere(cluster: Cluster) -> str:
    """Have the virtual IP on a host that does not lead PostgreSQL; returns its holder."""
    until(lambda: cluster.whole() and cluster.vip_holder(), 240, "a whole cluster")
    if cluster.vip_holder() == cluster.primary():
        holder = cluster.vip_holder()
        cluster.ssh(holder, "/usr/local/lib/utmstack-ha/vip drain 10")
        until(lambda: cluster.vip_holder() not in (None, holder), 30, "another holder")
        time.sleep(2)
    return cluster.vip_holder()


@pytest.mark.parametrize("way", WAYS)
def test_a_lost_client_leaves_no_lock_behind(cluster, way):
    lose, lives, ports = WAYS[way]
    limit, worst = (LIVING_S if lives else DEAD_S), 0.0
    for number in range(TURNS):
        holder = primary_elsewhere(cluster)
        turn = Turn(cluster, ports)
        turn.hold()
        # The pools that the last turn left behind settle.
        time.sleep(1)
        with lose(cluster, holder) as began:
            turn.want()
            turn.wait()
        for port in ports:
            # A frozen host, or one whose HAProxy is, keeps the address until that is noticed.
            since = turn.in_again[port] if way in KEEP_THE_ADDRESS else began
            worst = max(worst, turn.free[port] - since)
            print(
                f"\n{way}, turn {number + 1}, port {port}: new session after {turn.in_again[port] - began:.2f} s,"
                f" row locked after {turn.locked[port] - began:.2f} s, committed after {turn.free[port] - began:.2f} s,"
                f" counted {turn.free[port] - since:.2f} s",
                end="",
            )
    print(f"\n{way}: {worst:.2f} s at most in {TURNS} turns, limit {limit} s")
    until(lambda: cluster.whole() and cluster.vip_holder(), 240, "a whole cluster")
    assert worst <= limit


@pytest.mark.parametrize("port", PORTS)
def test_a_statement_under_way_is_answered_and_then_its_lock_is_free(cluster, port):
    holder = primary_elsewhere(cluster)
    turn = Turn(cluster, (port,))
    turn.hold()
    answered: dict[str, float] = {}

    def wait_for_answer() -> None:
        turn.holders[port].execute("SELECT pg_sleep(6)")
        answered["at"] = time.time()

    asking = threading.Thread(target=wait_for_answer, daemon=True)
    asking.start()
    time.sleep(1)
    with moved(cluster, holder):
        turn.want()
        asking.join(30)
        turn.wait()
    print(f"\nport {port}: row free {turn.free[port] - answered['at']:.2f} s after the answer")
    assert 3 < answered["at"] - turn.lost < 7
    assert 0 <= turn.free[port] - answered["at"] <= LIVING_S


def test_a_silent_session_lives_also_over_a_cut_of_its_way(cluster):
    """One idle for LOST_IDLE_S, one idle in a transaction for a third of that, on each port; their network is cut for 20 s."""
    holder = primary_elsewhere(cluster)
    idle = {port: connect(cluster, port) for port in PORTS}
    turn = Turn(cluster, PORTS)
    turn.hold()
    for connection in idle.values():
        connection.autocommit = True
        connection.execute("SELECT 1")
    began = time.time()
    client = cluster.lab.subnet[1]
    cluster.ssh(
        holder,
        f"""systemd-run --quiet --unit=client-cut sh -c 'sleep 2; nft "table inet client_cut {{
            chain input {{ type filter hook input priority -10; ip saddr {client} drop; }}
            chain output {{ type filter hook output priority -10; ip daddr {client} drop; }}
        }}"; sleep 20; nft delete table inet client_cut'""",
    )
    time.sleep(max(25, IDLE_S / 3))
    for port, holder_of_a_row in turn.holders.items():
        holder_of_a_row.execute("UPDATE lost_clients SET turns = turns + 1 WHERE port = %s", [port])
        holder_of_a_row.rollback()
        holder_of_a_row.close()
    time.sleep(max(0, IDLE_S - (time.time() - began)))
    for connection in idle.values():
        assert connection.execute("SELECT 1").fetchone() == (1,)
        connection.close()
    assert cluster.vip_holder() == holder
