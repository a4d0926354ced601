# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How Redis and its sentinels are, asked of all of them."""

from __future__ import annotations

from ..common.info import Question, wait, waiting
from . import client as redis_client
from . import cluster as redis_cluster
from . import deployed


def reached(found: dict, goal: str) -> bool:
    """Whether all is as far as the caller waits for."""
    if goal == "agreed":
        return bool(found["master"])
    if goal == "master":
        return found["master"] in found["masters"]
    return goal == "nothing" or found["healthy"]


def look(hosts: redis_cluster.Hosts, given: dict) -> dict:
    """The state of all. Certificates that can't be read are a problem like others, and are read anew each time."""
    try:
        seen = redis_cluster.observe(hosts, redis_cluster.network_of(given))
    except redis_client.RedisError as error:
        seen = redis_cluster.Observation(
            sentinel_errors=dict.fromkeys(hosts.sentinels, str(error)),
            member_errors=dict.fromkeys(hosts.members, str(error)),
        )
    return redis_cluster.assess(hosts, seen, given["without"], given["max_lag_bytes"])


def answer(_module, given: dict) -> dict:
    hosts = redis_cluster.Hosts.of(given)
    return wait(lambda: look(hosts, given), reached, given)


QUESTION = Question(
    {
        **redis_cluster.WHOLE,
        "without": {"type": "list", "elements": "str", "default": []},
        "max_lag_bytes": {"type": "int", "default": 1048576},
        **waiting("agreed", "master", "healthy"),
    },
    answer,
    redis_cluster.REQUIRED_TOGETHER,
    deployed=deployed.look,
)
