# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The hand-over with every way that it can stop half-way: Patroni's recorded replies, pgbouncer and HAProxy doubled.

The clock runs twenty times as fast as the real one, since the hand-over does two things at once.
"""

from __future__ import annotations

import contextlib
import threading
import time

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.patroni import switchover as handover
from ansible_collections.utmstack.ha.plugins.module_utils.patroni.client import PatroniError
from ansible_collections.utmstack.ha.plugins.module_utils.patroni.switchover import SessionError, TookTooLong
from patroni_network import Network, replies, said, switchover_frames

SPEED = 20
BALANCERS = [{"name": f"node{number}", "address": f"10.0.1.1{number}"} for number in (1, 2, 3)]
# In the recorded switchover node2 hands over to node1, which takes writes 2.8 s after the first look.
NEW, WRITES_AT = "10.0.1.11", 2.8


class Patroni(Network):
    """The recorded network with a clock that runs by itself."""

    def __init__(self, *frames, acts=None):
        self.began = time.monotonic()
        super().__init__(*frames, acts=acts)

    @property
    def time(self):
        return (time.monotonic() - self.began) * SPEED

    @time.setter
    def time(self, value):
        """It can't be moved."""

    def sleep(self, seconds):
        time.sleep(seconds / SPEED)

    def send(self, method, url, headers, body, timeout):
        if method != "GET":
            self.sleep(0.5)
        return super().send(method, url, headers, body, timeout)


class Console:
    """A session with a doubled pgbouncer."""

    def __init__(self, pool):
        self.pool, self.waits = pool, False

    def ask(self, statement, seconds):
        assert not self.waits, "a console that waits for PAUSE takes no other command"
        return self.pool.answer(self, statement, seconds)

    def close(self):
        self.waits = False

    def __enter__(self):
        return self

    def __exit__(self, *_unused):
        self.close()


class Pool:
    """A doubled pgbouncer. busy: a transaction does not end; deaf: how often RESUME gets no answer; away: no console."""

    def __init__(self, address, log):
        self.address, self.log = address, log
        self.paused, self.busy, self.deaf, self.away = False, False, 0, False

    def console(self):
        if self.away:
            raise SessionError("connection refused")
        return Console(self)

    def answer(self, console, statement, seconds):
        self.log.append((self.address, statement))
        if statement == "PAUSE":
            if self.paused:
                raise SessionError("already suspended/paused")
            self.paused = True
            if self.busy:
                console.waits = True
                raise TookTooLong(f"no answer in {seconds:g} s")
            return []
        if statement == "RESUME":
            if self.deaf:
                self.deaf -= 1
                raise TookTooLong("no answer in 3 s")
            if not self.paused:
                raise SessionError("pooler is not paused/suspended")
            self.paused = False
            return []
        if statement == "SHOW CONFIG":
            return [{"key": "listen_port", "value": "6432"}, {"key": "listen_addr", "value": self.address}]
        row = {"user": "utmstack", "database": "utmstack", "request_time": "2026-01-01 00:00:00", "state": "active"}
        if statement == "SHOW SERVERS":
            return [row | {"ptr": "0x1", "link": "0x2", "remote_pid": 4711}, row | {"state": "idle", "link": ""}]
        assert statement == "SHOW CLIENTS"
        return [row | {"ptr": "0x2", "link": "0x1", "application_name": "report"}]


class World:
    """Patroni, three pgbouncers and three HAProxys. `holder` is where the virtual IP is."""

    def __init__(self, patroni=None, holder="10.0.1.11"):
        acts = {"POST /switchover": {"status": 200, "body": "Successfully switched over"}}
        self.patroni = patroni or Patroni(*switchover_frames("4.0.7"), acts=acts)
        self.log, self.holder = [], holder
        self.pools = {entry["address"]: Pool(entry["address"], self.log) for entry in BALANCERS}
        self.blind = set()
        self.now, self.sleep = self.patroni.now, self.patroni.sleep
        self.lock = threading.Lock()

    def console(self, address=None):
        return self.pools[address or self.holder].console()

    def primary(self, address):
        if self.patroni.zero is None:
            return "10.0.1.12"
        since = self.now() - self.patroni.zero
        if since < 0.5:
            return "10.0.1.12"
        return NEW if since >= WRITES_AT and address not in self.blind else None

    def hand_over(self, **arguments):
        arguments.setdefault("limits", handover.Limits(5, 20, 30))
        return handover.hand_over(self.patroni.client(), self, BALANCERS, **arguments)

    def sent(self, statement):
        return [address for address, words in self.log if words == statement]

    @property
    def paused(self):
        return [address for address, pool in self.pools.items() if pool.paused]


ALL = sorted(entry["address"] for entry in BALANCERS)


