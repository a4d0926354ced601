# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which hosts an operation takes and in which order."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.utmstack.ha.plugins.filter.operation import FilterModule
from ansible_collections.utmstack.ha.plugins.module_utils.operation import plan as operation
from ansible_collections.utmstack.ha.plugins.module_utils.operation.own_address import is_own
from ansible_collections.utmstack.ha.plugins.module_utils.services import registry
from ansible_collections.utmstack.ha.plugins.module_utils.topology.build import MAINTENANCE_FILE
from platform_state import NODES, whole

MEMBERS = [{"name": name} for name in NODES]
LAYERS = ("loadbalancer", "pgbouncer", "etcd", "postgresql", "elasticsearch", "redis", "sentinel", "swarm", "backend")
TOPOLOGY = {
    "hosts": {name: {"name": name, "groups": ["loadbalancer", "etcd"]} for name in NODES},
    **{layer: {"members": MEMBERS} for layer in LAYERS},
}
EARLY, BEGAN, LATE = "2026-03-01T11:00:00.000Z", "2026-03-01T12:00:00Z", "2026-03-01T12:00:07.000Z"
BEGAN_S = 1772366400.4


def looked(started=EARLY, booted=EARLY, **by_host):
    """What host_info said of each host; by_host: when the services of one were started."""
    return {
        name: {
            "time": BEGAN_S,
            "booted": booted,
            "units": {
                unit: {"state": "active", "started": by_host.get(name, started)}
                for unit in registry.units()
                if "valkey" not in unit
            },
            "texts": {MAINTENANCE_FILE: ""},
        }
        for name in NODES
    }


def plan(state=None, seen=None, verb="restart", **options):
    options.setdefault("service", "all")
    return operation.plan(TOPOLOGY, state or whole(), seen or looked(), verb, **options)


def order(name, *args, **options):
    planned = plan(*args, service=name, **options)
    assert not planned["faults"], planned["faults"]
    return planned["services"][0]["order"]


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("etcd", ["node1", "node3", "node2"]),
        ("postgresql", ["node3", "node2", "node1"]),
        ("elasticsearch", ["node1", "node2", "node3"]),
        ("redis", ["node2", "node3", "node1"]),
        ("swarm", ["node2", "node3", "node1"]),
        ("haproxy", ["node1", "node2", "node3"]),
        ("keepalived", ["node1", "node2", "node3"]),
        ("pgbouncer", ["node1", "node2", "node3"]),
    ],
)
def test_replicas_come_first_and_the_leader_last(service, expected):
    if service in ("etcd", "elasticsearch", "redis", "swarm"):
        # Who confirms PostgreSQL's writes is of no weight for them, but it may break a tie.
        state = whole(sync="")
        assert order(service, state) == expected
    else:
        assert order(service) == expected


@pytest.mark.parametrize("leader", NODES)
@pytest.mark.parametrize(
    ("service", "leads"),
    [
        ("etcd", "etcd"),
        ("postgresql", "primary"),
        ("elasticsearch", "master"),
        ("redis", "redis"),
        ("swarm", "swarm"),
        ("keepalived", "vip"),
        ("haproxy", "vip"),
        ("pgbouncer", "vip"),
    ],
)
def test_whoever_leads_a_service_is_its_last_turn(service, leads, leader):
    planned = plan(whole(**{leads: leader}), service=service)["services"][0]
    assert planned["order"][-1] == leader
    assert list(planned["leads"]) == [leader]


def test_a_standby_that_confirms_writes_comes_after_one_that_does_not():
    assert order("postgresql", whole(primary="node2", sync="node1")) == ["node3", "node1", "node2"]


def test_whole_hosts_go_by_how_much_they_lead_and_the_virtual_ip_is_last():
    state = whole(vip="node1", primary="node3", etcd="node3", master="node3", redis="node3", swarm="node2")
    assert order("host", state, verb="reboot") == ["node2", "node3", "node1"]


def test_services_come_in_the_order_of_the_site():
    """This platform has no backup hosts."""
    assert [part["name"] for part in plan()["services"]] == [name for name in registry.SERVICES if name != "backup"]


def test_several_services_are_chosen_by_name_in_whatever_order():
    assert [part["name"] for part in plan(service="redis, etcd")["services"]] == ["etcd", "redis"]


