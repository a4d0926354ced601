# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A planned change of the master, and every way in which it can stop half-way."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.redis.client import RedisError
from ansible_collections.utmstack.ha.plugins.module_utils.redis.switchover import Handover, HandoverError
from redis_network import HOSTS, NAMES, Cluster

GONE = RedisError("the connection was closed")
INPROG = RedisError("INPROG Failover already in progress", answered=True)


def handover(cluster, name="node1", seconds=20, to=None):
    return Handover(HOSTS, cluster, name, seconds, to, clock=cluster.clock, sleep=cluster.sleep)


def retired(new):
    """What makes node1 a replica, in one step."""
    words = [f"SLAVEOF {NAMES[new]} 6379", "CLIENT KILL TYPE normal SKIPME yes", "CLIENT UNPAUSE"]
    return [f"node1 {command}" for command in ("MULTI", *words, "EXEC")]


def test_writes_are_held_until_the_new_master_has_them_and_the_old_one_follows():
    cluster = Cluster()
    assert handover(cluster).run() == "node2"
    assert cluster.log == [
        "node1 CLIENT PAUSE 10000 WRITE",
        "node1 SENTINEL FAILOVER utmstack-redis",
        *retired("node2"),
    ]


def test_clients_are_held_until_no_sentinel_names_the_old_master():
    cluster = Cluster()
    cluster.late = {"node3": 2.5}
    run = handover(cluster)
    assert run.run() == "node2"
    assert 2.5 <= run.held < 3
    assert cluster.log[-6:] == ["node1 CLIENT PAUSE 10000 WRITE", *retired("node2")]


def test_clients_are_held_until_the_new_master_has_the_replicas_that_it_needs_to_take_writes():
    cluster = Cluster()
    cluster.min_replicas, cluster.replicas_at = 1, 1.5
    run = handover(cluster)
    assert run.run() == "node2"
    assert 1.5 <= run.held < 2


def test_a_new_master_without_replicas_is_told_and_the_old_one_follows_it_all_the_same():
    cluster = Cluster()
    cluster.min_replicas, cluster.replicas_at = 1, 1000
    with pytest.raises(
        HandoverError, match=r"node2 is master and node1 follows it, but: node2 has 0 of the 1 replicas"
    ):
        handover(cluster).run()
    assert cluster.log[-6:] == [*retired("node2"), "node1 CONFIG SET min-replicas-to-write 1"]


def test_the_old_one_holds_what_comes_when_its_replicas_have_left_it():
    cluster = Cluster()
    cluster.min_replicas = 1
    assert handover(cluster).run() == "node2"
    assert cluster.log == [
        "node1 CLIENT PAUSE 10000 WRITE",
        "node1 SENTINEL FAILOVER utmstack-redis",
        "node1 CONFIG SET min-replicas-to-write 0",
        *retired("node2"),
        "node1 CONFIG SET min-replicas-to-write 1",
    ]


def test_the_old_master_is_the_replica_that_the_new_one_waits_for_where_there_is_no_other():
    cluster = Cluster()
    cluster.min_replicas, cluster.replicas_at = 1, 1000
    cluster.links["node3"] = "down"
    assert handover(cluster).run() == "node2"


def test_a_sentinel_that_is_late_for_ever_is_told_and_clients_are_let_go():
    cluster = Cluster()
    cluster.late = {"node3": 1000}
    with pytest.raises(
        HandoverError, match="node2 is master and node1 follows it, but: The sentinel on node3 takes node1"
    ):
        handover(cluster).run()
    assert cluster.log[-5:] == retired("node2")


def test_replicas_that_lag_are_waited_for_before_sentinel_is_told():
    cluster = Cluster()
    cluster.offsets |= {"node1": 300, "node2": 100, "node3": 300}
    assert handover(cluster).run() == "node2"
    assert cluster.offsets["node2"] == 300


def test_a_long_failover_renews_the_hold():
    cluster = Cluster(promote_after=100)
    assert handover(cluster).run() == "node2"
    assert cluster.log.count("node1 CLIENT PAUSE 10000 WRITE") == 3


def stuck(cluster):
    return "role:slave\r\nmaster_host:127.0.0.11\r\nmaster_link_status:up\r\nslave_repl_offset:1"


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"node2/INFO": stuck}, "node2 did not catch up in 5 s. node1 stays master"),
        ({"node1/SENTINEL FAILOVER": INPROG}, "The sentinel on node1 refuses: INPROG .* node1 stays master"),
        (
            {"node1/SENTINEL FAILOVER": lambda cluster: "OK"},
            "No other node became master within 20 s. node1 takes writes again",
        ),
    ],
)
def test_where_nobody_takes_over_writes_go_on_at_the_old_master(faults, message):
    cluster = Cluster(faults)
    with pytest.raises(HandoverError, match=message):
        handover(cluster).run()
    assert cluster.log[-1] == "node1 CLIENT UNPAUSE"
    assert not [line for line in cluster.log if "SLAVEOF" in line or "KILL" in line]


