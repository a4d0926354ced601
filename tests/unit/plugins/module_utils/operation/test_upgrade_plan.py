# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which packages an upgrade brings to which version, and what it refuses before anything is touched."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.operation.upgrade_plan import plan, plan_upgrade

NODES = ("node1", "node2", "node3")
UNIT = {"etcd": "etcd.service", "redis": "redis-server.service", "postgresql": "patroni.service"}


def package(installed, *offered, status="installed", candidate=None):
    return {
        "installed": installed,
        "status": status,
        "held": True,
        "candidate": candidate or (offered[-1] if offered else installed),
        "offered": list(offered),
    }


def answer(unit="etcd.service", state="fresh", **names):
    reasons = [] if state == "fresh" else [f"process 7 runs a deleted {unit}"]
    return {
        "packages": {name.replace("_", "-"): one for name, one in names.items()},
        "units": {unit: {"state": state, "reasons": reasons}},
    }


def part(*packages, unit="etcd.service"):
    return {"packages": list(packages), "units": {unit: []}}


def of(service, names, old, new, wanted="", **more):
    """A plan for three equal hosts; names: of one package."""
    seen = {node: answer(**{names.replace("-", "_"): package(old, old, new)}, **more) for node in NODES}
    return plan_upgrade(service, part(names), wanted, seen)


ETCD = part("etcd-server", "etcd-client")


def test_without_a_version_hosts_get_what_their_repositories_prefer():
    planned = of("etcd", "etcd-server", "3.5.16-4", "3.5.17-1")
    assert planned["faults"] == []
    assert planned["todo"] == list(NODES)
    assert planned["hosts"]["node2"] == {
        "packages": {"etcd-server": "3.5.17-1"},
        "from": {"etcd-server": "3.5.16-4"},
        "restart": [],
    }


def test_hosts_that_have_it_and_run_it_are_passed_over():
    seen = {node: answer(etcd_server=package("3.5.16-4", "3.5.16-4")) for node in NODES}
    assert plan_upgrade("etcd", ETCD, "", seen)["todo"] == []


@pytest.mark.parametrize("state", ["restart", "stopped"])
def test_an_interrupted_upgrade_is_finished_where_the_packages_are_new_and_the_process_is_old(state):
    seen = {
        "node1": answer(etcd_server=package("3.5.17-1", "3.5.17-1")),
        "node2": answer(state=state, etcd_server=package("3.5.17-1", "3.5.17-1")),
        "node3": answer(etcd_server=package("3.5.16-4", "3.5.17-1")),
    }
    planned = plan_upgrade("etcd", ETCD, "", seen)
    assert planned["faults"] == []
    assert planned["todo"] == ["node2", "node3"]
    assert planned["hosts"]["node2"]["packages"] == {}


def test_a_package_that_was_unpacked_and_never_configured_is_due():
    seen = {node: answer(etcd_server=package("3.5.17-1", "3.5.17-1", status="unpacked")) for node in NODES}
    assert plan_upgrade("etcd", ETCD, "3.5.17", seen)["hosts"]["node1"]["packages"] == {"etcd-server": "3.5.17-1"}


def test_a_version_means_the_packages_that_are_offered_in_it_and_leaves_the_others():
    seen = {
        node: answer(
            "patroni.service",
            patroni=package("4.0.7-3", "4.0.7-3", "4.0.8-1"),
            postgresql_17=package("17.12-0", "17.12-0", "17.13-0"),
        )
        for node in NODES
    }
    planned = plan_upgrade("postgresql", part("patroni", "postgresql-17", unit="patroni.service"), "17.13", seen)
    assert planned["hosts"]["node1"]["packages"] == {"postgresql-17": "17.13-0"}
    assert planned["faults"] == []


