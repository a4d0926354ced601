# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Two doubles of the network to Redis: one that replays what real servers said, one where a master can be handed over."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.utmstack.ha.plugins.module_utils.redis import client as redis_client
from ansible_collections.utmstack.ha.plugins.module_utils.redis.cluster import Hosts

RECORDED = Path(__file__).parents[1] / "fixtures" / "redis"
SERVERS = ("redis_7.0.15", "redis_8.0.2", "valkey_8.1.1")
NAMES = {f"node{number}": f"127.0.0.1{number}" for number in (1, 2, 3)}
HOSTS = Hosts(members=NAMES, sentinels=NAMES, master_name="utmstack-redis")


def recording(server):
    return json.loads((RECORDED / f"{server}.json").read_text())


class Connection:
    """Answers by a function of the words."""

    def __init__(self, answer):
        self.answer, self.closed = answer, False

    def call(self, *words):
        reply = (
            redis_client.RedisError("the connection was closed")
            if self.closed
            else self.answer([str(word) for word in words])
        )
        if isinstance(reply, Exception):
            raise reply
        return reply

    def close(self):
        self.closed = True

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


class Replay:
    """The servers as they were at one stage of a recording."""

    def __init__(self, stage):
        self.stage = stage

    def connect(self, address, port):
        kind = "sentinel" if port == 26379 else "info"
        reply = self.stage[kind].get(address, {"error": "no route to host", "answered": False})
        if isinstance(reply, dict):
            error = redis_client.RedisError(reply["error"], reply["answered"])
            if not error.answered:
                raise error
            reply = error
        if kind == "sentinel" and isinstance(reply, list):
            fields = redis_client.pairs(reply)
            return Connection(lambda words: reply if words[1] == "MASTER" else [fields["ip"], fields["port"]])
        return Connection(lambda words: reply)


class Cluster:
    """Three data nodes and three sentinels that do as told; `faults` changes single answers.

    faults: "node/COMMAND" -> an exception to raise, or a function of the cluster that returns the reply.
    """

    def __init__(self, faults=None, promote_after=3):
        self.master, self.roles = "node1", {"node1": "master", "node2": "slave", "node3": "slave"}
        self.follows = {"node2": "node1", "node3": "node1"}
        self.offsets = {"node1": 100, "node2": 100, "node3": 100}
        self.links = {"node2": "up", "node3": "up"}
        self.agreed, self.now, self.log = "node1", 0.0, []
        self.paused, self.failing_over, self.promote_after = False, 0, promote_after
        # Sentinels that name the first master until then, and what is asked of them.
        self.late = {}
        # The name of a connection to each node, what a new master needs to take writes, and when it has that.
        self.client, self.min_replicas, self.replicas_at = "", 0, 0.0
        self.priorities, self.chosen = {"node2": 100, "node3": 100}, "node2"
        self.faults = faults or {}
        # To data nodes, by name. Sentinel ends those to a node that it makes master.
        self.connections = {name: [] for name in NAMES}

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        for name in self.links:
            self.offsets[name] = min(self.offsets[name] + 50, self.offsets["node1"])
        if self.failing_over:
            self.failing_over += 1
            if self.failing_over > self.promote_after:
                self.roles[self.chosen], self.agreed, self.failing_over = "master", self.chosen, 0
                for connection in self.connections[self.chosen]:
                    connection.closed = True

    def connect(self, address, port):
        name = next(name for name, known in NAMES.items() if known == address)
        fault = self.faults.get(f"{name}/connect")
        if fault and port == 6379:
            raise fault
        connection = Connection(lambda words: self.answer(name, port, words))
        if port == 6379:
            self.connections[name].append(connection)
        return connection

    def answer(self, name, port, words):
        command = " ".join(words[:2] if words[0] in ("CLIENT", "SENTINEL", "CONFIG") else words[:1])
        if command not in (
            "INFO",
            "ROLE",
            "SENTINEL MASTER",
            "SENTINEL GET-MASTER-ADDR-BY-NAME",
            "SENTINEL REPLICAS",
            "CONFIG GET",
            "CLIENT LIST",
            "CLIENT SETNAME",
        ):
            self.log.append(f"{name} {' '.join(words)}")
        fault = self.faults.get(f"{name}/{command}")
        if fault is not None:
            return fault(self) if callable(fault) else fault
        return {
            "INFO": lambda: self.info(name),
            "ROLE": lambda: [self.roles[name]],
            "SENTINEL MASTER": lambda: self.sentinel_master(name),
            "SENTINEL GET-MASTER-ADDR-BY-NAME": lambda: [NAMES[self.agreed], "6379"],
            "SENTINEL FAILOVER": self.fail_over,
            "SENTINEL REPLICAS": self.replicas,
            "CONFIG GET": lambda: [
                words[2],
                str(self.min_replicas if words[2] == "min-replicas-to-write" else self.priorities[name]),
            ],
            "CLIENT LIST": lambda: f"id=3 addr=127.0.0.1:1 name={self.client} age=1",
            "CLIENT SETNAME": lambda: setattr(self, "client", words[2]),
            "EXEC": lambda: ["OK"],
            "CONFIG SET": lambda: words[2] == "replica-priority" and self.priorities.update({name: int(words[3])}),
            "SLAVEOF": lambda: self.follow(name, words[1]),
        }.get(command, lambda: "OK")()

    def info(self, name):
        lines = [f"role:{self.roles[name]}"]
        if self.min_replicas:
            lines.append(f"min_slaves_good_slaves:{0 if self.now < self.replicas_at else 2}")
        if self.roles[name] == "slave":
            lines += [
                f"master_host:{NAMES[self.follows[name]]}",
                f"master_link_status:{self.links.get(name, 'up')}",
                f"slave_repl_offset:{self.offsets[name]}",
            ]
        return "\r\n".join([*lines, f"master_repl_offset:{self.offsets[name]}"])

    def sentinel_master(self, name):
        fields = {
            "ip": NAMES["node1" if self.now < self.late.get(name, 0) else self.agreed], "port": 6379, "flags": "master", "config-epoch": 1, "quorum": 2,
            "num-slaves": 2, "num-other-sentinels": 2,
        }  # fmt: skip
        return [str(word) for pair in fields.items() for word in pair]

    def replicas(self):
        return [["ip", NAMES[name], "slave-priority", str(number)] for name, number in self.priorities.items()]

    def fail_over(self):
        self.chosen = min(self.priorities, key=self.priorities.get)
        self.failing_over = 1
        return "OK"

    def follow(self, name, address):
        self.roles[name] = "slave"
        self.follows[name] = next(other for other, known in NAMES.items() if known == address)
        return "OK"
