# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One drill at a time: who comes second is told whose turn it is, and a drill that died locks out nobody for ever."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.drill.fault import keeper as drill_fault
from ansible_collections.utmstack.ha.plugins.module_utils.drill.fault.lock import Lock, dead, holder_of, refusal

ROOT = Path(__file__).resolve().parents[6]
NOON = 1772366400


def holder(name, **own):
    return {
        "id": name,
        "user": "root",
        "controller": name,
        "kernel": "",
        "pid": 4711,
        "start": 1,
        "doing": "its beginning",
        **own,
    }


@pytest.fixture
def host(tmp_path):
    """The lock of a host, whose clock is `host.clock`."""
    lock = Lock(str(tmp_path / "notes"), lambda: lock.clock)
    lock.clock = NOON
    return lock


def test_a_second_drill_is_refused_and_told_whose_the_lock_is(host):
    assert host.take(holder("ctl1"), 600)["mine"]
    host.clock += 60
    said = host.take(holder("ctl2"), 600)
    assert not said["mine"]
    assert refusal("utmstack", {"node1": {"mine": True, "holder": None}, "node2": said, "node3": said}) == (
        "Another drill of utmstack is under way, and there is one at a time: node2, node3 held by root on ctl1 (process 4711) since "
        "2026-03-01 12:00:00 UTC, by now at its beginning, until 2026-03-01 12:10:00 UTC at the latest. Wait until it has ended. If it has died, "
        "playbooks/drill.yml -e scenario=cleanup undoes what it has left and ends its lock."
    )


def test_a_drill_keeps_its_lock_and_tells_what_it_is_at(host):
    host.take(holder("ctl1"), 600)
    host.clock += 500
    kept = host.take(holder("ctl1", doing="03-redis-sigkill"), 600, again=True)
    assert (kept["mine"], kept["holder"]["since"], kept["holder"]["until"]) == (True, NOON, NOON + 1100)
    assert "by now at 03-redis-sigkill" in refusal("utmstack", {"node1": host.take(holder("ctl2"), 600)})
    # Late, and nobody else wanted it meanwhile.
    host.clock += 5000
    assert host.take(holder("ctl1"), 600, again=True)["mine"]


def test_a_lock_ends_by_itself(host):
    host.take(holder("ctl1"), 600)
    host.clock += 601
    assert host.take(holder("ctl2"), 600)["mine"]
    # The first one finds out at its next turn.
    assert not host.take(holder("ctl1"), 600, again=True)["mine"]


def test_a_lock_that_cleanup_has_ended_ends_that_drill(host):
    host.take(holder("ctl1"), 600)
    assert host.free()["controller"] == "ctl1"
    said = host.take(holder("ctl1"), 600, again=True)
    assert said == {"mine": False, "holder": None}
    assert refusal("utmstack", {"node1": said}).startswith("The lock of this drill is gone from node1: somebody ran")


def test_a_drill_ends_its_own_lock_only(host):
    host.take(holder("ctl1"), 600)
    assert host.free("ctl2") is None
    assert host.free("ctl1")["id"] == "ctl1"
    assert host.free("ctl1") is None


def test_who_is_known_to_be_dead_is_followed_and_nobody_else(host):
    host.take(holder("ctl1"), 600)
    assert not host.take(holder("ctl2"), 600, instead_of="ctl3")["mine"]
    assert host.take(holder("ctl2"), 600, instead_of="ctl1")["mine"]


def test_only_to_ask_changes_nothing(host):
    assert host.take(holder("ctl1"), 600, only_ask=True)["mine"]
    assert host.take(holder("ctl2"), 600)["mine"]
    assert host.free(only_ask=True)["id"] == "ctl2"
    assert host.free()["id"] == "ctl2"


def test_where_nothing_may_be_touched_no_directory_is_made(tmp_path):
    lock = Lock(str(tmp_path / "notes"))
    assert lock.take(holder("ctl1"), 600, only_ask=True)["mine"]
    assert lock.free(only_ask=True) is None
    assert list(tmp_path.iterdir()) == []


def test_a_host_that_fails_is_named_and_one_that_is_away_is_left_to_the_look_at_the_platform():
    assert refusal("utmstack", {"node1": {"unreachable": True, "msg": "no route"}, "node2": {"mine": True}}) == ""
    told = refusal("utmstack", {"node1": {"failed": True, "msg": "The lock of this host can't be kept: no space."}})
    assert told == "No fault was injected: node1 can't be locked: The lock of this host can't be kept: no space."


def test_a_process_is_dead_when_it_ended_or_its_number_is_anothers(tmp_path):
    process = subprocess.Popen(["sleep", "60"])
    own = holder_of(process.pid)
    assert own["id"] == holder_of(process.pid)["id"]
    assert not dead(own)
    assert dead({**own, "start": own["start"] + 1})
    process.kill()
    process.wait()
    assert dead(own)
    # Of another machine, or another container, nothing is known.
    assert not dead({**own, "kernel": "other"})
    assert not dead({**own, "kernel": ""})


def test_undoing_everything_by_hand_ends_the_lock_too(tmp_path, monkeypatch):
    monkeypatch.setattr(drill_fault.Keeper.__init__, "__defaults__", (str(tmp_path), "package", None))
    lock = Lock(str(tmp_path))
    lock.take(holder("ctl1"), 600)
    assert drill_fault.main(["undo", "01-redis"]) == 0
    assert not lock.take(holder("ctl2"), 600)["mine"]
    assert drill_fault.main(["undo"]) == 0
    assert lock.take(holder("ctl2"), 600)["mine"]