def test_a_service_knows_its_role_and_rooms():
    parts = {part["name"]: part for part in plan()["services"]}
    assert (parts["sentinel"]["role"], parts["sentinel"]["verb"], parts["sentinel"]["drain"]) == (
        "utmstack.ha.redis",
        "restart_sentinel",
        False,
    )
    assert (parts["etcd"]["role"], parts["etcd"]["verb"], parts["etcd"]["drain"]) == (
        "utmstack.ha.etcd",
        "restart",
        True,
    )


def broken(layer, key, host, label="name", **change):
    state = whole()
    next(member for member in state[layer][key] if member[label] == host).update(change)
    return state


@pytest.mark.parametrize(
    ("service", "state"),
    [
        ("etcd", broken("etcd", "members", "node2", healthy=False)),
        ("postgresql", broken("postgresql", "members", "node1", serves=False)),
        ("redis", broken("redis", "members", "node3", error="Connection refused")),
        ("swarm", broken("swarm", "nodes", "node3", "hostname", state="down")),
        ("haproxy", broken("haproxy", "hosts", "node3", answers=False)),
        ("keepalived", broken("vip", "members", "node2", keepalived=False)),
        ("host", broken("etcd", "members", "node2", healthy=False)),
    ],
)
def test_what_is_ill_comes_first_even_if_it_leads(service, state):
    sick = operation.ill(state, service, NODES)
    assert len(sick) == 1
    assert order(service, state, verb="reboot" if service == "host" else "restart")[0] == sick[0]


def test_two_hosts_that_are_ill_are_refused():
    state = broken("etcd", "members", "node2", healthy=False)
    state["etcd"]["members"][2]["healthy"] = False
    assert plan(state, service="etcd")["faults"] == [
        "etcd: 2 of 3 hosts are unhealthy (node2, node3), and each step takes one more down. Repair one first; "
        "playbooks/status.yml shows the problems."
    ]


def test_another_host_than_the_ill_one_is_refused():
    state = broken("etcd", "members", "node2", healthy=False)
    assert "node2 is unhealthy, and is not among the hosts" in plan(state, service="etcd", only=["node1"])["faults"][0]
    assert not plan(state, service="etcd", only=["node2"])["faults"]


def test_what_was_started_after_the_moment_is_done():
    planned = plan(seen=looked(node1=LATE, node3=LATE), service="postgresql", since=BEGAN)["services"][0]
    assert (planned["order"], planned["done"]) == (["node2"], ["node1", "node3"])


def test_without_a_moment_nothing_is_done():
    assert plan(seen=looked(LATE), service="etcd")["services"][0]["done"] == []


def test_an_ill_host_is_not_done_whenever_it_was_started():
    state = broken("postgresql", "members", "node3", serves=False)
    planned = plan(state, looked(node3=LATE), service="postgresql", since=BEGAN)["services"][0]
    assert planned["order"][0] == "node3"


def test_a_host_that_is_still_drained_is_not_done():
    state = whole()
    state["swarm"]["nodes"][1]["availability"] = "drain"
    assert plan(state, looked(LATE), service="swarm", since=BEGAN)["services"][0]["order"] == ["node2"]
    state = whole()
    state["haproxy"]["servers"][1]["on"]["node1"]["admin"] = "drain"
    assert plan(state, looked(LATE), service="elasticsearch", since=BEGAN)["services"][0]["order"] == ["node2"]


def test_a_host_that_was_left_drained_comes_before_one_that_leads_nothing():
    state = whole()
    state["haproxy"]["servers"][2]["on"]["node1"]["admin"] = "drain"
    drained = state["haproxy"]["servers"][2]["server"]
    assert plan(state, looked(), service="elasticsearch")["services"][0]["order"][0] == drained != "node1"


def test_shards_that_are_still_held_in_place_are_freed_by_another_turn():
    state = whole()
    state["elasticsearch"]["changed_settings"] = {"cluster.routing.allocation.enable": "primaries"}
    assert len(plan(state, looked(LATE), service="elasticsearch", since=BEGAN)["services"][0]["order"]) == 3


def test_a_host_that_has_booted_after_the_moment_is_done():
    seen = looked()
    seen["node2"]["booted"] = LATE
    planned = plan(seen=seen, verb="reboot", service="host", since=BEGAN)["services"][0]
    assert planned["done"] == ["node2"]


