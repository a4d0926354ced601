# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the topology has of backups, and which settings of them are refused."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.utmstack.ha.plugins.module_utils.services.registry import SERVICES, backups
from ansible_collections.utmstack.ha.plugins.module_utils.topology import remotes
from ansible_collections.utmstack.ha.plugins.module_utils.topology.backups import shifted
from ansible_collections.utmstack.ha.plugins.module_utils.topology.faults import TopologyError
from ansible_collections.utmstack.ha.plugins.module_utils.topology.plan import plan
from role_templates import ROLES, topology

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


S3 = {
    "backup_repository": "s3", "backup_s3_endpoint": "https://s3.example.org:9000", "backup_s3_bucket": "backups", "backup_s3_key": "KEY",
    "backup_s3_secret": "the-secret",
}  # fmt: skip
SFTP = {"backup_remote": {"type": "sftp", "host": "far.example.org"}, "backup_remote_path": "/srv/copies"}


def with_own(hosts=("node4",), settings=None, **own):
    return topology({**GROUPS, "backup": list(hosts)}, "node1", own=dict.fromkeys(hosts, own), **(settings or {}))


def test_each_backup_host_has_a_place_of_its_own_in_the_bucket_and_copies_its_files_there_every_hour():
    ha = with_own(("node4", "node5"), **S3)["backup"]
    assert ha["repositories"]["node5"] == {
        "type": "s3", "endpoint": "s3.example.org:9000", "host": "s3.example.org", "port": 9000, "bucket": "backups", "region": "us-east-1",
        "prefix": "utmstack/node5", "ca_file": "", "uri_style": "path",
    }  # fmt: skip
    copy = ha["copies"]["node4"]
    assert (copy["base"], copy["schedule"]) == ("backups/utmstack/node4", "*-*-* *:40")
    assert "rclone" in ha["packages"] and "the-secret" not in str(ha)


def test_one_backup_host_may_have_a_directory_and_a_remote_and_another_one_s3():
    ha = topology({**GROUPS, "backup": ["node4", "node5"]}, "node1", own={"node4": SFTP, "node5": S3})
    assert [one["type"] for one in ha["backup"]["repositories"].values()] == ["directory", "s3"]
    copy = ha["backup"]["copies"]["node4"]
    assert (copy["base"], copy["title"], copy["days"], copy["stale_s"]) == (
        "/srv/copies/utmstack/node4", "sftp far.example.org", 30, 129600,
    )  # fmt: skip
    text = " ".join(plan(ha).split())
    assert "node5: backups/utmstack/node5" in text and "copy of all these" in text and "No remote copy" not in text


def test_without_a_remote_nothing_is_installed_for_one_and_the_plan_says_so():
    ha = build()
    assert ha["backup"]["copies"] == {"node4": {}} and "rclone" not in ha["backup"]["packages"]
    assert "No remote copy: backup_remote is not set on node4." in plan(ha)


def test_a_host_of_the_platform_may_have_its_backups_in_s3():
    assert not any(
        "lost with it" in text for text in with_own(("node1",), {"backup_kinds": ["redis"]}, **S3)["warnings"]
    )


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({**S3, "backup_s3_endpoint": ""}, "backup_s3_endpoint is empty"),
        ({**S3, "backup_s3_endpoint": "http://s3.example.org"}, "begins with http://, which encrypts nothing"),
        ({**S3, "backup_s3_endpoint": "s3.example.org/backups"}, "the bucket is backup_s3_bucket"),
        ({**S3, "backup_s3_endpoint": "s3.example.org:x"}, "backup_s3_endpoint is 's3.example.org:x'"),
        ({**S3, "backup_s3_bucket": "My Bucket"}, "backup_s3_bucket is 'My Bucket'"),
        ({**S3, "backup_s3_secret": ""}, "backup_s3_secret is no key"),
        ({**S3, "backup_s3_ca_file": "ca.crt"}, "backup_s3_ca_file is 'ca.crt'"),
        ({**S3, "backup_s3_prefix": "a/../b"}, "backup_s3_prefix is 'a/../b'"),
        ({**S3, **SFTP}, "backup_remote is set, and backup_repository is s3"),
        ({"backup_remote": {"host": "far"}}, "backup_remote has no type"),
        ({"backup_remote": {"type": "crypt"}}, "which wraps another remote"),
        ({"backup_remote": {"type": "sftp", "user": "a\nb"}}, "backup_remote.user is no option of rclone"),
        ({**SFTP, "backup_remote_secrets": {"host": "x"}}, "backup_remote_secrets.host is in backup_remote, too"),
        ({**SFTP, "backup_remote_path": "a b"}, "backup_remote_path is 'a b'"),
        ({**SFTP, "backup_remote_bandwidth": "fast"}, "backup_remote_bandwidth is 'fast'"),
        ({**SFTP, "backup_remote_days": -1}, "backup_remote_days is -1"),
        ({**SFTP, "backup_remote_schedule": "daily\nUser=root"}, "backup_remote_schedule"),
    ],
)  # fmt: skip
def test_a_remote_that_cannot_be_is_refused_and_no_secret_is_told(own, told):
    with pytest.raises(TopologyError) as found:
        with_own(**own)
    assert told in str(found.value), str(found.value)
    assert "host node4" in str(found.value) and "the-secret" not in str(found.value)


def test_two_hosts_are_not_given_one_place_in_a_bucket():
    with pytest.raises(TopologyError, match="where node4 has its repository"):
        with_own(("node4", "node5"), **S3, backup_s3_prefix="backups/here")


def test_the_defaults_are_those_of_the_role():
    known = yaml.safe_load((ROLES / "backup/defaults/main.yml").read_text())
    assert {name: known[name] for name in remotes.DEFAULTS} == remotes.DEFAULTS
