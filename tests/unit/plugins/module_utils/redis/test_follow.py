# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is done about a former master that still serves when Sentinel has made another one."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.redis import follow as redis_follow
from ansible_collections.utmstack.ha.plugins.module_utils.redis.client import RedisError
from redis_network import NAMES, Cluster

SETTINGS = redis_follow.Settings(
    port=6379, sentinel_port=26379, sentinels=list(NAMES.values()), quorum=2, master_name="utmstack-redis", wait_s=10,
    ca="", username="sentinel", password="",
)  # fmt: skip


def follow(cluster):
    return redis_follow.follow(
        SETTINGS, cluster, NAMES["node1"], NAMES["node2"], clock=cluster.clock, sleep=cluster.sleep
    )


def test_a_former_master_follows_as_soon_as_the_sentinels_agree():
    cluster = Cluster()
    cluster.fail_over()
    assert follow(cluster) == "127.0.0.11 still served as master and follows 127.0.0.12 now"
    assert cluster.log == [
        "node1 MULTI",
        "node1 SLAVEOF 127.0.0.12 6379",
        "node1 CLIENT KILL TYPE normal SKIPME yes",
        "node1 EXEC",
    ]
    assert cluster.now < 1


def test_one_that_is_handed_over_is_left_to_that_as_long_as_it_lasts():
    cluster = Cluster()
    cluster.agreed, cluster.client = "node2", redis_follow.HANDOVER
    assert follow(cluster) == "127.0.0.11 is being handed over to 127.0.0.12 by somebody else; 127.0.0.11 is left alone"
    assert cluster.log == []
    cluster = Cluster()
    cluster.agreed, cluster.client = "node2", redis_follow.HANDOVER
    sleep = cluster.sleep
    cluster.sleep = lambda seconds: (sleep(seconds), setattr(cluster, "client", ""))
    assert follow(cluster) == "127.0.0.11 still served as master and follows 127.0.0.12 now"


def test_one_sentinel_alone_moves_nobody():
    assert follow(Cluster()) == "the sentinels do not agree that 127.0.0.12 is master; 127.0.0.11 is left alone"


def test_one_that_follows_already_is_left_alone():
    cluster = Cluster()
    cluster.agreed = "node2"
    cluster.follow("node1", NAMES["node2"])
    assert follow(cluster) == "127.0.0.11 is no master any more"
    assert cluster.log == []


def test_one_that_is_dead_is_left_to_sentinel():
    cluster = Cluster({"node1/connect": RedisError("Connection refused")})
    cluster.agreed = "node2"
    with pytest.raises(RedisError, match="refused"):
        follow(cluster)