def test_the_moment_of_the_look_is_told_for_a_run_that_goes_on():
    assert plan()["began"] == "2026-03-01T12:00:00Z"
    assert plan(since=EARLY)["began"] == EARLY


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"service": ""}, "No service is chosen. Give -e service=all, or some of etcd, postgresql"),
        ({"service": "postgres"}, "service=postgres is not known. Did you mean postgresql?"),
        ({"since": "yesterday"}, "since=yesterday is no time. Give it like 2026-03-01T12:00:00Z"),
        ({"service": "etcd", "only": ["node9"]}, "node9 has no etcd; its hosts are node1, node2, node3."),
    ],
)
def test_a_wrong_choice_is_refused_with_the_remedy(options, fault):
    assert any(line.startswith(fault) for line in plan(**options)["faults"])


def test_a_service_that_the_inventory_lacks_is_refused():
    topology = {**TOPOLOGY, "redis": {"members": []}}
    planned = operation.plan(topology, whole(), looked(), "restart", service="redis")
    assert planned["faults"][0].startswith("This inventory has no redis; it has etcd,")


def test_a_backend_that_is_not_deployed_is_no_service():
    state = whole()
    state["swarm"]["services"] = []
    assert "backend" not in [part["name"] for part in plan(state)["services"]]


def test_a_host_out_of_reach_is_refused():
    state = whole()
    state["hosts"][1].update(reachable=False, error="No route to host")
    assert "node2 cannot be reached (No route to host)." in plan(state)["faults"][0]


def test_a_host_in_maintenance_is_refused_unless_it_alone_is_meant():
    seen = looked()
    seen["node2"]["texts"][MAINTENANCE_FILE] = "since 2026-03-01T10:00:00Z: new disk\n"
    assert "node2 is in maintenance (since 2026-03-01T10:00:00Z: new disk)" in plan(seen=seen)["faults"][0]
    assert not plan(seen=seen, only=["node2"])["faults"]


def test_a_paused_patroni_is_refused_where_it_matters():
    state = whole()
    state["postgresql"]["paused"] = True
    assert "Patroni is paused" in plan(state)["faults"][0]
    assert not plan(state, service="etcd")["faults"]


@pytest.mark.parametrize(("status", "accepted"), [("green", "green"), ("yellow", "yellow"), ("red", "green")])
def test_a_search_cluster_that_was_yellow_before_may_stay_so(status, accepted):
    state = whole()
    state["elasticsearch"]["status"] = status
    assert plan(state)["accept_status"] == accepted


def test_the_text_shows_the_turns_in_their_order_and_what_is_handed_over():
    shown = operation.text(plan(service="postgresql,etcd", since=BEGAN, seen=looked(node1=LATE)))
    assert shown == (
        "Rolling restart, 4 steps, one host at a time\n"
        "  step  service     host\n"
        "  1     etcd        node3\n"
        "  2     etcd        node2  hands over etcd's leader\n"
        "  3     postgresql  node3\n"
        "  4     postgresql  node2\n"
        "  Skipped, already done: etcd: node1; postgresql: node1."
    )


def test_the_text_says_where_nothing_is_left():
    assert "Nothing is left to do." in operation.text(plan(service="etcd", since=BEGAN, seen=looked(LATE)))


def test_a_plan_leaves_its_input_alone():
    state, seen = whole(), looked()
    before = copy.deepcopy((state, seen))
    plan(state, seen, since=BEGAN)
    assert (state, seen) == before


def switchover(service, to="", state=None, seen=None):
    return operation.switchover(TOPOLOGY, state or whole(), seen or looked(), service, to)


@pytest.mark.parametrize("service", list(registry.leaderships()))
def test_a_hand_over_names_who_leads_and_which_role_does_it(service):
    planned = switchover(service)
    assert (planned["faults"], planned["needed"]) == ([], True)
    assert planned["text"] == f"{planned['leader']} hands over {registry.leaderships()[service].leads} to another host"
    assert planned["role"] == f"utmstack.ha.{'keepalived' if service == 'vip' else service}"


def test_nothing_is_handed_over_to_whom_leads_already():
    planned = switchover("redis", "node1")
    assert (planned["needed"], planned["text"]) == (False, "node1 leads redis already")


@pytest.mark.parametrize(
    ("service", "to", "fault"),
    [
        ("", "", "No service is chosen. Give -e service= one of etcd, postgresql, elasticsearch, redis, swarm, vip."),
        ("haproxy", "", "service=haproxy can't be handed over."),
        ("etcd", "node9", "to=node9 has no etcd; its hosts are node1, node2, node3."),
        ("swarm", "node2", "swarm: its members elect whom they want, so leave -e to=node2 out."),
    ],
)
def test_a_hand_over_that_cannot_be_is_refused(service, to, fault):
    assert switchover(service, to)["faults"][0].startswith(fault)


