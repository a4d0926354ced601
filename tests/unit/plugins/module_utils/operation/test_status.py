# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import copy
import json

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common.text import size
from ansible_collections.utmstack.ha.plugins.module_utils.operation.screen import WIDTH, screen
from ansible_collections.utmstack.ha.plugins.module_utils.operation.status import status
from ansible_collections.utmstack.ha.plugins.module_utils.services.answers import reason

NODES = ("node1", "node2", "node3")
ADDRESSES = {name: f"10.0.1.1{number}" for number, name in enumerate(NODES, 1)}
MEMBERS = [{"name": name, "address": address} for name, address in ADDRESSES.items()]

TOPOLOGY = {
    "cluster": "utmstack",
    "virtual_ip": {"address": "10.0.1.100", "prefix": 24, "cidr": "10.0.1.100/24"},
    "hosts": {name: {"name": name, "address": address, "priority": 150} for name, address in ADDRESSES.items()},
    "loadbalancer": {"members": MEMBERS},
    "etcd": {"members": MEMBERS, "quorum": 2},
    "postgresql": {"members": MEMBERS},
    "elasticsearch": {"members": MEMBERS, "flavor": "elasticsearch"},
    "redis": {"members": MEMBERS},
    "sentinel": {"members": MEMBERS},
    "swarm": {"members": MEMBERS, "managers": MEMBERS, "quorum": 2},
}


def vip(holds):
    keepalived = {"running": True, "state": "MASTER" if holds else "BACKUP"}
    found = {"held": holds, "interface": "eth0" if holds else None, "prefix": 24 if holds else None}
    return {**found, "keepalived": keepalived, "others": [], "probed": True, "problems": []}


def server(name, up, check="L7OK", code=200, **more):
    seen = "Layer7 check passed" if up else "Service Unavailable"
    state = {"status": "UP" if up else "DOWN", "up": up, "check": check, "check_code": code, "check_seen": seen}
    state |= {"admin": "ready", "admin_inherited": False}
    return {"name": name, "backup": False, "sessions": 1 if up else 0, **state, **more}


def backend(name, servers):
    return {"name": name, "servers": servers, "servers_up": sum(1 for entry in servers if entry["up"])}


def haproxy():
    write = [server("node1", True), *(server(name, False, "L7STS", 503) for name in NODES[1:])]
    read = [server("node1", False, "L7STS", 503), *(server(name, True) for name in NODES[1:])]
    spare = [server(f"{name}-primary", name == "node1", "", None, backup=True) for name in NODES]
    backends = [backend("postgresql_write", write), backend("postgresql_read", read + spare)]
    backends.append(backend("api", [server(name, True) for name in NODES]))
    redis_servers = [server("node2", True), *(server(name, False, "L7RSP", None) for name in ("node1", "node3"))]
    backends.append(backend("redis", redis_servers))
    around = server("direct", True, "", None, backup=True, status="no check")
    backends.append(backend("pgbouncer", [server("own", True, "L7OK", None), around]))
    return {"version": "3.0.11", "backends": backends}


def etcd():
    members = [
        {"name": name, "leader": name == "node2", "learner": False, "healthy": True, "version": "3.5.16", "error": "",
         "db_size_bytes": 20480, "raft_term": 2}
        for name in NODES
    ]  # fmt: skip
    return {"healthy": True, "problems": [], "leader": "node2", "members": members, "alarms": []}


def postgresql():
    members = [
        {"name": name, "host": ADDRESSES[name], "role": role, "reachable": True, "state": "running", "timeline": 3,
         "replication_state": replication, "lag_bytes": lag, "pending_restart": False, "tags": {}}
        for name, role, replication, lag in (
            ("node1", "leader", None, None),
            ("node2", "sync_standby", "streaming", 0),
            ("node3", "replica", "streaming", 1536),
        )
    ]  # fmt: skip
    cluster = {"leader": "node1", "paused": False, "synchronous_mode": "strict", "synchronous_standbys": ["node2"]}
    return {"healthy": True, "problems": [], **cluster, "members": members}


def elasticsearch():
    nodes = [
        {"name": name, "address": ADDRESSES[name], "roles": ["data", "ingest", "master"], "version": "8.19.4",
         "master": name == "node3"}
        for name in NODES
    ]  # fmt: skip
    figures = {"unassigned": 0, "initializing": 0, "relocating": 0, "changed_settings": {}}
    return {"healthy": True, "problems": [], "status": "green", "master": "node3", "nodes": nodes, **figures}


