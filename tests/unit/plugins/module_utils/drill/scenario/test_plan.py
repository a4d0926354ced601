# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which faults a drill has, whom each meets, what is handed over before, and what must stop it before it begins."""

from __future__ import annotations

import copy
import re

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.drill.fault import kinds as drill_kinds
from ansible_collections.utmstack.ha.plugins.module_utils.drill.fault import partition as drill_partition
from ansible_collections.utmstack.ha.plugins.module_utils.drill.ledger import paths as drill_paths
from ansible_collections.utmstack.ha.plugins.module_utils.drill.scenario import choice as drill_choice
from ansible_collections.utmstack.ha.plugins.module_utils.drill.scenario import plan as drill_scenario
from ansible_collections.utmstack.ha.plugins.module_utils.drill.scenario.settings import ledger_settings
from ansible_collections.utmstack.ha.plugins.module_utils.services import elasticsearch, postgresql
from ansible_collections.utmstack.ha.plugins.module_utils.services import redis as redis_service
from drill_catalogue import CATALOGUE, NODES, SCENARIOS
from platform_state import whole
from role_templates import role_variables, topology

LAYERS = ("loadbalancer", "etcd", "postgresql", "elasticsearch", "redis", "swarm_managers")
THREE = topology({layer: NODES for layer in LAYERS}, "node1", ha_drill_allowed=True)
COMMANDS = {name: ["lab", name] for name in ("power_off", "power_on", "freeze", "thaw")}
SETTINGS = {
    "volumes": {"postgresql": "/var/lib/postgresql/17/utmstack", "elasticsearch": "/var/lib/elasticsearch"},
    "fill_limit_gb": 20,
    "loss_percent": "25",
    "loss_direction": "both",
    "commands": COMMANDS,
    "certificate": "PEM",
    "snapshots": ["/mnt/snapshots"],
}


def healthy(**leaders):
    hosts = [{"name": name, "reachable": True, "error": "", "maintenance": ""} for name in NODES]
    return {**whole(**leaders), "hosts": hosts, "problems": [], "healthy": True}


def meets(state=None, ha=THREE, **fault):
    return drill_scenario.target(fault, ha, state or healthy())


def planned(name="default", state=None, repeat=1, ha=THREE, commands=COMMANDS, own=None):
    chosen = drill_choice.scenario(name, SCENARIOS, own, list(SETTINGS["volumes"]), NODES)
    assert chosen["problems"] == []
    return drill_scenario.plan(ha, state or healthy(), chosen, repeat, commands)


def test_the_default_suite_has_what_is_promised():
    names = SCENARIOS["default"]["faults"]
    assert len(set(names)) >= 14
    assert "leader-of-all-power-off" in names
    assert len(SCENARIOS["short"]["faults"]) == 4


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_has_only_faults_of_the_catalogue_that_three_hosts_can_have(name):
    result = planned(name)
    assert (result["problems"], result["passed_over"]) == ([], [])


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_fault_becomes_one_that_the_host_knows(name):
    fault = CATALOGUE[name]
    given = drill_scenario.injection(fault, meets(**fault), THREE, SETTINGS)
    assert given["why"] == ""
    assert given["fault"]["kind"] in drill_kinds.KINDS
    assert given["limit_s"] > fault["hold_s"]
    assert given["controller"] == (fault["fault"]["kind"] in ("power", "frozen"))
    if given["fault"]["kind"] in ("signal", "dead"):
        assert given["fault"].get("units") or given["fault"].get("container")
    if given["fault"]["kind"] in ("partition", "lossy"):
        assert drill_partition.rules(given["fault"])
    if given["fault"]["kind"] in ("fill", "hung"):
        assert given["fault"]["path"]


@pytest.mark.parametrize(
    ("fault", "host"),
    [
        ({"target": "leader", "service": "postgresql"}, "node1"),
        ({"target": "leader", "service": "etcd"}, "node2"),
        ({"target": "leader", "service": "elasticsearch"}, "node3"),
        ({"target": "leader", "service": "swarm"}, "node1"),
        ({"target": "vip_holder"}, "node3"),
        ({"target": "node2"}, "node2"),
        # Of the replicas the one that leads least.
        ({"target": "replica", "service": "postgresql"}, "node2"),
        ({"target": "replica", "service": "sentinel"}, "node2"),
        ({"target": "replica", "service": "backend"}, "node2"),
    ],
)
def test_a_target_is_who_has_the_part_now(fault, host):
    found = meets(**fault)
    assert (found["host"], found["why"], found["handovers"]) == (host, "", [])


