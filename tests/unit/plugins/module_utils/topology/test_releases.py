# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What differs between Debian's releases: what is refused, what is left out, and that the plan tells."""

from __future__ import annotations

import re

import jinja2
import pytest
import yaml
from ansible.plugins.filter.core import FilterModule as Core
from ansible_collections.utmstack.ha.plugins.module_utils.host.file_set import tolerable
from ansible_collections.utmstack.ha.plugins.module_utils.topology.plan import plan
from ansible_collections.utmstack.ha.plugins.module_utils.topology.releases import RELEASES, WITHOUT, release_faults
from role_templates import ROLES, topology

THREE = ["node1", "node2", "node3"]
COLOCATED = {"loadbalancer": THREE, "etcd": THREE, "postgresql": THREE, "redis": THREE}
FILTERS = Core().filters()
# What Patroni 3.0.2 says of a right configuration while it runs, and one of etcd's hosts is away.
PATRONI_3_0 = (
    "restapi.listen 10.0.1.11:8008 didn't pass validation: 'Port 8008 is already in use.'\n"
    "etcd3.hosts.1 10.0.1.12:2379 didn't pass validation: '10.0.1.12:2379 is not reachable'\n"
    "postgresql.listen 10.0.1.11,127.0.0.1:5432 didn't pass validation: 'Port 5432 is already in use.'\n"
)


def variable(role, name, **known):
    """A variable of a role's vars file, evaluated; those that it refers to are looked up there, too."""
    expressions = yaml.safe_load((ROLES / role / "vars" / "main.yml").read_text())
    environment = jinja2.nativetypes.NativeEnvironment(undefined=jinja2.StrictUndefined)
    environment.filters |= FILTERS
    needed = {key for key in expressions if re.search(rf"\b{key}\b", expressions[name])}
    found = {key: variable(role, key, **known) for key in needed}
    return environment.from_string(expressions[name]).render(found | known)


def test_each_release_says_all_that_differs():
    assert len({tuple(sorted(values)) for values in RELEASES.values()}) == 1
    assert set(WITHOUT) < set(RELEASES)


@pytest.mark.parametrize("settings, flavor, said", [
    ({}, "redis", []),
    ({"pgbouncer_enabled": False}, "redis", []),
    ({"pgbouncer_enabled": True}, "redis", ["pgbouncer_enabled is true"]),
    ({"pgbouncer_enabled": "true"}, "redis", ["pgbouncer_enabled is true"]),
    ({"postgresql_synchronous_mode": "quorum"}, "redis", ["postgresql_synchronous_mode is quorum"]),
    ({}, "valkey", ["redis_flavor is valkey"]),
])  # fmt: skip
def test_what_debian_12_cannot_do_is_refused_where_it_is_asked_for(settings, flavor, said):
    ha = topology(COLOCATED, "node1", **settings)
    faults = release_faults(ha, "12", "node1", flavor)
    assert [fault.split(", ")[0] for fault in faults] == said
    assert all("upgrade node1 to Debian 13" in fault for fault in faults)
    assert release_faults(ha, "13", "node1", flavor) == []


def test_a_host_is_asked_for_what_is_its_own_only():
    groups = {"loadbalancer": ["node4"], "etcd": THREE, "postgresql": THREE}
    ha = topology(groups, "node1", pgbouncer_enabled=True)
    assert release_faults(ha, "12", "node1", "valkey") == []


@pytest.mark.parametrize("setting, told", [("auto", True), (True, False), (False, False)])
def test_the_plan_tells_what_an_older_release_does_without(setting, told):
    text = plan(topology(COLOCATED, "node1", pgbouncer_enabled=setting))
    assert "With Debian 12\n" in text
    assert ("- pgbouncer: left out" in text) is told
    assert "With Debian 12" not in plan(topology({"etcd": THREE}, "node1"))


@pytest.mark.parametrize("hosts, asked, releases", [
    ({"node1": "13", "node2": "12"}, {}, ["13", "12"]),
    ({"node4": "12"}, {"node1": "13", "node2": "13"}, ["13", "13"]),
    ({"node4": "12"}, {}, ["12"]),
], ids=["both are in the run", "neither is, and they were asked", "neither is, nor answers"])  # fmt: skip
def test_the_load_balancers_release_decides_whether_there_is_a_pgbouncer(hosts, asked, releases):
    content = FILTERS["b64encode"]
    answers = [{"content": content(f'NAME="Debian GNU/Linux"\nVERSION_ID="{version}"\n')} for version in asked.values()]
    known = {
        "ansible_play_hosts": ["node4"],
        "ha": topology({"loadbalancer": ["node1", "node2"], "etcd": THREE, "postgresql": THREE}, "node1"),
        "hostvars": {name: {} for name in ("node1", "node2")}
        | {"node4": {"base_asked": {"results": [{"item": "node9", "unreachable": True}, *answers]}}},
        "base_host": {"distribution_version": next(iter(hosts.values()))},
    }  # fmt: skip
    for name, version in hosts.items():
        known["hostvars"][name]["base_host"] = {"distribution_version": version}
    assert variable("base", "base_balancers_releases", **known) == releases


@pytest.mark.parametrize("version", RELEASES)
def test_patroni_judges_with_what_its_version_knows(version):
    known = {"ha": {"releases": RELEASES}, "base_host": {"distribution_version": version}}
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