def redis():
    members = [
        {"name": name, "address": ADDRESSES[name], "role": "master" if name == "node2" else "replica", "link_up": True,
         "lag_bytes": 14, "version": "8.0.2", "error": ""}
        for name in NODES
    ]  # fmt: skip
    sentinels = [
        {"name": name, "address": ADDRESSES[name], "master": "node2", "flags": [], "error": ""} for name in NODES
    ]
    return {"healthy": True, "problems": [], "master": "node2", "members": members, "sentinels": sentinels}


def swarm():
    nodes = [
        {"hostname": name, "address": ADDRESSES[name], "version": "26.1.5", "role": "manager", "state": "ready",
         "availability": "active", "leader": name == "node1", "reachability": "reachable"}
        for name in NODES
    ]  # fmt: skip
    services = [{"name": "utmstack_backend", "running": 3, "desired": 3}]
    return {"healthy": True, "problems": [], "nodes": nodes, "services": services}


@pytest.fixture
def seen():
    """What three hosts say when all is well."""
    return {
        name: {
            "reachable": True,
            "error": "",
            "answers": {
                "vip": vip(name == "node1"),
                "haproxy": haproxy(),
                "etcd": etcd(),
                "postgresql": postgresql(),
                "elasticsearch": elasticsearch(),
                "redis": redis(),
                "swarm": swarm(),
            },
        }
        for name in NODES
    }


def answers(seen, question):
    return [seen[name]["answers"][question] for name in NODES]


def test_a_whole_platform_is_healthy(seen):
    state = status(TOPOLOGY, seen)
    assert state["problems"] == []
    assert state["healthy"] is True
    assert state["vip"]["holder"] == "node1"
    assert state["etcd"]["leader"] == "node2"
    assert state["postgresql"]["leader"] == "node1"
    assert all(
        state[layer]["healthy"] for layer in ("vip", "etcd", "postgresql", "elasticsearch", "redis", "swarm", "haproxy")
    )
    assert json.loads(json.dumps(state)) == state


def dead(seen):
    seen["node3"] = {"reachable": False, "error": "Failed: ssh: connect to host 10.0.1.13 port 22: No route to host"}
    for answer in answers_of(seen, "etcd"):
        answer["members"][2].update(healthy=False, version=None, error="does not answer (no route)", db_size_bytes=None)
        answer.update(healthy=False, problems=["node3 does not answer (no route)."])


def answers_of(seen, question):
    return [host["answers"][question] for host in seen.values() if host.get("answers")]


def two_holders(seen):
    seen["node2"]["answers"]["vip"] = vip(True)


def no_holder(seen):
    seen["node1"]["answers"]["vip"] = vip(False)


def stranger(seen):
    seen["node1"]["answers"]["vip"] = {**vip(False), "others": ["02:00:00:00:00:01"]}


def local_problem(seen):
    for name in ("node2", "node3"):
        seen[name]["answers"]["vip"]["problems"] = ["keepalived is not running"]


def no_quorum(seen):
    for answer in answers(seen, "etcd"):
        answer.update(healthy=False, leader=None, problems=["No member leads."])
        for member in answer["members"][1:]:
            member.update(healthy=False, leader=False)


def one_view_differs(seen):
    seen["node3"]["answers"]["etcd"].update(healthy=False, problems=["node1 does not answer (timeout)."])


def two_leaders(seen):
    seen["node3"]["answers"]["postgresql"]["leader"] = "node3"


def etcd_stranger(seen):
    for answer in answers(seen, "etcd"):
        answer["members"].append({**answer["members"][2], "name": "node9"})


def etcd_missing(seen):
    for answer in answers(seen, "etcd"):
        del answer["members"][2]


def postgresql_missing(seen):
    for answer in answers(seen, "postgresql"):
        del answer["members"][2]


def patroni_silent(seen):
    for name in NODES:
        seen[name]["answers"]["postgresql"] = {"failed": True, "msg": "no member answers"}


def patroni_silent_on_one(seen):
    seen["node2"]["answers"]["postgresql"] = {"failed": True, "msg": "connection refused"}


def patroni_dead_on_one(seen):
    for answer in answers(seen, "postgresql"):
        answer.update(healthy=False, problems=["node2 does not answer at https://10.0.1.12:8008: refused."])
    patroni_silent_on_one(seen)