def test_the_host_that_leads_most_gets_the_rest_the_virtual_ip_last():
    found = meets(target="leader_of_all")
    assert found["host"] == "node1"
    assert [entry["service"] for entry in found["handovers"]] == ["etcd", "elasticsearch", "vip"]
    assert {entry["to"] for entry in found["handovers"]} == {"node1"}
    one = healthy(vip="node2", primary="node2", sync="node1", etcd="node2", master="node2", redis="node2")
    assert meets(one, target="leader_of_all")["handovers"] == []


def test_a_host_that_is_meant_alone_hands_over_what_else_it_leads():
    found = meets(target="vip_holder", alone=True)
    assert (found["host"], found["handovers"]) == ("node3", [{"service": "elasticsearch", "to": "node1"}])
    found = meets(target="leader", service="postgresql", alone=True)
    assert found["handovers"] == [{"service": "redis", "to": "node2"}]


def test_hosts_of_their_own_can_have_no_leader_of_all_and_it_is_passed_over():
    groups = {"etcd": NODES, "postgresql": NODES, "loadbalancer": ["node4", "node5"]}
    ha = topology(groups, "node1", ha_drill_allowed=True)
    state = {**healthy(vip="node4"), "elasticsearch": None, "redis": None, "swarm": None}
    result = planned(state=state, ha=ha)
    why = {entry["fault"]: entry["why"] for entry in result["passed_over"]}
    assert why["leader-of-all-power-off"] == "no host has a part in all that is led here"
    assert why["redis-sigkill"] == "redis has no leader"
    assert "haproxy-sigkill" in [turn["name"] for turn in result["turns"]]


def test_a_role_that_is_none_is_told_with_the_nearest():
    assert meets(target="leader_of_al")["why"].startswith(
        "target leader_of_al is neither a role nor a host. Did you mean"
    )


def test_without_the_operators_commands_a_host_keeps_its_power():
    result = planned(commands={})
    why = {entry["fault"]: entry["why"] for entry in result["passed_over"]}
    assert "drill_power_off and drill_power_on" in why["leader-of-all-power-off"]
    assert "drill_freeze and drill_thaw" in why["leader-of-all-frozen"]


def test_an_unhealthy_cluster_is_refused_with_what_is_wrong():
    state = healthy()
    state["problems"] = ["redis: node2 is down"]
    assert "a drill begins with a healthy one: redis: node2 is down." in planned(state=state)["problems"][0]


def test_a_host_in_maintenance_is_refused_with_the_way_out():
    state = copy.deepcopy(healthy())
    state["hosts"][1]["maintenance"] = "since yesterday"
    state["problems"] = ["node2: is in maintenance (since yesterday)"]
    (problem,) = planned(state=state)["problems"]
    assert problem == (
        "node2 is in maintenance (since yesterday). End that first: playbooks/maintenance.yml -e host=node2 -e state=absent."
    )


def test_a_scenario_is_repeated_as_a_whole_and_every_turn_has_a_place_of_its_own():
    turns = planned("short", repeat="2")["turns"]
    assert [turn["id"] for turn in turns[:5]] == [
        "01-haproxy-sigkill", "02-redis-sigkill", "03-postgresql-partition", "04-leader-of-all-power-off", "05-haproxy-sigkill",
    ]  # fmt: skip
    assert [turn["repeat"] for turn in turns] == [1] * 4 + [2] * 4


def test_a_fault_alone_and_one_of_ones_own_are_scenarios():
    assert [turn["name"] for turn in planned("etcd-sigkill")["turns"]] == ["etcd-sigkill"]
    own = {"faults": [{"name": "redis-sigkill", "hold_s": 99}, "etcd-sigkill"]}
    assert [turn["fault"]["hold_s"] for turn in planned("mine.yml", own=own)["turns"]] == [99, 15]


def test_the_plan_tells_what_is_done_to_whom():
    text = planned("short")["text"]
    assert text.splitlines()[0] == "Drill: four faults for CI, 4 faults, once each"
    assert re.search(r"\n  1     haproxy-sigkill +node3 +10 s +1 s +HAProxy is killed", text)


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        ("postgresql-partition", ["10.0.1.12", "10.0.1.13", "10.0.1.100"]),
        ("postgresql-pair-partition", ["10.0.1.12"]),
        ("clients-partition", ["10.0.1.11", "10.0.1.12", "10.0.1.13"]),
    ],
)
def test_a_partition_is_between_addresses(name, cut):
    fault = drill_scenario.injection(CATALOGUE[name], meets(**CATALOGUE[name]), THREE, SETTINGS)["fault"]
    assert fault["cut"] == cut
    assert fault["ssh_port"] == 22
    assert fault.get("clients_of") == ("10.0.1.100" if name == "clients-partition" else None)


