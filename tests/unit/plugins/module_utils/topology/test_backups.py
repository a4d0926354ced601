# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the topology has of backups, and which settings of them are refused."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.services.registry import SERVICES, backups
from ansible_collections.utmstack.ha.plugins.module_utils.topology.backups import shifted
from ansible_collections.utmstack.ha.plugins.module_utils.topology.faults import TopologyError
from ansible_collections.utmstack.ha.plugins.module_utils.topology.plan import plan
from role_templates import topology

THREE = ["node1", "node2", "node3"]
GROUPS = {"loadbalancer": THREE, "etcd": THREE, "postgresql": THREE, "redis": THREE}


def build(groups=None, own=("node4",), **settings):
    return topology({**(groups or GROUPS), **({"backup": list(own)} if own else {})}, "node1", **settings)


def test_without_the_group_there_is_nothing_of_backups():
    ha = build(own=())
    assert (ha["backup"]["hosts"], ha["backup"]["kinds"], ha["backup"]["times"], ha["backup"]["packages"]) == (
        [],
        [],
        {},
        [],
    )
    assert list(ha["hosts"]) == THREE and ha["warnings"] == build()["warnings"]
    assert "No backups: group backup has no hosts." in plan(ha)


def test_a_backup_host_takes_the_kinds_of_the_services_that_have_hosts():
    ha = build()
    assert set(ha["backup"]["kinds"]) <= set(backups()) == set(ha["backup"]["known"])
    assert "redis" in ha["backup"]["kinds"] and ha["backup"]["hosts"] == ["node4"]
    assert ha["backup"]["members"] == [{"name": "node4", "address": "10.0.1.14"}]
    without = build({name: hosts for name, hosts in GROUPS.items() if name != "redis"})
    assert "redis" not in without["backup"]["kinds"] and "redis" in without["backup"]["known"]
    assert ha["hosts"]["node4"]["groups"] == ["backup"]


def test_what_is_restored_together_is_in_the_order_of_the_registry():
    backup = build(backup_kinds=["redis", "dump", "etcd", "postgresql"])["backup"]
    assert (backup["stores"], backup["fetched"]) == (["postgresql", "redis"], ["redis"])
    assert build(own=())["backup"]["stores"] == build(own=())["backup"]["fetched"] == []


def test_the_second_backup_host_runs_half_a_day_later():
    times = build(own=("node4", "node5"), backup_verify_schedule={"redis": "*-*-* 04:30"})["backup"]["times"]
    assert times["node4"]["redis"]["take"] == ["hourly"] and times["node5"]["redis"]["take"] == ["*-*-* *:30"]
    assert times["node4"]["redis"]["verify"] == ["*-*-* 04:30"] and times["node5"]["redis"]["verify"] == ["*-*-* 16:30"]


@pytest.mark.parametrize(
    ("calendar", "later"),
    [("Sun 01:00", "Sun 13:00"), ("*-*-* 18:05:30", "*-*-* 06:05:30"), ("02:00", "14:00"), ("Mon *-*-* *:00/15", "Mon *-*-* *:00/15")],
)  # fmt: skip
def test_times_are_shifted_where_they_name_an_hour(calendar, later):
    assert shifted(calendar, 1) == later and shifted(calendar, 2) == calendar


def test_settings_by_kind_take_the_place_of_defaults():
    found = build(
        backup_schedule={"redis": ["*-*-* 00/6:00", "Sun 03:00"]},
        backup_verify_schedule={"redis": "never"},
        backup_retention_days={"redis": 30},
    )["backup"]["times"]["node4"]["redis"]
    assert found == {"take": ["*-*-* 00/6:00", "Sun 03:00"], "verify": [], "retention_days": 30}