def paused(seen):
    for answer in answers(seen, "postgresql"):
        answer.update(paused=True, healthy=False, problems=["The cluster is paused (maintenance mode)."])


def haproxy_dead(seen):
    seen["node2"]["answers"]["haproxy"] = {"failed": True, "msg": "HAProxy does not answer on /run/x: refused"}


def api_down_everywhere(seen):
    for answer in answers(seen, "haproxy"):
        answer["backends"][2] = backend("api", [server(name, name != "node3", "L4CON", None) for name in NODES])


def api_down_for_one(seen):
    down = [server(name, name != "node3", "L7STS", 503) for name in NODES]
    seen["node1"]["answers"]["haproxy"]["backends"][2] = backend("api", down)


def no_pgbouncer(seen):
    own = seen["node2"]["answers"]["haproxy"]["backends"][-1]["servers"][0]
    own.update(status="DOWN", up=False, check="L4CON", check_code=None, check_seen="Connection refused")


def api_taken_out(seen):
    for host in NODES[:2]:
        backends = seen[host]["answers"]["haproxy"]["backends"]
        backends[2]["servers"][1].update(status="DRAIN", up=False, admin="drain")
        follower = server("node2", False, "", None, status="DRAIN", admin="drain", admin_inherited=True)
        backends.append(backend("websocket", [server("node1", True), follower]))
    backends = seen["node1"]["answers"]["haproxy"]["backends"]
    backends[0]["servers"][2].update(status="MAINT", admin="maint")


def write_has_none(seen):
    none = [server(name, False, "L7STS", 503) for name in NODES]
    seen["node1"]["answers"]["haproxy"]["backends"][0] = backend("postgresql_write", none)


def write_takes_a_replica(seen):
    seen["node1"]["answers"]["haproxy"]["backends"][0]["servers"][1] = server("node2", True)


def yellow(seen):
    problem = "The cluster is yellow: 2 shards are not assigned: events[0]r, events[1]r (NODE_LEFT)."
    for answer in answers(seen, "elasticsearch"):
        answer.update(status="yellow", unassigned=2, healthy=False, problems=[problem])


def two_masters_of_search(seen):
    seen["node1"]["answers"]["elasticsearch"]["master"] = "node1"


def redis_link_down(seen):
    for answer in answers(seen, "redis"):
        answer["members"][2].update(link_up=False, lag_bytes=None)
        answer.update(healthy=False, problems=["Redis on node3 has no connection to its master."])


def redis_master_differs(seen):
    seen["node3"]["answers"]["redis"]["master"] = "node3"


def swarm_node_down(seen):
    for answer in answers(seen, "swarm"):
        answer["nodes"][2].update(state="down", reachability="unreachable")
        answer.update(healthy=False, problems=["node3 is down (heartbeat failure)."])


def swarm_locked_on_one(seen):
    seen["node3"]["answers"]["swarm"].update(
        nodes=[], services=[], healthy=False, problems=["The swarm is locked on node3."]
    )