@pytest.mark.parametrize(
    ("service", "name", "old", "new", "said"),
    [
        ("etcd", "etcd-server", "3.5.17-1", "3.5.16-4", "is older"),
        ("redis", "redis-server", "5:8.0.2-3", "5:7.2.4-1", "is older"),
        ("haproxy", "haproxy", "3.0.11-1", "2.8.1-1", "is older"),
        ("etcd", "etcd-server", "3.4.23-4", "3.6.5-1", "one minor version at a time, and 3.4 to 3.6 skips 3.5"),
        ("etcd", "etcd-server", "3.4.23-4", "3.5.16-4", "can't be one cluster where it has users"),
        ("etcd", "etcd-server", "3.5.16-4", "3.6.5-1", "guide to 3.6 demands 3.5.26"),
        ("etcd", "etcd-server", "3.6.5-1", "3.7.0-1", "guide to 3.7 demands 3.6.11"),
        ("postgresql", "postgresql-17", "17.12-0", "18.1-1", "17 to 18 is a new major version"),
        ("postgresql", "patroni", "3.0.2-1", "4.0.7-3", "3.1.0 or later before"),
    ],
)
def test_a_step_that_a_product_forbids_is_refused_for_every_host(service, name, old, new, said):
    planned = of(service, name, old, new)
    assert len(planned["faults"]) == 3
    assert all(said in fault and node in fault for fault, node in zip(planned["faults"], NODES, strict=True))


@pytest.mark.parametrize(
    ("service", "name", "old", "new"),
    [
        ("etcd", "etcd-server", "3.5.26-1", "3.6.5-1"),
        ("etcd", "etcd-server", "3.5.16-4", "3.5.27-1"),
        ("etcd", "etcd-client", "3.4.23-4", "3.6.5-1"),
        ("redis", "redis-server", "5:7.0.15-1", "5:8.0.2-3"),
        ("postgresql", "patroni", "3.1.0-1", "4.0.7-3"),
        ("postgresql", "postgresql-17", "17.2-1", "17.13-0"),
        ("swarm", "docker.io", "20.10.24-1", "26.1.5-9"),
    ],
)
def test_a_step_that_is_allowed_is_planned(service, name, old, new):
    assert of(service, name, old, new)["faults"] == []


@pytest.mark.parametrize(
    ("etcd", "patroni", "refused"),
    [
        ("3.5.28-1", "4.0.7-3", True),
        ("3.5.28-1", "4.1.1-1", False),
        ("3.5.27-1", "4.0.7-3", False),
    ],
)
def test_etcd_waits_for_a_patroni_that_can_log_in(etcd, patroni, refused):
    faults = of("etcd", "etcd-server", "3.5.26-1", etcd, patroni=package(patroni, patroni))["faults"]
    assert bool(faults) == refused
    assert all("Upgrade service=postgresql first" in fault for fault in faults)


@pytest.mark.parametrize("strict", ["3.6.9-1", "3.6.12-1"])
def test_etcd_of_a_newer_minor_waits_for_patroni_too(strict):
    assert of("etcd", "etcd-server", "3.6.5-1", strict, patroni=package("4.1.0-1"))["faults"]


def test_a_version_that_nobody_offers_is_refused_with_what_is_offered():
    planned = of("etcd", "etcd-server", "3.5.16-4", "3.5.17-1", wanted="3.5.99")
    assert len(planned["faults"]) == 3
    assert "node1 is not offered 3.5.99, but etcd-server: 3.5.16-4, 3.5.17-1" in planned["faults"][0]
    assert planned["todo"] == []


def test_hosts_of_a_cluster_that_would_end_differently_are_refused_with_the_remedy():
    seen = {
        "node1": answer(etcd_server=package("3.5.16-4", "3.5.17-1")),
        "node2": answer(etcd_server=package("3.5.16-4", "3.5.16-4")),
        "node3": answer(etcd_server=package("3.5.16-4", "3.5.17-1")),
    }
    faults = plan_upgrade("etcd", ETCD, "", seen)["faults"]
    assert len(faults) == 1
    assert "3.5.17-1 on node1 and node3, 3.5.16-4 on node2" in faults[0]
    assert "apt-get update" in faults[0]


