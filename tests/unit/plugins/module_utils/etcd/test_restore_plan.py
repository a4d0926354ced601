# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a restore of etcd does, also after one that was interrupted."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.etcd.restore_plan import plan_restore

MEMBERS = [{"name": f"node{number}", "peer_url": f"https://10.0.1.1{number}:2380"} for number in (1, 2, 3)]
NAMES = [one["name"] for one in MEMBERS]
CHOSEN = {
    "leader": "node1",
    "refusals": [],
    "doubts": [],
    "lines": ["node1  timeline 3, 0/A0  leads"],
    "system_identifier": "7712",
}
LABEL, OLDER = "20261130T023000Z", "20261129T023000Z"


def backup(label=LABEL, etcd="3.5.16", verified=True):
    return {
        "label": label,
        "path": f"/var/backups/utmstack/files/etcd/{label}",
        "verified": verified,
        "point": {"time": 1796005800, "revision": 812},
        "record": {"bytes": 20480, "software": {"etcd": etcd}},
    }


def seen(label="", version="3.5.16", free=10 << 30, bumps=True):
    return {"label": label, "version": version, "free": free, "bumps": bumps, "data": True, "safety": []}


def every(value):
    return dict.fromkeys(NAMES, value)


def plan(found=None, masked=False, kept=(OLDER, LABEL), chosen=None, wanted=""):
    return plan_restore(
        MEMBERS,
        every(seen()) if found is None else found,
        [backup(label) for label in kept],
        chosen or CHOSEN,
        every(masked),
        wanted,
    )


def test_all_members_are_restored_from_the_newest_backup_as_a_new_cluster():
    found = plan()
    assert (found["label"], found["restore"], found["refusals"]) == (LABEL, NAMES, [])
    assert (found["hold"], found["reset"]) == (True, True)
    assert found["token"] == f"restored-{LABEL}"
    assert found["initial_cluster"].startswith("node1=https://10.0.1.11:2380,node2=")
    assert "there up to 2026-11-30 02:30:00 UTC, revision 812, verified" in found["lines"][1]
    assert plan(wanted=OLDER)["label"] == OLDER


def test_an_interrupted_restore_goes_on_where_it_was():
    half = every(seen()) | {"node1": seen(LABEL)}
    found = plan(half, masked=True)
    assert (found["restore"], found["hold"], found["reset"], found["refusals"]) == (["node2", "node3"], True, True, [])
    # A newer backup that was taken meanwhile is not what was begun with.
    assert plan(half | {"node1": seen(OLDER)}, masked=True)["label"] == OLDER


def test_another_backup_is_refused_while_one_is_being_restored():
    found = plan(every(seen()) | {"node1": seen(LABEL)}, masked=True, wanted=OLDER)
    assert found["refusals"] == [
        f"A restore from {LABEL} was begun and is not done. Finish it: the same command with -e at={LABEL}"
    ]


def test_keys_are_reset_until_patroni_is_let_go_and_never_after():
    restored = every(seen(LABEL))
    assert plan(restored, masked=True)["reset"] is True
    # It was let go on the leader: whatever leads now writes its own keys.
    unmasked = plan_restore(MEMBERS, restored, [backup()], CHOSEN, every(True) | {"node1": False})
    assert (unmasked["reset"], unmasked["hold"], unmasked["restore"], unmasked["refusals"]) == (False, False, [], [])
    # A leader that has written since is farther than any standby, which is no reason to stop half-way.
    ahead = {**CHOSEN, "refusals": ["No other member is as far as node1"]}
    assert plan_restore(MEMBERS, restored, [backup()], ahead, every(False))["refusals"] == []


def test_a_patroni_that_runs_before_all_is_restored_does_not_count_as_done():
    half = every(seen(LABEL)) | {"node3": seen()}
    assert plan(half, masked=False)["hold"] is True


@pytest.mark.parametrize(
    ("found", "kept", "said"),
    [
        (every(seen()), (), "There is no backup of etcd. Kept are: none"),
        ({name: seen() for name in NAMES[:2]}, (LABEL,), "node3 can't be reached"),
        (every(seen(free=1 << 20)), (LABEL,), "node1 has 1.0 MiB free for etcd's data, and 128 MiB are needed"),
        (every(seen(version="3.4.23")), (LABEL,), "node1 has etcd 3.4.23, and the backup is of 3.5.x"),
    ],
)
def test_what_can_not_be_done_is_refused_with_the_remedy(found, kept, said):
    assert said in plan(found, kept=kept)["refusals"][0]


def test_a_backup_that_is_not_kept_is_named_with_those_that_are():
    assert plan(wanted="20260101T000000Z")["refusals"] == [
        f"There is no backup 20260101T000000Z. Kept are: {OLDER}, {LABEL}"
    ]


def test_the_choice_of_the_leader_can_refuse_the_restore_and_a_doubt_counts_when_all_have_stopped():
    early = plan(chosen={**CHOSEN, "doubts": ["No other member is as far as node1"]})
    assert early["refusals"] == []
    assert "decided when all members have stopped" in early["lines"][-1]
    refused = ["The members' data are of different clusters"]
    assert plan(chosen={**CHOSEN, "refusals": refused})["refusals"] == refused


def test_a_refusal_tells_what_an_earlier_run_has_left():
    assert plan()["state"] == "Nothing was changed"
    interrupted = plan_restore(MEMBERS, every(seen()), [backup()], CHOSEN, every(False) | {"node2": True})
    assert interrupted["begun"] == []
    assert "Patroni is stopped and masked on node2. " in interrupted["state"]
    assert "systemctl unmask patroni" in interrupted["state"]
    half = plan(every(seen()) | {"node1": seen(LABEL)}, masked=True)
    assert half["begun"] == [LABEL]
    assert (
        f"restored etcd on node1 from {LABEL}, and Patroni is stopped and masked on node1, node2, node3"
        in half["state"]
    )
    assert f"-e at={LABEL}" in half["state"]


def test_a_release_that_can_not_bump_revisions_asks_for_stopped_clients():
    lines = plan_restore(
        MEMBERS,
        every(seen(version="3.4.23", bumps=False)),
        [backup(etcd="3.4.23", verified=False)],
        CHOSEN,
        every(False),
    )["lines"]
    assert any("stop all other clients of etcd" in line for line in lines)
    assert any("NOT VERIFIED" in line for line in lines)
