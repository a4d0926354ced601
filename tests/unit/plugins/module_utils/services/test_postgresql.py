# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What backup hosts change of PostgreSQL: settings, refusals, and what status says of its WAL."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.services import postgresql
from ansible_collections.utmstack.ha.plugins.module_utils.topology import changes
from ansible_collections.utmstack.ha.plugins.module_utils.topology.build import build
from ansible_collections.utmstack.ha.plugins.module_utils.topology.faults import TopologyError
from ansible_collections.utmstack.ha.plugins.module_utils.topology.settings import Inventory

NODES = {f"node{number}": f"10.0.1.1{number}" for number in (1, 2, 3)}
BACKUP = {"backup1": "10.0.1.31", "backup2": "10.0.1.32"}


def topology(*backup, **settings):
    hosts = NODES | {name: BACKUP[name] for name in backup}
    groups = {group: list(NODES) for group in ("loadbalancer", "etcd", "postgresql")}
    inventory = Inventory(
        groups | ({"backup": list(backup)} if backup else {}),
        {name: {"ansible_host": address} for name, address in hosts.items()},
    )
    return build(inventory, {"ha_vip": "10.0.1.100", **settings})


def test_the_repositories_are_the_backup_hosts_in_their_order():
    found = topology("backup1", "backup2", backup_archive_timeout_s="30")["postgresql"]
    assert found["archive"] == {
        "stanza": "utmstack",
        "repositories": [{"name": name, "address": address} for name, address in BACKUP.items()],
        "timeout_s": 30,
        "rpo_limit_s": 120,
        "queue_max": "",
    }
    assert found["backup_hosts"] == found["archive"]["repositories"]


def test_without_backup_hosts_the_part_of_postgresql_is_the_same_as_ever():
    assert set(topology()["postgresql"]) == {
        "members", "quorum", "python", "scope", "namespace", "write", "read", "direct", "max_connections", "databases",
        "synchronous_mode", "synchronous_node_count",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"backup_archive_timeout_s": 4}, "backup_archive_timeout_s is 4"),
        ({"backup_archive_timeout_s": "soon"}, "backup_archive_timeout_s is 'soon'"),
        ({"backup_rpo_limit_s": 20}, "backup_rpo_limit_s is 20, and WAL is closed every 20 s"),
        ({"backup_archive_queue_max": "much"}, "backup_archive_queue_max is 'much'"),
        ({"postgresql_databases": [{"name": "x", "owner": "utmstack_backup"}]}, "has the owner utmstack_backup"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, told):
    with pytest.raises(TopologyError) as refused:
        topology("backup1", **settings)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, ""),
        ({"backup_archive_timeout_s": 8}, "backup_archive_timeout_s is 8"),
        ({"backup_archive_queue_max": "50GB"}, "WAL is thrown away"),
    ],
)
def test_what_costs_wal_is_warned_of(settings, told):
    text = " ".join(topology("backup1", **settings)["warnings"])
    assert told in text and ("backup_archive" in text) is bool(told)


def deployed(archives_to="", release="13"):
    layer = {
        "data_directory": "/var/lib/postgresql/17/utmstack",
        **({"archives_to": archives_to} if archives_to else {}),
    }
    return {"layers": {"postgresql": layer}, "enabled": [], "passwords": {}, "settings": {}, "release": release}


BARE = {"layers": {}, "enabled": [], "passwords": {}, "settings": {}}


@pytest.mark.parametrize(
    ("backup", "settings", "archives_to", "refused"),
    [
        pytest.param((), {}, "", False, id="it never archived"),
        pytest.param((), {}, "backup1", True, id="the last backup host is gone"),
        pytest.param((), {"backup_stop": "true"}, "backup1", False, id="and that is meant"),
        pytest.param(("backup1",), {}, "backup1, backup2", False, id="one of two is gone"),
        pytest.param(("backup1",), {"backup_kinds": ["dump"]}, "backup1", True, id="the kind is left out"),
    ],
)
def test_archiving_does_not_end_unasked(backup, settings, archives_to, refused):
    hosts = {name: deployed(archives_to) for name in NODES}
    ha = topology(*backup, **settings)
    text = changes.refusal(ha, hosts)
    assert bool(text) is refused
    assert not refused or ("backup_stop=true" in text and "Put backup1 back" in text)


@pytest.mark.parametrize(("own", "refused"), [("13", False), ("12", True), ("", False)])
def test_a_backup_host_of_another_release_is_refused_in_the_one_list(own, refused):
    hosts = {**{name: deployed() for name in NODES}, "backup1": BARE | {"release": own}}
    text = changes.refusal(topology("backup1"), hosts)
    assert ("host backup1: Debian release is 12, but PostgreSQL hosts have 13" in text) is refused
    assert bool(text) is refused


GOOD = {
    "healthy": True, "problems": [], "primary": True, "behind_s": 14, "full_in_s": 31 * 86400 + 5, "waiting": 0, "archived": "0A",
    "gaps": [], "failed": False,
}  # fmt: skip
STANDBY = {**GOOD, "primary": False, "behind_s": None, "full_in_s": None}


def seen(*answers):
    return {
        name: {"reachable": answer is not None, "answers": {"postgresql_archive_info": answer} if answer else {}}
        for name, answer in zip(NODES, answers)
    }


def test_status_says_how_far_behind_the_archive_is_and_how_long_the_disk_lasts():
    found = postgresql.archive_state(topology("backup1"), seen(GOOD, STANDBY, STANDBY))
    assert found["problems"] == []
    assert postgresql.archive_words(found) == "archive 14 s behind, WAL disk lasts 31 days"


def test_what_is_wrong_on_any_member_is_a_problem_and_an_unknown_archive_is_one():
    bad = copy.deepcopy(STANDBY) | {"problems": ["its slot was given up. Do this"]}
    assert postgresql.archive_state(topology("backup1"), seen(GOOD, bad, STANDBY))["problems"] == [
        "postgresql: node2: its slot was given up. Do this"
    ]
    unknown = postgresql.archive_state(
        topology("backup1"), seen(None, STANDBY, {"failed": True, "msg": "PostgreSQL does not answer"})
    )
    assert postgresql.archive_words(unknown) == "archive UNKNOWN"
    assert len(unknown["problems"]) == 2 and "node3 could not say" in unknown["problems"][0]


MEMBER = {
    "name": "node1", "host": "10.0.1.11", "role": "leader", "reachable": True, "state": "running", "replication_state": None,
    "timeline": 1, "lag_bytes": None, "pending_restart": False, "tags": {},
}  # fmt: skip


def test_the_part_of_status_has_the_archive_only_where_there_is_one():
    answer = {
        "leader": "node1", "paused": False, "synchronous_mode": "off", "synchronous_standbys": [], "problems": [],
        "healthy": True, "members": [MEMBER],
    }  # fmt: skip
    observations = seen(GOOD, STANDBY, STANDBY)
    for one in observations.values():
        one["answers"]["postgresql"] = answer
    with_one, without = (postgresql.form(topology(*hosts), observations, {}) for hosts in (["backup1"], []))
    assert with_one["archive"]["behind_s"] == 14 and "archive" not in without
    assert postgresql.table({"postgresql": with_one})[0] == (
        "PostgreSQL, primary node1, archive 14 s behind, WAL disk lasts 31 days"
    )
    assert "archive" not in postgresql.table({"postgresql": without})[0]
