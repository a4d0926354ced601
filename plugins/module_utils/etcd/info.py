# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How an etcd cluster is, asked of all its members."""

from __future__ import annotations

from ..common.info import Question, wait, waiting
from . import client as etcd
from . import cluster as etcd_cluster
from . import deployed


def reached(found: dict, goal: str) -> bool:
    """Whether the cluster is as far as the caller waits for."""
    return goal == "nothing" or (goal == "leader" and bool(found["leader"])) or (goal == "healthy" and found["healthy"])


def look(given: dict) -> dict:
    """The cluster's state. Certificates that can't be read are a problem like others, and are read anew each time."""
    try:
        found = etcd_cluster.observe(etcd.Client.of(given))
    except etcd.EtcdError as error:
        found = etcd_cluster.Observation({url: etcd_cluster.View(error=str(error)) for url in given["endpoints"]})
    return etcd_cluster.assess(found, given["expected_members"], given["without"], given["ignore_alarms"])


def answer(_module, given: dict) -> dict:
    return wait(lambda: look(given), reached, given)


QUESTION = Question(
    {
        **etcd.ARGUMENTS,
        "expected_members": {"type": "list", "elements": "str", "default": []},
        "without": {"type": "list", "elements": "str", "default": []},
        "ignore_alarms": {"type": "bool", "default": False},
        **waiting("leader", "healthy"),
    },
    answer,
    etcd.REQUIRED_TOGETHER,
    deployed=deployed.look,
)