def test_load_balancers_may_end_differently_and_it_is_said():
    seen = {
        "node1": answer("haproxy.service", haproxy=package("2.6.12-1", "2.6.12-2")),
        "node2": answer("haproxy.service", haproxy=package("3.0.11-1", "3.0.11-2")),
    }
    planned = plan_upgrade("haproxy", part("haproxy", unit="haproxy.service"), "", seen)
    assert planned["faults"] == []
    assert "2.6.12-2 on node1, 3.0.11-2 on node2" in planned["warnings"][0]


def test_a_host_without_the_service_is_told():
    seen = {"node1": answer(etcd_server=package(None, "3.5.16-4"))}
    assert "node1 has none of etcd-server, etcd-client" in plan_upgrade("etcd", ETCD, "", seen)["faults"][0]


def test_all_faults_are_told_at_once():
    seen = {
        "node1": answer(etcd_server=package("3.5.17-1", "3.5.16-4", candidate="3.5.16-4")),
        "node2": answer(etcd_server=package("3.4.1-1", "3.6.0-1")),
        "node3": answer(),
    }
    assert len(plan_upgrade("etcd", ETCD, "", seen)["faults"]) == 4


MEMBERS = [{"name": node} for node in NODES]
TOPOLOGY = {"etcd": {"members": MEMBERS}, "redis": {"members": MEMBERS}, "sentinel": {"members": MEMBERS}}
PARTS = {
    "etcd": part("etcd-server"),
    "redis": part("redis-server", "redis-tools", unit="redis-server.service"),
    "sentinel": part("redis-sentinel", "redis-tools", unit="redis-sentinel.service"),
    "elasticsearch": {"packages": ["openjdk-21-jre-headless"], "units": {}, "versioned": False},
}


def both():
    return {
        node: answer(
            etcd_server=package("3.5.16-4", "3.5.17-1"),
            redis_server=package("5:8.0.2-3", "5:8.0.3-1"),
            redis_sentinel=package("5:8.0.2-3", "5:8.0.3-1"),
        )
        for node in NODES
    }


def test_several_services_are_planned_fetched_and_shown_together():
    planned = plan(TOPOLOGY, both(), PARTS, ["etcd", "redis", "backend"])
    assert planned["faults"] == []
    assert planned["fetch"]["node1"] == {"etcd-server": "3.5.17-1", "redis-server": "5:8.0.3-1"}
    assert "etcd     node1  etcd-server   3.5.16-4   3.5.17-1" in planned["text"]


def test_a_version_can_be_that_of_one_service_only():
    assert "one service only" in plan(TOPOLOGY, both(), PARTS, ["etcd", "redis"], "3.5.17")["faults"][0]


def test_a_version_is_not_looked_for_where_it_is_not_that_of_the_packages():
    topology = {"elasticsearch": {"members": MEMBERS}}
    seen = {node: answer(openjdk_21_jre_headless=package("21.0.9+1-1", "21.0.10+1-1")) for node in NODES}
    planned = plan(topology, seen, PARTS, ["elasticsearch"], "9.2.0")
    assert planned["faults"] == []
    assert planned["services"]["elasticsearch"]["todo"] == list(NODES)


def test_sentinel_comes_with_redis_where_a_host_has_both():
    assert plan(TOPOLOGY, both(), PARTS, ["sentinel", "redis"])["services"]["sentinel"]["todo"] == []
    assert "Give -e service=redis" in plan(TOPOLOGY, both(), PARTS, ["sentinel"])["faults"][0]


def test_sentinel_alone_is_upgraded_where_redis_is_not():
    topology = {**TOPOLOGY, "redis": {"members": MEMBERS[:2]}}
    planned = plan(topology, both(), PARTS, ["sentinel"])
    assert planned["services"]["sentinel"]["todo"] == ["node3"]


def test_a_plan_with_nothing_to_do_says_so():
    seen = {node: answer(etcd_server=package("3.5.16-4", "3.5.16-4")) for node in NODES}
    shown = plan(TOPOLOGY, seen, PARTS, ["etcd"])["text"]
    assert "No package has to change." in shown
    assert "Skipped, already up to date: etcd on node1, node2, node3." in shown