def test_faults_that_make_a_host_ill_are_in_all_and_in_no_shorter_suite():
    ill = {name for name, fault in CATALOGUE.items() if fault["fault"]["kind"] in ("lossy", "dead", "hung")}
    assert {"postgresql-lossy", "postgresql-disk-dead", "elasticsearch-disk-dead", "postgresql-disk-hung"} <= ill
    assert ill <= {turn["name"] for turn in planned("all")["turns"]}
    assert not ill & {*SCENARIOS["default"]["faults"], *SCENARIOS["short"]["faults"]}


def test_the_services_say_who_reads_a_certificate_anew_and_who_has_shared_directories():
    expired = {"target": "node2", "fault": {"kind": "certificate", "certificate": "expired"}, "hold_s": 5}
    given = drill_scenario.injection(expired, meets(**expired), THREE, SETTINGS)["fault"]
    assert (given["reload"], given["port"]) == (["patroni.service"], 8008)
    lost = CATALOGUE["snapshots-lost"]
    given = drill_scenario.injection(lost, meets(**lost), THREE, SETTINGS | {"snapshots": []})
    assert given["fault"]["units"] == ["elasticsearch.service"]
    assert given["why"] == "the inventory has no elasticsearch_repository_directories"
    with pytest.raises(drill_kinds.Refused, match="is no directory here. Correct elasticsearch_repository_directories"):
        drill_kinds.Unshare.prepare(given["fault"], None)


def test_the_share_that_is_lost_is_a_setting_and_a_fault_may_have_its_own():
    lossy = CATALOGUE["postgresql-lossy"]
    given = drill_scenario.injection(lossy, meets(**lossy), THREE, SETTINGS)["fault"]
    assert (given["loss_percent"], given["direction"], given["everyone"]) == (25, "both", True)
    own = {**lossy, "fault": {"kind": "lossy", "cut": "one", "loss_percent": 60, "direction": "in"}}
    given = drill_scenario.injection(own, meets(**own), THREE, SETTINGS)["fault"]
    assert (given["loss_percent"], given["direction"], given["cut"]) == (60, "in", ["10.0.1.12"])


def test_a_lossy_redis_master_may_lose_what_a_cut_off_one_may_and_it_is_told_that_nothing_keeps_it_to_that():
    lossy = CATALOGUE["leader-of-all-lossy"]
    told = drill_scenario.expected_loss(lossy, "node1", THREE, {"redis": "node1"})
    assert told["expected_loss_s"] == 4.5
    assert "It is no limit here" in told["expected_loss_why"]
    assert drill_scenario.expected_loss(lossy, "node1", THREE, {"redis": "node2"})["expected_loss_s"] == 0


def test_only_a_redis_master_that_is_cut_off_may_lose_writes_and_only_where_a_limit_is_set():
    redis, led = CATALOGUE["redis-partition"], {"redis": "node1"}
    assert drill_scenario.expected_loss(redis, "node1", THREE, led)["expected_loss_s"] == 4.5
    assert drill_scenario.expected_loss(redis, "node2", THREE, led)["expected_loss_s"] == 0
    assert drill_scenario.expected_loss(CATALOGUE["redis-sigkill"], "node1", THREE, led)["expected_loss_s"] == 0
    unsafe = {**THREE, "redis": {**THREE["redis"], "min_replicas_to_write": 0}}
    assert drill_scenario.expected_loss(redis, "node1", unsafe, led)["expected_loss_s"] == 0


