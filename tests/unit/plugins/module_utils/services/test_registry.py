# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each service of the registry has what everything shared asks of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.utmstack.ha.plugins.module_utils.services.listener import HOST
from ansible_collections.utmstack.ha.plugins.module_utils.services.registry import (
    SERVICES,
    entry_points,
    handed_over,
    leaderships,
    probed,
    processes,
    targets,
    units,
)
from ansible_collections.utmstack.ha.plugins.module_utils.topology.ports import all_listeners
from platform_state import whole
from role_vars import evaluated

ROOT = Path(__file__).resolve().parents[5]

each = pytest.mark.parametrize("service", SERVICES.values(), ids=list(SERVICES))


@each
def test_a_service_has_a_role_with_the_entry_points_that_a_rolling_operation_calls(service):
    role = ROOT / "roles" / service.role
    entry_points = {
        "main",
        "health",
        service.restart,
        service.upgrade,
        *(("drain", "undrain") if service.drain else ()),
    }
    entry_points |= {"switchover"} if service.leads else set()
    assert {name for name in entry_points if not (role / "tasks" / f"{name}.yml").is_file()} == set()


@each
def test_the_role_of_a_service_has_argument_specs_and_a_readme(service):
    role = ROOT / "roles" / service.role
    assert "main" in yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    assert (role / "README.md").is_file()


@each
def test_a_service_has_a_part_in_the_state_of_the_platform_or_is_not_asked(service):
    """One that can be judged by nothing must not have functions that judge it."""
    known = (service.state or service.name) in whole()
    assert known or service.name == "pgbouncer"


@each
def test_the_functions_of_a_service_bear_that_nobody_could_be_asked(service):
    service.serves(None, "node1")
    assert service.refusal(None) == "" and not service.unfinished(None)
    assert service.successors(None) == service.drained(None, "node1") == []


def test_a_unit_is_that_of_one_service_and_no_process_is_told_of_twice():
    assert len(units()) == len(set(units()))
    assert len(processes()) == sum(len(service.processes) for service in SERVICES.values())


def test_what_draining_hands_over_can_be_led():
    assert {what for service in SERVICES.values() for what in service.hands_over or ()} <= set(leaderships())


def test_what_is_handed_over_and_targeted_is_what_is_led():
    assert list(leaderships()) == ["etcd", "postgresql", "elasticsearch", "redis", "swarm", "vip"]
    assert set(leaderships()) - set(handed_over()) == {"swarm"}
    assert set(targets()) - set(leaderships()) == {"sentinel", "backend"}


def test_packages_that_come_with_another_service_name_one():
    assert {service.comes_with for service in SERVICES.values()} - {""} <= set(SERVICES)


@pytest.mark.parametrize(
    ("groups", "drained", "kept"),
    [
        (
            ["loadbalancer", "etcd", "postgresql", "elasticsearch", "redis", "sentinel", "swarm_managers"],
            ["swarm", "redis", "elasticsearch", "postgresql", "etcd", "haproxy"],
            ["redis", "elasticsearch", "postgresql"],
        ),
        (["sentinel"], ["redis"], ["redis"]),
        (["swarm_workers"], ["swarm"], []),
        (["web"], [], []),
    ],
)
def test_a_whole_host_gives_its_services_up_in_the_opposite_order_and_the_virtual_ip_last(groups, drained, kept):
    found = entry_points(groups)
    assert found["drain"] == drained and found["undrain"] == drained[::-1]
    assert found["hold"] == kept
    assert set(found["release"]) == set(kept) - {"elasticsearch"}
    assert found["retire"] == [role for role in drained if role == "redis"]
    # The address has then had the time of all other gates to come back.
    assert found["health"] == drained[::-1] + ["keepalived"] * ("haproxy" in drained)


@pytest.mark.parametrize(
    ("rotating", "limited", "retired"),
    [
        (["redis_admin_password"], False, True),
        (["postgresql_application_password"], False, False),
        ([], False, False),
        (["redis_admin_password"], True, False),
    ],
)
def test_former_passwords_end_where_one_of_the_roles_own_was_changed_in_a_whole_run(rotating, limited, retired):
    (play,) = yaml.safe_load((ROOT / "playbooks" / "retire.yml").read_text())
    known = {"service_role": "redis", "base_deployed": {"rotating": rotating}, "ansible_check_mode": False}
    known |= {"ansible_limit": "node1"} if limited else {}
    assert evaluated(f"{{{{ {play['tasks'][-1]['when']} }}}}", **known) is retired


def test_no_playbook_names_the_groups_of_more_than_one_role():
    """One for the whole platform takes them from here, so that a new service is in all of them."""
    plays = [
        (path.name, str(play["hosts"]))
        for path in ROOT.glob("playbooks/*.yml")
        for play in yaml.safe_load(path.read_text())
        if "hosts" in play
    ]
    of_all = [name for name, hosts in plays if hosts.startswith("{{ groups | utmstack.ha.platform_groups")]
    assert len(of_all) > 11
    for name, hosts in plays:
        if name not in of_all:
            named = {
                group for service in SERVICES.values() for group in service.groups if re.search(hosts.strip("~"), group)
            }
            assert any(named <= _groups_of(service.role) for service in SERVICES.values()), name


def _groups_of(role):
    return {group for service in SERVICES.values() if service.role == role for group in service.groups}


def test_site_yml_deploys_in_the_order_of_the_registry():
    plays = [
        play["tags"][0] for play in yaml.safe_load((ROOT / "playbooks" / "site.yml").read_text()) if play.get("tags")
    ]
    site = [tag for tag in plays if tag in SERVICES]
    # Role redis deploys Sentinel, too; the application comes last, since it needs the way to the data.
    assert [name for name in SERVICES if name not in ("sentinel", "backend")] == [
        name for name in site if name != "backend"
    ]
    assert site[-1] == "backend"


def test_a_port_has_one_name_and_one_number():
    numbers: dict[str, set[int]] = {}
    for listener in all_listeners():
        numbers.setdefault(listener.key, set()).add(listener.port)
    assert [key for key, ports in numbers.items() if len(ports) > 1] == []


def test_a_load_balancer_asks_a_port_on_which_the_host_listens_and_knows_which_of_several():
    for service in probed():
        assert (service.probe_port, HOST) in {(one.key, one.bind) for one in service.listeners}
    assert len({service.probe_rank for service in probed()}) == len(probed()) > 1


@each
def test_the_ports_of_a_service_are_on_the_page_of_ports(service):
    page = (ROOT / "docs" / "ports.md").read_text()
    assert [listener.key for listener in service.listeners if f"`{listener.key}`" not in page] == []


@each
def test_haproxy_has_a_part_for_a_service_that_says_so_and_for_no_other(service):
    """It ends with a block: Ansible leaves out the last newline of what is included, and Jinja that after a block."""
    part = ROOT / "roles" / "haproxy" / "templates" / "services" / f"{service.name}.cfg.j2"
    assert part.is_file() == service.proxied
    assert not service.proxied or part.read_text().endswith("%}\n")