def test_a_sentinel_that_went_away_after_the_order_may_have_heard_it():
    def order(cluster):
        cluster.fail_over()
        return GONE

    cluster = Cluster({"node1/SENTINEL FAILOVER": order})
    assert handover(cluster).run() == "node2"


def test_where_there_is_a_new_master_the_old_one_is_never_let_loose():
    cluster = Cluster({"node1/MULTI": GONE})
    with pytest.raises(
        HandoverError, match="node2 is master, but node1 could not be reconfigured .* Sentinel will do so"
    ):
        handover(cluster).run()
    assert "node1 CLIENT UNPAUSE" not in cluster.log


def test_a_refused_order_to_follow_is_told():
    cluster = Cluster({"node1/EXEC": [RedisError("ERR no permission", answered=True), "OK", "OK"]})
    with pytest.raises(HandoverError, match="node1 could not be reconfigured .ERR no permission."):
        handover(cluster).run()


def test_an_old_master_that_sentinel_retired_first_is_only_let_go():
    def promoted(cluster):
        cluster.fail_over()
        cluster.follow("node1", NAMES["node2"])
        return "OK"

    cluster = Cluster({"node1/SENTINEL FAILOVER": promoted})
    assert handover(cluster).run() == "node2"
    assert cluster.log[-1] == "node1 CLIENT UNPAUSE"
    assert not any("SLAVEOF" in line for line in cluster.log)


def test_a_master_that_dies_while_its_successor_is_awaited_does_not_stop_the_wait():
    cluster = Cluster({"node1/CLIENT PAUSE": lambda cluster: GONE if cluster.now > 1 else "OK"}, promote_after=60)
    assert handover(cluster).run() == "node2"


def test_one_that_lost_its_part_meanwhile_is_left_alone():
    cluster = Cluster({"node1/ROLE": lambda cluster: ["slave"]})
    with pytest.raises(HandoverError, match="node1 is not master any more; nothing was changed"):
        handover(cluster).run()
    assert not [line for line in cluster.log if "PAUSE 10000" in line]


def test_a_master_that_cannot_be_reached_is_told():
    with pytest.raises(HandoverError, match="node1 refused the switchover command: the connection was closed"):
        handover(Cluster({"node1/connect": GONE})).run()


def test_sentinels_that_never_agree_are_told_with_what_they_say():
    cluster = Cluster()
    cluster.agreed = "node1"
    cluster.sleep = lambda seconds: (Cluster.sleep(cluster, seconds), setattr(cluster, "agreed", "node1"))
    with pytest.raises(HandoverError, match="node2 is master and node1 follows it, but: .*node1"):
        handover(cluster).run()


def test_it_begins_only_with_a_replica_that_could_take_over():
    cluster = Cluster()
    cluster.links = {"node2": "down", "node3": "down"}
    with pytest.raises(HandoverError, match="No replica of node1 could take over"):
        handover(cluster).check()
    assert handover(cluster, "node2").check()["master"] == "node1"


def test_it_begins_only_where_the_sentinels_agree():
    gone = dict.fromkeys([f"node{number}/SENTINEL MASTER" for number in (1, 2, 3)], GONE)
    with pytest.raises(HandoverError, match="No sentinel reports the master"):
        handover(Cluster(gone)).check()


def test_the_one_that_is_named_is_preferred_before_writes_are_held_and_only_until_it_is_master():
    cluster = Cluster()
    assert handover(cluster, to="node3").run() == "node3"
    assert cluster.log == [
        "node3 CONFIG SET replica-priority 1",
        "node1 CLIENT PAUSE 10000 WRITE",
        "node1 SENTINEL FAILOVER utmstack-redis",
        *retired("node3"),
        "node3 CONFIG SET replica-priority 100",
    ]


def test_a_sentinel_that_does_not_see_the_preference_stops_it_before_writes_are_held():
    cluster = Cluster({"node3/CONFIG SET": lambda cluster: "OK"})
    with pytest.raises(HandoverError, match="does not prefer node3 after 15 s: it sees priority 100"):
        handover(cluster, to="node3").run()
    assert not any("PAUSE" in line for line in cluster.log)


def test_a_preference_is_taken_back_where_the_hand_over_fails():
    cluster = Cluster({"node1/SENTINEL FAILOVER": INPROG})
    with pytest.raises(HandoverError):
        handover(cluster, to="node3").run()
    assert cluster.log[-1] == "node3 CONFIG SET replica-priority 100"


def test_one_that_does_not_follow_cannot_be_named():
    cluster = Cluster()
    cluster.links["node3"] = "down"
    with pytest.raises(HandoverError, match="node3 does not follow node1 closely"):
        handover(cluster, to="node3").check()