@pytest.mark.parametrize(
    ("verdicts", "found"),
    [
        ({"redis": {"missing": 0}, "api": {"missing": 0}}, []),
        ({"redis": {"missing": 40, "lost_s": 1.9}}, []),
        ({"redis": {"missing": 90, "lost_s": 4.5}}, ["t: 90 acknowledged writes of redis are missing (4.5 s of them)."]),
        ({"postgresql": {"missing": 1, "lost_s": 0.05}},
         ["t: 1 acknowledged writes of postgresql are missing (0.05 s of them)."]),
        ({"bank": {"missing": 0, "sum_right": True}}, []),
        ({"bank": {"missing": 0, "sum_right": False, "problem": "on node2 the sum is 9990, not 10000"}},
         ["t: the accounts of bank are wrong (on node2 the sum is 9990, not 10000)."]),
        ({"api": {"missing": None, "problem": "x"}}, ["t: api could not be judged (x)."]),
    ],
)  # fmt: skip
def test_a_loss_counts_unless_it_is_by_design(verdicts, found):
    assert drill_scenario.problems_after("t", verdicts, {"expected_loss_s": 2}) == found


def test_who_led_before_leads_again_but_for_the_swarm():
    now = healthy(vip="node2", primary="node2", sync="node1", etcd="node2", redis="node1")
    before = {"etcd": "node1", "redis": "node1", "swarm": "node3", "vip": "node1", "postgresql": "node1"}
    assert drill_scenario.restoring(before, now) == [
        {"service": service, "to": "node1"} for service in ("etcd", "postgresql", "vip")
    ]
    # A standby that confirms no writes can't take over from a primary that needs it to.
    assert drill_scenario.restoring({"postgresql": "node3"}, now) == []


def test_postgresql_goes_only_to_a_standby_that_confirms_writes():
    now = healthy(vip="node3", primary="node1", sync="node2", etcd="node3", master="node3", redis="node3")
    assert meets(now, target="leader_of_all")["host"] == "node1"
    now = healthy(vip="node1", primary="node1", sync="node3", etcd="node1", master="node1", redis="node1")
    handed = {entry["service"]: entry["to"] for entry in meets(now, target="vip_holder", alone=True)["handovers"]}
    assert handed["postgresql"] == "node3"


SECRETS = {
    name: f"secret of {name}"
    for name in ("postgresql_drill_password", "elasticsearch_drill_password", "redis_drill_password")
}


def test_the_ledger_uses_the_addresses_of_an_application_and_reads_back_from_every_member():
    settings = ledger_settings(THREE, SECRETS, "run", 20, 60, "/ca.crt", {"write": {"path": "/api/events"}})["paths"]
    assert (settings["postgresql"]["host"], settings["postgresql"]["port"]) == ("10.0.1.100", 5432)
    assert settings["postgresql"]["members"]["node2"] == ["10.0.1.12", 5432]
    assert settings["elasticsearch"]["url"] == "https://10.0.1.100:9200"
    assert settings["elasticsearch"]["members"]["node3"] == "https://10.0.1.13:9200"
    assert settings["redis"]["sentinels"][0] == ["10.0.1.11", 26379]
    assert [settings[path]["port"] for path in ("bank", "bank_direct")] == [5432, 5434]
    assert settings["bank"]["rate"] == postgresql.BANK_RATE
    assert ledger_settings(THREE, SECRETS, "run", 1, 60, "/ca.crt")["paths"]["bank_direct"]["rate"] == 1
    assert settings["api"] == {"client": "api", "url": "https://10.0.1.100:443", "write": {"path": "/api/events"}}


def test_the_ledger_takes_the_settings_that_the_role_makes():
    run = drill_scenario.run_name("2026-03-01T12:00:00Z", 3)
    assert run == "20260301t120000z-03"
    assert list(drill_paths.paths(ledger_settings(THREE, SECRETS, run, 20, 60, None))) == [
        "postgresql",
        "elasticsearch",
        "redis",
        "bank",
        "bank_direct",
    ]


def test_a_path_that_the_inventory_lacks_is_left_out():
    ha = topology({"etcd": NODES, "postgresql": NODES, "loadbalancer": NODES}, "node1")
    paths = ledger_settings(ha, SECRETS, "run", 20, 60, "/ca.crt", {"write": {"path": "/api/events"}})["paths"]
    assert list(paths) == ["postgresql", "bank", "bank_direct"]


def test_the_roles_make_the_users_that_the_ledger_logs_in_as():
    assert role_variables("postgresql")["postgresql_drill_user"] == postgresql.DRILL_USER
    assert f"'name': '{elasticsearch.DRILL_USER}'" in role_variables("elasticsearch")["elasticsearch_drill_users"]
    assert f"'{elasticsearch.DRILL_INDEX}-*'" in role_variables("elasticsearch")["elasticsearch_drill_roles"]
    assert f"'name': '{redis_service.DRILL_USER}'" in role_variables("redis")["redis_drill_users"]
