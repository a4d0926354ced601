#!/usr/bin/python
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: etcd_member
short_description: Add, promote, remove or demote a member of an etcd cluster
version_added: 0.1.0
description:
  - Changes the membership of a running cluster, one member at a time, through its leader.
  - A member that joins does so in three moves. O(state=present) announces it, as a learner that does not count for the quorum yet.
    Then etcd is started on its host, with RV(initial_cluster) and C(initial-cluster-state=existing). O(state=promoted) makes it vote.
author:
  - The utmstack.ha developers (@utmstack)
extends_documentation_fragment:
  - utmstack.ha.etcd
  - utmstack.ha.https
options:
  name:
    description:
      - Name of the member.
    type: str
    required: true
  peer_urls:
    description:
      - Where other members reach it. Needed for O(state=present) and O(state=promoted).
    type: list
    elements: str
    default: []
  state:
    description:
      - V(present), it is announced.
      - V(promoted), it votes. Waits until it has caught up with the leader.
      - V(absent), it is no member any more. etcd itself refuses where the quorum would be lost.
      - V(follower), another healthy member leads. Nothing changes where it does not lead.
    type: str
    choices: [present, promoted, absent, follower]
    default: present
  successor:
    description:
      - Who shall lead instead, for O(state=follower). Without it, the healthy member with most entries.
    type: str
  learner:
    description:
      - Whether a new member begins as a learner. A voter counts at once, so a cluster of two would stand still until it has started.
    type: bool
    default: true
  replace:
    description:
      - The member's data is lost. Its old entry is removed and a new one added, as etcd demands.
      - An entry that is a learner and has never started is kept.
    type: bool
    default: false
  wait_timeout:
    description:
      - How long to go on trying, in seconds, while the cluster is not ready for the change, or until the change has come about.
    type: float
    default: 30.0
attributes:
  check_mode:
    description: Tells what would change.
    support: full
  diff_mode:
    description: Shows the list of members, or who leads.
    support: full