def replica_takes_redis_writes(seen):
    seen["node1"]["answers"]["haproxy"]["backends"][3]["servers"][2] = server("node3", True)


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        (yellow, ["elasticsearch: The cluster is yellow: 2 shards are not assigned: events[0]r, events[1]r (NODE_LEFT)"]),
        (two_masters_of_search, ["elasticsearch: hosts see different leaders: node1 by node1, node3 by node2"]),
        (redis_link_down, ["redis: Redis on node3 has no connection to its master"]),
        (redis_master_differs, ["redis: hosts see different leaders: node2 by node1, node3 by node3"]),
        (swarm_node_down, ["swarm: node3 is down (heartbeat failure)"]),
        (swarm_locked_on_one, ["swarm: seen from node3: The swarm is locked on node3"]),
        (replica_takes_redis_writes, ["haproxy: redis/node3 is UP although it is a replica on node1"]),
        (dead, ["node3: cannot be reached (connect to host 10.0.1.13 port 22: No route to host)",
                "etcd: node3 does not answer (no route)"]),
        (two_holders, ["vip: 2 hosts hold 10.0.1.100: node1, node2"]),
        (no_holder, ["vip: no load balancer holds 10.0.1.100"]),
        (stranger, ["vip: no load balancer holds 10.0.1.100, but 02:00:00:00:00:01 answers for it"]),
        (local_problem, ["node2, node3: keepalived is not running"]),
        (no_quorum, ["etcd: no quorum: 1 of 3 members are healthy, 2 are needed", "etcd: No member leads"]),
        (one_view_differs, ["etcd: seen from node3: node1 does not answer (timeout)"]),
        (two_leaders, ["postgresql: hosts see different leaders: node1 by node1, node3 by node3"]),
        (etcd_stranger, ["etcd: node9 is a member but not in the inventory"]),
        (etcd_missing, ["etcd: node3 is in the inventory but not a member"]),
        (postgresql_missing, ["postgresql: node3 is in the inventory but not a member"]),
        (patroni_silent, ["node1, node2, node3: postgresql could not be asked (no member answers)"]),
        (patroni_silent_on_one, ["node2: postgresql could not be asked (connection refused)"]),
        (patroni_dead_on_one, ["postgresql: node2 does not answer at https://10.0.1.12:8008: refused"]),
        (paused, ["postgresql: The cluster is paused (maintenance mode)"]),
        (haproxy_dead, ["node2: HAProxy does not answer on /run/x: refused"]),
        (api_down_everywhere, ["haproxy: api/node3 is DOWN (L4CON Service Unavailable) on node1, node2, node3"]),
        (api_down_for_one, ["haproxy: api/node3 is DOWN (L7STS 503 Service Unavailable) on node1"]),
        (api_taken_out, ["haproxy: postgresql_write/node3 is taken out (maint) on node1",
                         "haproxy: api/node2 is taken out (drain) on node1, node2"]),
        (write_has_none, ["node1: haproxy: postgresql_write has no server that is up",
                          "haproxy: postgresql_write/node1 is DOWN (L7STS 503 Service Unavailable) on node1"]),
        (no_pgbouncer, ["haproxy: pgbouncer/own is DOWN (L4CON Connection refused) on node2"]),
        (write_takes_a_replica, ["haproxy: postgresql_write/node2 is UP although it is a replica on node1"]),
    ],
)  # fmt: skip
def test_every_degradation_is_told_once(seen, change, problems):
    change(seen)
    state = status(TOPOLOGY, seen)
    assert state["problems"] == problems
    assert state["healthy"] is False
    text = screen(state)
    assert text.splitlines()[0].startswith("utmstack: DEGRADED")
    assert max(len(line) for line in text.splitlines()) <= WIDTH


ABSENT = ("loadbalancer", "etcd", "elasticsearch", "redis", "swarm")


def test_a_layer_that_the_inventory_does_not_have_is_not_there(seen):
    topology = {**TOPOLOGY, **{layer: {"members": [], "quorum": 0, "managers": []} for layer in ABSENT}}
    state = status(topology, seen)
    assert [state[layer] for layer in ("vip", "etcd", "haproxy", "elasticsearch", "redis", "swarm")] == [None] * 6
    assert state["healthy"] is True
    assert "etcd" not in screen(state)


def test_a_host_on_which_nobody_was_asked_is_a_problem(seen):
    del seen["node2"]["answers"]["etcd"]
    assert status(TOPOLOGY, seen)["problems"] == ["node2: etcd could not be asked (was not asked)"]


def test_without_postgresql_answers_its_servers_are_shown_but_not_judged(seen):
    patroni_silent(seen)
    state = status(TOPOLOGY, seen)
    assert state["haproxy"]["problems"] == []
    assert "postgresql_write  node2   DOWN" in screen(state)


