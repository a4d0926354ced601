# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What role postgresql gives Patroni's validator, and takes from it, with each release of Debian."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from ansible_collections.utmstack.ha.plugins.module_utils.host.file_set import tolerable
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql.scram import verifier
from ansible_collections.utmstack.ha.plugins.module_utils.topology.releases import releases
from role_templates import ROLES
from role_vars import evaluated, variable

# What Patroni 3.0.2 says of a right configuration while it runs, and one of etcd's hosts is away.
PATRONI_3_0 = (
    "restapi.listen 10.0.1.11:8008 didn't pass validation: 'Port 8008 is already in use.'\n"
    "etcd3.hosts.1 10.0.1.12:2379 didn't pass validation: '10.0.1.12:2379 is not reachable'\n"
    "postgresql.listen 10.0.1.11,127.0.0.1:5432 didn't pass validation: 'Port 5432 is already in use.'\n"
)


@pytest.mark.parametrize("version", releases())
def test_patroni_judges_with_what_its_version_knows(version):
    known = {"base_host": {"release": releases()[version]}}
    options = variable("postgresql", "postgresql_validate_options", **known)
    tolerated = variable("postgresql", "postgresql_tolerated", **known)
    assert options == {"12": [], "13": ["--ignore-listen-port"]}[version]
    assert tolerable(PATRONI_3_0, tolerated) is (version == "12")
    assert tolerable(PATRONI_3_0.splitlines()[1], tolerated)
    assert not tolerable(PATRONI_3_0 + "bootstrap.pg_hba  is not defined.\n", tolerated)


def test_patronis_configuration_has_what_the_validator_of_3_0_wants():
    text = (ROLES / "postgresql" / "templates" / "config.yml.j2").read_text()
    bootstrap = text.split("\nbootstrap:\n")[1].split("\n\n")[0]
    assert set(re.findall(r"(?m)^  (\w+):", bootstrap)) == {"dcs", "pg_hba", "initdb"}


RUNS = {"state": "fresh", "enabled": True}


@pytest.mark.parametrize(
    ("patroni", "timer", "rotating", "loaded"),
    [
        ({}, {}, [], True),
        ({"state": "restart"}, {}, [], True),  # by the rolling loop
        ({"state": "reload"}, {}, [], False),
        ({"state": "stopped"}, {}, [], False),
        ({"enabled": False}, {}, [], False),
        ({}, {"state": "restart"}, [], False),
        ({}, {"enabled": False}, [], False),
        ({}, {}, ["postgresql_rest_password"], False),
        ({}, {}, ["redis_admin_password"], True),
    ],
)
def test_nothing_is_left_out_that_starts_or_reloads_a_member(patroni, timer, rotating, loaded):
    found = RUNS | patroni | {"further_services": {"patroni-dcs-check.timer": RUNS | timer}}
    given = {"postgresql_freshness": found, "base_deployed": {"rotating": rotating}}
    assert variable("postgresql", "postgresql_loaded", **given) is loaded


SETTLED = {"patch": {}, "restart_order": [], "deferred": {}}


@pytest.mark.parametrize(
    ("taken_back", "touched", "settled"),
    [
        (SETTLED, [], True),
        (SETTLED | {"patch": {"postgresql": {"parameters": {"max_connections": 300}}}}, [], False),
        (SETTLED | {"restart_order": ["node2"]}, [], False),
        (SETTLED | {"deferred": {"shared_preload_libraries": "pg_stat_statements"}}, [], False),
        (SETTLED, ["node1"], False),
        ({"deferred": {}}, [], False),  # Patroni did not answer
        ({"skipped": True}, [], False),  # a dry run
    ],
)
def test_the_dynamic_configuration_is_left_out_only_where_nothing_is_to_be_done(taken_back, touched, settled):
    given = {"postgresql_taken_back": taken_back, "postgresql_touched": touched}
    assert variable("postgresql", "postgresql_settled", **given) is settled
    for healthy in (True, False):
        given["postgresql_taken_back"] = taken_back | {"status": {"healthy": healthy}}
        assert variable("postgresql", "postgresql_seen_healthy", **given) is (settled and healthy)


@pytest.mark.parametrize(
    ("members", "lookup", "differs"),
    [
        ([["pg_read_all_stats", "utmstack_reaper"], ["pg_signal_backend", "utmstack_reaper"]], True, False),
        ([["pg_read_all_stats", "utmstack_reaper"]], True, True),
        ([["pg_read_all_stats", "utmstack_reaper"], ["pg_signal_backend", "utmstack_reaper"]], False, True),
    ],
)
def test_users_and_databases_are_created_where_the_leader_lacks_one_of_them(members, lookup, differs):
    passwords = {
        "postgresql_reaper_password": "r",
        "postgresql_pgbouncer_password": "b",
        "postgresql_drill_password": "d",
    }
    names = {"utmstack_reaper": "r", "pgbouncer": "b", "utmstack_drill": "d", "utmstack": "a"}
    found = {
        "users": {
            name: {"password": verifier(word, name), "flags": ["INHERIT", "LOGIN"]} for name, word in names.items()
        },
        "members": members,
        "databases": {"utmstack": {"owner": "utmstack", "encoding": "UTF8"}},
        "lookup": lookup,
    }
    given = {
        "ha": {"drill": {"allowed": True}, "loadbalancer": {"members": [{}]}, "pgbouncer": {"enabled": True}},
        "ha_secrets": passwords,
        "postgresql_users": [{"name": "utmstack", "password": "a"}],
        "postgresql_databases": [{"name": "utmstack", "owner": "utmstack"}],
        "postgresql_user_kept": "utmstack",
        "postgresql_found": {"query_result": [{"content": json.dumps(found)}]},
    }
    assert variable("postgresql", "postgresql_content_differs", **given) is differs


def test_outdated_members_are_restarted_in_the_order_that_was_found_the_leader_last():
    """Ansible's intersect has no order: another one in each run."""
    hosts = [f"node{number}" for number in range(1, 10)]
    members = [{"name": host, "role": "leader" if host == "node4" else "replica"} for host in hosts]
    tasks = yaml.safe_load((ROLES / "postgresql/tasks/outdated.yml").read_text())
    (order,) = [task["vars"]["rolling_order"] for task in tasks if "rolling_order" in task.get("vars", {})]
    found = evaluated(order, postgresql_status={"members": members}, postgresql_stale=hosts[1:])
    assert found == [host for host in hosts if host not in ("node1", "node4")] + ["node4"]