"""

EXAMPLES = r"""
- name: Add a member again after data loss
  utmstack.ha.etcd_member:
    endpoints: [https://10.0.1.11:2379, https://10.0.1.12:2379]
    ca_path: /etc/utmstack-ha/tls/ca.crt
    client_cert: /etc/utmstack-ha/tls/host.crt
    client_key: /etc/utmstack-ha/tls/host.key
    username: root
    password: "{{ etcd_root_password }}"
    name: node3
    peer_urls: [https://10.0.1.13:2380]
    replace: true
  register: announced

- name: Switch over leadership to another member
  utmstack.ha.etcd_member:
    endpoints: [https://10.0.1.11:2379, https://10.0.1.12:2379]
    ca_path: /etc/utmstack-ha/tls/ca.crt
    client_cert: /etc/utmstack-ha/tls/host.crt
    client_key: /etc/utmstack-ha/tls/host.key
    username: root
    password: "{{ etcd_root_password }}"
    name: node1
    state: follower
"""

RETURN = r"""
initial_cluster:
  description: The members as the setting C(initial-cluster) takes them.
  returned: when O(state=present)
  type: str
  sample: node1=https://10.0.1.11:2380,node2=https://10.0.1.12:2380,node3=https://10.0.1.13:2380
leader:
  description: Name of the member that leads.
  returned: when O(state=follower)
  type: str
  sample: node2
seconds:
  description: How long the change took, in seconds.
  returned: success
  type: float
  sample: 0.12
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.utmstack.ha.plugins.module_utils.etcd import client as etcd
from ansible_collections.utmstack.ha.plugins.module_utils.etcd import cluster as etcd_cluster
from ansible_collections.utmstack.ha.plugins.module_utils.etcd import members as etcd_member

# The cluster is not ready yet: it has had a full set of connections for less than 5 s, the learner lags behind, or there
# is another learner (etcd: server/etcdserver/errors.go).
NOT_YET = (
    "unhealthy cluster",
    "in sync with leader",
    "too many learner",
    "not enough started",
    "timed out",
    "no leader",
)


class Membership:
    """One run of the module: the client, the time limit, what the leader says."""

    def __init__(self, client, seconds, clock=time.monotonic, sleep=time.sleep):
        self.client, self._clock, self._sleep = client, clock, sleep
        self._end = clock() + seconds

    def look(self):
        """The cluster as it is. Raises EtcdError where nobody leads, or where the user is refused."""
        found = etcd_cluster.observe(self.client)
        if found.auth_error:
            raise etcd.EtcdError(f"Logging in failed: {found.auth_error}")
        self.leader_url = etcd_cluster.leader_endpoint(self.client, found)
        return etcd_cluster.assess(found)

    def change(self, path, body):
        """Send a change to the leader, and again while the cluster is not ready for it. Raises EtcdError."""
        while True:
            try:
                return self.client.call(self.leader_url, path, body)
            except etcd.EtcdError as error:
                if not error.says(*NOT_YET, "not leader") or self._clock() > self._end:
                    raise
                self._sleep(0.3)
                if error.says("not leader", "no leader", "timed out"):
                    self.look()

    def until(self, condition, expected):
        """Look until the condition holds. Raises EtcdError that says what was expected."""
        while True:
            try:
                found = self.look()
                seen = " ".join(found["problems"]) or "The cluster is healthy."
                if condition(found):
                    return found
            except etcd.EtcdError as error:
                seen = str(error)
            if self._clock() > self._end:
                raise etcd.EtcdError(f"{expected} did not come about in time. {seen}")
            self._sleep(0.05)


def decimal(number):
    """A member's number as the gateway takes it."""
    return str(int(number, 16))


def listing(members):
    """Members for a diff."""
    lines = [
        f"{member['name'] or '(never started)'} {' '.join(member['peer_urls'])}{' learner' if member['learner'] else ''}"
        for member in members
    ]
    return "".join(f"{line}\n" for line in sorted(lines))


def present(run, params, check):
    before = run.look()["members"]
    change = etcd_member.plan_present(before, params["name"], params["peer_urls"], params["replace"])
    after = [member for member in before if member["id"] not in change.remove]
    if change.add:
        after.append({"name": params["name"], "peer_urls": params["peer_urls"], "learner": params["learner"]})
    if not check:
        for number in change.remove:
            run.change("/v3/cluster/member/remove", {"ID": decimal(number)})
        if change.add:
            body = {"peerURLs": params["peer_urls"], "isLearner": params["learner"]}
            run.change("/v3/cluster/member/add", body)
    return {
        "changed": bool(change),
        "initial_cluster": etcd_member.initial_cluster(after, params["name"], params["peer_urls"]),
        "diff": {"before": listing(before), "after": listing(after)},
    }


def promoted(run, params, check):
    def entries(found):
        return etcd_member.find(found["members"], params["name"], params["peer_urls"])

    def votes(found):
        return any(entry["healthy"] for entry in entries(found))

    before = run.look()
    if not entries(before):
        raise etcd.EtcdError(f"{params['name']} is not a member. Announce it with state present first")
    learners = [entry for entry in entries(before) if entry["learner"]]
    after = [{**member, "learner": member["learner"] and member not in learners} for member in before["members"]]
    if not check:
        for learner in learners:
            run.change("/v3/cluster/member/promote", {"ID": decimal(learner["id"])})
        run.until(votes, f"{params['name']} as a healthy member that votes")
    diff = {"before": listing(before["members"]), "after": listing(after)}
    return {"changed": bool(learners), "diff": diff}


def absent(run, params, check):
    before = run.look()["members"]
    gone = etcd_member.find(before, params["name"], params["peer_urls"])
    if not check:
        for entry in gone:
            run.change("/v3/cluster/member/remove", {"ID": decimal(entry["id"])})
    after = [member for member in before if member not in gone]
    return {"changed": bool(gone), "diff": {"before": listing(before), "after": listing(after)}}


def follower(run, params, check):
    before = run.look()
    if before["leader"] != params["name"]:
        return {"changed": False, "leader": before["leader"]}
    chosen = etcd_member.successor(before["members"], params["name"], params["successor"])
    if chosen is None:
        who = params["successor"] or "No other member"
        problems = (
            " ".join(before["problems"]) or f"The members are {', '.join(one['name'] for one in before['members'])}."
        )
        raise etcd.EtcdError(f"{who} is no healthy voter that can lead instead of {params['name']}. {problems}")
    diff = {"before": f"leader {before['leader']}\n", "after": f"leader {chosen['name']}\n"}
    if check:
        return {"changed": True, "leader": chosen["name"], "diff": diff}
    try:
        run.client.call(run.leader_url, "/v3/maintenance/transfer-leadership", {"targetID": decimal(chosen["id"])})
    except etcd.EtcdError as error:
        if not error.says("not leader"):
            raise
    after = run.until(
        lambda found: found["leader"] not in (None, params["name"]), f"Another leader than {params['name']}"
    )
    return {"changed": True, "leader": after["leader"], "diff": diff}


def main():
    module = AnsibleModule(
        argument_spec={
            **etcd.ARGUMENTS,
            "name": {"type": "str", "required": True},
            "peer_urls": {"type": "list", "elements": "str", "default": []},
            "state": {"type": "str", "choices": ["present", "promoted", "absent", "follower"], "default": "present"},
            "successor": {"type": "str"},
            "learner": {"type": "bool", "default": True},
            "replace": {"type": "bool", "default": False},
            "wait_timeout": {"type": "float", "default": 30.0},
        },
        required_if=[("state", "present", ["peer_urls"]), ("state", "promoted", ["peer_urls"])],
        required_together=etcd.REQUIRED_TOGETHER,
        supports_check_mode=True,
    )
    params = module.params
    act = {"present": present, "promoted": promoted, "absent": absent, "follower": follower}[params["state"]]
    start = time.monotonic()
    try:
        run = Membership(etcd.Client.of(params), params["wait_timeout"])
        result = act(run, params, module.check_mode)
    except etcd.EtcdError as error:
        module.fail_json(msg=f"{params['name']} cannot be made {params['state']}: {error}")
    module.exit_json(seconds=round(time.monotonic() - start, 3), **result)


if __name__ == "__main__":
    main()