HEALTHY_SCREEN = """\
utmstack: OK

Hosts, virtual IP 10.0.1.100/24 on node1
  host   address    reachable  virtual IP  keepalived  HAProxy
  node1  10.0.1.11  yes        eth0/24     MASTER      3.0.11
  node2  10.0.1.12  yes        -           BACKUP      3.0.11
  node3  10.0.1.13  yes        -           BACKUP      3.0.11

etcd, 3 of 3 healthy, quorum 2
  member  address    role      health  version  database  raft term
  node1   10.0.1.11  follower  ok      3.5.16   20.0 KiB  2
  node2   10.0.1.12  leader    ok      3.5.16   20.0 KiB  2
  node3   10.0.1.13  follower  ok      3.5.16   20.0 KiB  2

PostgreSQL, primary node1, synchronous mode strict (node2)
  member  address    role          state      timeline  lag      notes
  node1   10.0.1.11  primary       running    3         -
  node2   10.0.1.12  sync standby  streaming  3         0 B
  node3   10.0.1.13  replica       streaming  3         1.5 KiB

Elasticsearch, green, master node3
  node   address    role    version  roles
  node1  10.0.1.11  -       8.19.4   data, ingest, master
  node2  10.0.1.12  -       8.19.4   data, ingest, master
  node3  10.0.1.13  master  8.19.4   data, ingest, master

Redis, master node2, 3 of 3 sentinels agree
  host   address    role     link  lag   version  its sentinel reports
  node1  10.0.1.11  replica  up    14 B  8.0.2    node2
  node2  10.0.1.12  master   -     -     8.0.2    node2
  node3  10.0.1.13  replica  up    14 B  8.0.2    node2

Swarm, leader node1, quorum 2, utmstack_backend 3 of 3
  node   address    role     status  availability  Docker
  node1  10.0.1.11  leader   ready   active        26.1.5
  node2  10.0.1.12  manager  ready   active        26.1.5
  node3  10.0.1.13  manager  ready   active        26.1.5

HAProxy, as 3 load balancers see it
  backend           server  status       last check  sessions
  postgresql_write  node1   UP           L7OK        3
  postgresql_write  node2   - (replica)  L7STS       0
  postgresql_write  node3   - (replica)  L7STS       0
  postgresql_read   node1   - (primary)  L7STS       0
  postgresql_read   node2   UP           L7OK        3
  postgresql_read   node3   UP           L7OK        3
  api               node1   UP           L7OK        3
  api               node2   UP           L7OK        3
  api               node3   UP           L7OK        3
  redis             node2   UP           L7OK        3
  redis             node1   - (replica)  L7RSP       0
  redis             node3   - (replica)  L7RSP       0
  pgbouncer         own     UP           L7OK        3"""


def test_the_screen_shows_every_layer(seen):
    assert screen(status(TOPOLOGY, seen)) == HEALTHY_SCREEN


def test_the_screen_shows_a_dead_host_as_such(seen):
    dead(seen)
    text = screen(status(TOPOLOGY, seen))
    assert "  node3  10.0.1.13  NO         ?           ?           ?" in text
    assert "  node3   10.0.1.13  -         BAD     -        -         2" in text


def test_the_screen_tells_which_load_balancer_sees_a_server_down(seen):
    api_down_for_one(seen)
    assert "DOWN on node1; UP on node2, node3" in screen(status(TOPOLOGY, seen))


def test_the_screen_shows_a_member_that_does_not_replicate_in_capitals(seen):
    for answer in answers(seen, "postgresql"):
        answer["members"][2].update(state="starting", replication_state=None)
        answer["members"][1].update(reachable=False)
    text = screen(status(TOPOLOGY, seen))
    assert "replica       STARTING" in text
    assert "sync standby  NO ANSWER" in text


def test_the_screen_notes_a_pending_restart_and_tags(seen):
    for answer in answers(seen, "postgresql"):
        answer["members"][2].update(pending_restart=True, tags={"nofailover": True, "nosync": False})
    assert "restart pending, nofailover: True" in screen(status(TOPOLOGY, seen))


def test_a_screen_of_thirty_hosts_is_no_wider(seen):
    names = [f"security-node-{number:02d}" for number in range(30)]
    members = [{"name": name, "address": "10.0.1.1"} for name in names]
    observations = {}
    for name in names:
        observations[name] = copy.deepcopy(seen["node1" if name == names[0] else "node2"])
        half = [server("node1", int(name[-2:]) % 2 == 0)]
        observations[name]["answers"]["haproxy"]["backends"][2] = backend("api", half)
    topology = {**TOPOLOGY, "loadbalancer": {"members": members}, "etcd": {"members": []}}
    text = screen(status(topology, observations))
    assert max(len(line) for line in text.splitlines()) <= WIDTH


def test_the_reason_is_the_last_thing_that_was_said():
    assert reason({"error": "Data could not be sent.\nssh: connect to host a port 22: Timed out."}).endswith(
        "Timed out"
    )
    assert reason({"failed": True, "msg": "It failed."}) == "It failed"
    assert reason({}) == "no answer"


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "-"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (16 * 2**20, "16.0 MiB"), (700 * 2**30, "700 GiB")],
)
def test_a_size_has_a_unit(count, text):
    assert size(count) == text
