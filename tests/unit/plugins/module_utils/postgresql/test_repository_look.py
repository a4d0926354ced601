# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What pgBackRest 2.45 and pg_waldump 15 printed of a real repository; what is doubled are these programs."""

from __future__ import annotations

import json

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql import repository_look
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql.repository_look import look, parse_time
from pgbackrest_restores import BACKUPS, RECORDED, T1, T3

WALDUMP = (
    "rmgr: Transaction len (rec/tot):    501/   501, tx:        724, lsn: 0/030182E8, prev 0/030182A0, desc: COMMIT 2026-11-30 19:29:58.401453 UTC; "
    "inval msgs: catcache 80 catcache 79\n"
    "rmgr: Transaction len (rec/tot):     34/    34, tx:        725, lsn: 0/0301A158, prev 0/0301A110, desc: COMMIT 2026-11-30 19:29:58.685804 UTC\n"
)


@pytest.fixture
def repository(monkeypatch):
    """The recorded answers in the place of pgBackRest."""

    def answer(_self, command, *arguments, **_options):
        if command == "info":
            return json.dumps(RECORDED["info"])
        if command == "repo-ls":
            return json.dumps(RECORDED["files"])
        return RECORDED["histories"][arguments[0].rpartition("/")[2]]

    monkeypatch.setattr(repository_look.Repository, "answer", answer)
    monkeypatch.setattr(repository_look, "last_commit", lambda *_unused: None)


def asked(to, **more):
    return look({"stanza": "demo", "to": to, **more}, more.pop("records", ()))


def test_a_target_on_an_abandoned_branch_is_found_there(repository):
    near = asked(f"time:{T3}")
    assert (near["timeline"], [one["timeline"] for one in near["options"]][:1]) == (2, [1])
    found = asked(f"time:{T3}", timeline=2)
    assert (found["timeline"], found["faults"], found["set"]) == (2, [], BACKUPS[0]["label"])
    assert found["segment"].startswith("00000002")
    assert (found["archive"], found["version"]) == ("15-1", "15")


def test_births_are_those_of_members_records_and_the_repository(repository):
    found = asked(
        f"time:{T1}", births={2: T1 + 5000}, records=[{"act": "restore", "verdict": "ok", "births": {"3": T1 + 6000}}]
    )
    known = {int(name[:8], 16): RECORDED["files"][name]["time"] for name in RECORDED["histories"]}
    assert found["births"]["2"] == min(known[2], T1 + 5000)
    assert found["births"]["3"] == min(known[3], T1 + 6000)


def test_without_a_commit_that_can_be_read_the_moment_is_when_the_last_wal_came(repository):
    found = asked("latest")
    assert (found["timeline"], found["exact"]) == (5, False)
    assert found["moment"] == max(
        entry["time"] for name, entry in RECORDED["files"].items() if name.startswith("00000005")
    )


def test_the_last_commit_is_the_moment(repository, monkeypatch):
    monkeypatch.setattr(repository_look, "last_commit", lambda *_unused: 1796067075.5)
    found = asked("latest")
    assert (found["moment"], found["exact"]) == (1796067075.5, True)


def test_what_is_no_target_is_a_fault_and_no_failure(repository):
    assert "is no target" in asked("yesterday")["faults"][0]


def test_the_time_of_a_commit_is_read_of_what_pg_waldump_prints():
    times = repository_look._COMMIT.findall(WALDUMP)
    assert [parse_time(text) for text in times] == [1796066998.401453, 1796066998.685804]