def test_every_pgbouncer_is_paused_before_and_resumed_when_the_new_primary_takes_writes():
    world = World()
    result = world.hand_over()
    assert (result["changed"], result["old_leader"], result["leader"]) == (True, "node2", "node1")
    assert sorted(world.sent("PAUSE")) == sorted(world.sent("RESUME")) == ALL
    request = world.patroni.sent[0][2]
    assert request == {"leader": "node2", "candidate": "node1"}
    assert WRITES_AT <= result["pause_seconds"] < WRITES_AT + 3 < result["seconds"]
    assert [pool["problem"] for pool in result["pgbouncers"]] == ["", "", ""]


def test_the_old_primary_that_still_takes_writes_is_not_taken_for_the_new_one():
    world = World()
    world.patroni.acts["POST /switchover"] = {"status": 200, "body": "ok", "seconds": 0}
    assert world.hand_over()["pause_seconds"] >= WRITES_AT


def test_a_dry_run_says_who_would_take_over_and_pauses_nobody():
    world = World()
    result = world.hand_over(check_mode=True)
    assert (result["candidates"], result["changed"], result["leader"]) == (["node1"], True, "node2")
    assert {member["name"]: member["role"] for member in result["members"]}["node3"] == "replica"
    assert world.log == world.patroni.sent == []


def test_nothing_happens_where_the_candidate_leads_already():
    world = World()
    assert world.hand_over(candidate="node2")["changed"] is False
    assert world.log == world.patroni.sent == []


def test_a_cluster_that_is_not_fit_for_it_is_refused_before_anybody_is_paused():
    world = World(Patroni((0, replies("4.0.7-member-killed"))))
    with pytest.raises(PatroniError, match="No switchover"):
        world.hand_over(candidate="node2")
    assert world.log == []


def test_a_transaction_that_does_not_end_stops_it_with_all_resumed_and_says_whose_it_is():
    world = World()
    world.pools["10.0.1.12"].busy = True
    with pytest.raises(PatroniError) as caught:
        world.hand_over()
    message = str(caught.value)
    assert (
        "node2: a transaction did not end in 5 s (user utmstack in database utmstack, process 4711 of the primary"
        in message
    )
    assert "application report" in message
    assert message.endswith("All were resumed. Nothing was handed over")
    assert world.paused == world.patroni.sent == []


def test_somebody_elses_pause_is_left_alone():
    world = World()
    world.pools["10.0.1.13"].paused = True
    with pytest.raises(PatroniError, match="node3: already suspended/paused: another switchover may be going on"):
        world.hand_over()
    assert world.paused == ["10.0.1.13"]
    assert world.patroni.sent == []


def test_a_switchover_that_patroni_refuses_lets_clients_go_on_at_once():
    world = World()
    world.patroni.acts["POST /switchover"] = said("4.0.7", "switchover to an asynchronous member")
    world.patroni.frames = world.patroni.frames[:1]
    began = world.now()
    with pytest.raises(PatroniError, match="Patroni refuses the switchover") as caught:
        world.hand_over()
    assert world.paused == []
    assert world.now() - began < 10
    assert [pool["name"] for pool in caught.value.facts["pgbouncers"]] == ["node1", "node2", "node3"]


def test_clients_go_on_after_the_limit_where_the_new_primary_never_comes_through_haproxy():
    world = World()
    world.blind = {"10.0.1.11"}
    with pytest.raises(PatroniError, match="node1 leads, but was not seen .* HAProxy on node1 in 12 s") as caught:
        world.hand_over(limits=handover.Limits(5, 12, 30))
    assert world.paused == []
    waited = {pool["name"]: pool["pause_seconds"] for pool in caught.value.facts["pgbouncers"]}
    assert 12 <= waited["node1"] < 16
    assert waited["node2"] < 6
    assert caught.value.facts["changed"] is True


def test_clients_go_on_after_the_limit_where_nobody_takes_over():
    frames = [(0, switchover_frames("4.0.7")[0][1])]
    world = World(Patroni(*frames, acts={"POST /switchover": {"error": "timed out"}}))
    world.blind = set(ALL)
    with pytest.raises(PatroniError, match="node2 was to hand over, but still leads"):
        world.hand_over(limits=handover.Limits(5, 8, 15))
    assert world.paused == []


def test_resume_is_tried_again():
    world = World()
    world.pools["10.0.1.13"].deaf = 2
    assert world.hand_over()["changed"] is True
    assert world.paused == []


def test_a_pgbouncer_that_never_answers_to_resume_is_told_and_the_others_go_on():
    world = World()
    world.pools["10.0.1.13"].deaf = 1000
    with pytest.raises(PatroniError, match="node1 leads, but pgbouncer does not answer to RESUME on node3") as caught:
        world.hand_over()
    assert world.paused == ["10.0.1.13"]
    assert caught.value.facts["leader"] == "node1"


def test_a_pause_that_the_timer_ended_before_is_told():
    world = World()

    @contextlib.contextmanager
    def timer():
        world.pools["10.0.1.12"].paused = False
        yield

    problems = {pool["name"]: pool["problem"] for pool in world.hand_over(around=timer)["pgbouncers"]}
    assert problems == {"node1": "", "node2": "was resumed by somebody else before", "node3": ""}


