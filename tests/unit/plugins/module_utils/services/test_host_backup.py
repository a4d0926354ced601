# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Backup hosts in the state of the platform."""

from __future__ import annotations

from ansible_collections.utmstack.ha.plugins.module_utils.operation.screen import screen
from ansible_collections.utmstack.ha.plugins.module_utils.operation.status import status
from ansible_collections.utmstack.ha.plugins.module_utils.services import host_backup
from role_templates import topology

THREE = ["node1", "node2", "node3"]
GROUPS = {"loadbalancer": THREE, "etcd": THREE, "postgresql": THREE, "redis": THREE}
ROW = {
    "kind": "redis", "title": "Redis", "verdict": "ok", "take": "ok", "verify": "ok", "source": "node2", "point": 1_796_039_126, "age_s": 1234,
    "verified": 1_796_039_126, "verified_age_s": 7200, "bytes": 2819040, "seconds": 2.7, "verify_seconds": 3.1, "kept": 24, "problems": [],
}  # fmt: skip
SAFETY = {"host": "node1", "path": "/var/lib/x.before", "kind": "redis", "since": 1_796_000_000}


def ha(own=("node4",), **settings):
    return topology({**GROUPS, **({"backup": list(own)} if own else {})}, "node1", **settings)


def answer(**more):
    return {
        "kinds": [ROW],
        "remote_copy": {},
        "safety": [],
        "free": 10**10,
        "total": 10**11,
        "guard": {},
        "problems": [],
        "healthy": True,
        **more,
    }


def seen(found, host="node4"):
    return {host: {"reachable": True, "error": "", "answers": {"backup": found}}}


def test_a_platform_without_backup_hosts_has_no_such_layer():
    assert status(ha(()), {})["backup"] is None


def test_where_backups_are_required_their_absence_is_a_problem():
    found = status(ha((), backup_required=True), {})["backup"]
    assert not found["healthy"] and "group backup has no hosts" in found["problems"][0]


def test_good_backups_are_a_table():
    found = status(ha(), seen(answer(safety=[SAFETY])))
    assert found["backup"]["healthy"] and not [text for text in found["problems"] if "node4" in text]
    lines = [" ".join(line.split()) for line in screen(found).splitlines()]
    assert "Redis node4 ok 2026-11-30 11:45:26Z 20.6 min 2 h ago 2.7 MiB 24" in lines
    assert "safety copy of redis node1 /var/lib/x.before" in lines


def test_a_remote_copy_is_a_row_of_its_own():
    copy = {
        "title": "s3 s3.example.org", "point": 1_796_039_126, "age_s": 7200, "bytes": 2819040, "files": 412, "seconds": 2.7, "copy": "ok",
        "verdict": "unknown",
    }  # fmt: skip
    lines = [" ".join(line.split()) for line in screen(status(ha(), seen(answer(remote_copy=copy)))).splitlines()]
    assert "remote copy node4 UNKNOWN 2026-11-30 11:45:26Z 2 h 412 files 2.7 MiB" in lines


def test_problems_begin_with_host_and_kind():
    row = ROW | {"verdict": "failed", "problems": ["redis: the last backup failed (x)"]}
    found = status(ha(), seen(answer(kinds=[row], problems=["/var/backups has 1 B free"], healthy=False)))
    assert {"node4 redis: the last backup failed (x)", "node4: /var/backups has 1 B free"} <= set(found["problems"])
    assert not found["backup"]["healthy"] and "FAILED" in screen(found)


def test_a_backup_host_that_says_nothing_is_no_good_backup():
    for said in ({"failed": True, "msg": "no module"}, None):
        found = status(
            ha(), {"node4": {"reachable": True, "error": "", "answers": {} if said is None else {"backup": said}}}
        )
        assert not found["backup"]["healthy"] and any(
            "its backups could not be looked at" in text for text in found["problems"]
        )
        assert "NO ANSWER" in screen(found)
    away = status(ha(), {"node4": {"reachable": False, "error": "no route", "answers": {}}})
    assert not away["healthy"] and not away["backup"]["healthy"]


def test_it_is_asked_for_the_kinds_that_it_should_take():
    asked = host_backup.asks(ha(), {}, "node4")
    assert asked["utmstack.ha.backup_info"]["kinds"] == ha()["backup"]["kinds"]