def test_a_successor_that_is_ill_or_in_maintenance_is_refused():
    ill = broken("postgresql", "members", "node3", serves=False)
    assert (
        "node3 is not a healthy member of postgresql (to=node3)" in switchover("postgresql", "node3", ill)["faults"][0]
    )
    seen = looked()
    seen["node3"]["texts"][MAINTENANCE_FILE] = "since today"
    assert "to=node3 is in maintenance (since today)" in switchover("vip", "node3", seen=seen)["faults"][0]


def test_where_nobody_leads_there_is_nothing_to_hand_over():
    assert "redis has no leader" in switchover("redis", state=whole(redis=None))["faults"][0]


def test_a_stop_names_host_step_and_what_was_seen_and_how_to_go_on():
    said = operation.stopped(
        NODES, "node2", "utmstack.ha.etcd", "restart", "Restart etcd", "no\n such file", f"-e since={BEGAN}"
    )
    assert said == [
        'etcd, restart: stopped at node2, at the task "Restart etcd".',
        "Seen: no such file",
        "Done: node1.",
        "Not begun: node3. They serve as before.",
        "Next: repair node2, and start the same command with -e since=2026-03-01T12:00:00Z; it finishes the rest.",
    ]


def test_a_stop_of_whole_hosts_names_no_role_that_nobody_asked_for():
    planned = plan(verb="reboot", service="host")["services"][0]
    assert planned["role"] == "utmstack.ha.rolling"
    said = operation.stopped(NODES, "node1", planned["role"], "reboot", "Reboot the host", "timed out")
    assert said[0] == 'host, reboot: stopped at node1, at the task "Reboot the host".'


def test_a_stop_at_the_only_host_has_nothing_before_and_nothing_after():
    said = operation.stopped(["node1"], "node1", "utmstack.ha.etcd", "restart", "Restart etcd", "nothing")
    assert said[2:] == [
        "No host was done before it.",
        "Next: repair node1, and start the same command again; it finishes the rest.",
    ]


def test_an_upgrade_takes_the_hosts_that_do_not_run_what_is_wanted():
    planned = plan(verb="upgrade", service="etcd,redis", todo={"etcd": ["node2", "node3"]})["services"]
    assert [(part["order"], part["done"]) for part in planned] == [(["node3", "node2"], ["node1"]), ([], list(NODES))]


def test_a_controller_that_is_a_host_is_not_rebooted_and_the_plan_says_so():
    planned = plan(verb="reboot", service="host", controller=["node2"])
    assert planned["faults"] == []
    assert sorted(planned["services"][0]["order"]) == ["node1", "node3"] and planned["services"][0]["left"] == ["node2"]
    shown = operation.text(planned)
    assert "2 steps" in shown
    assert (
        "Left out: node2, which is the controller" in shown
        and "maintenance.yml -e host=node2 -e state=present" in shown
    )


def test_a_controller_that_is_named_is_refused_and_one_that_was_rebooted_is_done():
    (fault,) = plan(verb="reboot", service="host", controller=["node2"], only=["node2"])["faults"]
    assert fault.startswith("node2 is the controller, whose reboot would end this run. Run this on another machine")
    done = plan(seen=looked(booted=LATE), verb="reboot", service="host", since=BEGAN, controller=["node2"])
    assert done["services"][0]["left"] == [] and "Left out" not in operation.text(done)


@pytest.mark.parametrize("verb", ["restart", "upgrade", "maintenance"])
def test_other_operations_take_the_controller_as_any_host(verb):
    assert plan(verb=verb, service="etcd", controller=["node2"])["services"][0]["left"] == []


def test_the_filter_finds_out_which_host_is_the_controller():
    topology = copy.deepcopy(TOPOLOGY)
    for name, address in zip(NODES, ("192.0.2.1", "127.0.0.1", "192.0.2.3")):
        topology["hosts"][name]["address"] = address
    planned = FilterModule().filters()["operation_plan"](topology, whole(), looked(), "reboot", service="host")
    assert planned["services"][0]["left"] == ["node2"]


@pytest.mark.parametrize(
    "address, own", [("127.0.0.1", True), ("192.0.2.7", False), ("2001:db8::7", False), ("198.51.100.1", False)]
)
def test_an_address_is_own_only_where_the_machine_has_it(address, own):
    assert is_own(address) is own