def test_a_load_balancer_that_is_away_is_told_and_no_reason_to_stop():
    world = World()
    world.pools["10.0.1.13"].away = True
    result = world.hand_over()
    assert [pool["problem"] for pool in result["pgbouncers"]] == ["", "", "connection refused"]
    assert sorted(world.sent("PAUSE")) == ALL[:2]


@pytest.mark.parametrize("reached", [True, False])
def test_the_pgbouncer_that_clients_use_must_be_paused(reached):
    world = World(holder="10.0.1.13")
    world.pools["10.0.1.13"].away = True
    if reached:
        # The virtual IP leads to it, but the way from here does not.
        world.console = lambda address=None: Console(world.pools["10.0.1.13"]) if address is None else (
            world.pools[address].console()
        )  # fmt: skip
    with pytest.raises(PatroniError, match="pgbouncer can't be paused on node3 .*Nothing was handed over"):
        world.hand_over()
    assert world.paused == world.patroni.sent == []


def test_where_no_pgbouncer_answers_anywhere_there_is_nothing_to_pause():
    world = World()
    for pool in world.pools.values():
        pool.away = True
    result = world.hand_over()
    assert (result["leader"], result["pause_seconds"]) == ("node1", 0.0)
    assert {pool["problem"] for pool in result["pgbouncers"]} == {"connection refused"}


def test_the_process_that_is_told_to_end_resumes_first():
    world = World()

    @contextlib.contextmanager
    def ended():
        yield
        raise SystemExit(1)

    def primary(address):
        raise SystemExit(1)

    world.primary = primary
    with pytest.raises(SystemExit):
        world.hand_over(around=ended)
    assert world.paused == []


class InPlace(World):
    """The primary is away from 1 s to 3 s after the pause began, or never where `blink` is false; its restart is told after 8 s."""

    def __init__(self, blink=True):
        super().__init__()
        self.blink, self.began = blink, None

    def primary(self, address):
        self.began = self.now() if self.began is None else self.began
        return None if self.blink and 1 <= self.now() - self.began < 3 else NEW

    def restart(self):
        def act():
            self.sleep(8)
            return {"changed": True, "leader": "node1"}

        return handover._while_clients_wait(self, BALANCERS, handover.Limits(5, 20, 30), act, NEW, again=True)


def test_a_server_that_restarts_in_place_has_to_have_been_away_before_clients_go_on():
    world = InPlace()
    assert 3 <= world.restart()["pause_seconds"] < 7
    assert sorted(world.sent("RESUME")) == ALL


def test_a_restart_that_nobody_saw_is_over_when_patroni_says_so():
    assert InPlace(blink=False).restart()["pause_seconds"] >= 7.5


# -- holding clients for longer than a switchover takes ----------------------------------------------------------------


class Standing:
    """A world without Patroni, in which the primary comes at a time, or never through some HAProxys."""

    def __init__(self, comes_at=0.0, blind=()):
        self.log, self.holder, self.comes_at, self.blind, self.time = [], "10.0.1.11", comes_at, blind, 0.0
        self.pools = {entry["address"]: Pool(entry["address"], self.log) for entry in BALANCERS}

    def console(self, address=None):
        return self.pools[address or self.holder].console()

    def primary(self, address):
        return NEW if self.time >= self.comes_at and address not in self.blind else None

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds

    @property
    def paused(self):
        return [address for address, pool in self.pools.items() if pool.paused]


def test_clients_are_held_until_they_are_let_go_to_a_primary():
    world = Standing(comes_at=30)
    assert handover.hold(world, BALANCERS, 5)["changed"]
    assert world.paused == ALL
    assert handover.let_go(world, BALANCERS, 60)["changed"]
    assert world.paused == []
    assert 30 <= world.time < 31


def test_what_an_interrupted_run_holds_is_held_already():
    world = Standing()
    world.pools["10.0.1.12"].paused = True
    result = handover.hold(world, BALANCERS, 5)
    assert [pool["problem"] for pool in result["pgbouncers"]] == ["", "", ""]
    assert world.paused == ALL


def test_clients_are_not_held_where_a_transaction_does_not_end():
    world = Standing()
    world.pools["10.0.1.13"].busy = True
    with pytest.raises(
        PatroniError, match="Clients could not be made to wait, and PostgreSQL was not touched.*process 4711"
    ):
        handover.hold(world, BALANCERS, 5)
    assert world.paused == []


def test_clients_are_let_go_in_any_case_and_it_is_said_where_they_find_no_primary():
    world = Standing(blind=("10.0.1.12",))
    handover.hold(world, BALANCERS, 5)
    with pytest.raises(PatroniError, match="through HAProxy on node2 after 60 s"):
        handover.let_go(world, BALANCERS, 60)
    assert world.paused == []


def test_a_load_balancer_that_is_away_holds_nobody_up():
    world = Standing()
    world.pools["10.0.1.13"].away = True
    handover.hold(world, BALANCERS, 5)
    assert world.paused == ALL[:2]
    result = handover.let_go(world, BALANCERS, 60)
    assert world.paused == []
    assert result["pgbouncers"][2]["problem"] == "connection refused"
