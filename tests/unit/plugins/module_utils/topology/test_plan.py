# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a service brings along for the plan and for the ways in; the rest is in test_build.py."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.services.listener import HOST, VIP, Endpoint, Listener
from ansible_collections.utmstack.ha.plugins.module_utils.services.registry import SERVICES
from ansible_collections.utmstack.ha.plugins.module_utils.services.service import Service, Timing
from ansible_collections.utmstack.ha.plugins.module_utils.topology.plan import plan, survives, ways_in
from role_templates import topology

THREE = ["node1", "node2", "node3"]
NAMES = {"postgresql": "events", "statistics": "operator", "database": "log"}
QUEUE = Service(
    name="queue",
    role="queue",
    layer="queue",
    groups=("queue",),
    listeners=(
        Listener("queue", "Queue", "queue", 9092, HOST, "clients"),
        Listener("loadbalancer", "HAProxy (queue)", "queue_bootstrap", 9095, VIP, "clients", ("queue",)),
    ),
    endpoints=lambda ha: [
        Endpoint("queue_bootstrap", "Queue", f"its brokers, port {ha['ports']['queue']}", "events", "queue_password")
    ],
    notes=lambda ha: [f"{len(ha['queue']['members'])} brokers keep each message."],
    timing=(
        Timing("queue", dict.fromkeys(("fast", "normal", "wan"), {"wait_s": 1.5}), {"wait_s": (1, 9)}, ("wait_s",)),
    ),
)


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setitem(SERVICES, "queue", QUEUE)


def lines_of(text):
    return [" ".join(line.split()) for line in text.splitlines()]


def test_a_service_shows_what_clients_reach_and_with_which_login():
    ha = topology({"loadbalancer": THREE, "queue": THREE}, "node1")
    assert "Queue 10.0.1.100:9095 its brokers, port 9092" in lines_of(plan(ha))
    assert "Queue 10.0.1.100:9095 events queue_password" in lines_of(ways_in({**ha, "secrets_dir": "/s"}, NAMES, ""))


def test_a_service_shows_its_losses_and_says_what_it_has_to_say_beneath_them():
    ha = topology({"loadbalancer": THREE, "queue": THREE}, "node1")
    assert survives(ha) == {"loadbalancer": 2, "queue": 2}
    assert "3 brokers keep each message." in lines_of(plan(ha))


def test_a_service_without_members_says_nothing():
    text = plan(topology({"loadbalancer": THREE, "etcd": THREE}, "node1"))
    assert "Queue" not in text and "brokers" not in text


def test_a_figure_may_be_a_part_of_a_whole_where_its_service_says_so():
    ha = topology({"loadbalancer": THREE, "queue": THREE}, "node1", ha_timing={"queue": {"wait_s": 2.5}})
    assert "queue wait 2.5 s*" in lines_of(plan(ha))


def test_users_that_are_settings_are_named_by_them():
    ha = topology({"loadbalancer": THREE, "etcd": THREE, "postgresql": THREE}, "node1")
    text = ways_in({**ha, "secrets_dir": "/s"}, NAMES, "/s/ca.crt")
    assert "PostgreSQL replicas postgresql://10.0.1.100:5433/log events postgresql_application_password" in lines_of(
        text
    )


def test_clients_of_redis_are_told_of_the_sentinels_which_no_virtual_ip_leads_to():
    ha = topology({"loadbalancer": THREE, "redis": THREE, "sentinel": THREE}, "node1")
    where = "sentinels, port 26379, master utmstack-redis"
    assert not [line for line in lines_of(plan(ha)) if line.startswith("Redis, by Sentinel")]
    shown = lines_of(ways_in({**ha, "secrets_dir": "/s"}, NAMES, "/s/ca.crt"))
    assert f"Redis, by Sentinel {where} utmstack redis_application_password" in shown
    assert "Redis master rediss://10.0.1.100:6379 utmstack redis_application_password" in shown


def test_without_redis_no_sentinel_is_told_of():
    ha = topology({"loadbalancer": THREE, "etcd": THREE, "postgresql": THREE}, "node1")
    assert "Sentinel" not in ways_in({**ha, "secrets_dir": "/s"}, NAMES, "/s/ca.crt")


def test_the_application_has_an_address_that_a_browser_takes():
    ha = topology({"loadbalancer": THREE, "swarm_managers": THREE}, "node1")
    shown = lines_of(ways_in({**ha, "secrets_dir": "/s"}, NAMES, "/s/ca.crt"))
    assert "Application https://10.0.1.100:443/" in shown
    assert "Application's agents, gRPC 10.0.1.100:50051" in shown