REFUSED = {
    "an unknown kind": ({"backup_kinds": ["redi"]}, "backup_kinds has redi, which is no kind. Did you mean redis?"),
    "no list": ({"backup_kinds": "redis"}, "backup_kinds is 'redis', no list"),
    "schedule of an unknown kind": ({"backup_schedule": {"reddis": "daily"}}, "Did you mean redis?"),
    "schedule": ({"backup_schedule": {"redis": ""}}, "backup_schedule.redis is ''"),
    "a backup that is never taken": ({"backup_schedule": {"redis": "never"}}, "backup_schedule.redis is 'never'"),
    "a time in two lines": ({"backup_verify_schedule": {"redis": "daily\nUser=root"}}, "backup_verify_schedule.redis"),
    "no mapping": ({"backup_retention_days": 7}, "backup_retention_days is 7, no mapping"),
    "no days": ({"backup_retention_days": {"redis": 0}}, "backup_retention_days.redis is 0"),
    "directory": ({"backup_directory": "backups"}, "backup_directory is 'backups'"),
    "the root": ({"backup_directory": "/"}, "backup_directory is '/'"),
    "a switch": ({"backup_required": "perhaps"}, "backup_required is 'perhaps'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_with_the_remedy(case):
    settings, told = REFUSED[case]
    with pytest.raises(TopologyError) as found:
        build(**settings)
    assert told in str(found.value), str(found.value)


def test_a_kind_whose_service_has_no_hosts_is_refused_where_it_is_asked_for():
    with pytest.raises(TopologyError, match="backup_kinds has redis, whose service has no hosts"):
        build({name: hosts for name, hosts in GROUPS.items() if name != "redis"}, backup_kinds=["redis"])


WITHOUT_POSTGRESQL = {"backup_kinds": ["etcd", "redis"]}


def test_a_backup_host_of_the_platform_is_warned_of_and_looked_at_unless_it_is_meant():
    both = build(own=("node1", "node4"), **WITHOUT_POSTGRESQL)
    assert any(
        "node1 is a host of the platform, too: its backups would be lost with it" in text for text in both["warnings"]
    )
    assert both["backup"]["elsewhere"] == ["node1"] and build()["backup"]["elsewhere"] == []
    meant = build(own=("node1",), backup_allow_shared_host=True, **WITHOUT_POSTGRESQL)
    assert not any("lost with it" in text for text in meant["warnings"])
    assert meant["backup"]["elsewhere"] == []


@pytest.mark.parametrize("allowed", [False, True])
def test_a_member_of_postgresql_that_is_a_repository_of_it_is_refused_before_any_host_is_touched(allowed):
    with pytest.raises(TopologyError) as found:
        build(own=("node1",), backup_allow_shared_host=allowed)
    assert "no host was touched" in str(found.value)
    assert "host node1: groups are backup and postgresql" in str(found.value)
    assert "Name another host in group backup, or set backup_kinds without postgresql" in str(found.value)


def test_a_platform_that_must_have_backups_is_warned_without_them():
    assert any("backup_required is true" in text for text in build(own=(), backup_required=True)["warnings"])


def test_the_plan_has_a_table_of_backups():
    text = plan(build(own=("node4",), backup_verify_schedule={"redis": "never"}))
    (line,) = [line for line in text.splitlines() if "node4:/var/backups/utmstack" in line and "Redis" in line]
    assert "hourly" in line and "NEVER" in line and "7 days" in line and "to the last backup" in line
    assert "Any 1 host may be lost at once" in text and "limited by backup" not in text
    assert "No second repository" in text and "No second repository" not in plan(build(own=("node4", "node5")))


def test_the_program_of_pgbackrest_listens_only_where_there_is_postgresql():
    assert "8432" in plan(build())
    assert "8432" not in plan(build({"loadbalancer": THREE, "redis": THREE}))


@pytest.mark.parametrize("kind", backups())
def test_every_kind_has_what_the_program_status_and_restore_need(kind):
    backup = backups()[kind]
    assert backup.title and backup.source and backup.point and backup.playbook.startswith("restore_")
    assert backup.limit_s > 0 and backup.stale_s > 0 and backup.verify_stale_s > 0
    assert len(backup.scratch(10**9)) == 2
    service = next(one for one in SERVICES.values() if backup in one.backups)
    assert set(backup.secrets) <= {name for one in SERVICES.values() for name in one.passwords}, service.name
