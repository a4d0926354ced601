# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A planned change of the master that loses no acknowledged write.

A bare SENTINEL FAILOVER promotes a replica at once, but tells the old master some ten seconds later; what clients write there
meanwhile is acknowledged and lost. So writes are held first and replicas catch up. When another one is master, can take writes and
is named by all sentinels, the old master becomes a replica and ends its clients' connections in the same step: none of them is told
that it is read-only, and whoever asks for the master finds the new one. The hold ends by itself if the one who placed it dies, and
role redis's own hook retires the old master then (redis_follow).
"""

from __future__ import annotations

import contextlib
import time

from . import client as redis_client
from . import cluster as redis_cluster
from . import follow as redis_follow
from . import master as redis_master

HOLD_MS = 10_000
RENEW_S = 2.0
# Sentinels ask replicas for their priority every 10 s (sentinel.c, sentinel_info_period).
PRIORITY_S = 15.0


class HandoverError(Exception):
    """The master was not handed over, or not wholly. The message says how things are now."""


class Handover:
    """One change of the master, from node `name`, to node `to` where one is named. Times in seconds."""

    def __init__(self, hosts, network, name, seconds, to=None, clock=time.monotonic, sleep=time.sleep):
        self.hosts, self.network, self.name, self.to = hosts, network, name, to
        self.seconds, self._clock, self._sleep = seconds, clock, sleep
        self._began = self._renewed = self.held = 0.0
        self._replicas_to_write = 0

    def check(self) -> dict:
        """How things are, as redis_cluster.assess tells. Raises HandoverError where a change would be unsafe."""
        seen = redis_cluster.observe(self.hosts, self.network)
        found = redis_cluster.assess(self.hosts, seen)
        if not found["master"]:
            raise HandoverError(" ".join(found["problems"]))
        followers = self._followers(seen)
        if found["master"] == self.name and not followers:
            raise HandoverError(f"No replica of {self.name} could take over. {' '.join(found['problems'])}")
        if found["master"] == self.name and self.to and self.to not in followers:
            raise HandoverError(f"{self.to} does not follow {self.name} closely. {' '.join(found['problems'])}")
        return found

    def run(self) -> str:
        """Hand over; returns the new master's name. Raises HandoverError."""
        seen = redis_cluster.observe(self.hosts, self.network)
        followers = self._followers(seen)
        sentinel = next((name for name, master in seen.masters.items() if not master.flags), None)
        if sentinel is None:
            raise HandoverError(f"No sentinel is ready to fail over. {self.name} stays master")
        try:
            with self._preferred(sentinel), self._member(self.name) as old:
                return self._from(old, followers, sentinel)
        except redis_client.RedisError as error:
            raise HandoverError(
                f"{self.name} refused the switchover command: {error}. What holds its writes ends in {HOLD_MS // 1000} s"
            ) from error

    @contextlib.contextmanager
    def _preferred(self, sentinel):
        """Have the sentinel prefer `to`, as long as this lasts; before writes are held, since it takes the sentinel some seconds."""
        if not self.to:
            yield
            return
        before = self._priority(1)
        try:
            self._await_preference(sentinel)
            yield
        finally:
            self._priority(before)

    def _priority(self, number):
        """Give `to` this priority; returns the one before. By a new connection: a node that becomes master ends all."""
        try:
            with self._member(self.to) as chosen:
                before = chosen.call("CONFIG", "GET", "replica-priority")[1]
                chosen.call("CONFIG", "SET", "replica-priority", number)
                return before
        except redis_client.RedisError as error:
            raise HandoverError(
                f"{self.to} does not take the replica-priority {number}: {error}. site.yml gives it its own again"
            ) from error

    def _await_preference(self, sentinel):
        end = self._clock() + PRIORITY_S
        with self.network.connect(self.hosts.sentinels[sentinel], self.hosts.sentinel_port) as connection:
            while True:
                listed = connection.call("SENTINEL", "REPLICAS", self.hosts.master_name)
                replicas = [dict(zip(fields[::2], fields[1::2])) for fields in listed]
                priorities = {replica["ip"]: int(replica["slave-priority"]) for replica in replicas}
                own = priorities.pop(self.hosts.members[self.to], 0)
                if own == 1 and all(other != 1 for other in priorities.values()):
                    return
                if self._clock() > end:
                    raise HandoverError(
                        f"The sentinel on {sentinel} does not prefer {self.to} after {PRIORITY_S:g} s: it sees priority {own}, and of"
                        f" the others {', '.join(str(other) for other in priorities.values())}. {self.name} stays master"
                    )
                self._sleep(0.2)

    def _from(self, old, followers, sentinel):
        self._hold(old)
        try:
            self._catch_up(old, followers)
            self._order(sentinel)
            new = self._await_successor(old)
        except HandoverError:
            old.call("CLIENT", "UNPAUSE")
            raise
        # From here on the old master must not take a write again: an error leaves the hold in place.
        problems = self._await_agreement(new, old, len(followers) - 1)
        self._retire(new)
        self.held = self._clock() - self._began
        if problems:
            raise HandoverError(f"{new} is master and {self.name} follows it, but: {' '.join(problems)}")
        return new

    def _retire(self, new):
        """Make the old master a replica. By a new connection: Sentinel does the same after some seconds and ends ours."""
        try:
            with self._member(self.name) as old:
                if old.call("ROLE")[0] == "master":
                    redis_follow.retire(old, self.hosts.members[new], self.hosts.port, ("CLIENT", "UNPAUSE"))
                else:
                    old.call("CLIENT", "UNPAUSE")
                self._need_replicas(old, self._replicas_to_write)
        except redis_client.RedisError as error:
            raise HandoverError(
                f"{new} is master, but {self.name} could not be reconfigured ({error}); Sentinel will do so"
            ) from error

    def _hold(self, old):
        if old.call("ROLE")[0] != "master":
            raise HandoverError(f"{self.name} is not master any more; nothing was changed")
        old.call("CLIENT", "SETNAME", redis_follow.HANDOVER)
        self._replicas_to_write = int(old.call("CONFIG", "GET", "min-replicas-to-write")[1])
        old.call("CLIENT", "PAUSE", HOLD_MS, "WRITE")
        self._began = self._renewed = self._clock()

    def _catch_up(self, old, followers):
        """Wait until each follower has all that the master has taken. It takes milliseconds, or something is wrong."""
        target = redis_master.member_of(old.call("INFO", "replication")).offset
        end = self._clock() + HOLD_MS / 2000
        behind = followers
        while True:
            behind = [name for name in behind if self._offset(name) < target]
            if not behind:
                return
            if self._clock() > end:
                raise HandoverError(
                    f"{' and '.join(behind)} did not catch up in {HOLD_MS / 2000:g} s. {self.name} stays master"
                )
            self._sleep(0.02)

    def _order(self, sentinel):
        try:
            with self.network.connect(self.hosts.sentinels[sentinel], self.hosts.sentinel_port) as connection:
                connection.call("SENTINEL", "FAILOVER", self.hosts.master_name)
        except redis_client.RedisError as error:
            if error.answered:
                raise HandoverError(f"The sentinel on {sentinel} refuses: {error}. {self.name} stays master") from error
            # Whether it heard us is not known: look for a new master all the same.

    def _await_successor(self, old):
        end = self._clock() + self.seconds
        while True:
            new = [name for name in self.hosts.members if name != self.name and self._role(name) == "master"]
            if len(new) == 1:
                return new[0]
            if self._clock() > end:
                raise HandoverError(
                    f"No other node became master within {self.seconds:g} s. {self.name} takes writes again"
                )
            self._renew(old)
            self._sleep(0.05)

    def _renew(self, old):
        """Hold on, while the successor is awaited. A master that went away takes no writes either."""
        if self._clock() - self._renewed > RENEW_S:
            self._renewed = self._clock()
            with contextlib.suppress(redis_client.RedisError):
                old.call("CLIENT", "PAUSE", HOLD_MS, "WRITE")

    def _await_agreement(self, new, old, followers):
        """Wait until all sentinels that answer name the new master and it takes writes; what is wrong where that does not come.

        One sentinel that is late is enough to lead a client back to the old master: the others tell it every 2 s. And with
        min-replicas-to-write the new master refuses writes until `followers`, the other replicas, have turned to it. The old one
        would refuse what clients send it from then on; it should hold that, as all before.
        """
        replicas = min(self._replicas_to_write, followers)
        self._need_replicas(old, 0)
        end = self._clock() + self.seconds
        while True:
            missing = self._missing(redis_cluster.observe(self.hosts, self.network), new, replicas)
            if not missing or self._clock() > end:
                return missing
            self._renew(old)
            self._sleep(0.05)

    def _need_replicas(self, old, number):
        """Have the old master take writes with so many replicas, or more.

        HAProxy does not take a master without such a limit for one, and ends its sessions: they go to the new one as soon as that may
        write. Should the way back be lost, the node keeps 0 until it starts again or site.yml runs.
        """
        if self._replicas_to_write:
            with contextlib.suppress(redis_client.RedisError):
                old.call("CONFIG", "SET", "min-replicas-to-write", number)

    def _missing(self, seen, new, replicas):
        """Why clients can't be let go to the new master yet, as sentences."""
        missing = [
            f"The sentinel on {name} takes {self.hosts.named(master.address)} for the master."
            for name, master in seen.masters.items()
            if master.address != self.hosts.members[new]
        ]
        if len(seen.masters) < self.hosts.quorum:
            missing.append(f"Only {len(seen.masters)} of {len(self.hosts.sentinels)} sentinels answer.")
        if new not in seen.members:
            missing.append(f"Redis on {new} does not answer: {seen.member_errors.get(new)}.")
        elif (good := seen.members[new].good_replicas or 0) < replicas:
            missing.append(f"{new} has {good} of the {replicas} replicas that it needs to take writes.")
        return missing

    def _followers(self, seen):
        address = self.hosts.members[self.name]
        return [
            name
            for name, member in seen.members.items()
            if member.role == "slave" and member.master == address and member.link_up
        ]

    def _member(self, name):
        return self.network.connect(self.hosts.members[name], self.hosts.port)

    def _ask(self, name):
        with self._member(name) as connection:
            return redis_master.member_of(connection.call("INFO", "replication"))

    def _offset(self, name):
        """How far a follower is. One that went away is not waited for, as it can't be promoted either."""
        try:
            member = self._ask(name)
        except redis_client.RedisError:
            return float("inf")
        return member.offset if member.link_up else float("inf")

    def _role(self, name):
        try:
            return self._ask(name).role
        except redis_client.RedisError:
            return ""
