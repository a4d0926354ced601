# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the services of a host need of Debian."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.utmstack.ha.plugins.module_utils.services.registry import SERVICES
from ansible_collections.utmstack.ha.plugins.module_utils.services.software import host_software, settings
from role_templates import topology
from role_vars import variable

ROOT = Path(__file__).resolve().parents[5]
THREE = ["node1", "node2", "node3"]
HA = topology(
    {
        "loadbalancer": ["node4"],
        "etcd": THREE,
        "postgresql": THREE,
        "elasticsearch": ["node5", "node6", "node7"],
        "redis": THREE,
        "sentinel": [*THREE, "node8", "node9"],
        "swarm_managers": ["node7"],
    },
    "node1",
)


def software(host, version="13", ha=HA, **given):
    return host_software(ha, host, given, version)


@pytest.mark.parametrize(
    ("host", "version", "given", "packages"),
    [
        ("node4", "13", {}, ["haproxy", "keepalived", "pgbouncer", "python3-psycopg2"]),
        ("node5", "12", {}, ["openjdk-17-jre-headless"]),
        ("node7", "12", {}, ["docker.io", "nftables", "openjdk-17-jre-headless"]),
        ("node7", "13", {}, ["docker-cli", "docker.io", "nftables", "openjdk-21-jre-headless"]),
        ("node8", "13", {}, ["redis-sentinel", "redis-tools"]),
        ("node8", "13", {"redis_flavor": "valkey"}, ["valkey-sentinel", "valkey-tools"]),
    ],
)
def test_a_host_gets_the_packages_of_its_services_as_its_release_calls_them(host, version, given, packages):
    assert software(host, version, **given)["packages"] == packages


@pytest.mark.parametrize(
    ("given", "version"), [({}, "17"), ({"postgresql_version": 16}, "16"), ({"postgresql_version": ""}, "17")]
)
def test_postgresqls_version_is_that_of_the_setting_or_of_the_release(given, version):
    found = software("node1", **given)
    assert f"postgresql-{version}" in found["packages"] and f"postgresql-{version}" in found["held"]
    assert found["settings"]["postgresql_version"] == version


def test_what_is_switched_off_is_not_installed_but_held_where_it_is():
    ha = topology({"loadbalancer": ["node1"], "etcd": THREE, "postgresql": THREE}, "node1", pgbouncer_enabled=False)
    found = software("node1", ha=ha)
    assert "pgbouncer" not in found["packages"] and "pgbouncer" in found["held"]


def test_all_packages_are_looked_for_before_the_release_is_known():
    found = software("node1", "", postgresql_version=16)
    assert set(found) == {"anywhere", "kernel"}
    assert {"postgresql-15", "postgresql-16", "postgresql-17", "docker-cli", "openjdk-17-jre-headless"} <= set(
        found["anywhere"]
    )
    assert "valkey-server" not in found["anywhere"]


def test_the_kernel_is_set_for_the_services_of_the_host_only():
    assert software("node4")["kernel"] == {}
    assert software("node1")["kernel"] == {"vm.overcommit_memory": 1}


def test_what_is_held_is_replaced_by_the_upgrade_of_a_service():
    """Else it would stay as it is for ever."""
    for version in HA["releases"]:
        for host in HA["hosts"]:
            found = software(host, version)
            upgraded = {name for part in found["upgrades"].values() for name in part["packages"]}
            assert set(found["held"]) <= upgraded


def test_every_service_with_units_is_upgraded_by_the_packages_that_have_them():
    found = software("node1")["upgrades"]
    assert {name for name, service in SERVICES.items() if service.units} == set(found)
    for name, part in found.items():
        assert set(part["units"]) & set(SERVICES[name].every(SERVICES[name].units))


def test_settings_have_the_defaults_of_their_roles():
    for service in SERVICES.values():
        defaults = yaml.safe_load((ROOT / "roles" / service.role / "defaults" / "main.yml").read_text())
        for name, default in service.settings.items():
            said = defaults[name]
            if isinstance(said, str):
                said = said.replace("{{ ha.cluster }}", "{cluster}").replace("{{ redis_flavor }}", "{redis_flavor}")
            # Of what depends on the release, the role's vars have the rest.
            assert default == said or (said == "" and name in ("postgresql_version", "postgresql_data_directory")), name
    own = yaml.safe_load((ROOT / "roles" / "postgresql" / "vars" / "main" / "main.yml").read_text())
    assert own["postgresql_major"] == "{{ postgresql_version | string or base_host.release.postgresql }}"
    assert "'/var/lib/postgresql/' ~ postgresql_major ~ '/' ~ ha.cluster" in own["postgresql_data"]


@pytest.mark.parametrize(("given", "taken"), [(True, True), ("yes", True), ("false", False), ("", False)])
def test_a_switch_may_be_written_as_text(given, taken):
    assert settings(HA, HA["releases"]["13"], {"swarm_adopt": given})["swarm_adopt"] is taken


def test_role_base_asks_for_the_settings_that_decide_on_packages():
    known = {"ha": HA, "inventory_hostname": "node1", "base_host": {"distribution_version": "13"}}
    given = known | {"redis_flavor": "valkey", "postgresql_version": 16}
    assert variable("base", "base_settings", **known) == settings(HA, HA["releases"]["13"], {})
    found = variable("base", "base_settings", **given)
    assert found["redis_data_directory"] == "/var/lib/valkey/utmstack"
    assert found["postgresql_data_directory"] == "/var/lib/postgresql/16/utmstack"
    assert "valkey-server" in variable("base", "base_held_packages", **given)
