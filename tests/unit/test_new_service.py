# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A service that is added to the registry is planned, installed, ordered, shown, rolled and drilled, without a change to anything shared.

The service is a queue of brokers, one of which leads: support/new_service. Here its object is all that counts; test_new_service_run.py runs
playbooks with its role and its information module, too.
"""

from __future__ import annotations

from collections import defaultdict

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.backend.stack import environment
from ansible_collections.utmstack.ha.plugins.module_utils.drill.scenario import choice
from ansible_collections.utmstack.ha.plugins.module_utils.drill.scenario import plan as drill
from ansible_collections.utmstack.ha.plugins.module_utils.host import conflicts
from ansible_collections.utmstack.ha.plugins.module_utils.operation import plan as operation
from ansible_collections.utmstack.ha.plugins.module_utils.operation import upgrade_plan
from ansible_collections.utmstack.ha.plugins.module_utils.operation.screen import screen
from ansible_collections.utmstack.ha.plugins.module_utils.operation.status import status
from ansible_collections.utmstack.ha.plugins.module_utils.services.backup import program_kinds
from ansible_collections.utmstack.ha.plugins.module_utils.services.passwords import passwords
from ansible_collections.utmstack.ha.plugins.module_utils.services.questions import questions
from ansible_collections.utmstack.ha.plugins.module_utils.services.registry import SERVICES, backups
from ansible_collections.utmstack.ha.plugins.module_utils.services.software import host_software
from ansible_collections.utmstack.ha.plugins.module_utils.topology import changes
from ansible_collections.utmstack.ha.plugins.module_utils.topology.build import Inventory, build
from ansible_collections.utmstack.ha.plugins.module_utils.topology.faults import TopologyError
from ansible_collections.utmstack.ha.plugins.module_utils.topology.plan import plan as shown
from collection_with import queue_service
from drill_catalogue import SCENARIOS
from platform_state import NODES, whole
from role_templates import topology

BROKERS = ["node1", "node2", "node3"]
GROUPS = {"loadbalancer": BROKERS, "etcd": BROKERS, "postgresql": BROKERS, "queue": BROKERS}
BACKEND = {"database_name": "utmstack", "database_user": "utmstack"}
QUEUE = queue_service()


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setitem(SERVICES, "queue", QUEUE)


@pytest.fixture
def ha():
    return topology(GROUPS, "node1", ha_drill_allowed=True)


def answers(leader="node2", healthy=("node1", "node2", "node3")):
    members = [{"name": name, "healthy": name in healthy} for name in BROKERS]
    problems = [f"{name} is no replica in sync" for name in BROKERS if name not in healthy]
    found = {"members": members, "leader": leader, "healthy": not problems, "problems": problems}
    return {name: {"reachable": True, "error": "", "answers": {"queue": found}} for name in BROKERS}


def state(leader="node2", healthy=("node1", "node2", "node3")):
    members = [{"name": name, "healthy": name in healthy} for name in BROKERS]
    return whole() | {"problems": [], "queue": {"leader": leader, "members": members}}


def seen():
    return {name: {"units": {}, "booted": "2026-01-01T00:00:00Z", "time": 1e9, "texts": {}} for name in BROKERS}


def test_it_is_planned_with_its_hosts_ports_and_memory(ha):
    assert [one["name"] for one in ha["queue"]["members"]] == BROKERS
    assert ha["host"]["groups"] == ["loadbalancer", "etcd", "postgresql", "queue"]
    assert (ha["ports"]["queue"], ha["ports"]["queue_bootstrap"]) == (9092, 9095)
    assert ha["host"]["memory_share"]["queue"] == 0.16
    assert "HAProxy (queue)" in shown(ha) and "9092" in shown(ha)


def test_two_services_on_one_port_are_refused_and_another_one_can_be_set():
    with pytest.raises(TopologyError, match="ha_ports.queue is 5432"):
        topology(GROUPS, "node1", ha_ports={"queue": 5432})
    assert topology(GROUPS, "node1", ha_ports={"queue": 9192})["ports"]["queue"] == 9192


def test_a_misspelt_group_is_told(ha):
    with pytest.raises(TopologyError, match="Did you mean queue"):
        topology({**{name: hosts for name, hosts in GROUPS.items() if name != "queue"}, "queues": BROKERS}, "node1")


def test_its_packages_are_installed_and_held_and_the_kernel_is_set(ha):
    found = host_software(ha, "node1", {}, "13")
    assert {"queue-server", "openjdk-21-jre-headless"} <= set(found["packages"])
    assert "queue-server" in found["held"] and found["kernel"] == {"vm.max_map_count": 262144}
    assert "queue-server" in found["anywhere"]


def test_what_is_in_its_way_is_refused(ha):
    wanted = conflicts.plan(ha, "node1", host_software(ha, "node1", {}, "13")["settings"])
    assert "queue.service" in wanted["units"]
    assert wanted["configs"]["queue.service"] == ["/etc/queue/server.properties"]
    assert {"path": "/var/lib/queue/utmstack", "user": "queue"} in wanted["entered"]
    found = conflicts.decide(wanted, conflicts.Seen(units={"queue.service": conflicts.Unit(active=True)}), [])
    assert [one["name"] for one in found["conflicts"]] == ["queue.service"]


def test_it_is_asked_and_shown_with_its_problems(ha):
    assert questions(ha, dict.fromkeys(("etcd_root_password",), "x"), "node1")["queue"] == {
        "utmstack.ha.queue_info": {"home": "/var/lib/queue", "brokers": BROKERS}
    }
    found = status(ha, answers(healthy=["node1", "node2"]))
    assert found["queue"]["leader"] == "node2"
    assert "queue: node3 is no replica in sync" in found["problems"]
    assert "queue, 2 of 3 healthy" in screen(found)


def test_it_is_restarted_in_order_with_the_leader_last_and_the_ill_first(ha):
    planned = operation.plan(ha, state(), seen(), "restart", "queue")["services"][0]
    assert (planned["role"], planned["verb"], planned["order"]) == (
        "utmstack.ha.queue",
        "restart",
        ["node1", "node3", "node2"],
    )
    assert planned["leads"] == {"node2": ["the queue's controller"]}
    ill = operation.plan(ha, state(healthy=["node1", "node2"]), seen(), "restart", "queue")["services"][0]
    assert ill["order"] == ["node3", "node1", "node2"]


def test_all_services_and_whole_hosts_have_it(ha):
    assert [one["name"] for one in operation.plan(ha, state(), seen(), "restart", "all")["services"]][-1] == "queue"
    assert ha["host"]["entry_points"]["drain"] == ["queue", "postgresql", "etcd", "haproxy"]
    planned = operation.plan(ha, state(), seen(), "reboot", "host")["services"][0]
    assert "the queue's controller" in planned["leads"]["node2"]


def test_its_packages_are_upgraded(ha):
    parts = host_software(ha, "node1", {}, "13")["upgrades"]
    package = {"installed": "3.8-1", "candidate": "3.9-1", "offered": ["3.9-1"], "status": "installed", "held": True}
    hosts = {name: {"packages": {"queue-server": package}, "units": {}} for name in BROKERS}
    assert upgrade_plan.plan(ha, hosts, parts, ["queue"])["todo"] == {"queue": BROKERS}


def test_its_leader_is_handed_over(ha):
    planned = operation.switchover(ha, state(), seen(), "queue", "node3")
    assert planned["faults"] == []
    assert planned["text"] == "node2 hands over the queue's controller to node3"


def test_it_is_drilled(ha):
    chosen = choice.scenario("queue-sigkill", SCENARIOS, hosts=NODES)
    assert chosen["problems"] == []
    fault = chosen["faults"]["queue-sigkill"]
    met = drill.target(fault, ha, state())
    assert (met["host"], met["why"]) == ("node2", "")
    assert [one["service"] for one in met["handovers"]] == ["etcd"]
    injected = drill.injection(fault, met, ha, {"volumes": {}, "snapshots": [], "commands": {}, "certificate": ""})
    assert injected["fault"]["units"] == ["queue.service"]
    assert "queue" in drill.leading(state())


def test_a_drill_with_every_fault_has_its_own_after_those_that_are_in_a_list():
    assert list(choice.scenario("all", SCENARIOS)["faults"]) == [*SCENARIOS["all"]["faults"], "queue-sigkill"]


def test_its_settings_passwords_timing_and_figures_are_known(ha):
    assert passwords()["queue_admin_password"] == "#"
    assert topology(GROUPS, "node1", ha_timing={"queue": {"session_ms": 5000}})["timing"]["queue"] == {
        "session_ms": 5000
    }
    with pytest.raises(TopologyError, match="queue_admin_password contains a character"):
        topology(GROUPS, "node1", queue_admin_password="a-password#of-a-queue")
    assert "controller of the queue dies" in shown(ha)
    assert ha["services"]["queue"]["proxied"] and ha["queue"]["client"] == {"host": "10.0.1.100", "port": 9095}


def test_the_application_is_told_where_it_is(ha):
    told = environment(ha, {"tls": False, "secret_environment": "environment", "environment": {}, **BACKEND}, [])
    assert (told["QUEUE_PORT"], told["QUEUE_CA"]) == (9095, "/run/utmstack/ca.crt")


def test_what_must_not_change_of_it_is_refused():
    there = {
        "layers": {"queue": {"port": 9092}},
        "enabled": ["queue"],
        "passwords": {"queue_admin_password": False},
        "settings": {},
    }
    told = changes.refusal(topology(GROUPS, "node1"), {"node1": there})
    assert "queue_admin_password is not the one that is deployed" in told and "Put it back" in told


def test_it_is_backed_up_where_there_is_a_backup_host():
    own = topology({**GROUPS, "backup": ["node4"]}, "node4")
    assert "queue" in own["backup"]["times"]["node4"] and "Queue" in shown(own)
    told = program_kinds(backups(), own, defaultdict(str), "node4")["queue"]
    assert told["settings"] == {"home": "/var/lib/queue", "brokers": BROKERS}


def test_what_of_it_cannot_be_backed_up_is_refused_with_the_remedy():
    hosts = {
        name: {"ha_address": f"10.0.1.1{number}", "queue_volatile": True}
        for number, name in enumerate([*BROKERS, "node4"], 1)
    }
    with pytest.raises(TopologyError, match="has queue, but brokers are volatile. Set queue_volatile to false"):
        build(Inventory(groups={**GROUPS, "backup": ["node4"]}, hosts=hosts), {"ha_vip": "10.0.1.100/24"})
