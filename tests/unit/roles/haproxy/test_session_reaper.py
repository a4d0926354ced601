# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which database sessions end when the virtual IP moves, when, and who sees to it. What is doubled: the kernel, HAProxy and PostgreSQL."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[4] / "roles" / "haproxy" / "files" / "session_reaper.py"
VIP, OWN, OTHER, PRIMARY = "10.0.1.100", "10.0.1.11", "10.0.1.12", "10.0.1.13"
SETTINGS = {
    "virtual_ip": VIP, "port": 5432, "direct_port": 5434, "members": [PRIMARY], "balancers": [OTHER], "pgbouncer": True,
    "grace_s": 1, "answer_limit_s": 30,
}  # fmt: skip


@pytest.fixture
def reaper(monkeypatch):
    """The program as a module; the driver, which the lab's hosts have, is doubled by its exception."""
    monkeypatch.setitem(sys.modules, "psycopg2", types.SimpleNamespace(Error=ConnectionError))
    spec = importlib.util.spec_from_file_location("session_reaper", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def session(source: str, listener: str, server: str) -> str:
    """One session of `show sess all`, as HAProxy 3.0.11 prints it, shortened to the lines that count."""
    return (
        f"0x7f9e8b77f400: [29/Nov/2026:08:04:50.522186] id=417 proto=tcpv4 source={source}\n"
        f"  frontend=postgresql_write (id=10 mode=tcp), listener=? (id=1) addr={listener}\n"
        f"  backend=postgresql_write (id=11 mode=tcp) addr={server}\n"
        "  server=node3 (id=1) addr=10.0.1.13:5432\n"
    )


CONSOLE = (
    "0x7f9e8b53a800: [29/Nov/2026:08:06:13.966394] id=1412 proto=unix_stream source=unix:1\n"
    "  frontend=GLOBAL (id=0 mode=tcp), listener=? (id=1) addr=unix:1\n  backend=<NONE> (id=-1 mode=-)\n"
)


@pytest.mark.parametrize(
    ("sessions", "kept"),
    [
        ([session("10.0.1.1:40000", f"{VIP}:5434", f"{OWN}:50000")], set()),
        # A tool that uses this load balancer by the host's own address.
        ([session("10.0.1.1:40000", f"{OWN}:5434", f"{OWN}:50000")], {(OWN, 50000)}),
        # A client of the virtual IP that HAProxy sends through itself, as while pgbouncer is away.
        (
            [
                session("10.0.1.1:40000", f"{VIP}:5432", f"{OWN}:51000"),
                session(f"{OWN}:51000", f"{OWN}:5434", f"{OWN}:50000"),
            ],
            set(),
        ),
        ([CONSOLE], set()),
        ([], set()),
    ],
)
def test_only_sessions_that_came_in_by_the_virtual_ip_are_lost(reaper, sessions, kept):
    assert reaper.kept(CONSOLE + "".join(sessions), VIP) == kept


def test_connections_of_one_program_are_read_from_ss(reaper):
    printed = (
        '0      0      10.0.1.100:5432  172.18.0.3:45908 users:(("haproxy",pid=6030,fd=27))\n'
        '0      0       10.0.1.11:50000  10.0.1.13:5432 users:(("haproxy",pid=6030,fd=31),("haproxy",pid=6031,fd=31))\n'
        '0      0  [::ffff:10.0.1.11]:50001 [fd00::13]:5432 users:(("haproxy",pid=6030,fd=32))\n'
        '0      0       10.0.1.11:40000  10.0.1.13:5432 users:(("psql",pid=7000,fd=3))\n'
        "0      0       10.0.1.11:40001  10.0.1.13:5432\n"
    )
    connections = reaper.sockets(printed, "haproxy")
    assert connections == {
        (VIP, 5432): ("172.18.0.3", 45908),
        (OWN, 50000): (PRIMARY, 5432),
        (OWN, 50001): ("fd00::13", 5432),
    }
    assert reaper.proxied(connections, PRIMARY, 5432, spared=set()) == [(OWN, 50000)]
    assert reaper.proxied(connections, PRIMARY, 5432, spared={(OWN, 50000)}) == []


HEAD = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight\n"


@pytest.mark.parametrize(
    ("answer", "silent"),
    [
        (HEAD + "11 pgbouncer 1 own 10.0.1.11 2 0 1\n11 pgbouncer 2 direct 10.0.1.11 2 0 1\n", False),
        (HEAD + "11 pgbouncer 1 own 10.0.1.11 0 0 1\n11 pgbouncer 2 direct 10.0.1.11 2 0 1\n", True),
        (HEAD + "11 pgbouncer 1 own 10.0.1.11 2 0 1\n11 pgbouncer 2 direct 10.0.1.11 0 0 1\n", False),
        ("Can't find backend.\n", False),
        ("", False),
    ],
)
def test_a_pgbouncer_is_silent_only_where_haproxy_says_so(reaper, answer, silent):
    assert reaper.answers_no_more(answer) is silent


class Clock:
    """Time that passes by sleeping."""

    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Kernel:
    """A host that holds the virtual IP in the given spans, and has the given sessions to the primary."""

    def __init__(self, clock, spans=(), ports=()):
        self.clock, self.spans, self.ports = clock, spans, list(ports)

    def holds(self) -> bool:
        return any(begin <= self.clock() < end for begin, end in self.spans)

    def connections(self, program):
        assert program == "haproxy"
        return {(OWN, port): (PRIMARY, 5432) for port in self.ports}

    def ask_haproxy(self, _command) -> str:
        """Frozen: all its sessions count as lost."""
        return ""


class Database:
    """PostgreSQL with sessions by port: how long each still has a statement under way. Others' sessions have the port None."""

    def __init__(self, kernel, busy: dict[int, float], showing: dict[str, float] | None = None, theirs=()):
        self.kernel, self.busy, self.theirs, self.address = kernel, busy, list(theirs), PRIMARY
        self.showing = showing or {}
        self.ended: dict[object, float] = {}
        self.asked: list[float] = []
        self.connection, self.away_until = True, 0.0

    def close(self) -> None:
        """The connection is kept."""

    def ask(self, query, **values):
        now = self.kernel.clock()
        self.asked.append(now)
        if now < self.away_until:
            raise ConnectionError("no route to host")
        if "ended" not in query:
            return [(balancer,) for balancer, since in self.showing.items() if now >= since]
        if "ports" in values:
            rows = []
            for port in list(values["ports"]):
                done = values["force"] or now >= self.busy.get(port, 0)
                rows.append((done,))
                if done:
                    self.ended[port] = round(now, 1)
                    self.kernel.ports.remove(port)
            return rows
        rows = [(True,) for balancer in self.theirs if balancer in values["balancers"]]
        for balancer in [one for one in self.theirs if one in values["balancers"]]:
            self.ended[balancer] = round(now, 1)
            self.theirs.remove(balancer)
        return rows


def made(reaper, kernel, database):
    said = []
    one = reaper.Reaper(
        SETTINGS,
        kernel,
        database,
        clock=kernel.clock,
        sleep=kernel.clock.sleep,
        say=lambda text, **_: said.append(text),
    )
    return one, said


def test_a_waiting_session_ends_after_the_grace_and_a_busy_one_when_it_is_answered(reaper):
    kernel = Kernel(Clock(), ports=[50000, 50001, 50002])
    database = Database(kernel, busy={50001: 4, 50002: 1000})
    one, said = made(reaper, kernel, database)
    one.give_up()
    assert database.ended[50000] == pytest.approx(1, abs=0.3)
    assert database.ended[50001] == pytest.approx(4, abs=0.3)
    assert database.ended[50002] == pytest.approx(30, abs=0.5)
    assert said == [f"{VIP}: ended 3 sessions on {PRIMARY} of this host, which has lost it"]


def test_an_address_that_comes_back_within_the_grace_ends_no_session(reaper):
    kernel = Kernel(Clock(), spans=[(0.8, 1000)], ports=[50000])
    database = Database(kernel, busy={})
    one, said = made(reaper, kernel, database)
    one.give_up()
    assert (database.ended, said) == ({}, [])


def test_a_host_that_lost_the_address_shows_up_at_once_and_stays_for_the_new_holder_to_see(reaper):
    kernel = Kernel(Clock())
    database = Database(kernel, busy={})
    one, _said = made(reaper, kernel, database)
    one.give_up()
    assert database.asked[0] == 0
    assert max(later - earlier for earlier, later in zip(database.asked, database.asked[1:], strict=False)) < 1.5
    assert database.asked[-1] >= reaper.SEEN_S - 0.5


def test_a_server_that_was_away_is_asked_again(reaper):
    kernel = Kernel(Clock(), ports=[50000])
    database = Database(kernel, busy={})
    database.away_until = 6
    one, _said = made(reaper, kernel, database)
    one.give_up()
    assert database.ended[50000] == pytest.approx(6, abs=0.3)


@pytest.mark.parametrize(
    ("showing", "ended"),
    [
        ({}, True),
        # It has seen by itself that the address left, and ends its own.
        ({OTHER: 0.4}, False),
        # Another one that shows up says nothing of this one.
        ({"10.0.1.19": 0.4}, True),
    ],
)
def test_the_new_holder_ends_what_came_from_a_load_balancer_that_does_not_show_up(reaper, showing, ended):
    kernel = Kernel(Clock(), spans=[(0, 1000)])
    database = Database(kernel, busy={}, showing=showing, theirs=[OTHER])
    one, said = made(reaper, kernel, database)
    one.take_over()
    assert (OTHER in database.ended) is ended
    assert bool(said) is ended
    if ended:
        assert 1.5 <= database.ended[OTHER] <= 2


def test_a_reaper_that_starts_on_the_holder_ends_nobodys_sessions(reaper):
    """Since when the address is here is not known, so others' sessions may be good."""
    clock = Clock()
    kernel = Kernel(clock, spans=[(0, 1000)])
    database = Database(kernel, busy={}, theirs=[OTHER])
    one, _said = made(reaper, kernel, database)

    class Enough(Exception):
        """Ends the endless loop."""

    def sleep(seconds):
        clock.sleep(seconds)
        if clock() > 60:
            raise Enough

    one.sleep = sleep
    with pytest.raises(Enough):
        one.watch()
    assert (database.ended, database.asked) == ({}, [])


def test_the_sql_names_no_superuser_no_stream_and_not_itself(reaper):
    for query in (reaper.END + reaper.BY_PORT, reaper.END + reaper.BY_BALANCER):
        for part in ("backend_type = 'client backend'", "NOT rolsuper", "usename <> current_user"):
            assert part in query


@pytest.mark.parametrize(
    ("address", "held"), [("127.0.0.1", True), ("127.9.8.7", True), ("::1", True), ("192.0.2.1", False)]
)
def test_the_kernel_says_whether_an_address_is_this_hosts_own(reaper, address, held):
    if address == "::1" and not Path("/proc/sys/net/ipv6").exists():
        pytest.skip("a kernel without IPv6")
    assert reaper.Host(address).holds() is held
