# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan of a restore of Redis: what goes where, and all that stands in its way at once."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.redis import restore_plan

MEMBERS = [{"name": f"node{number}", "address": f"10.0.1.1{number}"} for number in (1, 2, 3)]
ALONE = {"newest_master_address": None, "masters": []}
RUNNING = {"newest_master_address": "10.0.1.12", "masters": ["node2"]}


def seen(**changes):
    host = {"data": True, "watched": "", "epoch": 0, "free_bytes": 10 << 30, "copies": []}
    return {member["name"]: {**host, **changes.get(member["name"], {})} for member in MEMBERS}


def backup(label="20261130T020007Z", verified=True, size=2_000_000):
    return {
        "kind": "redis",
        "label": label,
        "path": f"/var/backups/utmstack/files/redis/{label}",
        "verified": verified,
        "point": {"time": 1796039126},
        "record": {
            "host": "backup1",
            "source": "node3",
            "bytes": size,
            "manifest": {"keys": 52, "expires": 1},
            "files": {"dump.rdb": "00"},
        },
    }


def planned(hosts=None, cluster=None, kept=None, wanted="latest", first=""):
    return restore_plan.plan(
        MEMBERS,
        seen() if hosts is None else hosts,
        cluster or RUNNING,
        [backup()] if kept is None else kept,
        wanted,
        first,
    )


def test_the_present_master_gets_the_newest_backup():
    found = planned(kept=[backup("old"), backup("new")])
    assert (found["refusals"], found["master"], found["address"]) == ([], "node2", "10.0.1.12")
    assert (found["kept"]["label"], found["time"], found["keys"]) == ("new", 1796039126, {"keys": 52, "expires": 1})
    text = "\n".join(found["lines"])
    assert "up to      2026-11-30 11:45:26 UTC" in text
    assert "52 keys, 1.9 MiB, on node2, which becomes master" in text
    assert "from there to node1, node3" in text
    assert "NOT VERIFIED" not in text


def test_a_backup_that_was_not_verified_is_marked():
    assert "NOT VERIFIED" in "\n".join(planned(kept=[backup(verified=False)])["lines"])


@pytest.mark.parametrize(
    ("hosts", "cluster", "first", "master"),
    [
        # All are stopped, as after an interrupted restore: the last master that a sentinel knew.
        (
            seen(node1={"watched": "10.0.1.13", "epoch": 4}, node2={"watched": "10.0.1.11", "epoch": 2}),
            ALONE,
            "",
            "node3",
        ),
        # Nobody knows; all data are replaced, so the first host will do.
        (seen(), ALONE, "", "node1"),
        (seen(), RUNNING, "node3", "node3"),
    ],
)
def test_there_is_one_host_that_becomes_master(hosts, cluster, first, master):
    found = planned(hosts, cluster, first=first)
    assert (found["refusals"], found["master"]) == ([], master)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kept": []}, "There is no usable backup of Redis. Take one with backup.yml -e kind=redis"),
        ({"wanted": "yesterday"}, "There is no usable backup yesterday of Redis. There are: 20261130T020007Z."),
        ({"first": "node9"}, "redis_first_master is node9, no host of group redis"),
        ({"hosts": {"node1": seen()["node1"]}}, "node2 and node3 can't be looked at in this run"),
        (
            {"hosts": seen(node3={"free_bytes": 1 << 20})},
            "node3 has 1.0 MiB free where Redis has its data, and needs 67.8 MiB",
        ),
    ],
)
def test_what_stands_in_the_way_is_told_with_a_remedy(options, said):
    found = planned(**options)
    assert any(said in refusal for refusal in found["refusals"]), found["refusals"]
    assert found["lines"] == []


def test_all_that_stands_in_the_way_is_told_at_once():
    hosts = {name: {**host, "free_bytes": 0} for name, host in seen().items() if name != "node2"}
    assert len(planned(hosts=hosts, first="node9")["refusals"]) == 4


def test_a_former_backup_can_be_named():
    assert planned(kept=[backup("old"), backup("new")], wanted="old")["kept"]["label"] == "old"


def test_backups_of_a_platform_made_anew_are_left_out_by_a_time():
    former, new = backup("former"), {**backup("new"), "point": {"time": 1796039126 + 900}}
    assert planned(kept=[former, new])["kept"]["label"] == "new"
    for before in ("2026-11-30T11:47:00Z", "1796039200"):
        found = restore_plan.plan(MEMBERS, seen(), RUNNING, [former, new], before=before)
        assert (found["refusals"], found["kept"]["label"]) == ([], "former")
    assert (
        "is from before 2020-01-01"
        in restore_plan.plan(MEMBERS, seen(), RUNNING, [new], before="2020-01-01")["refusals"][0]
    )
    assert "'soon' is no time" in restore_plan.plan(MEMBERS, seen(), RUNNING, [new], before="soon")["refusals"][0]


def test_a_newest_backup_with_much_less_in_it_than_the_one_before_is_marked():
    new = backup("new")
    new["record"]["manifest"] = {"keys": 3, "expires": 0}
    text = "\n".join(planned(kept=[backup("former"), new])["lines"])
    assert "the backup before, former, has 52 keys: -e backup=former restores that one" in text
    assert "BEWARE" not in "\n".join(planned(kept=[backup("former"), backup("new")])["lines"])
